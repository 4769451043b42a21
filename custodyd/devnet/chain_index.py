"""Every block that the kernel keeps, and which of them form the active chain."""

from __future__ import annotations

from dataclasses import dataclass

from custodyd.devnet.blocks import WORK_PER_BLOCK, Block

MEDIAN_SPAN = 11


@dataclass(frozen=True, slots=True)
class IndexedBlock:
    """A block and its height; `invalid` when it or an ancestor broke a rule."""

    block: Block
    height: int

    @property
    def hash(self) -> bytes:
        return self.block.hash

    @property
    def chain_work(self) -> int:
        return (self.height + 1) * WORK_PER_BLOCK


@dataclass(frozen=True, slots=True)
class ChainTip:
    """The end of a branch, for `getchaintips`."""

    height: int
    hash: bytes
    branch_length: int


class ChainIndex:
    """Blocks by hash; the active chain by height."""

    def __init__(self, genesis: Block) -> None:
        first = IndexedBlock(genesis, 0)
        self._blocks: dict[bytes, IndexedBlock] = {genesis.hash: first}
        self._active: list[IndexedBlock] = [first]

    @property
    def height(self) -> int:
        return len(self._active) - 1

    @property
    def tip(self) -> IndexedBlock:
        return self._active[-1]

    def get(self, block_hash: bytes) -> IndexedBlock | None:
        return self._blocks.get(block_hash)

    def at(self, height: int) -> IndexedBlock:
        """The active chain's block; IndexError outside 0..height."""
        if height < 0:
            raise IndexError(height)
        return self._active[height]

    def is_active(self, entry: IndexedBlock) -> bool:
        return entry.height <= self.height and self._active[entry.height].hash == entry.hash

    def next_of(self, entry: IndexedBlock) -> IndexedBlock | None:
        following = entry.height + 1
        if self.is_active(entry) and following <= self.height:
            return self._active[following]
        return None

    def add(self, block: Block) -> IndexedBlock:
        """Remember a block whose parent is known; KeyError if it is not."""
        entry = IndexedBlock(block, self._blocks[block.header.previous].height + 1)
        self._blocks[block.hash] = entry
        return entry

    def connect(self, block_hash: bytes) -> IndexedBlock:
        """Make a known block the tip; ValueError when it does not follow the tip."""
        entry = self._blocks[block_hash]
        if entry.block.header.previous != self.tip.hash:
            raise ValueError("a connected block follows the tip")
        self._active.append(entry)
        return entry

    def disconnect(self, block_hash: bytes) -> IndexedBlock:
        """Take the tip off; ValueError when the hash is not the tip's."""
        if self.tip.hash != block_hash or self.height == 0:
            raise ValueError("only the tip can be disconnected")
        return self._active.pop()

    def median_time(self, entry: IndexedBlock) -> int:
        """Median of the times of this block and the ten before it (BIP-113)."""
        times: list[int] = []
        at: IndexedBlock | None = entry
        while at is not None and len(times) < MEDIAN_SPAN:
            times.append(at.block.header.time_s)
            at = self._blocks.get(at.block.header.previous)
        return sorted(times)[len(times) // 2]

    def tips(self) -> list[ChainTip]:
        """Ends of all branches, the active one first."""
        parents = {entry.block.header.previous for entry in self._blocks.values()}
        ends = [e for h, e in self._blocks.items() if h not in parents or e is self.tip]
        tips = [ChainTip(e.height, e.hash, self._branch_length(e)) for e in ends]
        return sorted(tips, key=lambda tip: (tip.branch_length > 0, -tip.height))

    def _branch_length(self, entry: IndexedBlock) -> int:
        length = 0
        while not self.is_active(entry):
            entry = self._blocks[entry.block.header.previous]
            length += 1
        return length
