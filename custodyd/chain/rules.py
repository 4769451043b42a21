"""What the follower decides, apart from node and database: pure.

The follower's own life as a table: each name is one durable transition.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from custodyd.chain.block import Block
from signer_node.kernel.bitcoin.transaction import Outpoint

MAX_REORG_DEPTH: Final = 288
"""Blocks that the follower takes back by itself (headers.MAX_FORK_DEPTH): more is for people."""
MAX_HEADERS: Final = 2_000
"""Headers in one envelope."""
MAX_SCRIPT_BYTES: Final = 64
"""No vault's scriptPubKey is longer; longer ones need not be looked up."""

TRANSITIONS: Final = (
    "chain.started",
    "chain.connected",
    "chain.disconnected",
    "chain.rescanned",
    "chain.mempool-read",
    "headers.relayed",
)


class VaultState(Enum):
    """How far a vault is; the numbers are those of custodyd.rpc.v1."""

    UNKNOWN = 0
    PROPOSED = 1
    DRAFTED = 2
    CERTIFIED = 3


@dataclass(frozen=True, slots=True)
class WatchedScript:
    """A script of a vault and where it is derived."""

    vault: str
    chain: int
    index: int


@dataclass(frozen=True, slots=True)
class FoundOutput:
    """An output to a watched script, at a position of its block."""

    outpoint: Outpoint
    value_sat: int
    script: bytes
    watched: WatchedScript
    position: int


@dataclass(frozen=True, slots=True)
class FoundSpend:
    """A spend of an output to a watched script."""

    outpoint: Outpoint
    spender: bytes
    position: int


def scripts_of(block: Block) -> set[bytes]:
    """Every script that the block pays and that could be watched."""
    return {
        output.script
        for transaction in block.transactions
        for output in transaction.outputs
        if len(output.script) <= MAX_SCRIPT_BYTES
    }


def spent_txids_of(block: Block) -> set[bytes]:
    """The txids of everything that the block spends."""
    return {
        txin.outpoint.txid for transaction in block.transactions[1:] for txin in transaction.inputs
    }


def find_outputs(block: Block, watched: Mapping[bytes, WatchedScript]) -> Sequence[FoundOutput]:
    """The block's outputs to watched scripts, in order."""
    return [
        FoundOutput(
            Outpoint(transaction.txid, vout),
            output.value_sat,
            output.script,
            watched[output.script],
            position,
        )
        for position, transaction in enumerate(block.transactions)
        for vout, output in enumerate(transaction.outputs)
        if output.script in watched
    ]


def find_spends(block: Block, ours: Collection[Outpoint]) -> Sequence[FoundSpend]:
    """The block's spends of these outputs, in order."""
    return [
        FoundSpend(txin.outpoint, transaction.txid, position)
        for position, transaction in enumerate(block.transactions)
        for txin in transaction.inputs
        if txin.outpoint in ours
    ]
