"""The node's keys as capabilities (core.ledger.Secrets): they sign, and never come out.

The seed of a vault's key is
    tagged_hash("custodyd/vault-seed/v1",
                vault root (32) || genesis digest (32) || len (2), vault name || epoch (4)),
integers big-endian, so the backup made at the beginning covers every vault to come. A share of a
threshold key is kept since key generation instead, and found by what the certificate says. The host
key stays sealed: it is loaded only for key generation and recovery.

Nonces live here, in memory, for one session of each manifest: the latest round's. They go when they
are used once, when a later round replaces them, when they are `NONCES_LIVE_S` old (as their
commitments' envelope is then), and, the oldest first, when there would be more than `MAX_NONCES`.
What goes unused is wiped.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from signer_node.adapters.entropy import fresh
from signer_node.adapters.keygen import KeygenSecrets
from signer_node.adapters.keystore import Secret
from signer_node.adapters.shares import NoShares, ShareName, Shares
from signer_node.core.ledger import SessionKey
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.curve import AUX_BYTES, sign_schnorr, tagged_hash
from signer_node.kernel.documents.vault import Cosigner, VaultProposal
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.certify import describe
from signer_node.kernel.vault.interface import (
    NONCE_ENTROPY_BYTES,
    InvalidVault,
    NonceRequest,
    Nonces,
    SigningSession,
    VaultSigner,
)
from signer_node.kernel.vault.possession import possession_digest
from signer_node.kernel.vault.signer_registry import (
    find_signer,
    new_cosigner,
    prove_cosigner,
)

NONCES_LIVE_S: Final = 600
MAX_NONCES: Final = 65_536
"""Inputs of all open sessions together; the largest manifest has 1,000."""
_SEED_TAG: Final = "custodyd/vault-seed/v1"


def vault_seed(vault_root: bytes, genesis: bytes, vault: str, epoch: int) -> bytes:
    """Return the 32-byte seed of a vault and epoch."""
    name = vault.encode("ascii")
    data = vault_root + genesis + len(name).to_bytes(2, "big") + name + epoch.to_bytes(4, "big")
    return tagged_hash(_SEED_TAG, data)


@dataclass(slots=True)
class _Open:
    """The nonces of a manifest's latest round; they show nothing of themselves."""

    round: int
    nonces: Nonces
    input_count: int
    until: float


class NodeSecrets(KeygenSecrets):
    """Holds the opened identity key and vault root, and opens shares (`self._shares`)."""

    def __init__(self, identity: Secret, vault_root: Secret, shares: Shares | None = None) -> None:
        super().__init__(shares or NoShares())
        self._identity = identity
        self._vault_root = vault_root
        self._open_sessions: OrderedDict[bytes, _Open] = OrderedDict()

    def sign_identity(self, digest: bytes) -> bytes:
        """BIP-340 signature by the identity key."""
        return sign_schnorr(self._identity.value, digest, fresh(AUX_BYTES))

    def make_cosigner(self, proposal: VaultProposal, node: str, network: Network) -> Cosigner:
        """This node's key for a vault and epoch, with proof of possession."""
        seed = self._seed(proposal.genesis, proposal.vault, proposal.epoch)
        public = new_cosigner(proposal.kind, seed, node, network)
        digest = possession_digest(
            proposal.genesis, proposal.vault, proposal.epoch, node, public.xpub
        )
        proof = prove_cosigner(proposal.kind, seed, network, digest, fresh(AUX_BYTES))
        return Cosigner(node, public.xpub, public.fingerprint, proof)

    def commit(self, session: SessionKey, input_count: int) -> tuple[bytes, ...]:
        """Commitments for a session; its nonces stay here."""
        signer, secret = self._open(session)
        context = session.boot + session.manifest + session.round.to_bytes(4, "big")
        entropy = fresh(NONCE_ENTROPY_BYTES * input_count)
        commitments, nonces = signer.commit(secret, NonceRequest(input_count, context, entropy))
        until = self._clock() + NONCES_LIVE_S
        self._hold(session.manifest, _Open(session.round, nonces, input_count, until))
        return commitments

    def _hold(self, manifest: bytes, session: _Open) -> None:
        """Make room, then keep the nonces of a manifest's new round instead of the old ones."""
        self._drop(manifest)
        self._drop_aged()
        room = MAX_NONCES - session.input_count
        while self._open_sessions and self._count_nonces() > room:
            self._drop(next(iter(self._open_sessions)))
        self._open_sessions[manifest] = session

    def _drop(self, manifest: bytes) -> None:
        session = self._open_sessions.pop(manifest, None)
        if session is not None:
            session.nonces.destroy()

    def _drop_aged(self) -> None:
        now = self._clock()
        for manifest in [key for key, one in self._open_sessions.items() if one.until < now]:
            self._drop(manifest)

    def _count_nonces(self) -> int:
        return sum(one.input_count for one in self._open_sessions.values())

    def sign(self, key: SessionKey, session: SigningSession) -> tuple[bytes, ...]:
        """One share for each input; raises Refusal(PACKAGE_ROUND_UNKNOWN) without nonces."""
        self._drop_aged()
        opened = self._open_sessions.get(key.manifest)
        if opened is None or opened.round != key.round:
            raise Refusal(ErrorId.PACKAGE_ROUND_UNKNOWN, f"no nonces for round {key.round}")
        signer, secret = self._open(key)
        del self._open_sessions[key.manifest]
        return signer.sign(secret, session, opened.nonces)

    def _seed(self, genesis: bytes, vault: str, epoch: int) -> bytes:
        return vault_seed(self._vault_root.value, genesis, vault, epoch)

    def _open(self, key: SessionKey) -> tuple[VaultSigner, bytes]:
        """The half of the vault that signs with this node's secret, and that secret."""
        secret = self._secret(key)
        vault = key.certificate.vault
        try:
            return find_signer(describe(key.certificate, key.network), secret), secret
        except InvalidVault as fault:
            raise Refusal(ErrorId.CERTIFICATE_NOT_MINE, f"{vault}: {fault}") from fault

    def _secret(self, key: SessionKey) -> bytes:
        """The share of the vault's key where it has one, else the seed of this node's own key."""
        certificate = key.certificate
        if certificate.frost is None:
            return self._seed(key.genesis, certificate.vault, certificate.epoch)
        recovery = certificate.frost.recovery
        return self._shares.secshare(ShareName(certificate.vault, certificate.epoch, recovery))
