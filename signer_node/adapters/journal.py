"""The journal: append-only signed records in SQLite, and everything that must be durable with them.

1. A record is the Signed bytes of a JournalRecord: sequence, digest of the record before, time,
   kind, body; signed by the node's identity key. Records are never changed or removed.
2. `commit` makes one step durable in one transaction: records, their projections, outgoing
   envelopes, the mailbox's cursor. What did not become durable did not happen.
3. The link sends only what it reads back from the outbox here.
4. Projections are functions of the records: `replay` drops and rebuilds them.
5. On opening, the last records are verified; `verify_all` verifies every one.

The connection is given: a file in WAL mode with synchronous=FULL for a node, memory for a world of
tests. One thread writes; others may read, a lock keeps them apart.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from signer_node.adapters.folder import FILE_MODE, make_folder
from signer_node.adapters.projections import SCHEMA, TABLES, Written, apply
from signer_node.adapters.queries import Queries
from signer_node.core.step import Outgoing, Record, Step
from signer_node.kernel.curve import BadSignature, verify_schnorr
from signer_node.kernel.documents.envelope import Envelope
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.journal import JournalRecord
from signer_node.kernel.documents.signed import document_digest
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.wire import encode, open_signed, signed_bytes

SCHEMA_VERSION: Final = 1
RECORD_VERSION: Final = 1
VERIFIED_ON_OPENING: Final = 64
SENT_ROWS_KEPT: Final = 1_000
_BUSY_TIMEOUT_S: Final = 5.0
_BASE: Final = """
CREATE TABLE record (sequence INTEGER PRIMARY KEY, digest BLOB NOT NULL, raw BLOB NOT NULL) STRICT;
CREATE TABLE outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT, envelope BLOB NOT NULL,
    expires_at_s INTEGER NOT NULL, sent INTEGER NOT NULL) STRICT;
