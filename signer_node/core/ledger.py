"""What the core may ask of the node: its journal's projections, its secrets, who it is.

`Ledger` is read-only. Its answers are projections of the journal, so they can be dropped and
replayed; only a committed `Step` changes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from signer_node.kernel.bitcoin.headers import HeaderSource
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.documents.vault import (
    Cosigner,
    FrostKey,
    KeygenOutcome,
    VaultCertificate,
    VaultProposal,
)
from signer_node.kernel.rules.facts import OwnOutput, PaidManifest
from signer_node.kernel.vault.interface import SigningSession


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A manifest that this node checked: the proposal's bytes and where it stands here.

    `rejected` tells that an operator of this node rejected it.
    """

    digest: bytes
    proposal: bytes
    journaled_at_s: int
    rejected: bool


@dataclass(frozen=True, slots=True)
class CommitmentEntry:
    """This node's commitments for a manifest and round; `released` is the package answered."""

    boot: bytes
    commitments: tuple[bytes, ...]
    released: bytes | None
    share_set: bytes | None


@dataclass(frozen=True, slots=True)
class KeygenEntry:
    """A key generation of this node, for one vault and epoch.

    `proposal` is of the latest attempt; `started` is the last attempt that this node took part in
    (0: none), in whatever boot; `outcome` is that of the last one that ended well here.
    """

    proposal: VaultProposal
    confirmed: bool
    started: int
    outcome: KeygenOutcome | None


class Ledger(Protocol):
    """Projections of the journal."""

    def genesis(self) -> Body[Genesis] | None:
        """The confirmed genesis."""

    def certificate(self, digest: bytes) -> Body[VaultCertificate] | None:
        """A vault certificate signed by all, by its digest."""

    def certificate_of(self, vault: str, epoch: int) -> Body[VaultCertificate] | None:
        """The certificate of a vault and epoch, signed here at least."""

    def cosigner_key(self, vault: str, epoch: int) -> bytes | None:
        """The Signed CosignerKey that this node gave for a vault and epoch."""

    def keygen(self, vault: str, epoch: int) -> KeygenEntry | None:
        """How far the key generation of a vault and epoch came."""

    def quarantined_since_s(self) -> int:
        """When this node last came back without its journal; 0: never."""

    def vault_count(self) -> int:
        """How many keys this node gave, one for each vault and epoch."""

    def headers(self) -> HeaderSource:
        """The verified header chain."""

    def request_digests(self, withdrawal_ids: Sequence[str]) -> dict[str, bytes]:
        """Digest of the request first seen with each of these ids, where one was."""

    def released_for(self, withdrawal_ids: Sequence[str]) -> tuple[PaidManifest, ...]:
        """Every manifest for which this node released a share that pays one of these ids."""

    def own_outputs(self, txids: Sequence[bytes]) -> tuple[OwnOutput, ...]:
        """Change outputs of manifests checked and not rejected here, by the transaction's id."""

    def highest_change_index(self, certificate: bytes) -> int:
        """Highest change index in any manifest read for this vault; -1 for none."""

    def change_indices_used(self, certificate: bytes, indices: Sequence[int]) -> dict[int, bytes]:
        """Which of these change indices a manifest used: index -> digest of the first one."""

    def manifest(self, digest: bytes) -> ManifestEntry | None:
        """A manifest checked here."""

    def decisions(self, manifest: bytes) -> tuple[bytes, ...]:
        """The Signed approvals and rejections journaled here over a manifest, oldest first."""

    def open_manifests(self, now_s: int) -> int:
        """How many checked manifests have not expired and were not rejected here."""

    def manifests_since(self, at_s: int) -> int:
        """How many manifests were journaled at or after a time."""

    def refusals_since(self, at_s: int) -> int:
        """How many refusals were journaled at or after a time."""

    def commitment(self, manifest: bytes, round_number: int) -> CommitmentEntry | None:
        """What this node committed to in a round."""

    def refused_before(self, subject: bytes, error: str) -> bool:
        """Whether this refusal of this subject is already journaled."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """Names one signing session: which vault, manifest, round, and start (boot) of this node."""

    genesis: bytes
    certificate: VaultCertificate
    network: Network
    manifest: bytes
    round: int
    boot: bytes


@dataclass(frozen=True, slots=True)
class KeygenKey:
    """Names one attempt at a key generation; who takes part follows from the genesis."""

    vault: str
    epoch: int
    attempt: int
    genesis: Genesis


class Secrets(Protocol):
    """The node's keys as capabilities; no secret comes out. Entropy is drawn behind it."""

    def sign_identity(self, digest: bytes) -> bytes:
        """BIP-340 signature by the identity key."""

    def make_cosigner(self, proposal: VaultProposal, node: str, network: Network) -> Cosigner:
        """This node's key for a vault and epoch with its proof; the same again for the same."""

    def commit(self, session: SessionKey, input_count: int) -> tuple[bytes, ...]:
        """Commitments for a session; the nonces stay in memory until used once or replaced."""

    def sign(self, key: SessionKey, session: SigningSession) -> tuple[bytes, ...]:
        """One share for each input, from the nonces committed to; they are gone afterwards."""

    # Key generation: the host key is in memory from an operator's confirmation to the certificate.
    # Steps raise kernel.dkg.faults.ProtocolFault, and then end the attempt; each is taken once.

    def admit_host(
        self, place: tuple[str, int], secret: bytes, entropy: bytes, public: bytes
    ) -> None:
        """Take the host key of this public key, and what an operator adds to the entropy, for the
        key generation of a vault and epoch; raises Refusal(HOST_KEY_WRONG)."""

    def keygen_ready(self, vault: str, epoch: int) -> bool:
        """Whether an operator's confirmation brought the host key for this key generation."""

    def keygen_said(self, key: KeygenKey) -> tuple[int, bytes] | None:
        """This attempt's step (1 or 2) in this boot, with the message sent in it."""

    def begin_keygen(self, key: KeygenKey) -> bytes:
        """ChillDKG's first message; draws entropy."""

    def advance_keygen(self, key: KeygenKey, message: bytes) -> bytes:
        """The second message, for the coordinator's first."""

    def finish_keygen(self, key: KeygenKey, message: bytes) -> FrostKey:
        """The outcome, for the coordinator's second; share and recovery data are durable then."""

    def recover_share(self, key: KeygenKey, recovery_data: bytes) -> FrostKey:
        """The outcome again, from host key and recovery data; the share is durable then.

        Raises Refusal(RECOVERY_DATA_INVALID).
        """

    def end_keygen(self, vault: str, epoch: int) -> None:
        """Forget host key and states: the vault is certified."""

    def check_share(self, vault: str, epoch: int, frost: FrostKey) -> None:
        """Raise Refusal unless this node's share of this key can be opened and is the one."""


@dataclass(frozen=True, slots=True)
class Node:
    """A running node as the core sees it. `boot` is the random id of this start, 16 bytes."""

    identity_key: bytes
    host_key: bytes
    boot: bytes
    ledger: Ledger
    secrets: Secrets
