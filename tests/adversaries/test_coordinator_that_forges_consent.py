"""The coordinator asks for shares without the people who must agree: no signer releases one.

Approvals, the payer's confirmation, rounds and signer sets, each bent in one way; and that the
honest package beside it is answered, so that each refusal is the attack's doing.
"""

from __future__ import annotations

from typing import Any

import pytest

from signer_node import wire
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.signing import CommitmentSet, ShareSet, SignerCommitments
from signer_node.kernel.errors import ErrorId
from tests.world.payouts import (
    Draft,
    approval,
    coin,
    confirmation,
    draft,
    open_round,
    operator_envelope,
    package,
    propose,
    rejection,
    send_package,
)
from tests.world.quorum import KINDS, World, secret

Round = tuple[World, Draft, dict[str, CommitmentSet]]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def opened(request: pytest.FixtureRequest) -> Round:
    world = World(kind=request.param)
    one = draft(world)
    propose(world, one)
    return world, one, open_round(world, one.digest, ["s1", "s2"])


def refused(opened: Round, error: ErrorId, **changes: Any) -> None:
    """Both signers refuse the bent package, and then answer the honest one."""
    world, one, commitments = opened
    bent = package(world, one.digest, commitments, **changes)
    for name in commitments:
        assert send_package(world, bent, name) is error
    for name in commitments:
        honest = package(world, one.digest, commitments)
        assert isinstance(send_package(world, honest, name), ShareSet)


def test_no_approvals_at_all(opened: Round) -> None:
    refused(opened, ErrorId.APPROVALS_MISSING, approvals=())


def test_one_approval_of_two(opened: Round) -> None:
    world, one, _ = opened
    refused(opened, ErrorId.APPROVALS_MISSING, approvals=(approval(world, one.digest, "alice"),))


def test_an_approval_for_another_digest(opened: Round) -> None:
    world, one, _ = opened
    approvals = (approval(world, one.digest, "alice"), approval(world, bytes(32), "bob"))
    refused(opened, ErrorId.APPROVAL_OTHER_MANIFEST, approvals=approvals)


def test_an_approval_under_another_policy(opened: Round) -> None:
    world, one, _ = opened
    approvals = (
        approval(world, one.digest, "alice"),
        approval(world, one.digest, "bob", policy=bytes(32)),
    )
    refused(opened, ErrorId.APPROVAL_OTHER_POLICY, approvals=approvals)


def test_one_operator_approves_twice(opened: Round) -> None:
    world, one, _ = opened
    approvals = (
        approval(world, one.digest, "alice"),
        approval(world, one.digest, "alice", decided_at_s=world.now_s - 1),
    )
    refused(opened, ErrorId.APPROVAL_TWICE, approvals=approvals)


def test_an_approval_by_an_unknown_operator(opened: Round) -> None:
    world, one, _ = opened
    approvals = (approval(world, one.digest, "alice"), approval(world, one.digest, "mallory"))
    refused(opened, ErrorId.APPROVAL_OPERATOR_UNKNOWN, approvals=approvals)


def test_an_operators_name_on_another_operators_key(opened: Round) -> None:
    world, one, _ = opened
    approvals = (
        approval(world, one.digest, "alice"),
        approval(world, one.digest, "bob", key=secret("alice")),
    )
    refused(opened, ErrorId.APPROVAL_OPERATOR_UNKNOWN, approvals=approvals)


def test_an_approval_with_a_forged_signature(opened: Round) -> None:
    world, one, _ = opened
    parts = wire.split_signed(approval(world, one.digest, "bob"))
    forged = wire.signed_bytes(parts.body, parts.key_id, parts.signature[:-1] + b"\x00")
    approvals = (approval(world, one.digest, "alice"), forged)
    refused(opened, ErrorId.APPROVAL_SIGNATURE_INVALID, approvals=approvals)


