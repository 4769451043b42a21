"""The coordinator wants a second share for one commitment: it never gets one (PROTOCOL.md G5).

Two shares from one nonce betray the signer's secret. So whatever is replayed, exchanged between
rounds and manifests, restarted or copied, each commitment answers one package and then never again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from signer_node import wire
from signer_node.adapters import secrets
from signer_node.adapters.secrets import NONCES_LIVE_S
from signer_node.core import node as core
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.signing import (
    CommitmentSet,
    RoundOpening,
    ShareSet,
    SignerCommitments,
    SigningPackage,
)
from signer_node.kernel.errors import ErrorId
from signer_node.kernel.vault.interface import VaultKindId
from tests.world.payouts import (
    Draft,
    approval,
    coin,
    draft,
    open_round,
    package,
    propose,
    request,
    send_package,
    session_of,
    verdict_of,
)
from tests.world.quorum import World

KIND = VaultKindId.TAPROOT_FROST
Round = tuple[World, Draft, dict[str, CommitmentSet]]


@pytest.fixture
def opened() -> Round:
    world = World(kind=KIND)
    one = draft(world)
    propose(world, one)
    return world, one, open_round(world, one.digest, ["s1", "s2"])


def released(world: World, built: SigningPackage, name: str) -> ShareSet:
    answer = send_package(world, built, name)
    assert isinstance(answer, ShareSet)
    return answer


def finishes(world: World, one: Draft, number: int) -> None:
    """The attack cost a round at most: the next one makes the signature."""
    commitments = open_round(world, one.digest, ["s1", "s2"], number)
    built = package(world, one.digest, commitments)
    shares = {name: released(world, built, name).shares for name in commitments}
    signed = world.vault.kind.aggregate(session_of(world, one, built), shares)
    assert signed.txid == signed.transaction.txid


# --- one commitment, one package ---


def bent_packages(world: World, one: Draft, commitments: dict[str, CommitmentSet]) -> list[Any]:
    """Other packages that a first one might be exchanged for, each valid by itself."""
    third = open_round(world, one.digest, ["s3"])["s3"]
    with_third = {"s1": commitments["s1"], "s3": third}
    approvals = (approval(world, one.digest, "alice"), approval(world, one.digest, "carol"))
    return [
        package(world, one.digest, with_third),
        package(world, one.digest, commitments, approvals=approvals),
        with_commitments(package(world, one.digest, commitments), "s2", third.commitments),
    ]


def with_commitments(
    built: SigningPackage, name: str, commitments: tuple[bytes, ...]
) -> SigningPackage:
    signers = tuple(
        replace(one, commitments=commitments) if one.node == name else one for one in built.signers
    )
    return replace(built, signers=signers)


def test_two_packages_for_one_commitment_give_one_share(opened: Round) -> None:
    """Another signer set, other approvals, another signer's commitments exchanged."""
    world, one, commitments = opened
    first = released(world, package(world, one.digest, commitments), "s1")
    for bent in bent_packages(world, one, commitments):
        assert send_package(world, bent, "s1") is ErrorId.PACKAGE_CONTRADICTS_RELEASED
    assert released(world, package(world, one.digest, commitments), "s1") == first


def test_any_valid_package_may_be_the_first_but_only_one_is(opened: Round) -> None:
    world, one, commitments = opened
    with_third = {"s1": commitments["s1"], **open_round(world, one.digest, ["s3"])}
    released(world, package(world, one.digest, with_third), "s1")
    built = package(world, one.digest, commitments)
    assert send_package(world, built, "s1") is ErrorId.PACKAGE_CONTRADICTS_RELEASED
    finishes(world, one, 2)


def test_a_replayed_package_gives_the_same_share_and_no_other(opened: Round) -> None:
    world, one, commitments = opened
    built = package(world, one.digest, commitments)
    first = released(world, built, "s1")
    for _again in range(3):
        assert released(world, built, "s1") == first


def test_a_round_opened_again_gives_the_same_commitments_and_nothing_after_the_share(
    opened: Round,
) -> None:
    world, one, commitments = opened
    assert open_round(world, one.digest, ["s1"])["s1"] == commitments["s1"]
    built = package(world, one.digest, commitments)
    first = released(world, built, "s1")
    assert open_round(world, one.digest, ["s1"])["s1"] == commitments["s1"]
    assert released(world, built, "s1") == first
    approvals = (approval(world, one.digest, "bob"), approval(world, one.digest, "carol"))
    second = package(world, one.digest, commitments, approvals=approvals)
    assert send_package(world, second, "s1") is ErrorId.PACKAGE_CONTRADICTS_RELEASED


# --- commitments where they do not belong ---


