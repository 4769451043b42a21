"""The headers that B verified itself, from the genesis checkpoint on, in B's ledger.

The rules are the kernel's (`signer_node.kernel.bitcoin.headers`); here they meet SQLite and a
chain source. Nothing that the source says is believed beyond what the headers prove.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, Protocol

from custodyd.client.ledger import ClientLedger, Credit
from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel.bitcoin.faults import InvalidHeader
from signer_node.kernel.bitcoin.headers import (
    AcceptedHeaders,
    StoredHeader,
    accept_headers,
    locator,
    parse_header,
    start_chain,
)
from signer_node.kernel.documents.genesis import Genesis

WORK_BYTES: Final = 40
HEADERS_AT_ONCE: Final = 500
MAX_ROUNDS: Final = 10_000


class HeaderFeed(Protocol):
    """Where headers come from; a chain node behind an adapter."""

    def headers_after(self, known: Sequence[bytes], limit: int) -> Sequence[bytes]:
        """Raw headers of the source's best chain after the first hash of `known` that is on it."""


class LedgerHeaders:
    """A `HeaderSource` over the ledger's table."""

    def __init__(self, ledger: ClientLedger) -> None:
        self._ledger = ledger
        self.reversed: list[Credit] = []
        """Credits whose block left the best chain while this followed it."""

    def get(self, block_hash: bytes) -> StoredHeader | None:
        """The header with this hash, on the best chain or a fork."""
        return self._one("hash = ?", block_hash)

    def at_height(self, height: int) -> StoredHeader | None:
        """The best chain's header at this height."""
        return self._one("best = 1 AND height = ?", height)

    def tip(self) -> StoredHeader:
        """The last header of the best chain."""
        found = self._one("best = 1 ORDER BY height DESC LIMIT 1")
        if found is None:
            raise CustodydError(ErrorId.GENESIS_NOT_PINNED)
        return found

    def _one(self, condition: str, *values: object) -> StoredHeader | None:
        row = self._ledger.connection.execute(
            f"SELECT raw, height, chainwork FROM headers WHERE {condition}",  # noqa: S608
            values,
        ).fetchone()
        return None if row is None else _stored(*row)

    def start(self, genesis: Genesis) -> None:
        """Begin the chain at the genesis's checkpoint, once."""
        point = genesis.checkpoint
        first = start_chain(genesis.network, point.header, point.height)
        with self._ledger.transaction() as connection:
            if connection.execute("SELECT 1 FROM headers LIMIT 1").fetchone() is None:
                _insert(connection, first, best=True)

    def write(self, accepted: AcceptedHeaders) -> tuple[bytes, ...]:
        """Write what the kernel accepted; returns the hashes that left the best chain."""
        with self._ledger.transaction() as connection:
            for stored in accepted.new:
                _insert(connection, stored, best=False)
            for stored in accepted.disconnected:
                connection.execute("UPDATE headers SET best = 0 WHERE hash = ?", (stored.hash,))
            for stored in accepted.connected:
                connection.execute("UPDATE headers SET best = 1 WHERE hash = ?", (stored.hash,))
            lost = tuple(stored.hash for stored in accepted.disconnected)
            if lost:
                self.reversed += self._ledger.reverse_credits(lost)
        return lost


def follow(headers: LedgerHeaders, feed: HeaderFeed, genesis: Genesis, now_s: int) -> int:
    """Verify and keep what the feed has beyond our tip; returns how many headers were new."""
    total = 0
    for _ in range(MAX_ROUNDS):
        raw = feed.headers_after(locator(headers), HEADERS_AT_ONCE)
        if not raw:
            return total
        try:
            accepted = accept_headers(headers, list(raw), now_s, genesis.network)
        except InvalidHeader as fault:
            raise CustodydError(ErrorId.CHAIN_INVALID, str(fault)) from None
        headers.write(accepted)
        total += len(accepted.new)
        if len(raw) < HEADERS_AT_ONCE or not accepted.new:
            return total
    return total


def _insert(connection: sqlite3.Connection, stored: StoredHeader, *, best: bool) -> None:
    work = stored.chainwork.to_bytes(WORK_BYTES, "big")
    connection.execute(
        "INSERT OR IGNORE INTO headers VALUES (?, ?, ?, ?, ?)",
        (stored.hash, stored.height, work, stored.header.raw, int(best)),
    )


def _stored(raw: bytes, height: int, chainwork: bytes) -> StoredHeader:
    return StoredHeader(parse_header(raw), height, int.from_bytes(chainwork, "big"))
