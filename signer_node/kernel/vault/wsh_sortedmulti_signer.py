"""The vault kind `wsh(sortedmulti)`, secret half: makes a cosigner's key and its shares.

The secret is a BIP-32 seed of 32 bytes, one for each vault and node; the account key lies at
BIP-48's path. Signatures are deterministic (RFC 6979), so nothing has to be kept between steps and
a share that is made again is the same. Every share is verified before it is returned: a fault in
the signing hardware must not send out something that betrays the key.
"""

from signer_node.kernel.bitcoin.bip32 import (
    SEED_BYTES,
    SecretBranch,
    master_from_seed,
    multisig_account_path,
)
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.curve import sign_schnorr
from signer_node.kernel.vault.interface import (
    Cosigner,
    InvalidSession,
    InvalidVault,
    NonceRequest,
    Nonces,
    SigningSession,
    VaultDescription,
)
from signer_node.kernel.vault.wsh_sortedmulti import SIGHASH_SUFFIX, open_wsh_sortedmulti


class NoNonces:
    """What a kind without nonces keeps between commitments and shares."""

    __slots__ = ()

    def destroy(self) -> None:
        """Do nothing: nothing is kept."""


def cosigner_from_seed(seed: bytes, node: str, network: Network) -> Cosigner:
    """Return the public part of the key that a fresh seed of 32 bytes gives."""
    master = _master(seed, network)
    account = master.branch(multisig_account_path(network))
    return Cosigner(node, account.xpub(), master.fingerprint())


def prove_possession(seed: bytes, network: Network, digest: bytes, aux: bytes) -> bytes:
    """Return the proof of possession (64 bytes) over `possession.possession_digest`.

    `aux` are 32 fresh random bytes (BIP-340's auxiliary randomness).
    """
    account = _master(seed, network).branch(multisig_account_path(network))
    return sign_schnorr(account.secret(), digest, aux)


class WshSortedMultiSigner:
    """One cosigner of an opened vault; see `interface.VaultSigner`."""

    def __init__(self, description: VaultDescription, node: str) -> None:
        self._vault = open_wsh_sortedmulti(description)
        self._network = description.network
        self._cosigner = _find_cosigner(description, node)

    @property
    def node(self) -> str:
        """The node that this signs for."""
        return self._cosigner.node

    def commit(self, secret: bytes, request: NonceRequest) -> tuple[tuple[bytes, ...], Nonces]:
        """Return no commitments and no nonces: this kind has none."""
        return (), NoNonces()

    def sign(self, secret: bytes, session: SigningSession, nonces: Nonces) -> tuple[bytes, ...]:
        """Return one share for each input; `secret` is the seed."""
        if self.node not in session.signers or not isinstance(nonces, NoNonces):
            raise InvalidSession(f"{self.node} has no part in this session")
        chains = self._chains(secret)
        digests = self._vault.digests(session.psbt.transaction, session.inputs)
        shares = tuple(
            chains[coin.chain].sign_child(coin.index, digest) + SIGHASH_SUFFIX
            for coin, digest in zip(session.inputs, digests, strict=True)
        )
        self._vault.verify_share(session, self.node, shares)
        return shares

    def _chains(self, seed: bytes) -> tuple[SecretBranch, SecretBranch]:
        account = _master(seed, self._network).branch(multisig_account_path(self._network))
        if account.xpub() != self._cosigner.xpub:
            raise InvalidSession("the seed is not the one that the vault was certified with")
        return account.branch((0,)), account.branch((1,))


def find_wsh_sortedmulti_signer(description: VaultDescription, seed: bytes) -> WshSortedMultiSigner:
    """Return the cosigner whose seed this is; raises `InvalidVault` if it is nobody's."""
    xpub = cosigner_from_seed(seed, "", description.network).xpub
    for cosigner in description.cosigners:
        if cosigner.xpub == xpub:
            return WshSortedMultiSigner(description, cosigner.node)
    raise InvalidVault("the seed is of no cosigner of this vault")


def _master(seed: bytes, network: Network) -> SecretBranch:
    if len(seed) != SEED_BYTES:
        raise InvalidVault(f"a seed has {SEED_BYTES} bytes")
    return master_from_seed(seed, network)


def _find_cosigner(description: VaultDescription, node: str) -> Cosigner:
    for cosigner in description.cosigners:
        if cosigner.node == node:
            return cosigner
    raise InvalidVault(f"{node} is no cosigner of this vault")
