"""ChillDKG under attack: each is refused, names whom its transcript can name, leaves no state."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.kernel.dkg import chilldkg, encpedpop, faults, group, simplpedpop
from tests.kernel import dkg_samples as samples

T, N = 2, 3
POP = slice(33 * T, 33 * T + 64)


def _negated(point: bytes) -> bytes:
    return bytes([point[0] ^ 1]) + point[1:]


def test_a_rogue_key_that_cancels_the_others_is_refused_by_every_honest_participant() -> None:
    run = samples.begin(T, N)
    target = group.parse_point(samples.begin(T, N, session=9).pmsgs1[2][:33])
    others = [group.parse_point(_negated(pmsg1[:33])) for pmsg1 in run.pmsgs1[:2]]
    rogue = group.format_point(group.sum_points([target, *others]))
    run.pmsgs1[2] = samples.splice(run.pmsgs1[2], 0, rogue)
    _, cmsg1 = run.sum_up()
    for number in (0, 1):
        with pytest.raises(faults.FaultyParticipantOrCoordinator, match="possession") as caught:
            run.step2(number, cmsg1)
        assert caught.value.participant_id == 2


def test_a_rogue_key_that_leaves_no_key_is_named_by_the_coordinator() -> None:
    run = samples.begin(T, N)
    others = [group.parse_point(_negated(pmsg1[:33])) for pmsg1 in run.pmsgs1[:2]]
    rogue = group.format_point(group.sum_points(others))
    run.pmsgs1[2] = samples.splice(run.pmsgs1[2], 0, rogue)
    with pytest.raises(faults.FaultyParticipant, match="possession") as caught:
        run.sum_up()
    assert caught.value.participant_id == 2


def test_a_copied_commitment_with_its_proof_of_possession_is_refused() -> None:
    run = samples.begin(T, N)
    copied = run.pmsgs1[0][: POP.stop]
    run.pmsgs1[1] = samples.splice(run.pmsgs1[1], 0, copied)
    _, cmsg1 = run.sum_up()
    for number in (0, 2):
        with pytest.raises(faults.FaultyParticipantOrCoordinator, match="possession") as caught:
            run.step2(number, cmsg1)
        assert caught.value.participant_id == 1


def test_a_commitment_to_the_zero_secret_is_refused() -> None:
    run = samples.begin(T, N)
    run.pmsgs1[1] = samples.splice(run.pmsgs1[1], 0, bytes(33))
    _, cmsg1 = run.sum_up()
    with pytest.raises(faults.FaultyParticipantOrCoordinator, match="commitment") as caught:
        run.step2(0, cmsg1)
    assert caught.value.participant_id == 1


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_the_sender_of_a_wrong_share_is_named_by_the_one_who_got_it(data: st.DataObject) -> None:
    t, n = data.draw(st.sampled_from([(1, 2), (2, 3), (3, 4), (4, 5)]))
    liar, victim = data.draw(st.permutations(range(n)))[:2]
    run = samples.begin(t, n)
    run.pmsgs1[liar] = samples.add_to_scalar(
        run.pmsgs1[liar], samples.enc_share_at(t, victim), data.draw(st.integers(1, 1000))
    )
    _, cmsg1 = run.sum_up()
    cinvs = chilldkg.coordinator_investigate(run.pmsgs1, run.params)
    for number in range(n):
        if number != victim:
            run.step2(number, cmsg1)
    with pytest.raises(faults.UnknownFaultyParticipantOrCoordinator) as unknown:
        run.step2(victim, cmsg1)
    with pytest.raises(faults.FaultyParticipantOrCoordinator) as caught:
        chilldkg.participant_investigate(unknown.value, cinvs[victim])
    assert caught.value.participant_id == liar


def _wrong_share() -> tuple[samples.Run, faults.UnknownFaultyParticipantOrCoordinator]:
    run = samples.begin(T, N)
    honest = list(run.pmsgs1)
    run.pmsgs1[1] = samples.add_to_scalar(run.pmsgs1[1], samples.enc_share_at(T, 0), 1)
    _, cmsg1 = run.sum_up()
    run.pmsgs1 = honest
    with pytest.raises(faults.UnknownFaultyParticipantOrCoordinator) as unknown:
        run.step2(0, cmsg1)
    return run, unknown.value


def test_a_coordinator_that_altered_a_share_and_shows_the_honest_ones_names_itself() -> None:
    run, unknown = _wrong_share()
    cinv = chilldkg.coordinator_investigate(run.pmsgs1, run.params)[0]
    with pytest.raises(faults.FaultyCoordinator, match="encrypted partial shares"):
        chilldkg.participant_investigate(unknown, cinv)


@pytest.mark.parametrize(
    ("at", "piece"), [(96, b"\x05"), (0, b"\xff" * 32)], ids=["no point", "no scalar"]
)
def test_a_malformed_investigation_message_names_the_coordinator(at: int, piece: bytes) -> None:
    run, unknown = _wrong_share()
    cinv = chilldkg.coordinator_investigate(run.pmsgs1, run.params)[0]
    for bad in (samples.splice(cinv, at, piece), cinv[:-1], cinv + b"\0", b""):
        with pytest.raises(faults.FaultyCoordinator, match="malformed"):
            chilldkg.participant_investigate(unknown, bad)


def test_a_share_of_zero_is_investigated_like_any_other() -> None:
    """The liar knows its pad, so it can send an encryption of zero."""
    run = samples.begin(T, N)
    key = encpedpop.DecryptionKey(run.seckeys[0], 0, run.params.hostpubkeys)
    nonces = [pmsg1[33 * T + 64 : 33 * T + 97] for pmsg1 in run.pmsgs1]
    context = encpedpop.serialize_enc_context(T, run.params.hostpubkeys)
    pad = encpedpop.decaps_multi(key, nonces, context)[1]
    run.pmsgs1[1] = samples.splice(run.pmsgs1[1], samples.enc_share_at(T, 0), pad)
    _, cmsg1 = run.sum_up()
    with pytest.raises(faults.UnknownFaultyParticipantOrCoordinator) as unknown:
        run.step2(0, cmsg1)
    cinv = chilldkg.coordinator_investigate(run.pmsgs1, run.params)[0]
    with pytest.raises(faults.FaultyParticipantOrCoordinator) as caught:
        chilldkg.participant_investigate(unknown.value, cinv)
    assert caught.value.participant_id == 1


def test_nothing_secret_stands_in_the_text_of_a_fault() -> None:
    _, unknown = _wrong_share()
    assert str(unknown) == "a participant or the coordinator: the secret share is wrong"
    assert repr(unknown.investigation) == "ParticipantInvestigationData(...)"


def _public_share_at_infinity(t: int, n: int, cheat: int) -> tuple[samples.Run, bytes]:
    """The cheat chooses its polynomial last, so that its own share of the sum is zero.

    It reads its shares from the others (they are meant for it), keeps its honest commitment to its
    secret with its proof, and bends its highest coefficient.
    """
    run = samples.begin(t, n)
    _, cmsg1 = run.sum_up()
    output, _ = run.step2(cheat, cmsg1)
    own = output.take().output.secshare
    assert own is not None
    x = cheat + 1
    bend = (-int.from_bytes(own, "big") * pow(x, 1 - t, samples.ORDER)) % samples.ORDER
    pmsg1 = run.pmsgs1[cheat]
    top = slice(33 * (t - 1), 33 * t)
    bent = group.add_generator(group.parse_point(pmsg1[top]), bend.to_bytes(32, "big"))
    pmsg1 = samples.splice(pmsg1, top.start, group.format_point(bent))
    for number in range(n):
        added = bend * pow(number + 1, t - 1, samples.ORDER) % samples.ORDER
        pmsg1 = samples.add_to_scalar(pmsg1, samples.enc_share_at(t, number), added)
    run.pmsgs1[cheat] = pmsg1
    _, cmsg1 = run.sum_up()
    return run, cmsg1


def test_a_participant_whose_public_share_would_be_infinity_gets_no_signature() -> None:
    run, cmsg1 = _public_share_at_infinity(T, N, cheat=1)
    for number in (0, 2):
        with pytest.raises(faults.UnknownFaultyParticipantOrCoordinator) as caught:
            run.step2(number, cmsg1)
        assert caught.value.what == "the public share of participant 1 is the point at infinity"
        with pytest.raises(ValueError, match="nothing to investigate"):
            chilldkg.participant_investigate(caught.value, bytes(65 * N))


def test_signatures_of_all_over_a_public_share_at_infinity_are_refused() -> None:
    """All have to be faulty for it, so the coordinator may name anyone."""
    run, _ = _public_share_at_infinity(T, N, cheat=1)
    eq_input = run.sum_up()[0].take().eq_input
    with pytest.raises(faults.FaultyParticipant, match="share 1 is the point at infinity"):
        chilldkg.coordinator_finalize(run.sum_up()[0], _certificate(eq_input))
    with pytest.raises(faults.BadRecoveryData, match="no honest session"):
        chilldkg.coordinator_recover(eq_input + b"".join(_certificate(eq_input)))


def _certificate(eq_input: bytes) -> list[bytes]:
    return [
        group.sign(key, chilldkg.certeq_message(eq_input, number), bytes(32))
        for number, key in enumerate(samples.hostseckeys(N))
    ]


@pytest.mark.parametrize(
    ("at", "piece", "says"),
    [
        (4, bytes(33), "sum up to infinity"),
        (4 + 33 * T + 33 * N + 33, b"\x09", "public nonce is no point"),
        (4 + 33 * T + 33 * N + 33, bytes(33), "public nonce is no point"),
        (4 + 33 * T + 66 * N, bytes(32), "secret share is wrong"),
    ],
)
def test_recovery_data_that_all_signed_but_no_session_made_is_refused(
    at: int, piece: bytes, says: str
) -> None:
    eq_input = samples.splice(samples.finish(T, N).recovery_data[0][: -64 * N], at, piece)
    signed = eq_input + b"".join(_certificate(eq_input))
    with pytest.raises(faults.BadRecoveryData, match=says):
        chilldkg.participant_recover(samples.hostseckeys(N)[0], signed)


def test_a_commitment_to_the_zero_secret_alone_is_named_by_the_coordinator() -> None:
    run = samples.begin(1, 1)
    run.pmsgs1[0] = samples.splice(run.pmsgs1[0], 0, bytes(33))
    with pytest.raises(faults.FaultyParticipant, match="possession") as caught:
        run.sum_up()
    assert caught.value.participant_id == 0


def test_secrets_that_cancel_each_other_leave_the_coordinator_no_key() -> None:
    """Two that know each other's secret, with proofs that verify."""
    secret = samples.number_hash("secret", 0)
    run = samples.begin(1, 2)
    for number, seckey in enumerate((secret, group.negate_scalar(secret))):
        com = group.format_point(group.multiply_generator(seckey))
        proof = simplpedpop.pop_prove(seckey, number, bytes(32))
        run.pmsgs1[number] = samples.splice(run.pmsgs1[number], 0, com + proof)
    with pytest.raises(faults.FaultyParticipant, match="cancel each other"):
        run.sum_up()


