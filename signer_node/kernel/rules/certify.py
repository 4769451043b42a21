"""Vault certificates: how one follows from the members' keys, and when it is valid.

1. Of this genesis, with its threshold; members are the genesis roster, in its order.
2. Every xpub comes with proof of possession for this vault, epoch and node. (A share of a threshold
   key was proven in key generation, whose transcript every member certified.)
3. Descriptor, chain code and transcript digest follow from the keys; nothing in them is free.
   Public shares fit the threshold key, and a kind has the keys that belong to it and no others.
4. Valid only with a signature of every signer's identity key, in the order of the roster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from signer_node.kernel import curve
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.documents.vault import (
    Cosigner,
    FrostKey,
    KeySignature,
    VaultCertificate,
    VaultProposal,
)
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.keygen import chain_code
from signer_node.kernel.vault import interface
from signer_node.kernel.vault.possession import possession_digest, verify_possession
from signer_node.kernel.vault.registry import describe_vault, open_vault

_TRANSCRIPT_TAG = "custodyd/keygen-transcript/v1"


@dataclass(frozen=True, slots=True)
class CertifiedVault:
    """A vault's certificate that follows from its keys, with the kind's public half opened."""

    certificate: Body[VaultCertificate]
    kind: interface.VaultKind


def draft_certificate(
    genesis: Body[Genesis],
    proposal: VaultProposal,
    cosigners: Sequence[Cosigner] = (),
    frost: FrostKey | None = None,
) -> VaultCertificate:
    """The one certificate of these keys, given in the order of the roster.

    A kind takes either cosigners or a threshold key; raises `InvalidVault` for the wrong ones.
    """
    keys = _vault_keys(proposal.kind, genesis.document, cosigners, frost)
    transcript = transcript_digest(proposal, cosigners) if frost is None else frost.recovery
    return VaultCertificate(
        genesis=genesis.digest,
        vault=proposal.vault,
        kind=proposal.kind,
        epoch=proposal.epoch,
        threshold=genesis.document.threshold,
        descriptor=describe_vault(keys).descriptor,
        transcript=transcript,
        cosigners=tuple(cosigners),
        frost=frost,
    )


def transcript_digest(proposal: VaultProposal, cosigners: Sequence[Cosigner]) -> bytes:
    """Tagged hash over what the cosigners exchanged, in the order of the roster."""
    parts = [proposal.genesis, _text(proposal.vault), proposal.epoch.to_bytes(4, "big")]
    for one in cosigners:
        parts += [_text(one.node), _text(one.xpub), one.fingerprint, one.possession]
    return curve.tagged_hash(_TRANSCRIPT_TAG, b"".join(parts))


def check_certificate(
    certificate: Body[VaultCertificate], genesis: Body[Genesis]
) -> CertifiedVault:
    """Rules 1 to 3; raises Refusal. Who relies on a vault also checks rule 4.

    A function of two digests, and every manifest asks it: what passed is remembered.
    """
    key = (certificate.digest, genesis.digest)
    vault = _PASSED.get(key)
    if vault is None:
        vault = _check_certificate(certificate, genesis)
        if len(_PASSED) >= _MOST_PASSED:
            _PASSED.clear()
        _PASSED[key] = vault
    return vault


_MOST_PASSED: Final = 64
_PASSED: Final[dict[tuple[bytes, bytes], CertifiedVault]] = {}


def _check_certificate(
    certificate: Body[VaultCertificate], genesis: Body[Genesis]
) -> CertifiedVault:
    document = certificate.document
    if document.genesis != genesis.digest or document.threshold != genesis.document.threshold:
        raise Refusal(ErrorId.CERTIFICATE_INVALID, "of another genesis or threshold")
    if document.members != tuple(seat.name for seat in genesis.document.signers):
        raise Refusal(ErrorId.CERTIFICATE_INVALID, "the members are not the roster")
    frost = document.frost
    if frost is not None and frost.chain_code != chain_code(frost.threshold_key, frost.recovery):
        raise Refusal(ErrorId.CERTIFICATE_INVALID, "somebody chose the chain code")
    for cosigner in document.cosigners:
        check_possession(document, cosigner, genesis.document.network)
    proposal = VaultProposal(document.genesis, document.vault, document.kind, document.epoch)
    try:
        if draft_certificate(genesis, proposal, document.cosigners, frost) != document:
            raise Refusal(ErrorId.CERTIFICATE_INVALID, "it does not follow from its keys")
        kind = open_vault(describe(document, genesis.document.network))
    except (interface.InvalidVault, BitcoinFault) as fault:
        raise Refusal(ErrorId.CERTIFICATE_INVALID, str(fault)) from fault
    return CertifiedVault(certificate, kind)


def check_possession(
    vault: VaultCertificate | VaultProposal, cosigner: Cosigner, network: Network
) -> None:
    """Rule 2 for one cosigner; raises Refusal(POSSESSION_INVALID)."""
    digest = possession_digest(
        vault.genesis, vault.vault, vault.epoch, cosigner.node, cosigner.xpub
    )
    try:
        verify_possession(network, cosigner.xpub, digest, cosigner.possession)
    except ValueError as fault:
        raise Refusal(ErrorId.POSSESSION_INVALID, f"{cosigner.node}: {fault}") from fault


def check_countersignatures(
    certificate: Body[VaultCertificate],
    genesis: Body[Genesis],
    signatures: Sequence[KeySignature],
) -> None:
    """Rule 4; raises Refusal(CERTIFICATE_SIGNATURE_INVALID)."""
    keys = [seat.identity_key for seat in genesis.document.signers]
    if [one.key_id for one in signatures] != keys:
        raise Refusal(ErrorId.CERTIFICATE_SIGNATURE_INVALID, "not one signature of every signer")
    for one in signatures:
        check_countersignature(certificate.digest, one)


def check_countersignature(digest: bytes, signature: KeySignature) -> None:
    """One signature over a certificate's digest; raises Refusal."""
    try:
        curve.verify_schnorr(signature.key_id, digest, signature.signature)
    except ValueError as fault:
        raise Refusal(
            ErrorId.CERTIFICATE_SIGNATURE_INVALID, f"key {signature.key_id.hex()}"
        ) from fault


def describe(certificate: VaultCertificate, network: Network) -> interface.VaultDescription:
    """What the kernel's vault needs of a certificate."""
    keys = interface.VaultKeys(
        certificate.kind,
        certificate.threshold,
        network,
        tuple(_public_part(one) for one in certificate.cosigners),
        _threshold_key(certificate.frost),
    )
    return interface.VaultDescription(keys, certificate.descriptor)


def _vault_keys(
    kind: interface.VaultKindId,
    genesis: Genesis,
    cosigners: Sequence[Cosigner],
    frost: FrostKey | None,
) -> interface.VaultKeys:
    return interface.VaultKeys(
        kind,
        genesis.threshold,
        genesis.network,
        tuple(_public_part(one) for one in cosigners),
        _threshold_key(frost),
    )


def _public_part(cosigner: Cosigner) -> interface.Cosigner:
    return interface.Cosigner(cosigner.node, cosigner.xpub, cosigner.fingerprint)


def _threshold_key(frost: FrostKey | None) -> interface.ThresholdKey | None:
    if frost is None:
        return None
    members = tuple(interface.Shareholder(one.node, one.pubshare) for one in frost.pubshares)
    return interface.ThresholdKey(frost.threshold_key, frost.chain_code, members)


def _text(text: str) -> bytes:
    encoded = text.encode("ascii")
    return len(encoded).to_bytes(2, "big") + encoded
