"""Any t of n sign, wrong contributions are named, and nothing signs what it must not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from coincurve import PublicKeyXOnly
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.kernel.frost.aggregation import partial_sig_agg, partial_sig_verify
from signer_node.kernel.frost.blame import Culprit, find_bad_pubnonces, find_culprits
from signer_node.kernel.frost.commitments import nonce_agg, parse_aggnonce, parse_pubnonces
from signer_node.kernel.frost.faults import (
    Contribution,
    InvalidContribution,
    InvalidParameters,
    InvalidSignature,
)
from signer_node.kernel.frost.package import SessionContext, SessionValues, get_session_values
from signer_node.kernel.frost.points import ORDER, add, multiply, multiply_generator
from signer_node.kernel.frost.signing import SecNonce, sign
from signer_node.kernel.frost.threshold import (
    MAX_PARTICIPANTS,
    ThresholdInfo,
    select_signers,
    validate_session_params,
    validate_threshold_info,
)
from signer_node.kernel.frost.tweaking import apply_tweak, tweak_ctx_init
from tests.kernel.frost_samples import Dealt, Session, deal, number, octets, point

TWEAKS = st.lists(st.tuples(st.integers(0, ORDER - 1), st.booleans()), max_size=4)


@st.composite
def dealt_quorums(draw: st.DrawFn, max_n: int = 10) -> tuple[Dealt, list[int]]:
    """t <= n <= 10, and a subset of at least t in any order."""
    n = draw(st.integers(1, max_n))
    t = draw(st.integers(1, n))
    u = draw(st.integers(t, n))
    ids = draw(st.permutations(range(n)))[:u]
    return deal(t, n, draw(st.integers(0, 3))), list(ids)


def with_tweaks(tweaks: Sequence[tuple[int, bool]]) -> list[tuple[bytes, bool]]:
    return [(tweak.to_bytes(32, "big"), is_xonly) for tweak, is_xonly in tweaks]


def negated(psig: bytes) -> bytes:
    return ((ORDER - int.from_bytes(psig, "big")) % ORDER).to_bytes(32, "big")


# --- any t of n ---


@settings(max_examples=60, deadline=None)
@given(dealt_quorums(), TWEAKS, st.binary(max_size=70))
def test_any_quorum_signs_under_any_tweaks(
    quorum: tuple[Dealt, list[int]], tweaks: list[tuple[int, bool]], msg: bytes
) -> None:
    session = Session(*quorum, msg=msg, tweaks=with_tweaks(tweaks))
    values = session.values()
    psigs = session.psigs()
    assert find_culprits(psigs, session.parsed_pubnonces, values) == ()
    signature = partial_sig_agg(psigs, values)
    assert PublicKeyXOnly(values.session.tweaked.xonly_pk).verify(signature, msg)


@settings(max_examples=40, deadline=None)
@given(dealt_quorums(), st.data())
def test_wrong_shares_are_named_and_only_those(
    quorum: tuple[Dealt, list[int]], data: st.DataObject
) -> None:
    session = Session(*quorum)
    values, psigs = session.values(), session.psigs()
    liars = data.draw(st.sets(st.sampled_from(session.ids), min_size=1))
    for liar in liars:
        wrong = data.draw(st.sampled_from((negated, lambda _: bytes(32), lambda _: b"\xff" * 32)))
        psigs[session.ids.index(liar)] = wrong(psigs[session.ids.index(liar)])
    with pytest.raises((InvalidSignature, InvalidContribution)):
        partial_sig_agg(psigs, values)
    named = find_culprits(psigs, session.parsed_pubnonces, values)
    assert {one.signer_id for one in named} == liars
    assert {one.contribution for one in named} == {Contribution.PSIG}


@settings(max_examples=25, deadline=None)
@given(dealt_quorums(max_n=6))
def test_the_order_of_signers_changes_no_signature(quorum: tuple[Dealt, list[int]]) -> None:
    dealt, ids = quorum
    there, back = Session(dealt, ids), Session(dealt, ids[::-1])
    assert there.psigs() == back.psigs()[::-1]


@settings(max_examples=25, deadline=None)
@given(dealt_quorums(max_n=6), st.data())
def test_a_share_signs_for_its_own_session_only(
    quorum: tuple[Dealt, list[int]], data: st.DataObject
) -> None:
    """Another message, tweak, nonce or signer set: each makes the partial signature worthless."""
    dealt, ids = quorum
    other_ids = [at for at in range(dealt.n) if at not in ids[1:]][: len(ids)]
    others = [
        Session(dealt, ids, msg=b"another"),
        Session(dealt, ids, tweaks=[(octets("tweak"), True)]),
        Session(dealt, ids, seed=1),
    ]
    if len(other_ids) == len(ids) >= dealt.info.t and set(other_ids) != set(ids):
        others.append(Session(dealt, other_ids))
    mine = Session(dealt, ids)
    psig = mine.psigs()[0]
    for other in others:
        if ids[0] in other.ids:
            at = list(other.ids).index(ids[0])
            with pytest.raises(InvalidContribution):
                partial_sig_verify(psig, other.parsed_pubnonces[at], ids[0], other.values())


def test_fewer_than_the_threshold_make_no_session() -> None:
    dealt = deal(3, 5)
    for ids in ([], [0], [0, 1]):
        with pytest.raises(InvalidParameters, match="t <= u <= n"):
            select_signers(dealt.material, ids)


@pytest.mark.parametrize("ids", [[0, 0], [0, 3], [-1, 0], [0, 1, 2, 2]])
def test_signers_are_distinct_participants(ids: list[int]) -> None:
    with pytest.raises(InvalidParameters):
        select_signers(deal(2, 3).material, ids)


def test_signers_whose_public_share_is_unknown_are_not_selected() -> None:
    info = deal(2, 3).info
    material = validate_threshold_info(
        ThresholdInfo(2, info.thresh_pk, (*info.pubshares[:2], None))
    )
    select_signers(material, [0, 1])
    with pytest.raises(InvalidParameters, match="must be present"):
        select_signers(material, [1, 2])


@settings(max_examples=30, deadline=None)
@given(dealt_quorums(max_n=7), st.data())
def test_one_public_share_off_the_polynomial_is_found(
    quorum: tuple[Dealt, list[int]], data: st.DataObject
) -> None:
    info = quorum[0].info
    at = data.draw(st.integers(0, len(info.pubshares) - 1))
    shares = [*info.pubshares[:at], point(number("stranger")), *info.pubshares[at + 1 :]]
    with pytest.raises(InvalidParameters, match="The provided key material is incorrect"):
        validate_threshold_info(ThresholdInfo(info.t, info.thresh_pk, tuple(shares)))


def test_no_more_participants_than_the_proof_allows() -> None:
    pubshare, key = point(1), point(1)
    validate_threshold_info(ThresholdInfo(1, key, (pubshare,) * MAX_PARTICIPANTS))
    with pytest.raises(InvalidParameters, match="n <= 128"):
        validate_threshold_info(ThresholdInfo(1, key, (pubshare,) * (MAX_PARTICIPANTS + 1)))
    with pytest.raises(InvalidParameters, match="n <= 128"):
        validate_session_params(MAX_PARTICIPANTS + 1, 1, [0], None, key)


def test_each_signer_comes_with_its_public_share() -> None:
    info = deal(2, 3).info
    with pytest.raises(InvalidParameters, match="same length"):
        validate_session_params(3, 2, [0, 1], [point(1)], info.thresh_pk)


@pytest.mark.parametrize("tweak", [b"", bytes(31), bytes(33)])
def test_a_tweak_has_32_bytes(tweak: bytes) -> None:
    with pytest.raises(InvalidParameters, match="32-byte"):
        apply_tweak(tweak_ctx_init(deal(2, 3).material.thresh_pk), tweak, False)


@settings(max_examples=30, deadline=None)
@given(TWEAKS)
def test_a_tweaked_key_says_how_it_came_about(tweaks: list[tuple[int, bool]]) -> None:
    """Q = gacc·P + tacc·G, both scalars reduced."""
    key = deal(2, 3).material.thresh_pk
    context = tweak_ctx_init(key)
    for tweak, is_xonly in with_tweaks(tweaks):
        context = apply_tweak(context, tweak, is_xonly)
    assert context.gacc in (1, ORDER - 1)
    assert 0 <= context.tacc < ORDER
    again = add((multiply(context.gacc, key), multiply_generator(context.tacc)))
    assert again == context.Q
    assert context.plain_pk == context.Q.format()


# --- blame ---


def test_bad_public_nonces_are_named() -> None:
    session = Session(deal(2, 4), [3, 0, 1])
    encoded = session.pubnonces
    encoded[0] = encoded[0][:-1]
    encoded[2] = bytes(33) + encoded[2][33:]
    assert find_bad_pubnonces(session.ids, encoded) == (
        Culprit(3, Contribution.PUBNONCE),
        Culprit(1, Contribution.PUBNONCE),
    )
    assert find_bad_pubnonces(session.ids, session.pubnonces) == ()


def test_a_signer_that_cancels_all_nonces_is_named_and_stops_nobody() -> None:
    """Its nonce is minus the sum of the others', so the final nonce falls back to G."""
    dealt, ids = deal(2, 3), [0, 1]
    session = Session(dealt, ids)
    honest = session.secnonces[0].pubnonce
    parts = (honest.R_1.format(), honest.R_2.format())
    spoiled = b"".join(bytes([part[0] ^ 1]) + part[1:] for part in parts)
    pubnonces = parse_pubnonces([honest.encoded, spoiled])
    values = session_with(session, nonce_agg(pubnonces).encoded)
    assert values.session.aggnonce.encoded == bytes(66)
    assert values.R.hex() == point(1).hex()
    psig = sign(session.secnonces[0], dealt.secshares[0], 0, values)
    culprits = find_culprits([psig, psig], pubnonces, values)
    assert culprits == (Culprit(1, Contribution.PSIG),)


