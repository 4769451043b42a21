"""What the stages ask of a node of the chain: a protocol, so that they know no transport.

`chain.rpc` answers it from Bitcoin Core's JSON-RPC. Hashes and txids are bytes in internal order.
An answer that does not come raises `ChainUnavailable`: nothing is known then, and whoever asked
asks again later. A transaction that the node refuses raises `TransactionRefused`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class ChainUnavailable(Exception):
    """The node did not answer, or not with what its documentation says. Retry later."""


class TransactionRefused(Exception):
    """The node will not take a transaction into its mempool.

    `code` is the RPC's number, the message what the node said. Refused is not the same as
    unconfirmed: it may be in a block already.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class ChainTip:
    """The last block of the node's best chain."""

    height: int
    hash: bytes


class ChainSource(Protocol):
    """A node of the chain, as the coordinator uses it."""

    def tip(self) -> ChainTip:
        """The best chain's last block (getblockchaininfo)."""

    def block_hash(self, height: int) -> bytes | None:
        """The best chain's block at a height, or None above the tip (getblockhash)."""

    def block(self, block_hash: bytes) -> bytes:
        """A whole block as on the wire (getblock, verbosity 0)."""

    def fee_rate_sat_vb(self, target_blocks: int) -> int | None:
        """Fee rate for a target, rounded up; None without an estimate (estimatesmartfee)."""

    def broadcast(self, raw: bytes) -> None:
        """Give a signed transaction to the node (sendrawtransaction); may raise both errors."""

    def in_mempool(self, txid: bytes) -> bool:
        """Whether the node's mempool holds a transaction (getmempoolentry)."""

    def mempool_txids(self) -> tuple[bytes, ...]:
        """All txids of the node's mempool (getrawmempool)."""

    def transaction(self, txid: bytes, block_hash: bytes | None) -> bytes | None:
        """A transaction of the mempool, or of the block given; None where there is none."""
