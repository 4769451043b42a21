"""Bitcoin's serialisation primitives: a cursor that refuses what Bitcoin Core's reader refuses.

Short reads, compact sizes that are not minimal and counts beyond the bytes at hand raise
`FormatError`; nothing is allocated before its bytes are known to be there.
"""

from __future__ import annotations

import hashlib

MAX_ITEMS = 4_000_000  # no count in a block of 4,000,000 weight units can exceed this


class FormatError(ValueError):
    """Bytes that are no transaction or block in Bitcoin's serialisation."""


def sha256d(data: bytes) -> bytes:
    """SHA-256 twice: txids, block hashes and Merkle nodes, in internal byte order."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def display(hash32: bytes) -> str:
    """Hex in the reversed order that Bitcoin Core shows."""
    return hash32[::-1].hex()


def compact_size(n: int) -> bytes:
    """The variable-length integer that counts and lengths are written in."""
    if n < 0xFD:
        return n.to_bytes(1, "little")
    if n <= 0xFFFF:
        return b"\xfd" + n.to_bytes(2, "little")
    if n <= 0xFFFFFFFF:
        return b"\xfe" + n.to_bytes(4, "little")
    return b"\xff" + n.to_bytes(8, "little")


class Cursor:
    """Reads forward over immutable bytes."""

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self.position = position

    @property
    def at_end(self) -> bool:
        return self.position == len(self._data)

    def peek(self, size: int) -> bytes:
        return self._data[self.position : self.position + size]

    def slice_from(self, start: int) -> bytes:
        return self._data[start : self.position]

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self._data):
            raise FormatError("bytes end too early")
        piece = self._data[self.position : end]
        self.position = end
        return piece

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def compact_size(self) -> int:
        """A count or length; FormatError when it is not in its shortest form."""
        first = self.uint(1)
        if first < 0xFD:
            return first
        width, least = {0xFD: (2, 0xFD), 0xFE: (4, 0x10000), 0xFF: (8, 0x100000000)}[first]
        value = self.uint(width)
        if value < least:
            raise FormatError("compact size is not minimal")
        return value

    def count(self) -> int:
        value = self.compact_size()
        if value > MAX_ITEMS:
            raise FormatError("count is too large")
        return value

    def var_bytes(self) -> bytes:
        return self.take(self.count())