def test_where_nobody_is_to_blame_the_aggregator_is() -> None:
    """All partial signatures verify with their own nonces, but for another aggregate nonce."""
    dealt, ids = deal(2, 3), [0, 2]
    session = Session(dealt, ids)
    values = session_with(session, Session(dealt, ids, seed=9).values().session.aggnonce.encoded)
    psigs = [
        sign(one, dealt.secshares[at], at, values)
        for at, one in zip(ids, session.secnonces, strict=True)
    ]
    with pytest.raises(InvalidSignature):
        partial_sig_agg(psigs, values)
    assert find_culprits(psigs, session.parsed_pubnonces, values) == ()


def session_with(session: Session, encoded_aggnonce: bytes) -> SessionValues:
    old = session.values().session
    aggnonce = parse_aggnonce(encoded_aggnonce)
    return get_session_values(SessionContext(old.signers, aggnonce, old.tweaked, old.msg))


def test_lists_of_other_lengths_are_refused() -> None:
    session = Session(deal(2, 3), [0, 1])
    values, psigs, nonces = session.values(), session.psigs(), session.parsed_pubnonces
    for run in (
        lambda: partial_sig_agg(psigs[:1], values),
        lambda: find_culprits(psigs[:1], nonces, values),
        lambda: find_culprits(psigs, nonces[:1], values),
        lambda: find_bad_pubnonces([0, 1], session.pubnonces[:1]),
    ):
        with pytest.raises(InvalidParameters, match="same length"):
            run()


