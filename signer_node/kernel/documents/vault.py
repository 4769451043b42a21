"""Documents by which a vault comes into being, and its certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from signer_node.kernel.documents.fields import (
    MAX_ROSTER,
    Count,
    Digest,
    Name,
    Point,
    Range,
    Signature,
    Size,
    Text,
    Uint32,
    XOnlyKey,
)
from signer_node.kernel.vault.interface import VaultKindId

MAX_ATTEMPTS = 1_000
# 20 participants of a threshold of 20: commitments, nonces, encrypted shares, with room.
MAX_KEYGEN_MESSAGE = 256 * 1024
Threshold = Annotated[int, Range(1, MAX_ROSTER)]


@dataclass(frozen=True, slots=True)
class VaultProposal:
    """Coordinator: please make a key for this vault."""

    NAME: ClassVar[str] = "vault-proposal"
    genesis: Digest
    vault: Name
    kind: VaultKindId
    epoch: Uint32
    attempt: Annotated[int, Range(1, MAX_ATTEMPTS)] = 1


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A cosigner's extended public key, its origin, and proof that the node holds it."""

    node: Name
    xpub: Annotated[str, Text(100, 120, r"[1-9A-HJ-NP-Za-km-z]+")]
    fingerprint: Annotated[bytes, Size(4, 4)]
    possession: Signature


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """Signer: the key that it made for a vault; signed by its identity key."""

    NAME: ClassVar[str] = "cosigner-key"
    genesis: Digest
    vault: Name
    kind: VaultKindId
    epoch: Uint32
    cosigner: Cosigner


@dataclass(frozen=True, slots=True)
class FrostMember:
    """A member's public share (33 bytes) of a threshold key."""

    node: Name
    pubshare: Point


@dataclass(frozen=True, slots=True)
class FrostKey:
    """A threshold key: the key itself, its chain code, everybody's public share.

    `recovery` is the digest of ChillDKG's recovery data, which is confidential itself.
    """

    threshold_key: Point
    chain_code: Digest
    pubshares: Annotated[tuple[FrostMember, ...], Count(1, MAX_ROSTER)]
    recovery: Digest


@dataclass(frozen=True, slots=True)
class VaultCertificate:
    """What a vault is. Valid only with signatures of all n signers (see certify.py)."""

    NAME: ClassVar[str] = "vault-certificate"
    genesis: Digest
    vault: Name
    kind: VaultKindId
    epoch: Uint32
    threshold: Threshold
    descriptor: Annotated[str, Text(1, 4_000, r"[!-~]+")]
    transcript: Digest
    cosigners: Annotated[tuple[Cosigner, ...], Count(0, MAX_ROSTER)]
    frost: FrostKey | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """The nodes that hold a part of the vault's key, whatever its kind, in roster order."""
        holders = () if self.frost is None else self.frost.pubshares
        cosigners = tuple(one.node for one in self.cosigners)
        return cosigners + tuple(one.node for one in holders)


@dataclass(frozen=True, slots=True)
class KeygenMessage:
    """One message of ChillDKG between a participant and the coordinator, as it serialises it."""

    NAME: ClassVar[str] = "keygen-message"
    genesis: Digest
    vault: Name
    epoch: Uint32
    attempt: Annotated[int, Range(1, MAX_ATTEMPTS)]
    message: Annotated[bytes, Size(1, MAX_KEYGEN_MESSAGE)]


@dataclass(frozen=True, slots=True)
class RecoveryAcknowledgement:
    """Signer: share and recovery data of this key generation are durable here."""

    NAME: ClassVar[str] = "recovery-acknowledgement"
    genesis: Digest
    vault: Name
    epoch: Uint32
    attempt: Annotated[int, Range(1, MAX_ATTEMPTS)]
    recovery: Digest


@dataclass(frozen=True, slots=True)
class KeygenOutcome:
    """What a node keeps of a key generation that ended well: the public half of it."""

    NAME: ClassVar[str] = "keygen-outcome"
    genesis: Digest
    vault: Name
    epoch: Uint32
    attempt: Annotated[int, Range(1, MAX_ATTEMPTS)]
    frost: FrostKey


@dataclass(frozen=True, slots=True)
class CertificateSignature:
    """Signer: its signature over a certificate's digest."""

    NAME: ClassVar[str] = "certificate-signature"
    certificate: Digest
    signature: Signature


@dataclass(frozen=True, slots=True)
class KeySignature:
    """One of the signatures of a countersigned body."""

    key_id: XOnlyKey
    signature: Signature
