"""Reading and writing of Bitcoin's serialisation (little-endian integers, compact sizes).

The reader accepts only what the writer writes: a compact size must be in its shortest form and
every length must fit into the bytes that are there. Whoever reads a whole message must end with
`expect_end`. Thus an accepted message has exactly one serialisation.
"""

from hashlib import sha256
from struct import Struct

_UINT32 = Struct("<I")
_INT32 = Struct("<i")
_UINT64_AND_BYTE = Struct("<QB")


class Truncated(ValueError):
    """A length or count that goes beyond the end of the bytes."""


class NotShortest(ValueError):
    """A compact size that is not in its shortest form, or bytes after the end."""


def sha256d(data: bytes) -> bytes:
    """Return SHA-256(SHA-256(data)), Bitcoin's hash of transactions and headers."""
    return sha256(sha256(data).digest()).digest()


def compact_size(number: int) -> bytes:
    """Return the shortest compact-size form of an integer below 2**64."""
    if number < 0xFD:
        return bytes((number,))
    if number <= 0xFFFF:
        return b"\xfd" + number.to_bytes(2, "little")
    if number <= 0xFFFFFFFF:
        return b"\xfe" + number.to_bytes(4, "little")
    return b"\xff" + number.to_bytes(8, "little")


def with_length(data: bytes) -> bytes:
    """Return data behind its compact size."""
    return compact_size(len(data)) + data


def length_with_size(length: int) -> int:
    """Return how many bytes `length` bytes take with their compact size."""
    if length < 0xFD:
        return length + 1
    return length + len(compact_size(length))


class Reader:
    """Reads from bytes and knows where it is; raises `Truncated` or `NotShortest`."""

    __slots__ = ("_data", "_end", "position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._end = len(data)
        self.position = 0

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes."""
        start = self.position
        stop = start + length
        if stop > self._end:
            raise Truncated(f"{length} bytes wanted at {start}, the data has {self._end}")
        self.position = stop
        return self._data[start:stop]

    def uint32(self) -> int:
        """Return the next four bytes as an unsigned integer."""
        number: int = _UINT32.unpack(self.take(4))[0]
        return number

    def int32(self) -> int:
        """Return the next four bytes as a signed integer."""
        number: int = _INT32.unpack(self.take(4))[0]
        return number

    def uint64_and_chunk(self) -> tuple[int, bytes]:
        """Return an unsigned integer of eight bytes, then bytes behind their compact size.

        An output of a transaction: the one thing of which there are many, so it is read at once.
        """
        start = self.position
        if start + _UINT64_AND_BYTE.size > self._end:
            raise Truncated(f"eight bytes and a compact size wanted at {start}")
        number, length = _UINT64_AND_BYTE.unpack_from(self._data, start)
        stop = start + _UINT64_AND_BYTE.size + length
        if length < 0xFD and stop <= self._end:
            self.position = stop
            return number, self._data[stop - length : stop]
        self.position = start + 8
        return number, self.chunk()

    def compact(self) -> int:
        """Return the next compact size, which must be in its shortest form."""
        start = self.position
        if start >= self._end:
            raise Truncated("a compact size wanted at the end of the data")
        first = self._data[start]
        self.position = start + 1
        if first < 0xFD:
            return first
        width = 2 << (first - 0xFD)
        number = int.from_bytes(self.take(width), "little")
        if number < 0xFD or (width > 2 and number >> (4 * width) == 0):
            raise NotShortest(f"the compact size at {start} is not in its shortest form")
        return number

    def count(self, smallest: int) -> int:
        """Return a number of items that each take at least `smallest` bytes and can be there."""
        number = self.compact()
        if number * smallest > self._end - self.position:
            raise Truncated(f"{number} items do not fit into the data")
        return number

    def chunk(self) -> bytes:
        """Return bytes behind their compact size."""
        return self.take(self.compact())

    def expect_end(self) -> None:
        """Raise `NotShortest` if bytes are left."""
        if self.position != self._end:
            raise NotShortest(f"{self._end - self.position} bytes follow the end")
