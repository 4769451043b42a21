"""A signer of the quorum lies: its name comes out, and the others finish without it.

What leaves the coordinator was verified input by input; a share is held against the signer's own
public share and commitment, so that nobody can be named for what another did.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from coincurve import PublicKey

from signer_node.kernel.documents.signing import CommitmentSet, ShareSet
from signer_node.kernel.vault.interface import (
    BadCommitments,
    BadShare,
    SigningSession,
    VaultKindId,
)
from tests.world.payouts import (
    Draft,
    coin,
    open_round,
    package,
    propose,
    request,
    send_package,
    session_of,
    sign,
)
from tests.world.quorum import World

KIND = VaultKindId.TAPROOT_FROST
Shares = dict[str, tuple[bytes, ...]]


def payout(count: int = 2) -> tuple[World, Draft]:
    """A payout from some coins that everybody accepted."""
    world = World(kind=KIND)
    coins = [coin(world, index=at) for at in range(count)]
    one = Draft(world, coins, [request(world, "w-1", 5_000_000)])
    assert set(propose(world, one).values()) == {None}
    return world, one


def run(
    world: World, one: Draft, commitments: dict[str, CommitmentSet]
) -> tuple[SigningSession, Shares]:
    """A round with these commitments: its session, and the shares of whoever answers."""
    built = package(world, one.digest, commitments)
    shares = {}
    for name in commitments:
        answer = send_package(world, built, name)
        if isinstance(answer, ShareSet):
            shares[name] = answer.shares
    return session_of(world, one, built), shares


def named(world: World, session: SigningSession, shares: Shares) -> str:
    with pytest.raises(BadShare) as caught:
        world.vault.kind.aggregate(session, shares)
    return caught.value.node


LIES: dict[str, Callable[[Shares], tuple[bytes, ...]]] = {
    "zeros": lambda shares: (bytes(32), shares["s2"][1]),
    "no scalar": lambda shares: (b"\xff" * 32, shares["s2"][1]),
    "empty": lambda shares: (b"", shares["s2"][1]),
    "another's": lambda shares: shares["s1"],
    "inputs exchanged": lambda shares: shares["s2"][::-1],
    "one for all": lambda shares: (shares["s2"][0],) * 2,
    "fewer": lambda shares: shares["s2"][:1],
    "none": lambda _shares: (),
    "one bit": lambda shares: (
        shares["s2"][0][:-1] + bytes((shares["s2"][0][-1] ^ 1,)),
        shares["s2"][1],
    ),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_bad_share_names_its_sender_and_the_others_finish(
    lie: Callable[[Shares], tuple[bytes, ...]],
) -> None:
    world, one = payout()
    session, shares = run(world, one, open_round(world, one.digest, ["s1", "s2"]))
    assert named(world, session, {**shares, "s2": lie(shares)}) == "s2"
    signed = sign(world, one, ["s1", "s3"], number=2)
    assert signed.txid == signed.transaction.txid


def test_a_share_for_another_package_is_named() -> None:
    """An honest share of an earlier round: right there, wrong here."""
    world, one = payout()
    _earlier, old = run(world, one, open_round(world, one.digest, ["s1", "s2"]))
    session, shares = run(world, one, open_round(world, one.digest, ["s1", "s2"], number=2))
    assert named(world, session, {**shares, "s2": old["s2"]}) == "s2"
    world.vault.kind.aggregate(session, shares)


def test_a_share_for_another_signer_set_is_named() -> None:
    world, one = payout()
    commitments = open_round(world, one.digest, ["s1", "s2", "s3"])
    without = {name: commitments[name] for name in ("s2", "s3")}
    _other, theirs = run(world, one, without)
    session, shares = run(world, one, open_round(world, one.digest, ["s1", "s2"], number=2))
    assert named(world, session, {**shares, "s2": theirs["s2"]}) == "s2"


def test_two_liars_are_both_found() -> None:
    world, one = payout()
    session, shares = run(world, one, open_round(world, one.digest, ["s1", "s2"]))
    bad = {name: tuple(bytes(31) + b"\x07" for _ in own) for name, own in shares.items()}
    for name in ("s1", "s2"):
        with pytest.raises(BadShare) as caught:
            world.vault.kind.verify_share(session, name, bad[name])
        assert caught.value.node == name
        world.vault.kind.verify_share(session, name, shares[name])


# --- commitments ---


@pytest.mark.parametrize(
    "nonce",
    [
        b"",
        bytes(66),
        (b"\x02" + b"\xff" * 32) * 2,
        b"\x04" + bytes(65),
        bytes(67),
        b"\x02" + bytes(65),
    ],
)
def test_a_bad_commitment_names_its_sender_before_anybody_signs(nonce: bytes) -> None:
    world, one = payout()
    commitments = open_round(world, one.digest, ["s1", "s2"])
    kind = world.vault.kind
    for bad in ((commitments["s2"].commitments[0], nonce), (), (nonce,) * 3):
        with pytest.raises(BadCommitments) as caught:
            kind.check_commitments("s2", bad, 2)
        assert caught.value.node == "s2"
    kind.check_commitments("s1", commitments["s1"].commitments, 2)
    assert sign(world, one, ["s1", "s3"], number=2).raw


def negated(nonce: bytes) -> bytes:
    """Both halves with the other sign."""
    return bytes((nonce[0] ^ 1,)) + nonce[1:33] + bytes((nonce[33] ^ 1,)) + nonce[34:]


@pytest.mark.parametrize("spoil", ["copied", "cancelled", "half cancelled"])
def test_commitments_made_from_anothers_name_their_maker(spoil: str) -> None:
    """Also where the sum is the point at infinity: the session goes on and finds who did it."""
    world, one = payout(1)
    commitments = open_round(world, one.digest, ["s1", "s2"])
    (honest,) = commitments["s1"].commitments
    (own,) = commitments["s2"].commitments
    rogue = {
        "copied": honest,
        "cancelled": negated(honest),
        "half cancelled": negated(honest)[:33] + own[33:],
    }[spoil]
    PublicKey(rogue[:33])
    changed = CommitmentSet(one.digest, 1, commitments["s2"].boot, (rogue,))
    built = package(world, one.digest, {"s1": commitments["s1"], "s2": changed})
    answer = send_package(world, built, "s1")
    assert isinstance(answer, ShareSet)
    session = session_of(world, one, built)
    world.vault.kind.verify_share(session, "s1", answer.shares)
    for share in (bytes(32), bytes(31) + b"\x01", answer.shares[0]):
        assert named(world, session, {"s1": answer.shares, "s2": (share,)}) == "s2"
    assert sign(world, one, ["s1", "s3"], number=2).raw


def test_an_honest_signer_is_never_named_whatever_the_other_sends() -> None:
    world, one = payout(1)
    session, shares = run(world, one, open_round(world, one.digest, ["s1", "s2"]))
    for number in range(1, 12):
        lie = {**shares, "s2": (number.to_bytes(32, "big"),)}
        assert named(world, session, lie) == "s2"
        world.vault.kind.verify_share(session, "s1", shares["s1"])
