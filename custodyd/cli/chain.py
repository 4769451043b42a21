"""A chain node's JSON-RPC as the client's `ChainSource`: it says where to look, proofs decide."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from custodyd.chain.block import parse_block, place
from custodyd.chain.rpc import ChainRpc, RpcError
from custodyd.client.verify import TransactionProof
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.transaction import stripped_bytes, txid_from_hex, txid_to_hex

BLOCKS_KEPT: Final = 2_000
MAX_BLOCKS_SEARCHED: Final = 10_000
_BLOCK_WITH_TXIDS: Final = 1


class RpcChainSource:
    """One node behind `ChainRpc`; keeps the txids of blocks that it looked into."""

    def __init__(self, rpc: ChainRpc) -> None:
        self._rpc = rpc
        self._txids: OrderedDict[bytes, frozenset[bytes]] = OrderedDict()

    def headers_after(self, known: Sequence[bytes], limit: int) -> Sequence[bytes]:
        """Raw headers after the first known hash that is on the node's best chain."""
        height = self._height_of_first(known)
        if height is None:
            return ()
        tip = self._rpc.get_block_count()
        heights = range(height + 1, min(tip, height + limit) + 1)
        return [self._rpc.get_header_bytes(self._rpc.get_block_hash(at)) for at in heights]

    def _height_of_first(self, known: Sequence[bytes]) -> int | None:
        for block_hash in known:
            try:
                header = self._rpc.get_header(block_hash)
            except RpcError:
                continue
            if header.confirmations > 0:
                return header.height
        return None

    def prove(self, txid: bytes, block_hash: bytes) -> TransactionProof | None:
        """The proof that a transaction is in a block, from the whole block."""
        try:
            block = parse_block(self._rpc.get_block(block_hash))
        except (RpcError, BitcoinFault):
            return None
        for position, transaction in enumerate(block.transactions):
            if transaction.txid == txid:
                placement = place(block, position)
                return TransactionProof(
                    block_hash=block_hash,
                    transaction=stripped_bytes(transaction),
                    position=position,
                    branch=placement.branch,
                    coinbase=placement.coinbase,
                    coinbase_branch=placement.coinbase_branch,
                )
        return None

    def locate(self, txids: Sequence[bytes], from_height: int) -> dict[bytes, bytes]:
        """Where these transactions are on the node's best chain, searched from a height on."""
        found: dict[bytes, bytes] = {}
        tip = self._rpc.get_block_count()
        first = max(from_height, tip - MAX_BLOCKS_SEARCHED, 0)
        for height in range(first, tip + 1):
            block_hash = self._rpc.get_block_hash(height)
            inside = self._txids_of(block_hash)
            found.update((txid, block_hash) for txid in txids if txid in inside)
        return found

    def _txids_of(self, block_hash: bytes) -> frozenset[bytes]:
        kept = self._txids.get(block_hash)
        if kept is not None:
            return kept
        answer = self._rpc.call("getblock", txid_to_hex(block_hash), _BLOCK_WITH_TXIDS)
        txids = frozenset(txid_from_hex(text) for text in answer["tx"])
        self._txids[block_hash] = txids
        while len(self._txids) > BLOCKS_KEPT:
            self._txids.popitem(last=False)
        return txids