@pytest.mark.parametrize("psig", [b"", bytes(31), bytes(33), ORDER.to_bytes(32, "big")])
def test_what_is_no_scalar_is_no_partial_signature(psig: bytes) -> None:
    session = Session(deal(2, 3), [0, 1])
    values = session.values()
    with pytest.raises(InvalidContribution) as named:
        partial_sig_verify(psig, session.parsed_pubnonces[1], 1, values)
    assert named.value.signer_index == 1
    with pytest.raises(InvalidContribution) as named:
        partial_sig_agg([session.psigs()[0], psig], values)
    assert named.value.signer_index == 1


@pytest.mark.parametrize("encoded", [b"", bytes(65), bytes(67)])
def test_an_aggregate_nonce_of_another_size_blames_the_aggregator(encoded: bytes) -> None:
    with pytest.raises(InvalidContribution) as named:
        parse_aggnonce(encoded)
    assert named.value.signer_index is None
    assert named.value.contribution is Contribution.AGGNONCE


def test_without_public_shares_one_signs_but_verifies_nobody() -> None:
    dealt = deal(2, 3)
    session = Session(dealt, [0, 1])
    full = session.values().session
    signers = validate_session_params(3, 2, [0, 1], None, dealt.info.thresh_pk)
    values = get_session_values(SessionContext(signers, full.aggnonce, full.tweaked, full.msg))
    with pytest.raises(InvalidParameters, match="Without pubshares"):
        partial_sig_verify(bytes(32), session.parsed_pubnonces[0], 0, values)
    psigs = [sign(one, dealt.secshares[at], at, values) for at, one in enumerate(session.secnonces)]
    partial_sig_agg(psigs, values)


# --- who may sign ---


def test_another_participants_share_signs_nothing() -> None:
    dealt = deal(2, 3)
    session = Session(dealt, [0, 1])
    with pytest.raises(InvalidParameters, match="does not match"):
        sign(session.secnonces[0], dealt.secshares[1], 0, session.values())
    with pytest.raises(InvalidParameters, match="used before"):
        sign(session.secnonces[0], dealt.secshares[0], 0, session.values())


def test_a_stranger_to_the_session_signs_nothing() -> None:
    dealt = deal(2, 3)
    session = Session(dealt, [0, 1])
    nonce = SecNonce(octets("a") + octets("b"))
    with pytest.raises(InvalidParameters, match="missing from the ids list"):
        sign(nonce, dealt.secshares[2], 2, session.values())