def test_an_approval_by_the_requester() -> None:
    """alice is enrolled as an operator and stands behind a request key too."""
    from dataclasses import replace

    from signer_node.kernel.documents.genesis import RequestKey

    class Entangled(World):
        def _genesis(self) -> Any:
            honest = super()._genesis()
            key = honest.request_keys[0].key
            return replace(honest, request_keys=(RequestKey(key, ("alice", "rita")),))

    world = Entangled()
    one = draft(world)
    propose(world, one)
    commitments = open_round(world, one.digest, ["s1", "s2"])
    bent = package(world, one.digest, commitments)
    assert send_package(world, bent, "s1") is ErrorId.APPROVAL_BY_REQUESTER
    others = (approval(world, one.digest, "bob"), approval(world, one.digest, "carol"))
    honest = package(world, one.digest, commitments, approvals=others)
    assert isinstance(send_package(world, honest, "s1"), ShareSet)


def test_both_approvals_from_one_node() -> None:
    """alice and dave sit at s1: two people, but one node may be corrupt."""
    world = World()
    one = draft(world)
    propose(world, one)
    commitments = open_round(world, one.digest, ["s1", "s2"])
    approvals = (approval(world, one.digest, "alice"), approval(world, one.digest, "dave"))
    bent = package(world, one.digest, commitments, approvals=approvals)
    assert send_package(world, bent, "s1") is ErrorId.APPROVAL_NODES_MISSING


@pytest.mark.parametrize("age_s", [7_201, -121])
def test_an_approval_is_too_old_or_from_the_future(opened: Round, age_s: int) -> None:
    world, one, _ = opened
    approvals = (
        approval(world, one.digest, "alice"),
        approval(world, one.digest, "bob", decided_at_s=world.now_s - age_s),
    )
    refused(opened, ErrorId.APPROVAL_EXPIRED, approvals=approvals)


def test_a_rejection_passed_off_as_consent(opened: Round) -> None:
    world, one, _ = opened
    approvals = (approval(world, one.digest, "alice"), rejection(world, one.digest, "bob"))
    refused(opened, ErrorId.MANIFEST_REJECTED, approvals=approvals)


def test_a_rejection_at_a_node_binds_there_at_once(opened: Round) -> None:
    world, one, commitments = opened
    no = rejection(world, one.digest, "bob")
    world.deliver("s2", operator_envelope(world, "s2", "bob", no))
    honest = package(world, one.digest, commitments)
    assert send_package(world, honest, "s2") is ErrorId.MANIFEST_REJECTED
    late = approval(world, one.digest, "bob")
    raw = operator_envelope(world, "s2", "bob", late)
    assert world.refused_envelope("s2", raw) is ErrorId.MANIFEST_REJECTED


def test_an_operator_of_another_node_approves_here(opened: Round) -> None:
    world, one, _ = opened
    raw = operator_envelope(world, "s1", "bob", approval(world, one.digest, "bob"))
    assert world.refused_envelope("s1", raw) is ErrorId.OPERATOR_KEY_UNKNOWN


# --- the payer ---


def test_no_payer_confirmation(opened: Round) -> None:
    refused(opened, ErrorId.PAYER_CONFIRMATION_MISSING, payer_confirmation=b"")


def test_a_payer_confirmation_for_another_manifest(opened: Round) -> None:
    world, _, _ = opened
    refused(
        opened,
        ErrorId.PAYER_CONFIRMATION_OTHER_MANIFEST,
        payer_confirmation=confirmation(world, bytes(32)),
    )


def test_a_payer_confirmation_by_the_coordinator(opened: Round) -> None:
    world, one, _ = opened
    forged = confirmation(world, one.digest, signer=secret("coordinator"))
    refused(opened, ErrorId.PAYER_KEY_UNKNOWN, payer_confirmation=forged)


def test_a_payer_confirmation_with_a_forged_signature(opened: Round) -> None:
    world, one, _ = opened
    parts = wire.split_signed(confirmation(world, one.digest))
    forged = wire.signed_bytes(parts.body, parts.key_id, bytes(64))
    refused(opened, ErrorId.PAYER_CONFIRMATION_INVALID, payer_confirmation=forged)


# --- rounds and signer sets ---


def test_a_manifest_that_was_refused_gets_no_round() -> None:
    world = World()
    one = draft(world, version=1)
    propose(world, one)
    answers = open_round(world, one.digest, ["s1", "s2", "s3"])
    assert set(answers.values()) == {ErrorId.MANIFEST_UNKNOWN}


