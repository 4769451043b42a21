"""B's own ledger: one SQLite file on B's host, the truth of the exchange's side.

Guarantees to the backend (PROTOCOL.md G4, G10, G14):

 1. A signed request is durable before it is sent, keeps its request_id, and stays until final.
 2. A deposit index is handed out at most once, whatever dies in between.
 3. A manifest is durable before its confirmation is signed; `confirmed_before` gives every one
    that pays any of the same withdrawals.
 4. Several processes may hold the file (the backend and a command): every change is one
    transaction that takes the write lock first.

Amounts in satoshi, txids in internal byte order.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel.bitcoin.transaction import Outpoint
from signer_node.kernel.rules.facts import PaidManifest

SCHEMA_VERSION: Final = 1
BUSY_TIMEOUT_S: Final = 30
MAX_DEPOSIT_INDEX: Final = 2**31 - 1
MAX_OPEN_REQUESTS: Final = 100_000

_SCHEMA: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE vaults (
    vault TEXT PRIMARY KEY, certificate BLOB NOT NULL, digest BLOB NOT NULL UNIQUE,
    next_index INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE addresses (
    vault TEXT NOT NULL, position INTEGER NOT NULL, script BLOB NOT NULL UNIQUE,
    label TEXT NOT NULL, PRIMARY KEY (vault, position)
) STRICT;
CREATE TABLE requests (
    withdrawal_id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, signed BLOB NOT NULL,
    request_id TEXT NOT NULL UNIQUE, vault TEXT NOT NULL, script BLOB NOT NULL,
    amount_sat INTEGER NOT NULL, valid_until_s INTEGER NOT NULL, created_at_s INTEGER NOT NULL,
    submitted_to BLOB NOT NULL DEFAULT x'', state TEXT NOT NULL DEFAULT 'SIGNED',
    txid BLOB NOT NULL DEFAULT x'', refusal TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX requests_by_state ON requests (state);
CREATE TABLE manifests (
    digest BLOB PRIMARY KEY, batch_id TEXT NOT NULL, txid BLOB NOT NULL, proposal BLOB NOT NULL,
    tip_height INTEGER NOT NULL, confirmation BLOB NOT NULL DEFAULT x''
) STRICT;
CREATE TABLE manifest_withdrawals (
    withdrawal_id TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (withdrawal_id, digest)
) STRICT;
CREATE TABLE manifest_inputs (
    digest BLOB NOT NULL, txid BLOB NOT NULL, vout INTEGER NOT NULL,
    PRIMARY KEY (digest, txid, vout)
) STRICT;
CREATE TABLE deposits (
    txid BLOB NOT NULL, vout INTEGER NOT NULL, vault TEXT NOT NULL, position INTEGER NOT NULL,
    amount_sat INTEGER NOT NULL, block_hash BLOB NOT NULL, height INTEGER NOT NULL,
    state TEXT NOT NULL, PRIMARY KEY (txid, vout)
) STRICT;
CREATE TABLE headers (
    hash BLOB PRIMARY KEY, height INTEGER NOT NULL, chainwork BLOB NOT NULL, raw BLOB NOT NULL,
    best INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX headers_best ON headers (height) WHERE best = 1;
"""


class RequestState(Enum):
    """Where a request stands for B; what C says of it in between is only shown.

    SIGNED: durable here. SUBMITTED: accepted by the store named. FINAL: payment verified here to
    final depth. REFUSED: C refused it. ENDED: C calls it rejected, cancelled or expired; it is
    still watched, since a released share is a bearer instrument.
    """

    UNKNOWN = "UNKNOWN"
    SIGNED = "SIGNED"
    SUBMITTED = "SUBMITTED"
    FINAL = "FINAL"
    REFUSED = "REFUSED"
    ENDED = "ENDED"


class CreditState(Enum):
    """Where a deposit stands for B. REVERSED: its block left the best chain after the credit."""

    UNKNOWN = "UNKNOWN"
    CREDITED = "CREDITED"
    REVERSED = "REVERSED"


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A signed request as the ledger keeps it; `submitted_to` is a store incarnation or empty."""

    withdrawal_id: str
    digest: bytes
    signed: bytes
    request_id: str
    vault: str
    script: bytes
    amount_sat: int
    valid_until_s: int
    created_at_s: int
    submitted_to: bytes = b""
    state: RequestState = RequestState.SIGNED
    txid: bytes = b""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest that B endorses; `tip_height` is the verified tip when it was stored."""

    facts: PaidManifest
    batch_id: str
    txid: bytes
    proposal: bytes
    tip_height: int


@dataclass(frozen=True, slots=True)
class PinnedVault:
    """A vault whose certificate B verified; `next_index` of the external chain is unused."""

    vault: str
    certificate: bytes
    digest: bytes
    next_index: int


