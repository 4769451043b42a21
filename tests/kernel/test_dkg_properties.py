"""ChillDKG, any t of n up to 7: one key, shared by polynomial, recoverable, leaked by nothing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from itertools import combinations

import pytest
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.kernel.dkg import chilldkg, encpedpop, faults, group, simplpedpop, vss
from tests.kernel import dkg_samples as samples

sizes = st.integers(1, 7).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n)))
few = settings(max_examples=12, deadline=None)


@few
@given(sizes, st.integers(0, 3))
def test_all_parties_end_with_the_same_public_outputs_and_recovery_data(
    size: tuple[int, int], session: int
) -> None:
    finished = samples.finish(*size, session)
    assert len({(one.thresh_pk, one.pubshares) for one in finished.outputs}) == 1
    assert finished.coordinator.thresh_pk == finished.outputs[0].thresh_pk
    assert finished.coordinator.pubshares == finished.outputs[0].pubshares
    assert finished.coordinator.secshare is None
    assert len(set(finished.recovery_data)) == 1
    for one, pubshare in zip(finished.outputs, finished.coordinator.pubshares, strict=True):
        assert one.secshare is not None
        assert PrivateKey(one.secshare).public_key.format() == pubshare


@few
@given(sizes, st.data())
def test_t_shares_give_the_threshold_key_and_fewer_do_not(
    size: tuple[int, int], data: st.DataObject
) -> None:
    t, n = size
    finished = samples.finish(t, n)
    members = data.draw(st.sampled_from(list(combinations(range(n), t))))
    key = PrivateKey(samples.secret_of(finished, members)).public_key.format()
    assert key == finished.coordinator.thresh_pk
    for fewer in combinations(members, t - 1):
        if fewer:
            key = PrivateKey(samples.secret_of(finished, fewer)).public_key.format()
            assert key != finished.coordinator.thresh_pk


@few
@given(sizes)
def test_host_key_and_recovery_data_give_everything_again(size: tuple[int, int]) -> None:
    finished = samples.finish(*size)
    kept = finished.recovery_data[0]
    for key, output in zip(samples.hostseckeys(size[1]), finished.outputs, strict=True):
        assert chilldkg.participant_recover(key, kept) == (output, finished.params)
    assert chilldkg.coordinator_recover(kept) == (finished.coordinator, finished.params)


@few
@given(st.data())
def test_recovery_data_with_one_byte_changed_is_refused(data: st.DataObject) -> None:
    kept = samples.finish(2, 3).recovery_data[0]
    at = data.draw(st.integers(0, len(kept) - 1))
    changed = samples.splice(kept, at, bytes([kept[at] ^ data.draw(st.integers(1, 255))]))
    with pytest.raises(faults.BadRecoveryData):
        chilldkg.coordinator_recover(changed)
    with pytest.raises(faults.BadRecoveryData):
        chilldkg.participant_recover(samples.hostseckeys(1)[0], changed)


@given(st.binary(max_size=700))
def test_recovery_data_of_any_bytes_is_refused(data: bytes) -> None:
    with pytest.raises(faults.BadRecoveryData):
        chilldkg.coordinator_recover(data)


def test_recovery_is_refused_to_a_stranger() -> None:
    kept = samples.finish(2, 3).recovery_data[0]
    with pytest.raises(faults.BadHostSeckey):
        chilldkg.participant_recover(samples.number_hash("stranger", 0), kept)


@few
@given(sizes)
def test_messages_have_the_lengths_that_the_draft_states(size: tuple[int, int]) -> None:
    t, n = size
    run = samples.begin(t, n)
    assert {len(pmsg1) for pmsg1 in run.pmsgs1} == {33 * t + 32 * n + 97}
    _, cmsg1 = run.sum_up()
    assert len(cmsg1) == 162 * n + 33 * (t - 1)
    cinvs = chilldkg.coordinator_investigate(run.pmsgs1, run.params)
    assert [len(cinv) for cinv in cinvs] == [65 * n] * n


@given(st.data())
@few
def test_every_message_reads_back_as_it_was_written(data: st.DataObject) -> None:
    t, n = data.draw(sizes)
    run = samples.begin(t, n)
    _, cmsg1 = run.sum_up()
    assert chilldkg.CoordinatorMsg1.from_bytes(cmsg1, t, n).to_bytes() == cmsg1
    for pmsg1 in run.pmsgs1:
        assert encpedpop.ParticipantMsg.from_bytes(pmsg1, n).to_bytes() == pmsg1
    for cinv in chilldkg.coordinator_investigate(run.pmsgs1, run.params):
        assert encpedpop.CoordinatorInvestigationMsg.from_bytes(cinv, n).to_bytes() == cinv


def test_two_sessions_give_two_keys() -> None:
    first, second = samples.finish(2, 3, 0), samples.finish(2, 3, 1)
    assert first.coordinator.thresh_pk != second.coordinator.thresh_pk
    assert not {one.secshare for one in first.outputs} & {one.secshare for one in second.outputs}


def test_the_same_randomness_with_other_parameters_gives_other_messages() -> None:
    random = samples.number_hash("random", 0)
    key = samples.hostseckeys(1)[0]
    sent = [
        chilldkg.participant_step1(key, samples.session_params(t, n), random)[1]
        for t, n in ((1, 2), (2, 2), (1, 3), (2, 3))
    ]
    nonces = {pmsg1[-32 * n - 33 : -32 * n] for pmsg1, n in zip(sent, (2, 2, 3, 3), strict=True)}
    assert len(nonces) == len({pmsg1[:33] for pmsg1 in sent}) == 4


def test_the_threshold_key_has_no_script_path() -> None:
    run = samples.begin(2, 3)
    finished = samples.finish(2, 3)
    internal = group.sum_points([group.parse_point(pmsg1[:33]) for pmsg1 in run.pmsgs1])
    commitment = vss.VSSCommitment((internal,))
    tweaked, _ = commitment.invalid_taproot_commit()
    assert group.format_point(tweaked.points[0]) == finished.coordinator.thresh_pk
    assert group.format_point(internal) != finished.coordinator.thresh_pk


def test_acknowledgments_of_all_are_needed_and_name_who_did_not() -> None:
    finished = samples.finish(2, 3)
    kept, params = finished.recovery_data[0], finished.params
    acks = [
        chilldkg.participant_recovery_ack_sign(key, kept, params, bytes(32))
        for key in samples.hostseckeys(3)
    ]
    chilldkg.participant_recovery_acks_verify(kept, params, acks)
    with pytest.raises(faults.InvalidRecoveryAck) as caught:
        chilldkg.participant_recovery_acks_verify(kept, params, [acks[0], acks[0], acks[2]])
    assert caught.value.participant_id == 1
    with pytest.raises(faults.InvalidRecoveryAck):
        chilldkg.participant_recovery_acks_verify(kept, params, [*acks[:2], b""])
    with pytest.raises(ValueError, match="2 acknowledgments of 3"):
        chilldkg.participant_recovery_acks_verify(kept, params, acks[:2])
    certificate = [kept[-192 + at : -128 + at or None] for at in (0, 64, 128)]
    with pytest.raises(faults.InvalidRecoveryAck):
        chilldkg.participant_recovery_acks_verify(kept, params, certificate)


def test_an_acknowledgment_is_given_only_for_a_session_with_these_parameters() -> None:
    kept = samples.finish(2, 3).recovery_data[0]
    key, others = samples.hostseckeys(1)[0], samples.session_params(3, 3)
    with pytest.raises(faults.BadRecoveryData):
        chilldkg.participant_recovery_ack_sign(key, kept, others, bytes(32))
    with pytest.raises(faults.BadRecoveryData):
        chilldkg.participant_recovery_acks_verify(kept, others, [bytes(64)] * 3)
    stranger = samples.number_hash("stranger", 0)
    with pytest.raises(faults.BadHostSeckey):
        chilldkg.participant_recovery_ack_sign(
            stranger, kept, samples.session_params(2, 3), bytes(32)
        )


def test_too_many_participants_are_refused() -> None:
    params = samples.session_params(1, chilldkg.MAX_PARTICIPANTS + 1)
    with pytest.raises(faults.BadThresholdOrCount):
        chilldkg.params_hash(params)


def test_nothing_that_holds_a_secret_is_shown_copied_or_pickled() -> None:
    run = samples.begin(2, 2)
    _, cmsg1 = run.sum_up()
    key = encpedpop.DecryptionKey(run.seckeys[0], 0, run.params.hostpubkeys)
    state2, _ = run.step2(0, cmsg1)
    output = samples.finish(2, 2).outputs[0]
    data = simplpedpop.ParticipantInvestigationData(0, run.seckeys[0], None)
    holders = [
        run.states1[0],
        state2,
        output,
        key,
        vss.VSS(run.seckeys[0], 2),
        data,
        encpedpop.ParticipantInvestigationData(data, (run.seckeys[0],)),
    ]
    for holder in holders:
        assert repr(holder) == str(holder) == f"{type(holder).__name__}(...)"
        for take in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="neither copied nor pickled"):
                take(holder)


def test_scalar_and_point_arithmetic_knows_zero_and_infinity() -> None:
    one, minus_one = (1).to_bytes(32, "big"), (samples.ORDER - 1).to_bytes(32, "big")
    assert group.add_scalars(one, minus_one) == group.ZERO
    assert group.add_scalars(group.ZERO, one) == group.add_scalars(one, group.ZERO) == one
    assert group.negate_scalar(one) == minus_one
    assert group.negate_scalar(group.ZERO) == group.sum_scalars([]) == group.ZERO
    assert group.reduce_scalar(b"\xff" * 32) == (2**256 - 1 - samples.ORDER).to_bytes(32, "big")
    generator, opposite = group.multiply_generator(one), group.multiply_generator(minus_one)
    assert group.multiply_generator(group.ZERO) is None
    assert group.sum_points([]) is group.sum_points([None]) is None
    assert group.sum_points([generator, opposite]) is None
    assert group.add_generator(generator, minus_one) is None
    assert group.same_point(group.add_generator(None, one), generator)
    assert group.same_point(group.evaluate_in_exponent([None, generator], 1), generator)
    assert group.evaluate_in_exponent([opposite, generator], 1) is None
    assert not group.same_point(generator, None)


def test_what_would_make_the_library_abort_or_read_too_far_is_refused_before() -> None:
    key = samples.number_hash("key", 0)
    point = group.multiply_generator(key)
    assert point is not None
    refused: list[Callable[[], object]] = [
        lambda: group.check_secret(key[:31]),
        lambda: group.check_secret(group.ZERO),
        lambda: group.check_secret(b"\xff" * 32),
        lambda: group.evaluate([group.negate_scalar(key), key], 1),
        lambda: group.ecdh(group.ZERO, point),
        lambda: group.sign(key[:31], b"", bytes(32)),
        lambda: group.sign(key, b"", bytes(31)),
        lambda: group.sign_tagged("tag", group.ZERO, b"", bytes(32)),
        lambda: group.sign_tagged("tag", key, b"", bytes(31)),
        lambda: group.verify(key[:31], b"", bytes(64)),
        lambda: group.verify(b"\xff" * 32, b"", bytes(64)),
        lambda: group.verify(group.format_point(point)[1:], b"", bytes(63)),
        lambda: group.parse_point(b"\x04" + bytes(32)),
        lambda: group.parse_point(group.format_point(point)[:32]),
        lambda: group.parse_point(group.INFINITY_BYTES),
        lambda: vss.VSSCommitment.from_bytes(bytes(34)),
        lambda: vss.VSSCommitment((None, point)).invalid_taproot_commit(),
    ]
    for call in refused:
        with pytest.raises(ValueError, match=r"\w"):
            call()


@given(
    st.integers(1, samples.ORDER - 1), st.binary(max_size=80), st.binary(min_size=64, max_size=64)
)
@few
def test_tagged_signatures_verify_and_no_others_do(
    secret: int, message: bytes, noise: bytes
) -> None:
    key = secret.to_bytes(32, "big")
    point = group.multiply_generator(key)
    assert point is not None
    signature = group.sign_tagged("tag", key, message, bytes(32))
    group.verify_tagged("tag", point, message, signature)
    for tag, said, signed in (
        ("gat", message, signature),
        ("tag", message + b"!", signature),
        ("tag", message, noise),
        ("tag", message, signature[:63]),
        ("tag", message, signature[:32] + b"\xff" * 32),
    ):
        with pytest.raises(ValueError, match="signature"):
            group.verify_tagged(tag, point, said, signed)