def test_commitments_of_one_round_used_in_another(opened: Round) -> None:
    world, one, commitments = opened
    moved = package(world, one.digest, commitments, round=2)
    assert send_package(world, moved, "s1") is ErrorId.PACKAGE_ROUND_UNKNOWN
    fresh = open_round(world, one.digest, ["s1", "s2"], number=2)
    assert send_package(world, moved, "s1") is ErrorId.PACKAGE_COMMITMENTS_DIFFER
    released(world, package(world, one.digest, fresh), "s1")
    old = package(world, one.digest, commitments)
    assert send_package(world, old, "s1") is ErrorId.PACKAGE_ROUND_UNKNOWN


def test_one_round_of_a_manifest_is_open_the_latest(opened: Round) -> None:
    """However many rounds are opened: the nonces of all but the last are gone at once."""
    world, one, commitments = opened
    rounds = {1: commitments}
    for number in range(2, 6):
        rounds[number] = open_round(world, one.digest, ["s1", "s2"], number)
    for number in (1, 2, 3, 4):
        old = package(world, one.digest, rounds[number])
        assert send_package(world, old, "s1") is ErrorId.PACKAGE_ROUND_UNKNOWN
    released(world, package(world, one.digest, rounds[5]), "s1")


def test_a_share_released_before_the_next_round_is_given_again(opened: Round) -> None:
    world, one, commitments = opened
    built = package(world, one.digest, commitments)
    first = released(world, built, "s1")
    open_round(world, one.digest, ["s1"], 2)
    assert released(world, built, "s1") == first


def test_nonces_do_not_outlive_their_commitments(opened: Round) -> None:
    world, one, commitments = opened
    held = world.nodes["s1"].secrets
    started = held._clock()
    held._clock = lambda: started + NONCES_LIVE_S + 1
    built = package(world, one.digest, commitments)
    assert send_package(world, built, "s1") is ErrorId.PACKAGE_ROUND_UNKNOWN
    finishes(world, one, 2)


