"""How the key of a vault kind comes into being, by each node alone or by all together; its name."""

from typing import Final

from signer_node.kernel.vault.interface import VaultKindId

MADE_TOGETHER: Final = VaultKindId.TAPROOT_FROST
"""The one kind whose key comes from a key generation."""


def is_made_together(kind: VaultKindId) -> bool:
    """Whether the nodes make one key by a key generation, of which each holds a share.

    Otherwise each node makes a key of its own and proves that it holds it.
    """
    return kind is MADE_TOGETHER


def kind_name(kind: VaultKindId) -> str:
    """A vault kind as people write it: wsh-sortedmulti."""
    return kind.name.lower().replace("_", "-")