CREATE INDEX outbox_unsent ON outbox (position) WHERE NOT sent;
CREATE TABLE state (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
"""

Sign = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last inbox item whose effects are durable, of one incarnation of the coordinator."""

    store_incarnation: bytes = b""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """The last record: its sequence (0 for an empty journal), digest and time."""

    sequence: int
    digest: bytes
    written_at_s: int


@dataclass(frozen=True, slots=True)
class Writer:
    """In whose name a journal is written: identity key, its signature, the id of this start."""

    identity_key: bytes
    sign: Sign
    boot: bytes


def reader(identity_key: bytes) -> Writer:
    """A writer that cannot sign, for whoever only reads a journal."""

    def refuse(_digest: bytes) -> bytes:
        raise Refusal(ErrorId.JOURNAL_UNWRITABLE, "opened for reading only")

    return Writer(identity_key, refuse, bytes(16))


def connect(path: Path) -> sqlite3.Connection:
    """Open the journal's file for a daemon: WAL, every commit flushed to the disk."""
    make_folder(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    try:
        connection = _connection(str(path))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.DatabaseError as fault:
        raise _unopened(fault) from None
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open the journal's file for a command that changes nothing, beside a running daemon."""
    try:
        return _connection(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.DatabaseError as fault:
        raise _unopened(fault) from None


def connect_copy(path: Path) -> sqlite3.Connection:
    """Open a journal in a single new file, to be put into its place when it is whole."""
    return _connection(str(path))


def connect_memory(image: bytes = b"") -> sqlite3.Connection:
    """Open a journal in memory, from an image (`Connection.serialize`) of a former one."""
    connection = _connection(":memory:")
    if image:
        connection.deserialize(image)
    return connection


def _connection(where: str, uri: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(
        where, uri=uri, isolation_level=None, check_same_thread=False, timeout=_BUSY_TIMEOUT_S
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _unopened(fault: sqlite3.DatabaseError) -> Refusal:
    if isinstance(fault, sqlite3.OperationalError):
        return Refusal(ErrorId.JOURNAL_UNWRITABLE, str(fault))
    return Refusal(ErrorId.JOURNAL_BROKEN, str(fault))


class Journal(Queries):
    """A node's journal; implements core.ledger.Ledger by its base. See the module's rules."""

    def __init__(self, connection: sqlite3.Connection, writer: Writer) -> None:
        super().__init__(connection, threading.RLock())
        self._writer = writer
        try:
            self._prepare()
            self._verify(VERIFIED_ON_OPENING)
        except sqlite3.OperationalError as fault:
            raise Refusal(ErrorId.JOURNAL_UNWRITABLE, str(fault)) from None
        except sqlite3.DatabaseError as fault:
            raise Refusal(ErrorId.JOURNAL_BROKEN, str(fault)) from None

    def _prepare(self) -> None:
        found = self._value("PRAGMA user_version")
        if found > SCHEMA_VERSION:
            raise Refusal(ErrorId.JOURNAL_NEWER, f"schema {found}, known {SCHEMA_VERSION}")
        if found == 0:
            script = f"BEGIN;{_BASE}{SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;"
            self._connection.executescript(script)

    @property
    def identity_key(self) -> bytes:
        """The key by which every record is signed."""
        return self._writer.identity_key

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # --- writing ---

    def commit(self, step: Step, now_s: int, cursor: Cursor | None = None) -> None:
        """Make a step durable, whole or not at all.

        Raises Refusal(JOURNAL_UNWRITABLE) if it could not be written: then nothing may be signed.
        """
        with self._transaction():
            for record in step.records:
                self._append(record, now_s)
            for outgoing in step.outbox:
                self._post(outgoing, now_s)
            if cursor is not None:
                self._set("cursor", cursor.sequence)
                self._set("store_incarnation", cursor.store_incarnation)

    def hold_genesis(self, raw: bytes) -> None:
        """Keep a genesis that came and that nobody has confirmed; a later one replaces it."""
        with self._transaction():
            self._set("pending_genesis", raw)

    def mark_sent(self, positions: list[int], now_s: int) -> None:
        """Note that the coordinator made these envelopes durable; forget old and expired ones."""
        with self._transaction():
            self._connection.executemany(
                "UPDATE outbox SET sent = 1 WHERE position = ?", [(one,) for one in positions]
            )
            self._connection.execute(
                "DELETE FROM outbox WHERE sent AND position <= "
                "(SELECT max(position) FROM outbox) - ?",
                (SENT_ROWS_KEPT,),
            )
            self._connection.execute(
                "DELETE FROM outbox WHERE NOT sent AND expires_at_s < ?", (now_s,)
            )

    def replay(self) -> None:
        """Drop the projections and build them again from the records."""
        with self._transaction():
            for table in TABLES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            for record in self._records(0):
                apply(self._connection, _written(record))

    def take_records(self, source: sqlite3.Connection) -> int:
        """Fill this empty journal from the records of another database; returns how many.

        They are verified, and everything else is made of them here. Nothing else of the source is
        believed: whoever could write there could have changed its projections or its schema.
        """
        with self._transaction():
            rows = source.execute("SELECT sequence, digest, raw FROM record ORDER BY sequence")
            self._connection.executemany("INSERT INTO record VALUES (?, ?, ?)", rows)
        count = self.verify_all()
        self.replay()
        return count

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException as fault:
                self._forget_genesis()
                self._roll_back()
                if isinstance(fault, sqlite3.Error):
                    raise Refusal(ErrorId.JOURNAL_UNWRITABLE, str(fault)) from fault
                raise

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            return  # the disk is gone: the next opening rolls back

    def _append(self, record: Record, now_s: int) -> None:
        head = self.head()
        document = JournalRecord(
            sequence=head.sequence + 1,
            kind=record.kind,
            version=RECORD_VERSION,
            previous=head.digest,
            # Never before the last one, so that a clock that went back is still noticed next time.
            written_at_s=max(now_s, head.written_at_s),
            body=record.body,
        )
        body = encode(document)
        digest = document_digest(JournalRecord, body)
        raw = signed_bytes(body, self._writer.identity_key, self._writer.sign(digest))
        values = (document.sequence, digest, raw)
        self._connection.execute("INSERT INTO record VALUES (?, ?, ?)", values)
        apply(self._connection, _written(document))

    def _post(self, outgoing: Outgoing, now_s: int) -> None:
        genesis = self.genesis()
        if genesis is None:
            raise Refusal(ErrorId.GENESIS_NOT_CONFIRMED, "there is nobody to write to yet")
        sequence, previous = self._last_posted()
        envelope = Envelope(
            type=outgoing.type,
            genesis=genesis.digest,
            sender=self._writer.identity_key,
            incarnation=self._writer.boot,
            sequence=sequence + 1,
            previous=previous,
            recipient=genesis.document.coordinator_key,
            expires_at_s=now_s + outgoing.lifetime_s,
            payload=outgoing.payload,
        )
        body = encode(envelope)
        digest = document_digest(Envelope, body)
        raw = signed_bytes(body, self._writer.identity_key, self._writer.sign(digest))
        self._connection.execute(
            "INSERT INTO outbox (envelope, expires_at_s, sent) VALUES (?, ?, 0)",
            (raw, envelope.expires_at_s),
        )
        self._set("posted_boot", self._writer.boot)
        self._set("posted_sequence", envelope.sequence)
        self._set("posted_digest", digest)

    def _last_posted(self) -> tuple[int, bytes]:
        if self._state("posted_boot") != self._writer.boot:
            return 0, ZERO_DIGEST
        return self._state("posted_sequence"), self._state("posted_digest")

    def _set(self, name: str, value: int | bytes) -> None:
        self._connection.execute(
            "INSERT INTO state VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = ?",
            (name, value, value),
        )

    # --- the mailbox's side ---

    def cursor(self) -> Cursor:
        """How far the inbox was taken."""
        with self._lock:
            return Cursor(self._state("store_incarnation") or b"", self._state("cursor") or 0)

    def pending_genesis(self) -> bytes | None:
        """A genesis that waits for its words, unless one is confirmed."""
        with self._lock:
            return None if self.genesis() is not None else self._state("pending_genesis")

    def unsent(self, most_rows: int, most_bytes: int, now_s: int) -> list[tuple[int, bytes]]:
        """Position and bytes of the oldest envelopes to send, bounded, but at least one."""
        found: list[tuple[int, bytes]] = []
        size = 0
        with self._lock:
            rows = self._connection.execute(
                "SELECT position, envelope FROM outbox WHERE NOT sent AND expires_at_s >= ?"
                " ORDER BY position LIMIT ?",
                (now_s, most_rows),
            )
            for position, envelope in rows:
                size += len(envelope)
                if found and size > most_bytes:
                    break
                found.append((position, envelope))
        return found

    # --- verifying ---

    def verify_all(self) -> int:
        """Verify every record; return how many. Raises Refusal(JOURNAL_BROKEN or JOURNAL_NEWER)."""
        with self._lock:
            return self._verify(None)

    def _verify(self, last: int | None) -> int:
        total = int(self._value("SELECT count(*) FROM record"))
        start = 0 if last is None else max(0, total - last)
        previous = self._digest_of(start)
        count = 0
        for record, digest in self._verified(start):
            if record.previous != previous:
                raise Refusal(ErrorId.JOURNAL_BROKEN, f"record {record.sequence}: chain")
            previous = digest
            count += 1
        if start + count != total:
            raise Refusal(ErrorId.JOURNAL_BROKEN, f"{total} records, {start + count} in the chain")
        return count

    def _digest_of(self, sequence: int) -> bytes:
        if sequence == 0:
            return ZERO_DIGEST
        row = self._row("SELECT digest FROM record WHERE sequence = ?", sequence)
        if row is None:
            raise Refusal(ErrorId.JOURNAL_BROKEN, f"record {sequence} is missing")
        return bytes(row[0])

    def _verified(self, start: int) -> Iterator[tuple[JournalRecord, bytes]]:
        rows = self._connection.execute(
            "SELECT sequence, digest, raw FROM record WHERE sequence > ? ORDER BY sequence",
            (start,),
        )
        for expected, (sequence, digest, raw) in enumerate(rows, start + 1):
            record = self._verified_record(sequence, digest, raw)
            if not record.sequence == sequence == expected:
                raise Refusal(ErrorId.JOURNAL_BROKEN, f"record {expected} is missing")
            if record.version > RECORD_VERSION:
                raise Refusal(ErrorId.JOURNAL_NEWER, f"record {sequence}: {record.version}")
            yield record, digest

    def _verified_record(self, sequence: int, digest: bytes, raw: bytes) -> JournalRecord:
        try:
            received = open_signed(JournalRecord, raw)
            verify_schnorr(received.key, received.digest, received.signature)
        except (Refusal, BadSignature) as fault:
            raise Refusal(ErrorId.JOURNAL_BROKEN, f"record {sequence}: {fault}") from fault
        if received.key != self._writer.identity_key or received.digest != digest:
            raise Refusal(ErrorId.JOURNAL_BROKEN, f"record {sequence}: another key or digest")
        return received.document

    def _records(self, start: int) -> Iterator[JournalRecord]:
        rows: Any = self._connection.execute(
            "SELECT raw FROM record WHERE sequence > ? ORDER BY sequence", (start,)
        )
        for (raw,) in rows:
            yield open_signed(JournalRecord, raw).document

    def head(self) -> Head:
        """The last record."""
        row = self._row("SELECT sequence, digest, raw FROM record ORDER BY sequence DESC LIMIT 1")
        if row is None:
            return Head(0, ZERO_DIGEST, 0)
        return Head(row[0], row[1], open_signed(JournalRecord, row[2]).document.written_at_s)


def _written(record: JournalRecord) -> Written:
    return Written(record.sequence, record.kind, record.written_at_s, record.body)
