"""Our FROST beside PyPI `ecc`'s (BIP-445 v0.12.1): each signs with the other, in one session.

Both ways: its partial signatures in our aggregate, ours in its; and every value on the way.
"""

from __future__ import annotations

import pytest
from ecc.ecc import frost as theirs
from ecc.ecc import ssa
from ecc.exceptions import EccValueError
from ecc.exceptions import InvalidContributionError as TheirBlame
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.kernel.frost.aggregation import partial_sig_agg, partial_sig_verify
from signer_node.kernel.frost.blame import find_culprits
from signer_node.kernel.frost.commitments import nonce_agg, parse_pubnonces
from signer_node.kernel.frost.faults import InvalidContribution, InvalidParameters
from signer_node.kernel.frost.package import SessionContext, SessionValues, get_session_values
from signer_node.kernel.frost.points import ORDER
from signer_node.kernel.frost.signing import NonceContext, nonce_gen, sign
from signer_node.kernel.frost.threshold import (
    ThresholdInfo,
    select_signers,
    validate_threshold_info,
)
from signer_node.kernel.frost.tweaking import thresh_pubkey_and_tweak
from tests.kernel.frost_samples import Dealt, deal, octets, point

BYTES_32 = st.binary(min_size=32, max_size=32)
TWEAKS = st.lists(
    st.tuples(st.integers(0, ORDER - 1).map(lambda one: one.to_bytes(32, "big")), st.booleans()),
    max_size=4,
)


@st.composite
def quorums(draw: st.DrawFn) -> tuple[Dealt, list[int]]:
    n = draw(st.integers(1, 10))
    t = draw(st.integers(1, n))
    ids = draw(st.permutations(range(n)))[: draw(st.integers(t, n))]
    return deal(t, n, draw(st.integers(0, 9))), list(ids)


class Both:
    """One session with a party of each implementation at every place."""

    def __init__(
        self, dealt: Dealt, ids: list[int], tweaks: list[tuple[bytes, bool]], msg: bytes
    ) -> None:
        self.dealt, self.ids, self.tweaks, self.msg = dealt, ids, tweaks, msg

    def ours(self, pubnonces: list[bytes]) -> SessionValues:
        material = self.dealt.material
        tweaks, is_xonly = [one[0] for one in self.tweaks], [one[1] for one in self.tweaks]
        return get_session_values(
            SessionContext(
                select_signers(material, self.ids),
                nonce_agg(parse_pubnonces(pubnonces)),
                thresh_pubkey_and_tweak(material.thresh_pk, tweaks, is_xonly),
                self.msg,
            )
        )

    def theirs(self, pubnonces: list[bytes]) -> theirs.SessionContext:
        info = self.dealt.info
        return theirs.SessionContext(
            self.dealt.n,
            info.t,
            self.ids,
            [share for at in self.ids if (share := info.pubshares[at]) is not None],
            info.thresh_pk,
            theirs.nonce_agg_var(pubnonces),
            [one[0] for one in self.tweaks],
            [one[1] for one in self.tweaks],
            self.msg,
        )


@settings(max_examples=40, deadline=None)
@given(quorums(), TWEAKS, st.binary(max_size=70), st.data())
def test_parties_of_both_sign_together(
    quorum: tuple[Dealt, list[int]],
    tweaks: list[tuple[bytes, bool]],
    msg: bytes,
    data: st.DataObject,
) -> None:
    dealt, ids = quorum
    both = Both(dealt, ids, tweaks, msg)
    signs_by_theirs = [data.draw(st.booleans()) for _ in ids]
    ours_nonces, their_nonces, pubnonces = {}, {}, []
    for at, is_theirs in zip(ids, signs_by_theirs, strict=True):
        rand, pubshare = octets("rand", msg, at), dealt.info.pubshares[at]
        if is_theirs:
            secret, public = theirs.nonce_gen_(rand, dealt.secshares[at], at, pubshare)
            their_nonces[at] = secret
        else:
            ours_nonces[at] = nonce_gen(rand, dealt.secshares[at], NonceContext(at, pubshare))
            public = ours_nonces[at].pubnonce.encoded
        pubnonces.append(public)
    values, context = both.ours(pubnonces), both.theirs(pubnonces)
    psigs = [
        theirs.sign(their_nonces[at], dealt.secshares[at], at, context)
        if at in their_nonces
        else sign(ours_nonces[at], dealt.secshares[at], at, values)
        for at in ids
    ]
    assert find_culprits(psigs, parse_pubnonces(pubnonces), values) == ()
    for at, psig, public in zip(ids, psigs, pubnonces, strict=True):
        share = dealt.info.pubshares[at]
        assert share is not None
        assert theirs.partial_sig_verify_(psig, at, public, share, context)
    signature = partial_sig_agg(psigs, values)
    aggregated = theirs.partial_sig_agg(psigs, context)
    assert aggregated.serialize() == signature
    their_key = theirs.session_values(context).Q[0]
    ssa.assert_as_valid_(msg, their_key, aggregated)
    assert their_key.to_bytes(32, "big") == values.session.tweaked.xonly_pk


