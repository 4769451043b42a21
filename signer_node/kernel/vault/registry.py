"""Opens a vault's public half from its description, and makes descriptions from keys."""

from collections.abc import Callable, Sequence

from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.vault.interface import (
    Cosigner,
    InvalidVault,
    VaultDescription,
    VaultKind,
    VaultKindId,
)
from signer_node.kernel.vault.wsh_sortedmulti import describe_wsh_sortedmulti, open_wsh_sortedmulti

_OPEN: dict[VaultKindId, Callable[[VaultDescription], VaultKind]] = {
    VaultKindId.WSH_SORTEDMULTI: open_wsh_sortedmulti,
}
_DESCRIBE = {VaultKindId.WSH_SORTEDMULTI: describe_wsh_sortedmulti}


def open_vault(description: VaultDescription) -> VaultKind:
    """Return the vault that a description describes.

    Raises `InvalidVault` for an unknown kind and for a description that contradicts itself.
    """
    opener = _OPEN.get(description.kind)
    if opener is None:
        raise InvalidVault(f"no vault of the kind {description.kind.name} can be opened")
    return opener(description)


def describe_vault(
    kind: VaultKindId, threshold: int, network: Network, cosigners: Sequence[Cosigner]
) -> VaultDescription:
    """Return the one description of a vault of these cosigners; raises `InvalidVault`."""
    describe = _DESCRIBE.get(kind)
    if describe is None:
        raise InvalidVault(f"no vault of the kind {kind.name} can be described")
    return describe(threshold, network, cosigners)