def test_a_split_view_gives_nobody_a_certificate() -> None:
    run, other = samples.begin(T, N), samples.begin(T, N)
    other.pmsgs1[2] = samples.begin(T, N, session=5).pmsgs1[2]
    coordinator, cmsg1 = run.sum_up()
    _, split = other.sum_up()
    state0, sig0 = run.step2(0, cmsg1)
    state1, sig1 = run.step2(1, split)
    _, sig2 = run.step2(2, cmsg1)
    with pytest.raises(faults.FaultyParticipant):
        chilldkg.coordinator_finalize(coordinator, [sig0, sig1, sig2])
    for state in (state0, state1):
        with pytest.raises(faults.FaultyCoordinator, match="certificate"):
            chilldkg.participant_finalize(state, sig0 + sig1 + sig2)


OWN_PROOF = range(33 * (N + T - 1), 33 * (N + T - 1) + 64)
"""Participant 0 looks neither at its own proof, nor is it part of the transcript."""
CHECKED = sorted({*range(0, 162 * N + 33 * (T - 1), 7)} - {*OWN_PROOF})


@pytest.mark.parametrize("at", CHECKED)
def test_a_changed_byte_of_the_coordinators_message_never_gets_a_certificate(at: int) -> None:
    run = samples.begin(T, N)
    coordinator, cmsg1 = run.sum_up()
    changed = samples.splice(cmsg1, at, bytes([cmsg1[at] ^ 1]))
    try:
        state, sig0 = run.step2(0, changed)
    except faults.ProtocolFault:
        return
    sigs = [sig0, *(run.step2(number, cmsg1)[1] for number in (1, 2))]
    with pytest.raises(faults.FaultyCoordinator):
        chilldkg.participant_finalize(state, b"".join(sigs))
    with pytest.raises(faults.FaultyParticipant) as caught:
        chilldkg.coordinator_finalize(coordinator, sigs)
    assert caught.value.participant_id == 0