@settings(max_examples=25, deadline=None)
@given(quorums(), TWEAKS, st.binary(max_size=70))
def test_every_value_on_the_way_is_the_same(
    quorum: tuple[Dealt, list[int]], tweaks: list[tuple[bytes, bool]], msg: bytes
) -> None:
    dealt, ids = quorum
    pubnonces = [point(5 + at) + point(500 + at) for at in ids]
    both = Both(dealt, ids, tweaks, msg)
    values, context = both.ours(pubnonces), both.theirs(pubnonces)
    their = theirs.session_values(context)
    assert values.session.aggnonce.encoded == context.agg_nonce
    assert (values.b, values.e) == (their.b, their.e)
    assert (values.session.tweaked.gacc, values.session.tweaked.tacc) == (their.gacc, their.tacc)
    assert values.R[1:] == their.R[0].to_bytes(32, "big")
    assert values.nonce_is_negated == bool(their.R[1] % 2)


@settings(max_examples=40, deadline=None)
@given(BYTES_32, st.none() | BYTES_32, st.none() | st.binary(max_size=99), st.binary(max_size=99))
def test_nonces_are_the_same(
    rand: bytes, share: bytes | None, msg: bytes | None, extra_in: bytes
) -> None:
    mine = nonce_gen(rand, share, NonceContext(7, point(9), point(8)[1:], msg, extra_in))
    secret, public = theirs.nonce_gen_(rand, share, 7, point(9), point(8)[1:], msg, extra_in)
    k_1, k_2 = mine.take()
    assert k_1.reveal() + k_2.reveal() == bytes(secret)
    assert mine.pubnonce.encoded == public


@settings(max_examples=40, deadline=None)
@given(quorums(), st.data())
def test_what_one_refuses_the_other_refuses(
    quorum: tuple[Dealt, list[int]], data: st.DataObject
) -> None:
    """Threshold info with any parts exchanged, left out or negated."""
    info = quorum[0].info
    shares = list(info.pubshares)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(shares) - 1))
        shares[at] = data.draw(st.sampled_from([*info.pubshares, None, point(3), bytes(33)]))
    key = data.draw(st.sampled_from([info.thresh_pk, point(3), bytes(33)]))
    t = data.draw(st.sampled_from([info.t, info.t, info.t + 1, info.t - 1]))
    ours = refusal(lambda: validate_threshold_info(ThresholdInfo(t, key, tuple(shares))))
    other = refusal(lambda: theirs.validate_threshold_info(theirs.ThresholdInfo(t, key, shares)))
    assert ours == other


def refusal(check: object) -> str:
    try:
        check()  # type: ignore[operator]
    except (InvalidParameters, EccValueError) as refused:
        return str(refused)
    return ""


def test_a_wrong_partial_signature_is_wrong_for_both() -> None:
    dealt, ids = deal(2, 3), [2, 0]
    both = Both(dealt, ids, [], b"m")
    nonces = {at: nonce_gen(octets("r", at), None, NonceContext()) for at in ids}
    pubnonces = [nonces[at].pubnonce.encoded for at in ids]
    values, context = both.ours(pubnonces), both.theirs(pubnonces)
    psig = sign(nonces[2], dealt.secshares[2], 2, values)
    wrong = ((int.from_bytes(psig, "big") + 1) % ORDER).to_bytes(32, "big")
    share = dealt.info.pubshares[2]
    assert share is not None
    with pytest.raises(InvalidContribution):
        partial_sig_verify(wrong, parse_pubnonces(pubnonces)[0], 2, values)
    assert not theirs.partial_sig_verify_(wrong, 2, pubnonces[0], share, context)
    with pytest.raises(InvalidContribution) as blamed:
        parse_pubnonces([pubnonces[0], bytes(66)])
    with pytest.raises(TheirBlame) as their_blame:
        theirs.nonce_agg_var([pubnonces[0], bytes(66)])
    assert blamed.value.signer_index == their_blame.value.signer == 1
