"""One append-only file: the only thing on disk that the devnet believes.

Records are blocks and changes of the mempool, in the order in which they happened. `commit`
returns after fsync, and the node answers only after `commit`: kill -9 loses nothing that was
answered. The file's valid prefix is a state that the node was in: within one commit, transactions
that enter the mempool are written before the block that made them enter, and those that leave it
after the block that took them. A torn tail is cut off at start.

Record: kind (1 byte), length (4, little-endian), payload, CRC-32 of all of it (4, little-endian).
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

MAGIC = b"custodyd-devnet-1\n"
MAX_RECORD = 8_000_000  # a block of 4,000,000 weight units has at most 4,000,000 bytes
HEAD = 5
CHECKSUM = 4


class RecordKind(IntEnum):
    """What a record holds."""

    UNKNOWN = 0
    BLOCK = 1  # raw block
    ENTERED = 2  # raw transaction that entered the mempool
    LEFT = 3  # txid that left the mempool


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the journal."""

    kind: RecordKind
    payload: bytes


class JournalError(Exception):
    """The journal cannot be used: another process has it, or it is not ours."""


def _encode(record: Record) -> bytes:
    head = bytes([record.kind]) + len(record.payload).to_bytes(4, "little")
    body = head + record.payload
    return body + zlib.crc32(body).to_bytes(CHECKSUM, "little")


def _decode(data: bytes, position: int) -> tuple[Record, int] | None:
    """The record at `position` and the position behind it; None at a torn tail."""
    end_of_head = position + HEAD
    length = int.from_bytes(data[position + 1 : end_of_head], "little")
    end = end_of_head + length + CHECKSUM
    if end_of_head > len(data) or length > MAX_RECORD or end > len(data):
        return None
    body = data[position : end - CHECKSUM]
    if zlib.crc32(body).to_bytes(CHECKSUM, "little") != data[end - CHECKSUM : end]:
        return None
    if body[0] not in RecordKind._value2member_map_ or body[0] == RecordKind.UNKNOWN:
        return None
    return Record(RecordKind(body[0]), body[HEAD:]), end


class Journal:
    """The open file, locked against a second process."""

    def __init__(self, path: Path) -> None:
        self._pending: list[Record] = []
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._begin(path)
        except OSError as error:
            os.close(self._fd)
            raise JournalError(f"{path} is used by another process: {error.strerror}") from error
        except JournalError:
            os.close(self._fd)
            raise

    def _begin(self, path: Path) -> None:
        if os.fstat(self._fd).st_size < len(MAGIC):
            os.ftruncate(self._fd, 0)
            os.write(self._fd, MAGIC)
            os.fsync(self._fd)
            _sync_folder(path.parent)
        if os.pread(self._fd, len(MAGIC), 0) != MAGIC:
            raise JournalError(f"{path} is not a devnet journal of this version")

    def replay(self) -> Iterator[Record]:
        """Every whole record since the beginning; then cuts off a torn tail."""
        size = os.fstat(self._fd).st_size
        data = os.pread(self._fd, size, 0)
        position = len(MAGIC)
        while position < len(data) and (step := _decode(data, position)) is not None:
            record, position = step
            yield record
        if position < len(data):
            os.ftruncate(self._fd, position)
            os.fsync(self._fd)

    def stage(self, kind: RecordKind, payload: bytes) -> None:
        """Add a record to the next commit."""
        self._pending.append(Record(kind, payload))

    def commit(self) -> None:
        """Write what is staged and return when it is on the disk; OSError if it cannot be."""
        if not self._pending:
            return
        view = memoryview(b"".join(_encode(record) for record in self._pending))
        while view:
            view = view[os.write(self._fd, view) :]
        os.fsync(self._fd)
        self._pending.clear()

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