def test_nonces_in_memory_are_bounded(opened: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest manifest's go first, and their packages are asked for in a new round."""
    world, one, commitments = opened
    monkeypatch.setattr(secrets, "MAX_NONCES", 1)
    other = Draft(
        world,
        [coin(world, index=5)],
        [request(world, "w-9", 1_000_000)],
        change_index=3,
        overrides={"batch_id": "b9"},
    )
    assert set(propose(world, other).values()) == {None}
    later = open_round(world, other.digest, ["s1", "s2"])
    old = package(world, one.digest, commitments)
    assert send_package(world, old, "s1") is ErrorId.PACKAGE_ROUND_UNKNOWN
    released(world, package(world, other.digest, later), "s1")


def test_commitments_of_one_manifest_used_for_another() -> None:
    world = World(kind=KIND)
    coins = [coin(world, index=at) for at in range(2)]
    drafts = [
        Draft(
            world,
            [spent],
            [request(world, f"w-{at}", 1_000_000)],
            change_index=at,
            overrides={"batch_id": f"b{at}"},
        )
        for at, spent in enumerate(coins)
    ]
    rounds = []
    for one in drafts:
        assert set(propose(world, one).values()) == {None}
        rounds.append(open_round(world, one.digest, ["s1", "s2"]))
    first, second = drafts
    exchanged = package(world, first.digest, rounds[1])
    assert send_package(world, exchanged, "s1") is ErrorId.PACKAGE_COMMITMENTS_DIFFER
    for one, commitments in zip((first, second), rounds, strict=True):
        released(world, package(world, one.digest, commitments), "s1")


@pytest.mark.parametrize("bent", ["one bit", "halves", "inputs", "fewer", "none", "another's"])
def test_own_commitments_altered(bent: str) -> None:
    world = World(kind=KIND)
    one = Draft(world, [coin(world), coin(world, index=1)], [request(world, "w-1", 5_000_000)])
    propose(world, one)
    commitments = open_round(world, one.digest, ["s1", "s2"])
    first, second = commitments["s1"].commitments
    altered = {
        "one bit": (first[:-1] + bytes((first[-1] ^ 1,)), second),
        "halves": (first[33:] + first[:33], second),
        "inputs": (second, first),
        "fewer": (first,),
        "none": (),
        "another's": commitments["s2"].commitments,
    }[bent]
    honest = package(world, one.digest, commitments)
    changed = with_commitments(honest, "s1", altered)
    assert send_package(world, changed, "s1") is ErrorId.PACKAGE_COMMITMENTS_DIFFER
    released(world, honest, "s1")


def test_commitments_in_another_boots_name(opened: Round) -> None:
    world, one, commitments = opened
    honest = package(world, one.digest, commitments)
    mine, other = honest.signers
    bent = replace(honest, signers=(replace(mine, boot=bytes(16)), other))
    assert send_package(world, bent, "s1") is ErrorId.PACKAGE_COMMITMENTS_DIFFER


@pytest.mark.parametrize(
    "nonce",
    [bytes(66), (b"\x02" + b"\xff" * 32) * 2, b"\x04" + bytes(65), b"\x02" * 65],
)
def test_a_package_with_commitments_of_another_signer_that_are_none(
    opened: Round, nonce: bytes
) -> None:
    """Refused before any nonce is touched: the honest package is answered afterwards."""
    world, one, commitments = opened
    honest = package(world, one.digest, commitments)
    bad = (nonce,) * len(commitments["s2"].commitments)
    for bent in (bad, (), commitments["s2"].commitments * 2):
        changed = with_commitments(honest, "s2", bent)
        assert send_package(world, changed, "s1") is ErrorId.PACKAGE_SIGNER_SET_INVALID
    released(world, honest, "s1")


def test_signer_sets_that_are_not_t_members_with_this_node(opened: Round) -> None:
    world, one, commitments = opened
    first, second = package(world, one.digest, commitments).signers
    third = open_round(world, one.digest, ["s3"])["s3"]
    last = SignerCommitments("s3", third.boot, third.commitments)
    stranger = replace(second, node="mallory")
    for signers in (
        (first,),
        (first, second, last),
        (second, first),
        (first, stranger),
        (first, first),
        (second, last),
    ):
        bent = package(world, one.digest, commitments, signers=signers)
        assert send_package(world, bent, "s1") is ErrorId.PACKAGE_SIGNER_SET_INVALID
    released(world, package(world, one.digest, commitments), "s1")


# --- restarts and copies ---


def test_a_restart_between_commitment_and_package_loses_the_nonce(opened: Round) -> None:
    world, one, commitments = opened
    world.nodes["s1"].crash()
    built = package(world, one.digest, commitments)
    assert send_package(world, built, "s1") is ErrorId.PACKAGE_ROUND_UNKNOWN
    assert open_round(world, one.digest, ["s1"]) == {"s1": ErrorId.PACKAGE_ROUND_UNKNOWN}
    finishes(world, one, 2)


def test_a_restart_after_the_share_gives_no_other_share(opened: Round) -> None:
    world, one, commitments = opened
    built = package(world, one.digest, commitments)
    released(world, built, "s1")
    world.nodes["s1"].crash()
    for bent in (built, *bent_packages(world, one, commitments)):
        assert send_package(world, bent, "s1") is ErrorId.PACKAGE_ROUND_UNKNOWN
    finishes(world, one, 2)


def test_a_share_made_but_never_made_durable_is_not_made_again(opened: Round) -> None:
    """The journal fails between share and commit: the nonce is gone, and so is the round."""
    world, one, commitments = opened
    sim = world.nodes["s1"]
    payload = wire.encode(package(world, one.digest, commitments))
    raw = world.coordinator.envelope(
        sim.identity_key, PayloadType.SIGNING_PACKAGE, payload, world.now_s + 60
    )
    step = core.deliver(sim.node, raw, world.now_s)
    assert [one.type for one in step.outbox] == [PayloadType.SHARE_SET]
    again = core.deliver(sim.node, raw, world.now_s)
    sent = sim.commit(again, world.now_s)
    assert verdict_of(sent) is ErrorId.PACKAGE_ROUND_UNKNOWN


@pytest.mark.parametrize("who", ["the copy first", "the node first"])
def test_a_disk_copied_between_commitment_and_package(opened: Round, who: str) -> None:
    """The copy has no nonces, whichever of both starts first and whatever it is asked."""
    world, one, commitments = opened
    sim = world.nodes["s1"]
    image = sim.disk()
    built = package(world, one.digest, commitments)
    if who == "the node first":
        released(world, built, "s1")
    sim.start(image)
    packages = (built, *bent_packages(world, one, commitments))
    for asked in packages:
        assert send_package(world, asked, "s1") is ErrorId.PACKAGE_ROUND_UNKNOWN
    assert open_round(world, one.digest, ["s1"]) == {"s1": ErrorId.PACKAGE_ROUND_UNKNOWN}


def test_two_boots_and_two_rounds_never_have_a_commitment_in_common(opened: Round) -> None:
    world, one, commitments = opened
    image = world.nodes["s1"].disk()
    seen = set(commitments["s1"].commitments)
    for number in range(2, 6):
        world.nodes["s1"].start(image)
        fresh = open_round(world, one.digest, ["s1"], number)["s1"].commitments
        assert not seen & set(fresh)
        seen.update(fresh)


def test_what_was_refused_before_the_first_package_costs_no_nonce(opened: Round) -> None:
    """Else a coordinator, or anybody who replays its envelopes, could stop a signer for nothing."""
    world, one, commitments = opened
    honest = package(world, one.digest, commitments)
    for bent in (
        replace(honest, approvals=()),
        replace(honest, payer_confirmation=b""),
        replace(honest, round=9),
        replace(honest, manifest=bytes(32)),
    ):
        assert not isinstance(send_package(world, bent, "s1"), ShareSet)
    released(world, honest, "s1")


def test_no_round_without_a_manifest_that_this_node_checked() -> None:
    world = World(kind=KIND)
    opening = wire.encode(RoundOpening(bytes(32), 1))
    sent = world.send("s1", PayloadType.ROUND_OPENING, opening)
    assert verdict_of(sent) is ErrorId.MANIFEST_UNKNOWN
