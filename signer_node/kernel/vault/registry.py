"""Opens a vault's public half from its description, and makes descriptions from keys."""

from collections.abc import Callable

from signer_node.kernel.vault.interface import (
    InvalidVault,
    VaultDescription,
    VaultKeys,
    VaultKind,
    VaultKindId,
)
from signer_node.kernel.vault.taproot_frost import describe_taproot_frost, open_taproot_frost
from signer_node.kernel.vault.wsh_sortedmulti import describe_wsh_sortedmulti, open_wsh_sortedmulti

_OPEN: dict[VaultKindId, Callable[[VaultDescription], VaultKind]] = {
    VaultKindId.WSH_SORTEDMULTI: open_wsh_sortedmulti,
    VaultKindId.TAPROOT_FROST: open_taproot_frost,
}
_DESCRIBE = {
    VaultKindId.WSH_SORTEDMULTI: describe_wsh_sortedmulti,
    VaultKindId.TAPROOT_FROST: describe_taproot_frost,
}


def open_vault(description: VaultDescription) -> VaultKind:
    """Return the vault that a description describes.

    Raises `InvalidVault` for an unknown kind and for a description that contradicts itself.
    """
    opener = _OPEN.get(description.kind)
    if opener is None:
        raise InvalidVault(f"no vault of the kind {description.kind.name} can be opened")
    return opener(description)


def describe_vault(keys: VaultKeys) -> VaultDescription:
    """Return the one description of a vault of these keys; raises `InvalidVault`."""
    describe = _DESCRIBE.get(keys.kind)
    if describe is None:
        raise InvalidVault(f"no vault of the kind {keys.kind.name} can be described")
    return describe(keys)