def test_a_malformed_first_message_names_its_sender_to_the_coordinator() -> None:
    honest = samples.begin(T, N).pmsgs1
    bad_nonce = samples.splice(honest[1], POP.stop, b"\x07")
    bad_point = samples.splice(honest[1], 0, b"\x02" + b"\xff" * 32)
    bad_share = samples.splice(honest[1], samples.enc_share_at(T, 2), b"\xff" * 32)
    for bad in (bad_nonce, bad_point, bad_share, honest[1][:-1], honest[1] + b"\0", b""):
        for call in (chilldkg.coordinator_step1, chilldkg.coordinator_investigate):
            with pytest.raises(faults.FaultyParticipant, match="malformed") as caught:
                call([honest[0], bad, honest[2]], samples.session_params(T, N))
            assert caught.value.participant_id == 1


def test_a_malformed_message_of_the_coordinator_names_it() -> None:
    _, cmsg1 = samples.begin(T, N).sum_up()
    bad_point = samples.splice(cmsg1, 33, b"\x02" + b"\xff" * 32)
    bad_share = samples.splice(cmsg1, len(cmsg1) - 32, b"\xff" * 32)
    for bad in (bad_point, bad_share, cmsg1[:-1], cmsg1 + b"\0", b""):
        with pytest.raises(faults.FaultyCoordinator, match="malformed"):
            samples.begin(T, N).step2(0, bad)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=600))
