"""The node's keys as capabilities (core.ledger.Secrets): they sign, and never come out.

The seed of a vault's key is
    tagged_hash("custodyd/vault-seed/v1",
                vault root (32) || genesis digest (32) || len (2), vault name || epoch (4)),
integers big-endian, so the backup made at the beginning covers every vault to come. The host key
stays sealed: it is loaded only for key generation and recovery.

Nonces of a session live here, in memory, until they are used once or replaced by newer ones; at
most `MAX_SESSIONS` of them, the oldest go first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from signer_node.adapters.entropy import fresh
from signer_node.adapters.keygen import KeygenSecrets
from signer_node.adapters.keystore import Secret
from signer_node.adapters.shares import NoShares, Shares
from signer_node.core.ledger import SessionKey
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.curve import AUX_BYTES, sign_schnorr, tagged_hash
from signer_node.kernel.documents.vault import Cosigner, VaultProposal
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.certify import describe
from signer_node.kernel.vault.interface import Nonces, SigningSession, VaultSigner
from signer_node.kernel.vault.possession import possession_digest
from signer_node.kernel.vault.signer_registry import new_cosigner, open_signer, prove_cosigner

MAX_SESSIONS: Final = 1_024
_SEED_TAG: Final = "custodyd/vault-seed/v1"
_ENTROPY_BYTES: Final = 32


def vault_seed(vault_root: bytes, genesis: bytes, vault: str, epoch: int) -> bytes:
    """Return the 32-byte seed of a vault and epoch."""
    name = vault.encode("ascii")
    data = vault_root + genesis + len(name).to_bytes(2, "big") + name + epoch.to_bytes(4, "big")
    return tagged_hash(_SEED_TAG, data)


class NodeSecrets(KeygenSecrets):
    """Holds the opened identity key and vault root, and opens shares (`self._shares`)."""

    def __init__(self, identity: Secret, vault_root: Secret, shares: Shares | None = None) -> None:
        super().__init__(shares or NoShares())
        self._identity = identity
        self._vault_root = vault_root
        self._nonces: OrderedDict[tuple[bytes, int], Nonces] = OrderedDict()

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
        signer, _seed = self._open(session)
        commitments, nonces = signer.commit(input_count, fresh(_ENTROPY_BYTES))
        self._nonces[session.manifest, session.round] = nonces
        while len(self._nonces) > MAX_SESSIONS:
            self._nonces.popitem(last=False)
        return commitments

    def sign(self, key: SessionKey, session: SigningSession) -> tuple[bytes, ...]:
        """One share for each input; raises Refusal(PACKAGE_ROUND_UNKNOWN) without nonces."""
        nonces = self._nonces.pop((key.manifest, key.round), None)
        if nonces is None:
            raise Refusal(ErrorId.PACKAGE_ROUND_UNKNOWN, f"no nonces for round {key.round}")
        signer, seed = self._open(key)
        return signer.sign(seed, session, nonces)

    def _seed(self, genesis: bytes, vault: str, epoch: int) -> bytes:
        return vault_seed(self._vault_root.value, genesis, vault, epoch)

    def _open(self, key: SessionKey) -> tuple[VaultSigner, bytes]:
        certificate = key.certificate
        seed = self._seed(key.genesis, certificate.vault, certificate.epoch)
        xpub = new_cosigner(certificate.kind, seed, "", key.network).xpub
        node = next((one.node for one in certificate.cosigners if one.xpub == xpub), None)
        if node is None:
            raise Refusal(ErrorId.CERTIFICATE_NOT_MINE, certificate.vault)
        return open_signer(describe(certificate, key.network), node), seed
