"""Which transactions the next block takes: by the fee rate of each with its ancestors.

The rule of Bitcoin Core's miner: the package (a transaction and its ancestors not yet chosen)
with the best fee rate goes first; when ancestors are in, their descendants are looked at again.
"""

from __future__ import annotations

import heapq
from fractions import Fraction

from custodyd.devnet.blocks import MAX_BLOCK_WEIGHT
from custodyd.devnet.mempool import Entry, Mempool

COINBASE_RESERVE_WEIGHT = 8_000
MAX_BLOCK_SIGOPS_COST = 80_000
COINBASE_RESERVE_SIGOPS = 400


class _Assembler:
    def __init__(self, pool: Mempool) -> None:
        self._pool = pool
        self._order = {entry.tx.txid: place for place, entry in enumerate(pool)}
        self._weight = COINBASE_RESERVE_WEIGHT
        self._sigops = COINBASE_RESERVE_SIGOPS
        self._chosen: dict[bytes, Entry] = {}
        self._heap: list[tuple[Fraction, int, bytes]] = []

    def run(self) -> list[Entry]:
        for txid in self._order:
            self._push(txid)
        while self._heap:
            rate, _, txid = heapq.heappop(self._heap)
            if txid not in self._chosen and rate == self._rate(txid):
                self._take(self._package(txid))
        return list(self._chosen.values())

    def _package(self, txid: bytes) -> list[Entry]:
        entry = self._pool.get(txid)
        if entry is None:
            return []
        wanted = (self._pool.ancestors(entry.tx) | {txid}) - self._chosen.keys()
        entries = [e for e in map(self._pool.get, wanted) if e is not None]
        # Parents come before children: an ancestor has fewer ancestors than its descendant.
        return sorted(entries, key=lambda e: (len(self._pool.ancestors(e.tx)), e.tx.txid))

    def _rate(self, txid: bytes) -> Fraction:
        """Negated fee rate of the package, so that the heap gives the best first."""
        package = self._package(txid)
        return -Fraction(sum(e.fee_sat for e in package), sum(e.vsize for e in package))

    def _push(self, txid: bytes) -> None:
        heapq.heappush(self._heap, (self._rate(txid), self._order[txid], txid))

    def _take(self, package: list[Entry]) -> None:
        weight = sum(entry.tx.weight for entry in package)
        sigops = sum(entry.sigops_cost for entry in package)
        too_heavy = self._weight + weight > MAX_BLOCK_WEIGHT
        if too_heavy or self._sigops + sigops > MAX_BLOCK_SIGOPS_COST:
            return
        self._weight += weight
        self._sigops += sigops
        for entry in package:
            self._chosen[entry.tx.txid] = entry
        for descendant in self._pool.descendants(entry.tx.txid for entry in package):
            if descendant not in self._chosen:
                self._push(descendant)


def select_transactions(pool: Mempool) -> list[Entry]:
    """The entries of the next block, parents before children, within its weight and sigops."""
    return _Assembler(pool).run()
