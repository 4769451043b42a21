"""The pool of unconfirmed transactions as a graph: who spends whom. It holds no rules.

An entry's parents are the pool's transactions whose outputs it spends. Every entry's inputs are
either in the pool or in the chain, and no two entries spend the same outpoint: `acceptance`
keeps that true on the way in, the node when the chain changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from custodyd.devnet.transactions import Outpoint, Transaction, TxOutput


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction in the pool and what is known of it."""

    tx: Transaction
    fee_sat: int
    sigops_cost: int
    entered_s: int
    entered_height: int

    @property
    def vsize(self) -> int:
        """Virtual size as the pool counts it: 20 vbytes for each unit of sigop cost over weight."""
        return max(self.tx.vsize, -(-self.sigops_cost * 20 // 4))


@dataclass(frozen=True, slots=True)
class Sums:
    """Count, virtual size and fees of some entries together."""

    count: int
    vsize: int
    fee_sat: int


class Mempool:
    """Entries by txid and by the outpoints they spend, in the order in which they came."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._spenders: dict[Outpoint, bytes] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, txid: bytes) -> bool:
        return txid in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def get(self, txid: bytes) -> Entry | None:
        return self._entries.get(txid)

    def copy(self) -> Mempool:
        """An independent pool with the same entries, to try something on."""
        twin = Mempool()
        twin._entries = dict(self._entries)
        twin._spenders = dict(self._spenders)
        return twin

    def output(self, outpoint: Outpoint) -> TxOutput | None:
        entry = self._entries.get(outpoint[0])
        if entry is None or outpoint[1] >= len(entry.tx.outputs):
            return None
        return entry.tx.outputs[outpoint[1]]

    def spender(self, outpoint: Outpoint) -> bytes | None:
        return self._spenders.get(outpoint)

    def add(self, entry: Entry) -> None:
        self._entries[entry.tx.txid] = entry
        for item in entry.tx.inputs:
            self._spenders[item.outpoint] = entry.tx.txid

    def remove(self, txid: bytes) -> Entry:
        """Take out one entry; its descendants stay."""
        entry = self._entries.pop(txid)
        for item in entry.tx.inputs:
            del self._spenders[item.outpoint]
        return entry

    def parents(self, tx: Transaction) -> set[bytes]:
        return {item.txid for item in tx.inputs if item.txid in self._entries}

    def children(self, txid: bytes) -> set[bytes]:
        outputs = range(len(self._entries[txid].tx.outputs))
        found = (self._spenders.get((txid, vout)) for vout in outputs)
        return {child for child in found if child is not None}

    def ancestors(self, tx: Transaction) -> set[bytes]:
        """Txids of all pool transactions that `tx` builds on, without itself."""
        seen: set[bytes] = set()
        waiting = self.parents(tx)
        while waiting:
            txid = waiting.pop()
            seen.add(txid)
            waiting |= self.parents(self._entries[txid].tx) - seen
        return seen

    def descendants(self, txids: Iterable[bytes]) -> set[bytes]:
        """The given entries and everything in the pool that builds on them."""
        seen: set[bytes] = set()
        waiting = set(txids)
        while waiting:
            txid = waiting.pop()
            seen.add(txid)
            waiting |= self.children(txid) - seen
        return seen

    def sums(self, txids: Iterable[bytes]) -> Sums:
        entries = [self._entries[txid] for txid in txids]
        return Sums(len(entries), sum(e.vsize for e in entries), sum(e.fee_sat for e in entries))

    def conflicts(self, tx: Transaction) -> set[bytes]:
        """Entries that spend an outpoint which `tx` spends too, without `tx` itself."""
        spenders = (self._spenders.get(item.outpoint) for item in tx.inputs)
        return {txid for txid in spenders if txid is not None and txid != tx.txid}
