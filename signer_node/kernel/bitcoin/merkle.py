"""Merkle trees of blocks, and the proof that a transaction is in a block.

Bitcoin's tree has two weaknesses that a verifier must close:

1. Inner nodes are not marked, so 64 bytes can pass as a transaction and as a node
   (CVE-2017-12842). A transaction of 64 bytes is refused, and the branch must be exactly as long as
   that of the block's coinbase, whose own proof must lead to the same root: thus both are leaves.
2. An odd level repeats its last node, so different lists have the same root (CVE-2012-2459).
   `merkle_root` refuses a list whose level ends in two equal nodes that were not repeated by the
   rule; `root_from_branch` refuses a position in a repeated half.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from signer_node.kernel.bitcoin.faults import InvalidBranch, InvalidTransaction
from signer_node.kernel.bitcoin.transaction import Transaction, parse_stripped

NODE_BYTES = 32
MAX_BRANCH_LENGTH = 24
"""A block has fewer than 2**24 transactions: a transaction has at least 60 bytes."""


def merkle_root(txids: Sequence[bytes]) -> bytes:
    """Return the root over a block's txids (internal order), at least one.

    Raises `InvalidBranch` for a list that shares its root with a shorter one (CVE-2012-2459).
    """
    level = _checked_leaves(txids)
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def branch(txids: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the siblings from leaf `index` up to the root, lowest first."""
    level = _checked_leaves(txids)
    if not 0 <= index < len(level):
        raise InvalidBranch(f"no transaction {index} among {len(level)}")
    siblings = []
    while len(level) > 1:
        siblings.append(level[min(index ^ 1, len(level) - 1)])
        level = _next_level(level)
        index >>= 1
    return tuple(siblings)


def root_from_branch(txid: bytes, index: int, siblings: Sequence[bytes]) -> bytes:
    """Return the root that a leaf at `index` with these siblings leads to.

    Raises `InvalidBranch` if the index does not fit the branch's length, if a node has not 32
    bytes, or if the leaf claims to be the repeated half of a pair.
    """
    if len(siblings) > MAX_BRANCH_LENGTH:
        raise InvalidBranch(f"a branch of {len(siblings)} nodes is longer than any block's")
    if not 0 <= index < 1 << len(siblings):
        raise InvalidBranch(f"position {index} does not fit a branch of {len(siblings)} nodes")
    node = _checked_node(txid)
    for sibling in map(_checked_node, siblings):
        if index & 1 and sibling == node:
            raise InvalidBranch("the position lies in the repeated half of a pair")
        node = _parent(sibling, node) if index & 1 else _parent(node, sibling)
        index >>= 1
    return node


@dataclass(frozen=True, slots=True)
class Leaf:
    """A whole transaction without witness, its position in a block, and its branch."""

    stripped: bytes
    position: int
    siblings: tuple[bytes, ...]


def verify_inclusion(leaf: Leaf, coinbase: Leaf, merkle_root: bytes) -> Transaction:
    """Return the leaf's transaction if it is in the block with this Merkle root.

    `coinbase` is that block's first transaction. Raises `InvalidTransaction` or `InvalidBranch`
    (rules 1 and 2 above).
    """
    transaction = parse_stripped(leaf.stripped)
    first = parse_stripped(coinbase.stripped)
    if not first.is_coinbase or coinbase.position != 0:
        raise InvalidTransaction("the block's first transaction is no coinbase")
    if len(leaf.siblings) != len(coinbase.siblings):
        raise InvalidBranch("the branch is not as long as the coinbase's of that block")
    if transaction.is_coinbase != (leaf.position == 0):
        raise InvalidBranch("a coinbase stands at position 0, and nothing else does")
    if root_from_branch(first.txid, 0, coinbase.siblings) != merkle_root:
        raise InvalidBranch("the coinbase's branch does not lead to the block's Merkle root")
    if root_from_branch(transaction.txid, leaf.position, leaf.siblings) != merkle_root:
        raise InvalidBranch("the branch does not lead to the block's Merkle root")
    return transaction


def _parent(left: bytes, right: bytes) -> bytes:
    return sha256(sha256(left + right).digest()).digest()


def _checked_node(node: bytes) -> bytes:
    if len(node) != NODE_BYTES:
        raise InvalidBranch(f"a node of a Merkle tree has {NODE_BYTES} bytes, not {len(node)}")
    return node


def _checked_leaves(txids: Sequence[bytes]) -> list[bytes]:
    if not txids:
        raise InvalidBranch("a block has at least one transaction")
    return list(map(_checked_node, txids))


def _next_level(level: list[bytes]) -> list[bytes]:
    pairs = list(zip(level[::2], level[1::2], strict=False))
    if any(left == right for left, right in pairs):
        raise InvalidBranch("two equal neighbours: the same root belongs to a shorter list")
    if len(level) % 2:
        pairs.append((level[-1], level[-1]))
    return [_parent(left, right) for left, right in pairs]
