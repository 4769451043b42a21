"""Verified headers in SQLite: kernel.bitcoin.headers' HeaderSource, and what writes after it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from signer_node.kernel.bitcoin.faults import InvalidHeader
from signer_node.kernel.bitcoin.headers import (
    StoredHeader,
    accept_headers,
    parse_header,
    start_chain,
)
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.errors import ErrorId, Refusal

_CHAINWORK_BYTES: Final = 32
_COLUMNS: Final = "SELECT raw, height, chainwork FROM header "


@dataclass(frozen=True, slots=True)
class SqliteHeaders:
    """The node's header chain; raises Refusal(GENESIS_NOT_CONFIRMED) while there is none."""

    connection: sqlite3.Connection

    def get(self, block_hash: bytes) -> StoredHeader | None:
        """Return the header with this hash, on the best chain or on a fork."""
        return self._one("WHERE hash = ?", block_hash)

    def at_height(self, height: int) -> StoredHeader | None:
        """Return the best chain's header at this height."""
        return self._one("WHERE best AND height = ?", height)

    def tip(self) -> StoredHeader:
        """Return the last header of the best chain."""
        found = self._one("WHERE best ORDER BY height DESC LIMIT 1")
        if found is None:
            raise Refusal(ErrorId.GENESIS_NOT_CONFIRMED, "there is no checkpoint yet")
        return found

    def _one(self, where: str, *values: Any) -> StoredHeader | None:
        row = self.connection.execute(_COLUMNS + where, values).fetchone()
        if row is None:
            return None
        raw, height, chainwork = row
        return StoredHeader(parse_header(raw), height, int.from_bytes(chainwork, "big"))


def start_headers(connection: sqlite3.Connection, genesis: Genesis) -> None:
    """Store the checkpoint."""
    checkpoint = genesis.checkpoint
    try:
        first = start_chain(genesis.network, checkpoint.header, checkpoint.height)
    except InvalidHeader as fault:
        raise Refusal(ErrorId.GENESIS_INVALID, f"checkpoint: {fault}") from None
    _insert(connection, (first,), {first.hash})


def append_headers(
    connection: sqlite3.Connection, headers: Sequence[bytes], now_s: int, network: Network
) -> None:
    """Verify headers as of `now_s` and store them; raises Refusal(HEADER_INVALID)."""
    try:
        accepted = accept_headers(SqliteHeaders(connection), headers, now_s, network)
    except InvalidHeader as fault:
        raise Refusal(ErrorId.HEADER_INVALID, str(fault)) from None
    connected = {stored.hash for stored in accepted.connected}
    connection.executemany(
        "UPDATE header SET best = 0 WHERE hash = ?",
        [(stored.hash,) for stored in accepted.disconnected],
    )
    _insert(connection, accepted.new, connected)
    new = {stored.hash for stored in accepted.new}
    connection.executemany(
        "UPDATE header SET best = 1 WHERE hash = ?", [(one,) for one in connected - new]
    )


def _insert(
    connection: sqlite3.Connection, headers: Iterable[StoredHeader], best: set[bytes]
) -> None:
    connection.executemany(
        "INSERT INTO header VALUES (?, ?, ?, ?, ?)",
        [
            (
                stored.hash,
                stored.height,
                stored.header.raw,
                stored.chainwork.to_bytes(_CHAINWORK_BYTES, "big"),
                stored.hash in best,
            )
            for stored in headers
        ],
    )
