"""The coordinator bends the making of a vault: no honest node signs or uses such a vault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from signer_node import wire
from signer_node.adapters.keystore import Secret
from signer_node.adapters.secrets import NodeSecrets
from signer_node.core import node as core
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.curve import point_from_secret, xonly_from_secret
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.genesis import Genesis, OperatorSeat, RequestKey, check_genesis
from signer_node.kernel.documents.vault import (
    Cosigner,
    CosignerKey,
    FrostKey,
    FrostMember,
    KeySignature,
    VaultCertificate,
    VaultProposal,
)
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.frost.points import ORDER
from signer_node.kernel.rules.certify import check_certificate, draft_certificate
from signer_node.kernel.rules.keygen import chain_code
from signer_node.kernel.vault.interface import VaultKindId
from tests.world.quorum import World, secret

COLD = "cold"


@pytest.fixture
def world() -> World:
    return World()


def proposal(world: World, vault: str = COLD) -> VaultProposal:
    return VaultProposal(world.genesis.digest, vault, VaultKindId.WSH_SORTEDMULTI, 0)


def keys(world: World, vault: str = COLD) -> list[CosignerKey]:
    asked = wire.encode(proposal(world, vault))
    return [
        wire.open_signed(CosignerKey, answers[0].payload).document
        for answers in world.send_all(PayloadType.VAULT_PROPOSAL, asked).values()
    ]


def draft(world: World) -> VaultCertificate:
    cosigners = [key.cosigner for key in keys(world)]
    return draft_certificate(world.genesis, proposal(world), cosigners)


def refused(world: World, name: str, kind: PayloadType, payload: bytes) -> str:
    assert world.send(name, kind, payload) == [], f"{name} answered"
    return world.nodes[name].journal.refusals()[0][1]


def swap(world: World) -> VaultCertificate:
    """s3's key in place of s1's, under s1's name."""
    honest = draft(world)
    _one, two, three = honest.cosigners
    return replace(honest, cosigners=(replace(three, node="s1"), two, three))


def other_vaults_key(world: World) -> VaultCertificate:
    """s1's key and proof, copied from another vault."""
    copied = keys(world, "warm")[0].cosigner
    honest = draft(world)
    return replace(honest, cosigners=(copied, *honest.cosigners[1:]))


def lower_threshold(world: World) -> VaultCertificate:
    return replace(draft(world), threshold=1)


def other_descriptor(world: World) -> VaultCertificate:
    return replace(draft(world), descriptor=world.vault.kind.descriptor)


def other_transcript(world: World) -> VaultCertificate:
    return replace(draft(world), transcript=bytes(32))


def other_order(world: World) -> VaultCertificate:
    honest = draft(world)
    return replace(honest, cosigners=honest.cosigners[::-1])


def of_another_quorum(world: World) -> VaultCertificate:
    return replace(draft(world), genesis=bytes(32))


def one_left_out(world: World) -> VaultCertificate:
    honest = draft(world)
    return replace(honest, cosigners=honest.cosigners[:2])


@pytest.mark.parametrize(
    ("bend", "error"),
    [
        (swap, "POSSESSION_INVALID"),
        (other_vaults_key, "POSSESSION_INVALID"),
        (lower_threshold, "CERTIFICATE_INVALID"),
        (other_descriptor, "CERTIFICATE_INVALID"),
        (other_transcript, "CERTIFICATE_INVALID"),
        (other_order, "CERTIFICATE_INVALID"),
        (of_another_quorum, "CERTIFICATE_INVALID"),
        (one_left_out, "CERTIFICATE_INVALID"),
    ],
)
def test_a_certificate_that_does_not_follow_from_the_keys_is_not_signed(
    world: World, bend: Callable[[World], VaultCertificate], error: str
) -> None:
    bent = wire.encode(bend(world))
    for name in world.nodes:
        assert refused(world, name, PayloadType.CERTIFICATE_DRAFT, bent) == error


def test_the_coordinators_own_key_stands_in_for_a_nodes(world: World) -> None:
    """Its proof of possession holds under the node's name; the node knows its own key."""
    honest = draft(world)
    first, _second, third = honest.cosigners
    cosigners = [first, key_of_the_coordinator(world, "s2"), third]
    forged = wire.encode(draft_certificate(world.genesis, proposal(world), cosigners))
    assert refused(world, "s2", PayloadType.CERTIFICATE_DRAFT, forged) == "CERTIFICATE_NOT_MINE"


def key_of_the_coordinator(world: World, name: str) -> Cosigner:
    own = NodeSecrets(
        Secret("identity", b"", secret("coordinator")),
        Secret("vault-root", b"", secret("coordinator's vault root")),
    )
    return own.make_cosigner(proposal(world), name, world.genesis.document.network)


