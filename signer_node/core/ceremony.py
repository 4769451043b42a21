"""Ceremony: a vault's keys are made, its certificate is checked and signed, and then in force.

proposal -> this node's key (journaled, the same again for the same vault and epoch); or, where the
            nodes make one key together, a key generation (core.keygen)
draft    -> its certificate checked against own key and genesis, signed once for vault and epoch
certificate with all signatures -> the vault exists for this node
"""

from __future__ import annotations

from typing import Final

from signer_node import wire
from signer_node.core import keygen
from signer_node.core.ledger import Node
from signer_node.core.step import Outgoing, Record, Step
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.genesis import Genesis, SignerSeat
from signer_node.kernel.documents.journal import RecordKind
from signer_node.kernel.documents.signed import Body, document_digest
from signer_node.kernel.documents.vault import (
    CertificateSignature,
    CosignerKey,
    VaultCertificate,
    VaultProposal,
)
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.certify import check_certificate, check_countersignatures
from signer_node.kernel.vault.making import is_made_together

MAX_VAULTS: Final = 64
CEREMONY_LIFETIME_S: Final = 7 * 86_400


def on_proposal(node: Node, genesis: Body[Genesis], payload: bytes) -> Step:
    """Make this node's key for a vault, or give again the one made before."""
    proposal = wire.decode(VaultProposal, payload)
    if proposal.genesis != genesis.digest:
        raise Refusal(ErrorId.ENVELOPE_OTHER_GENESIS, proposal.genesis.hex())
    if is_made_together(proposal.kind):
        _require_room(node, proposal)
        return keygen.on_proposal(node, genesis, proposal)
    given = node.ledger.cosigner_key(proposal.vault, proposal.epoch)
    if given is not None:
        return Step(outbox=(_outgoing(PayloadType.COSIGNER_KEY, given),))
    _require_room(node, proposal)
    seat = _my_seat(node, genesis.document)
    cosigner = node.secrets.make_cosigner(proposal, seat.name, genesis.document.network)
    key = CosignerKey(genesis.digest, proposal.vault, proposal.kind, proposal.epoch, cosigner)
    body = wire.encode(key)
    signature = node.secrets.sign_identity(document_digest(CosignerKey, body))
    signed = wire.signed_bytes(body, node.identity_key, signature)
    return Step(
        records=(Record(RecordKind.COSIGNER_KEY, signed),),
        outbox=(_outgoing(PayloadType.COSIGNER_KEY, signed),),
    )


def on_draft(node: Node, genesis: Body[Genesis], payload: bytes) -> Step:
    """Check a certificate drafted by the coordinator and sign it."""
    certificate = wire.decode_body(VaultCertificate, payload)
    check_certificate(certificate, genesis)
    _check_own_key(node, genesis.document, certificate.document)
    signature = _outgoing(
        PayloadType.CERTIFICATE_SIGNATURE,
        wire.encode(
            CertificateSignature(certificate.digest, node.secrets.sign_identity(certificate.digest))
        ),
    )
    if _known(node, certificate):
        return Step(outbox=(signature,))
    return Step(records=(Record(RecordKind.CERTIFICATE_SIGNED, payload),), outbox=(signature,))


def on_certificate(node: Node, genesis: Body[Genesis], payload: bytes) -> Step:
    """Take a vault into use once every signer signed its certificate."""
    body, signatures = wire.open_countersigned(payload)
    certificate = wire.decode_body(VaultCertificate, body)
    check_certificate(certificate, genesis)
    check_countersignatures(certificate, genesis, signatures)
    _check_own_key(node, genesis.document, certificate.document)
    _known(node, certificate)
    node.secrets.end_keygen(certificate.document.vault, certificate.document.epoch)
    if node.ledger.certificate(certificate.digest) is not None:
        return Step()
    return Step(records=(Record(RecordKind.VAULT_CERTIFIED, payload),))


def confirm(node: Node, vault: str, epoch: int) -> Step:
    """An operator of this node confirmed that it takes part in a key generation."""
    genesis = node.ledger.genesis()
    if genesis is None:
        raise Refusal(ErrorId.GENESIS_NOT_CONFIRMED, vault)
    return keygen.confirm(node, genesis, vault, epoch)


def recover(node: Node, certificate: bytes, recovery_data: bytes, host_secret: bytes) -> Step:
    """This node's share of a certified vault again, by its host key; the node is quarantined."""
    genesis = node.ledger.genesis()
    if genesis is None:
        raise Refusal(ErrorId.GENESIS_NOT_CONFIRMED, "a share is of a confirmed quorum")
    body, _signatures = wire.open_countersigned(certificate)
    document = wire.decode(VaultCertificate, body)
    place = (document.vault, document.epoch)
    node.secrets.admit_host(place, host_secret, b"", node.host_key)
    try:
        return keygen.recover(node, genesis, certificate, recovery_data)
    finally:
        node.secrets.end_keygen(*place)


def _require_room(node: Node, proposal: VaultProposal) -> None:
    """A new vault needs room; one that is known has it."""
    if node.ledger.keygen(proposal.vault, proposal.epoch) is not None:
        return
    if node.ledger.vault_count() >= MAX_VAULTS:
        raise Refusal(ErrorId.VAULT_LIMIT_REACHED, f"{MAX_VAULTS} vaults")


def _check_own_key(node: Node, genesis: Genesis, certificate: VaultCertificate) -> None:
    if is_made_together(certificate.kind):
        keygen.check_own_outcome(node, certificate)
        return
    seat = _my_seat(node, genesis)
    given = node.ledger.cosigner_key(certificate.vault, certificate.epoch)
    if given is None:
        raise Refusal(ErrorId.CERTIFICATE_NOT_MINE, "this node gave no key for this vault")
    mine = wire.open_signed(CosignerKey, given).document.cosigner
    named = next((one for one in certificate.cosigners if one.node == seat.name), None)
    if named != mine:
        raise Refusal(ErrorId.CERTIFICATE_NOT_MINE, seat.name)


def _known(node: Node, certificate: Body[VaultCertificate]) -> bool:
    """Whether this very certificate was signed here; raises Refusal if another one was."""
    before = node.ledger.certificate_of(certificate.document.vault, certificate.document.epoch)
    if before is not None and before.digest != certificate.digest:
        raise Refusal(ErrorId.VAULT_ALREADY_CERTIFIED, certificate.document.vault)
    return before is not None


def _my_seat(node: Node, genesis: Genesis) -> SignerSeat:
    seat = genesis.signer_by_key(node.identity_key)
    if seat is None:
        raise Refusal(ErrorId.GENESIS_NOT_MINE, node.identity_key.hex())
    return seat


def _outgoing(payload_type: PayloadType, payload: bytes) -> Outgoing:
    return Outgoing(payload_type, payload, CEREMONY_LIFETIME_S)
