"""Ceremony: a vault's keys are made, its certificate is checked and signed, and then in force.

proposal -> this node's key (journaled, the same again for the same vault and epoch)
draft    -> its certificate checked against own key and genesis, signed once for vault and epoch
certificate with all signatures -> the vault exists for this node
"""

from __future__ import annotations

from typing import Final

from signer_node import wire
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

MAX_VAULTS: Final = 64
CEREMONY_LIFETIME_S: Final = 7 * 86_400


def on_proposal(node: Node, genesis: Body[Genesis], payload: bytes) -> Step:
    """Make this node's key for a vault, or give again the one made before."""
    proposal = wire.decode(VaultProposal, payload)
    if proposal.genesis != genesis.digest:
        raise Refusal(ErrorId.ENVELOPE_OTHER_GENESIS, proposal.genesis.hex())
    given = node.ledger.cosigner_key(proposal.vault, proposal.epoch)
    if given is not None:
        return Step(outbox=(_outgoing(PayloadType.COSIGNER_KEY, given),))
    if node.ledger.vault_count() >= MAX_VAULTS:
        raise Refusal(ErrorId.VAULT_LIMIT_REACHED, f"{MAX_VAULTS} vaults and epochs")
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
    if node.ledger.certificate(certificate.digest) is not None:
        return Step()
    return Step(records=(Record(RecordKind.VAULT_CERTIFIED, payload),))


def _check_own_key(node: Node, genesis: Genesis, certificate: VaultCertificate) -> None:
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