@dataclass(frozen=True, slots=True)
class Credit:
    """A deposit that B verified itself."""

    outpoint: Outpoint
    vault: str
    index: int
    amount_sat: int
    block_hash: bytes
    height: int
    state: CreditState


_REQUEST_COLUMNS: Final = (
    "withdrawal_id, digest, signed, request_id, vault, script, amount_sat, valid_until_s,"
    " created_at_s, submitted_to, state, txid, refusal"
)
_STATE_COLUMN: Final = 10
_CREDIT_COLUMNS: Final = "txid, vout, vault, position, amount_sat, block_hash, height, state"


class ClientLedger:
    """The ledger in one SQLite file. One instance belongs to one thread."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._depth = 0
        self._migrate()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for the header store beside this."""
        return self._connection

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One durable change; nested ones join the outermost."""
        if self._depth == 0:
            self._connection.execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield self._connection
        except BaseException:
            self._depth -= 1
            if self._depth == 0:
                self._connection.execute("ROLLBACK")
            raise
        self._depth -= 1
        if self._depth == 0:
            self._connection.execute("COMMIT")

    def _migrate(self) -> None:
        with self.transaction() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == SCHEMA_VERSION:
                return
            if version != 0:
                raise CustodydError(ErrorId.LEDGER_NEWER, f"ledger of version {version}")
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    # --- single facts ---

    def fact(self, name: str) -> bytes | None:
        """A named value: `genesis`, `store_incarnation`, `event_cursor`."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def set_fact(self, name: str, value: bytes) -> None:
        """Put a named value in place of the one before."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO facts VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )

    # --- vaults and deposit indices ---

    def pin_vault(self, vault: str, certificate: bytes, digest: bytes) -> None:
        """Pin a verified certificate; raises VAULT_PINNED_OTHERWISE if another one is pinned."""
        with self.transaction() as connection:
            pinned = self.vault(vault)
            if pinned is not None and pinned.digest != digest:
                raise CustodydError(ErrorId.VAULT_PINNED_OTHERWISE, vault)
            connection.execute(
                "INSERT OR IGNORE INTO vaults (vault, certificate, digest) VALUES (?, ?, ?)",
                (vault, certificate, digest),
            )

    def vault(self, vault: str) -> PinnedVault | None:
        """A pinned vault by its name."""
        row = self._connection.execute(
            "SELECT vault, certificate, digest, next_index FROM vaults WHERE vault = ?", (vault,)
        ).fetchone()
        return None if row is None else PinnedVault(*row)

    def vaults(self) -> tuple[PinnedVault, ...]:
        """All pinned vaults."""
        rows = self._connection.execute(
            "SELECT vault, certificate, digest, next_index FROM vaults ORDER BY vault"
        )
        return tuple(PinnedVault(*row) for row in rows)

    def allocate_index(self, vault: str) -> int:
        """Hand out the next index of the external chain, durably, never twice."""
        with self.transaction() as connection:
            row = connection.execute(
                "UPDATE vaults SET next_index = next_index + 1 WHERE vault = ?"
                " RETURNING next_index - 1",
                (vault,),
            ).fetchone()
            if row is None:
                raise CustodydError(ErrorId.VAULT_NOT_PINNED, vault)
            if row[0] > MAX_DEPOSIT_INDEX:
                raise CustodydError(ErrorId.INDEX_EXHAUSTED, vault)
            return int(row[0])

    def add_address(self, vault: str, index: int, script: bytes, label: str) -> None:
        """Remember the script at an allocated index."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO addresses VALUES (?, ?, ?, ?)", (vault, index, script, label)
            )

    # --- requests ---

    def add_requests(self, requests: Sequence[StoredRequest]) -> None:
        """Keep signed requests, all or none; an id that exists is WITHDRAWAL_ID_REUSED."""
        with self.transaction() as connection:
            open_now = connection.execute(
                "SELECT count(*) FROM requests WHERE state IN ('SIGNED', 'SUBMITTED')"
            ).fetchone()[0]
            if open_now + len(requests) > MAX_OPEN_REQUESTS:
                raise CustodydError(
                    ErrorId.OPEN_REQUESTS_EXHAUSTED, f"{MAX_OPEN_REQUESTS} open requests"
                )
            for one in requests:
                self._add_request(one)

    def _add_request(self, one: StoredRequest) -> None:
        try:
            self._connection.execute(
                f"INSERT INTO requests ({_REQUEST_COLUMNS})"  # noqa: S608
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    one.withdrawal_id,
                    one.digest,
                    one.signed,
                    one.request_id,
                    one.vault,
                    one.script,
                    one.amount_sat,
                    one.valid_until_s,
                    one.created_at_s,
                    one.submitted_to,
                    one.state.value,
                    one.txid,
                    one.refusal,
                ),
            )
        except sqlite3.IntegrityError:
            raise CustodydError(
                ErrorId.WITHDRAWAL_ID_REUSED, f"{one.withdrawal_id} was signed before"
            ) from None

    def request(self, withdrawal_id: str) -> StoredRequest | None:
        """A request by its withdrawal id."""
        rows = self._requests("withdrawal_id = ?", (withdrawal_id,), 1)
        return rows[0] if rows else None

    def requests_not_at(
        self, incarnation: bytes, signed_by_s: int, limit: int
    ) -> tuple[StoredRequest, ...]:
        """Requests signed by then, not final, that the store of this incarnation did not accept."""
        return self._requests(
            "state IN ('SIGNED', 'SUBMITTED') AND submitted_to != ? AND created_at_s <= ?",
            (incarnation, signed_by_s),
            limit,
        )

    def requests_in(self, states: Sequence[RequestState], limit: int) -> tuple[StoredRequest, ...]:
        """Requests in any of these states, oldest first."""
        marks = ", ".join("?" * len(states))
        return self._requests(f"state IN ({marks})", [one.value for one in states], limit)

    def requests_confirmed(self, limit: int) -> tuple[StoredRequest, ...]:
        """Requests that are not final and that a manifest kept here pays; open ones first.

        No others can be paid, so that however many were refused, they crowd out none of these.
        """
        return self._requests(
            "state != 'FINAL' AND withdrawal_id IN"
            " (SELECT withdrawal_id FROM manifest_withdrawals)",
            (),
            limit,
            order="state IN ('REFUSED', 'ENDED'), rowid",
        )

    def _requests(
        self, condition: str, values: Sequence[object], limit: int, order: str = "rowid"
    ) -> tuple[StoredRequest, ...]:
        rows = self._connection.execute(
            f"SELECT {_REQUEST_COLUMNS} FROM requests WHERE {condition} ORDER BY {order} LIMIT ?",  # noqa: S608
            (*values, limit),
        )
        return tuple(map(_request, rows))

    def mark_submitted(self, withdrawal_id: str, incarnation: bytes) -> None:
        """The store of this incarnation answered that the request is durable there.

        What was refused or has ended stays so: only people may take back what they were told.
        """
        with self.transaction() as connection:
            connection.execute(
                "UPDATE requests SET submitted_to = ?, state = 'SUBMITTED'"
                " WHERE withdrawal_id = ? AND state IN ('SIGNED', 'SUBMITTED')",
                (incarnation, withdrawal_id),
            )

    def mark_forgotten(self, withdrawal_id: str) -> None:
        """The store knows nothing of the request any more: it is to be submitted again."""
        self._set_request(withdrawal_id, "submitted_to = x''", ())

    def mark_refused(self, withdrawal_id: str, refusal: str) -> None:
        """C refused the request for this reason; it is not sent again by itself."""
        self._set_request(withdrawal_id, "state = 'REFUSED', refusal = ?", (refusal,))

    def mark_ended(self, withdrawal_id: str, refusal: str) -> None:
        """C calls the request rejected, cancelled or expired."""
        self._set_request(withdrawal_id, "state = 'ENDED', refusal = ?", (refusal,))

    def mark_final(self, withdrawal_id: str, txid: bytes) -> None:
        """The payment was verified here to final depth."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE requests SET state = 'FINAL', txid = ? WHERE withdrawal_id = ?",
                (txid, withdrawal_id),
            )

    def _set_request(self, withdrawal_id: str, change: str, values: Sequence[object]) -> None:
        with self.transaction() as connection:
            connection.execute(
                f"UPDATE requests SET {change} WHERE withdrawal_id = ? AND state != 'FINAL'",  # noqa: S608
                (*values, withdrawal_id),
            )

    # --- manifests that B confirmed ---

    def confirmed_before(self, withdrawal_ids: Sequence[str]) -> tuple[PaidManifest, ...]:
        """Every manifest kept here that pays any of these withdrawals."""
        digests: set[bytes] = set()
        for withdrawal_id in withdrawal_ids:
            rows = self._connection.execute(
                "SELECT digest FROM manifest_withdrawals WHERE withdrawal_id = ?", (withdrawal_id,)
            )
            digests.update(bytes(row[0]) for row in rows)
        return tuple(self._paid(digest) for digest in sorted(digests))

    def manifests_of(self, withdrawal_id: str) -> tuple[StoredManifest, ...]:
        """The manifests confirmed that pay this withdrawal, oldest first."""
        rows = self._connection.execute(
            "SELECT digest, batch_id, txid, proposal, tip_height FROM manifests WHERE digest IN"
            " (SELECT digest FROM manifest_withdrawals WHERE withdrawal_id = ?) ORDER BY rowid",
            (withdrawal_id,),
        ).fetchall()
        return tuple(StoredManifest(self._paid(bytes(row[0])), *row[1:]) for row in rows)

    def _paid(self, digest: bytes) -> PaidManifest:
        ids = self._connection.execute(
            "SELECT withdrawal_id FROM manifest_withdrawals WHERE digest = ?", (digest,)
        )
        inputs = self._connection.execute(
            "SELECT txid, vout FROM manifest_inputs WHERE digest = ?", (digest,)
        )
        return PaidManifest(
            digest,
            frozenset(row[0] for row in ids),
            frozenset(Outpoint(bytes(txid), vout) for txid, vout in inputs),
        )

    def add_manifest(self, manifest: StoredManifest) -> None:
        """Keep a manifest before its confirmation is signed; one that is here stays as it is."""
        facts = manifest.facts
        with self.transaction() as connection:
            if self.confirmation(facts.digest) is not None:
                return
            connection.execute(
                "INSERT INTO manifests (digest, batch_id, txid, proposal, tip_height)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    facts.digest,
                    manifest.batch_id,
                    manifest.txid,
                    manifest.proposal,
                    manifest.tip_height,
                ),
            )
            connection.executemany(
                "INSERT INTO manifest_withdrawals VALUES (?, ?)",
                [(one, facts.digest) for one in sorted(facts.withdrawal_ids)],
            )
            connection.executemany(
                "INSERT INTO manifest_inputs VALUES (?, ?, ?)",
                [(facts.digest, one.txid, one.vout) for one in facts.conflict_tokens],
            )

    def confirmation(self, digest: bytes) -> bytes | None:
        """Signed bytes of the confirmation; empty when only the manifest is kept; None: neither."""
        row = self._connection.execute(
            "SELECT confirmation FROM manifests WHERE digest = ?", (digest,)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def set_confirmation(self, digest: bytes, signed: bytes) -> None:
        """Keep the confirmation, so that the same one is sent again."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE manifests SET confirmation = ? WHERE digest = ?", (signed, digest)
            )

    # --- deposits ---

    def credit(self, credit: Credit) -> bool:
        """Keep a verified deposit; True when it is newly credited (or credited again)."""
        with self.transaction() as connection:
            before = connection.execute(
                "SELECT state FROM deposits WHERE txid = ? AND vout = ?",
                (credit.outpoint.txid, credit.outpoint.vout),
            ).fetchone()
            if before is not None and before[0] == CreditState.CREDITED.value:
                return False
            connection.execute(
                f"INSERT OR REPLACE INTO deposits ({_CREDIT_COLUMNS})"  # noqa: S608
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    credit.outpoint.txid,
                    credit.outpoint.vout,
                    credit.vault,
                    credit.index,
                    credit.amount_sat,
                    credit.block_hash,
                    credit.height,
                    credit.state.value,
                ),
            )
            return True

    def reverse_credits(self, block_hashes: Sequence[bytes]) -> tuple[Credit, ...]:
        """Mark what stands credited by blocks that left the best chain; returns it."""
        marks = ", ".join("?" * len(block_hashes))
        with self.transaction() as connection:
            rows = connection.execute(
                f"UPDATE deposits SET state = 'REVERSED' WHERE block_hash IN ({marks})"  # noqa: S608
                f" AND state = 'CREDITED' RETURNING {_CREDIT_COLUMNS}",
                list(block_hashes),
            ).fetchall()
        return tuple(map(_credit, rows))

    def credits(self) -> tuple[Credit, ...]:
        """All deposits that B ever credited, oldest first."""
        rows = self._connection.execute(f"SELECT {_CREDIT_COLUMNS} FROM deposits ORDER BY rowid")  # noqa: S608
        return tuple(map(_credit, rows))

    def credited(self, outpoint: Outpoint) -> bool:
        """Whether this output stands credited."""
        row = self._connection.execute(
            "SELECT 1 FROM deposits WHERE txid = ? AND vout = ? AND state = 'CREDITED'",
            (outpoint.txid, outpoint.vout),
        ).fetchone()
        return row is not None


def _request(row: tuple[Any, ...]) -> StoredRequest:
    columns = list(row)
    columns[_STATE_COLUMN] = RequestState(columns[_STATE_COLUMN])
    return StoredRequest(*columns)


def _credit(row: tuple[bytes, int, str, int, int, bytes, int, str]) -> Credit:
    txid, vout, vault, index, amount_sat, block_hash, height, state = row
    outpoint = Outpoint(txid, vout)
    return Credit(outpoint, vault, index, amount_sat, block_hash, height, CreditState(state))