def test_a_second_certificate_for_one_vault_is_not_signed(world: World) -> None:
    first = draft(world)
    world.send("s1", PayloadType.CERTIFICATE_DRAFT, wire.encode(first))
    liar = key_of_the_coordinator(world, "s3")
    second = draft_certificate(world.genesis, proposal(world), [*first.cosigners[:2], liar])
    error = refused(world, "s1", PayloadType.CERTIFICATE_DRAFT, wire.encode(second))
    assert error == "VAULT_ALREADY_CERTIFIED"


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_certificate_without_every_signature_is_not_used(world: World, missing: int) -> None:
    body, signatures = wire.open_countersigned(world.certificate)
    fewer = signatures[:missing] + signatures[missing + 1 :]
    twice = (*fewer, fewer[0])
    forged = list(signatures)
    forged[missing] = KeySignature(signatures[missing].key_id, signatures[0].signature[::-1])
    for bent in (fewer, twice, tuple(forged)):
        error = refused(world, "s1", PayloadType.CERTIFICATE, wire.countersigned_bytes(body, bent))
        assert error == "CERTIFICATE_SIGNATURE_INVALID"


def test_the_same_proposal_gives_the_same_key_again_and_another_vault_another(
    world: World,
) -> None:
    assert keys(world) == keys(world)
    assert keys(world)[0].cosigner.xpub != keys(world, "warm")[0].cosigner.xpub


def test_a_node_makes_keys_for_a_bounded_number_of_vaults(world: World) -> None:
    for number in range(100):
        asked = wire.encode(proposal(world, f"v{number}"))
        if not world.send("s1", PayloadType.VAULT_PROPOSAL, asked):
            break
    assert world.nodes["s1"].journal.refusals()[0][1] == "VAULT_LIMIT_REACHED"


# --- genesis ---


def bent_genesis(world: World, **changes: object) -> Genesis:
    return replace(world.genesis.document, **changes)  # type: ignore[arg-type]


def genesis_cases(world: World) -> list[Genesis]:
    honest = world.genesis.document
    rules = honest.rules
    double = replace(honest.signers[0], identity_key=honest.signers[1].identity_key)
    astray = OperatorSeat("zoe", "s9", "treasury", xonly_from_secret(secret("zoe")))
    everybody = tuple(seat.person for seat in honest.operators)
    return [
        bent_genesis(world, threshold=4),
        bent_genesis(world, corrupt_max=2),
        bent_genesis(world, rules=replace(rules, payer_confirmation_required=False)),
        bent_genesis(world, signers=(double, *honest.signers[1:])),
        bent_genesis(world, operators=(*honest.operators, astray)),
        bent_genesis(world, operators=honest.operators[:1]),
        bent_genesis(world, rules=replace(rules, approvals_required=1)),
        bent_genesis(world, rules=replace(rules, approvals_required=9)),
        bent_genesis(world, request_keys=(RequestKey(honest.request_keys[0].key, everybody),)),
        bent_genesis(world, coordinator_key=b"\xff" * 32),
        bent_genesis(world, genesis_block=bytes(32)),
    ]


@pytest.mark.parametrize("number", range(11))
def test_a_genesis_that_cannot_keep_its_promise_is_refused(world: World, number: int) -> None:
    with pytest.raises(Refusal) as caught:
        check_genesis(genesis_cases(world)[number])
    assert caught.value.error is ErrorId.GENESIS_INVALID


def test_a_genesis_is_bound_by_its_words_alone(world: World) -> None:
    from tests.world.quorum import SimNode

    fresh = SimNode("s1")
    other = wire.encode(bent_genesis(world, label="another"))
    words = " ".join(words_from_digest(world.genesis.digest))
    with pytest.raises(Refusal) as caught:
        core.confirm_genesis(fresh.node, other, words)
    assert caught.value.error is ErrorId.GENESIS_WORDS_DIFFER
    with pytest.raises(Refusal) as caught:
        core.confirm_genesis(world.nodes["s1"].node, other, words)
    assert caught.value.error is ErrorId.GENESIS_ALREADY_CONFIRMED


def test_a_genesis_that_names_other_keys_for_this_node_is_refused(world: World) -> None:
    from tests.world.quorum import SimNode

    stranger = SimNode("s7")
    words = " ".join(words_from_digest(world.genesis.digest))
    with pytest.raises(Refusal) as caught:
        core.confirm_genesis(stranger.node, world.genesis.raw, words)
    assert caught.value.error is ErrorId.GENESIS_NOT_MINE


# --- certificates of a threshold key ---


@pytest.fixture(scope="module")
def threshold() -> World:
    return World(kind=VaultKindId.TAPROOT_FROST)


def frost_of(world: World) -> FrostKey:
    frost = world.vault.certificate.document.frost
    assert frost is not None
    return frost


