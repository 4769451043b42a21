"""Opens a vault's secret half. The signer imports this; the coordinator never does."""

from collections.abc import Callable

from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.vault.interface import (
    Cosigner,
    InvalidVault,
    VaultDescription,
    VaultKindId,
    VaultSigner,
)
from signer_node.kernel.vault.taproot_frost_signer import (
    TaprootFrostSigner,
    find_taproot_frost_signer,
)
from signer_node.kernel.vault.wsh_sortedmulti_signer import (
    WshSortedMultiSigner,
    cosigner_from_seed,
    find_wsh_sortedmulti_signer,
    prove_possession,
)

_OPEN: dict[VaultKindId, Callable[[VaultDescription, str], VaultSigner]] = {
    VaultKindId.WSH_SORTEDMULTI: WshSortedMultiSigner,
    VaultKindId.TAPROOT_FROST: TaprootFrostSigner,
}
_FIND: dict[VaultKindId, Callable[[VaultDescription, bytes], VaultSigner]] = {
    VaultKindId.WSH_SORTEDMULTI: find_wsh_sortedmulti_signer,
    VaultKindId.TAPROOT_FROST: find_taproot_frost_signer,
}
_COSIGNER = {VaultKindId.WSH_SORTEDMULTI: cosigner_from_seed}
_PROVE = {VaultKindId.WSH_SORTEDMULTI: prove_possession}


def open_signer(description: VaultDescription, node: str) -> VaultSigner:
    """Return the half that signs for a node; it takes the secret with each call.

    Raises `InvalidVault` for an unknown kind or a node that is no member.
    """
    opener = _OPEN.get(description.kind)
    if opener is None:
        raise InvalidVault(f"no vault of the kind {description.kind.name} can be signed for")
    return opener(description, node)


def find_signer(description: VaultDescription, secret: bytes) -> VaultSigner:
    """Return the half that signs for the member whose secret this is.

    Raises `InvalidVault` for an unknown kind or a secret that is no member's.
    """
    find = _FIND.get(description.kind)
    if find is None:
        raise InvalidVault(f"no vault of the kind {description.kind.name} can be signed for")
    return find(description, secret)


def new_cosigner(kind: VaultKindId, seed: bytes, node: str, network: Network) -> Cosigner:
    """Return what a node contributes to a vault of this kind, from a fresh seed (32 bytes)."""
    make = _COSIGNER.get(kind)
    if make is None:
        raise InvalidVault(f"no cosigner's key for the kind {kind.name}")
    return make(seed, node, network)


def prove_cosigner(
    kind: VaultKindId, seed: bytes, network: Network, digest: bytes, aux: bytes
) -> bytes:
    """Return the proof of possession (64 bytes) of the key that `new_cosigner` made."""
    prove = _PROVE.get(kind)
    if prove is None:
        raise InvalidVault(f"no proof of possession for the kind {kind.name}")
    return prove(seed, network, digest, aux)