def test_a_round_that_was_never_opened(opened: Round) -> None:
    refused(opened, ErrorId.PACKAGE_ROUND_UNKNOWN, round=7)


def test_a_signer_set_without_this_node(opened: Round) -> None:
    world, one, commitments = opened
    theirs = {**commitments, **open_round(world, one.digest, ["s3"])}
    built = package(world, one.digest, {name: theirs[name] for name in ("s2", "s3")})
    assert send_package(world, built, "s1") is ErrorId.PACKAGE_SIGNER_SET_INVALID


def test_a_signer_set_of_strangers_doubles_or_all(opened: Round) -> None:
    world, one, commitments = opened
    honest = package(world, one.digest, commitments).signers
    stranger = SignerCommitments("mallory", honest[0].boot, ())
    third = open_round(world, one.digest, ["s3"])["s3"]
    everybody = (*honest, SignerCommitments("s3", third.boot, third.commitments))
    for signers in (
        (honest[0], stranger),
        (honest[0], honest[0]),
        honest[::-1],
        honest[:1],
        everybody,
    ):
        bent = package(world, one.digest, commitments, signers=signers)
        assert send_package(world, bent, "s1") is ErrorId.PACKAGE_SIGNER_SET_INVALID


def test_own_commitments_altered(opened: Round) -> None:
    world, one, commitments = opened
    mine, other = package(world, one.digest, commitments).signers
    altered = SignerCommitments(mine.node, mine.boot, (b"x" * 66,))
    bent = package(world, one.digest, commitments, signers=(altered, other))
    assert send_package(world, bent, "s1") is ErrorId.PACKAGE_COMMITMENTS_DIFFER


def test_a_second_package_for_one_commitment_gets_no_second_share(opened: Round) -> None:
    world, one, commitments = opened
    first = package(world, one.digest, commitments)
    assert isinstance(send_package(world, first, "s1"), ShareSet)
    approvals = (approval(world, one.digest, "alice"), approval(world, one.digest, "carol"))
    second = package(world, one.digest, commitments, approvals=approvals)
    assert send_package(world, second, "s1") is ErrorId.PACKAGE_CONTRADICTS_RELEASED


def test_a_replayed_package_gives_the_same_shares_until_the_manifest_expires(
    opened: Round,
) -> None:
    world, one, commitments = opened
    built = package(world, one.digest, commitments)
    first = send_package(world, built, "s1")
    assert send_package(world, built, "s1") == first
    world.now_s = one.manifest().expires_at_s + 1
    assert send_package(world, built, "s1") is ErrorId.MANIFEST_EXPIRED


def test_a_package_after_the_request_expired() -> None:
    world = World()
    from tests.world.payouts import request

    asked = request(world, "w-1", 1_000_000, valid_until_s=world.now_s + 60)
    one = Draft(world, [coin(world)], [asked])
    propose(world, one)
    commitments = open_round(world, one.digest, ["s1", "s2"])
    world.now_s += 61
    built = package(world, one.digest, commitments)
    assert send_package(world, built, "s1") is ErrorId.REQUEST_EXPIRED


def test_commitments_die_with_the_boot(opened: Round) -> None:
    world, one, commitments = opened
    world.nodes["s1"].crash()
    built = package(world, one.digest, commitments)
    assert send_package(world, built, "s1") is ErrorId.PACKAGE_ROUND_UNKNOWN
    assert open_round(world, one.digest, ["s1"]) == {"s1": ErrorId.PACKAGE_ROUND_UNKNOWN}
    again = open_round(world, one.digest, ["s1", "s2"], number=2)
    built = package(world, one.digest, again)
    assert isinstance(send_package(world, built, "s1"), ShareSet)


def test_only_the_coordinator_asks_for_shares(opened: Round) -> None:
    from tests.world.quorum import Messenger

    world, one, commitments = opened
    payload = wire.encode(package(world, one.digest, commitments))
    for who in ("alice", "s2 identity"):
        messenger = Messenger(secret(who), world.genesis.digest)
        raw = messenger.envelope(
            world.nodes["s1"].identity_key, PayloadType.SIGNING_PACKAGE, payload, world.now_s + 60
        )
        assert world.refused_envelope("s1", raw) is ErrorId.ENVELOPE_SENDER_UNENTITLED