def test_any_bytes_as_a_message_end_in_a_typed_fault(noise: bytes) -> None:
    run = samples.begin(T, N)
    with pytest.raises(faults.FaultyCoordinator):
        run.step2(0, noise)
    with pytest.raises(faults.FaultyParticipant):
        chilldkg.coordinator_step1([noise, *run.pmsgs1[1:]], run.params)


def _stops_before_step1(run: samples.Run) -> None:
    with pytest.raises(ValueError, match="2 messages of 3"):
        chilldkg.coordinator_step1(run.pmsgs1[:2], run.params)


def _stops_after_step1(run: samples.Run) -> None:
    coordinator, cmsg1 = run.sum_up()
    sigs = [run.step2(number, cmsg1)[1] for number in (0, 1)]
    with pytest.raises(ValueError, match="2 messages of 3"):
        chilldkg.coordinator_finalize(coordinator, sigs)


def _stops_after_step2(run: samples.Run) -> None:
    """The third has signed, so the others finish, and it comes back by the recovery data."""
    coordinator, cmsg1 = run.sum_up()
    second = [run.step2(number, cmsg1) for number in range(N)]
    cmsg2, output, kept = chilldkg.coordinator_finalize(coordinator, [sig for _, sig in second])
    for state2, _ in second[:2]:
        chilldkg.participant_finalize(state2, cmsg2)
    recovered, _ = chilldkg.participant_recover(run.seckeys[2], kept)
    assert recovered.pubshares == output.pubshares


@pytest.mark.parametrize("stop", [_stops_before_step1, _stops_after_step1, _stops_after_step2])
def test_a_participant_that_stops_in_a_step_leaves_no_state_in_use(
    stop: Callable[[samples.Run], None],
) -> None:
    run = samples.begin(T, N)
    stop(run)
    again = samples.begin(T, N, session=1)
    _, cmsg1 = again.sum_up()
    # What a node kept from the first session is of no use in the second, nor any state twice.
    for number, state1 in enumerate(run.states1):
        with pytest.raises((faults.StateUsed, faults.FaultyCoordinator)):
            chilldkg.participant_step2(run.seckeys[number], state1, cmsg1, bytes(32))
    for number in range(N):
        again.step2(number, cmsg1)


def test_every_state_serves_one_step_even_if_that_step_fails() -> None:
    run = samples.begin(T, N)
    coordinator, cmsg1 = run.sum_up()
    with pytest.raises(faults.FaultyCoordinator):
        run.step2(0, b"")
    with pytest.raises(faults.StateUsed):
        run.step2(0, cmsg1)
    state2, _ = run.step2(1, cmsg1)
    for refused in (faults.FaultyCoordinator, faults.StateUsed):
        with pytest.raises(refused):
            chilldkg.participant_finalize(state2, b"")
    for wrong in (faults.FaultyParticipant, faults.StateUsed):
        with pytest.raises(wrong):
            chilldkg.coordinator_finalize(coordinator, [bytes(64)] * N)


def test_an_investigation_of_a_right_share_is_a_mistake_of_the_caller() -> None:
    run = samples.begin(1, 1)
    msg = encpedpop.ParticipantMsg.from_bytes(run.pmsgs1[0], 1)
    (cinv,) = simplpedpop.coordinator_investigate([msg.simpl_pmsg])
    share = group.evaluate([samples.number_hash("share", 0)], 1)
    point = group.multiply_generator(share)
    data = simplpedpop.ParticipantInvestigationData(0, share, point)
    right = simplpedpop.CoordinatorInvestigationMsg((point,))
    with pytest.raises(RuntimeError, match="right"):
        simplpedpop.participant_investigate(data, right, [share])
    with pytest.raises(faults.FaultyCoordinator, match="do not sum up"):
        simplpedpop.participant_investigate(data, cinv, [share])
