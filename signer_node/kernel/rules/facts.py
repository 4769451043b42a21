"""Frozen facts that the rules take; the shell fetches them for exactly the ids in question."""

from __future__ import annotations

from dataclasses import dataclass

from signer_node.kernel.bitcoin.transaction import Outpoint, TxOut


@dataclass(frozen=True, slots=True)
class PaidManifest:
    """A manifest that was released (at a signer) or confirmed (at the payer), for paid_once.

    `conflict_tokens` are the outpoints of which sharing one makes both unable to confirm.
    """

    digest: bytes
    withdrawal_ids: frozenset[str]
    conflict_tokens: frozenset[Outpoint]


@dataclass(frozen=True, slots=True)
class OwnOutput:
    """A change output of a manifest checked before."""

    outpoint: Outpoint
    output: TxOut
    index: int


@dataclass(frozen=True, slots=True)
class BlockFact:
    """A block of the verified best chain."""

    height: int
    merkle_root: bytes