def other_key(world: World) -> FrostKey:
    """A threshold key that the coordinator dealt itself: consistent, and nobody's."""
    polynomial = [secret("dealt 0"), secret("dealt 1")]
    at, slope = (int.from_bytes(one, "big") % ORDER for one in polynomial)
    shares = [(at + slope * (number + 1)) % ORDER for number in range(3)]
    public = point_from_secret(at.to_bytes(32, "big"))
    recovery = bytes(32)
    members = tuple(
        FrostMember(name, point_from_secret(share.to_bytes(32, "big")))
        for name, share in zip(world.nodes, shares, strict=True)
    )
    return FrostKey(public, chain_code(public, recovery), members, recovery)


ForgeFrost = Callable[[World, VaultCertificate], VaultCertificate]


def with_frost(certificate: VaultCertificate, **changes: object) -> VaultCertificate:
    frost = certificate.frost
    assert frost is not None
    return replace(certificate, frost=replace(frost, **changes))  # type: ignore[arg-type]


def swapped(certificate: VaultCertificate) -> VaultCertificate:
    """Two members with each other's public share."""
    frost = certificate.frost
    assert frost is not None
    one, two, three = frost.pubshares
    exchanged = (FrostMember("s1", two.pubshare), FrostMember("s2", one.pubshare), three)
    return with_frost(certificate, pubshares=exchanged)


FORGED_FROST: dict[str, ForgeFrost] = {
    "a chosen chain code": lambda _world, honest: with_frost(honest, chain_code=bytes(32)),
    "another recovery": lambda _world, honest: with_frost(honest, recovery=bytes(32)),
    "another key": lambda world, honest: with_frost(
        honest, threshold_key=other_key(world).threshold_key
    ),
    "others' shares": lambda world, honest: with_frost(
        honest, pubshares=other_key(world).pubshares
    ),
    "shares swapped": lambda _world, honest: swapped(honest),
    "shares in another order": lambda _world, honest: with_frost(
        honest, pubshares=honest.frost.pubshares[::-1] if honest.frost else ()
    ),
    "a member left out": lambda _world, honest: with_frost(
        honest, pubshares=honest.frost.pubshares[:2] if honest.frost else ()
    ),
    "no key": lambda _world, honest: replace(honest, frost=None),
    "another kind": lambda _world, honest: replace(honest, kind=VaultKindId.WSH_SORTEDMULTI),
    "another threshold": lambda _world, honest: replace(honest, threshold=3),
    "another transcript": lambda _world, honest: replace(honest, transcript=bytes(32)),
    "another descriptor": lambda _world, honest: replace(
        honest, descriptor=honest.descriptor[:-1] + "q"
    ),
    "another genesis": lambda _world, honest: replace(honest, genesis=bytes(32)),
    "cosigners beside the key": lambda _world, honest: replace(
        honest, cosigners=tuple(key.cosigner for key in keys(World()))
    ),
}


@pytest.mark.parametrize("forge", FORGED_FROST.values(), ids=FORGED_FROST.keys())
def test_a_threshold_certificate_that_does_not_follow_from_its_key(
    threshold: World, forge: ForgeFrost
) -> None:
    """No signature counts for it: the client and every signer look at this first."""
    forged = forge(threshold, threshold.vault.certificate.document)
    body = wire.decode_body(VaultCertificate, wire.encode(forged))
    with pytest.raises(Refusal) as refusal:
        check_certificate(body, threshold.genesis)
    assert refusal.value.error is ErrorId.CERTIFICATE_INVALID


def test_a_key_that_the_coordinator_dealt_is_certified_by_nobody(threshold: World) -> None:
    """It follows from itself, so only the nodes that made another key stand against it."""
    asked = VaultProposal(threshold.genesis.digest, "cold", VaultKindId.TAPROOT_FROST, 0)
    forged = draft_certificate(threshold.genesis, asked, (), other_key(threshold))
    raw = wire.encode(forged)
    check_certificate(wire.decode_body(VaultCertificate, raw), threshold.genesis)
    for name in threshold.nodes:
        error = refused(threshold, name, PayloadType.CERTIFICATE_DRAFT, raw)
        assert error == "CERTIFICATE_NOT_MINE"


def test_the_vault_of_a_threshold_key_is_not_certified_twice(threshold: World) -> None:
    """Another key for the same vault and epoch is not signed, whoever made it."""
    document = threshold.vault.certificate.document
    asked = VaultProposal(document.genesis, document.vault, document.kind, document.epoch)
    forged = wire.encode(draft_certificate(threshold.genesis, asked, (), other_key(threshold)))
    for name in threshold.nodes:
        error = refused(threshold, name, PayloadType.CERTIFICATE_DRAFT, forged)
        assert error in ("CERTIFICATE_NOT_MINE", "VAULT_ALREADY_CERTIFIED")
