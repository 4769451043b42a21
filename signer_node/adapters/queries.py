"""The journal's answers: what the core asks (core.ledger.Ledger) and what the console shows."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from signer_node.adapters.header_store import SqliteHeaders
from signer_node.core.ledger import CommitmentEntry, KeygenEntry, ManifestEntry
from signer_node.core.projection import open_proposal
from signer_node.kernel.bitcoin.transaction import Outpoint, TxOut
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.journal import JournalRecord
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.documents.signing import CommitmentSet
from signer_node.kernel.documents.vault import KeygenOutcome, VaultCertificate, VaultProposal
from signer_node.kernel.rules.facts import OwnOutput, PaidManifest
from signer_node.wire import decode, decode_body, open_signed

MAX_LISTED: Final = 500


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A manifest in the console's list."""

    digest: bytes
    batch_id: str
    txid: bytes
    replaces: bytes
    journaled_at_s: int
    expires_at_s: int
    rejected: int
    released: int
    replaced: int
    payouts: int


class Queries:
    """Reads of the projections; nothing here writes."""

    def __init__(self, connection: sqlite3.Connection, lock: threading.RLock) -> None:
        self._connection = connection
        self._lock = lock
        self._genesis: Body[Genesis] | None = None

    # --- core.ledger.Ledger ---

    def genesis(self) -> Body[Genesis] | None:
        """The confirmed genesis; it never changes, so it is decoded once."""
        if self._genesis is None:
            row = self._row("SELECT body FROM genesis")
            self._genesis = None if row is None else decode_body(Genesis, row[0])
        return self._genesis

    def certificate(self, digest: bytes) -> Body[VaultCertificate] | None:
        """A vault certificate signed by all."""
        row = self._row("SELECT body FROM certificate WHERE digest = ? AND certified", digest)
        return None if row is None else decode_body(VaultCertificate, row[0])

    def certificate_of(self, vault: str, epoch: int) -> Body[VaultCertificate] | None:
        """The certificate of a vault and epoch, signed here at least."""
        row = self._row("SELECT body FROM certificate WHERE vault = ? AND epoch = ?", vault, epoch)
        return None if row is None else decode_body(VaultCertificate, row[0])

    def cosigner_key(self, vault: str, epoch: int) -> bytes | None:
        """The Signed CosignerKey that this node gave for a vault and epoch."""
        row = self._row("SELECT signed FROM vault_key WHERE vault = ? AND epoch = ?", vault, epoch)
        return None if row is None else bytes(row[0])

    def keygen(self, vault: str, epoch: int) -> KeygenEntry | None:
        """How far the key generation of a vault and epoch came."""
        sql = (
            "SELECT proposal, confirmed, started, outcome FROM keygen WHERE vault = ? AND epoch = ?"
        )
        row = self._row(sql, vault, epoch)
        return None if row is None else _keygen_entry(row)

    def quarantined_since_s(self) -> int:
        """When this node last came back without its journal; 0: never."""
        return int(self._value("SELECT coalesce(max(since_s), 0) FROM quarantine"))

    def vault_count(self) -> int:
        """How many keys this node gave or was asked to make, one for each vault and epoch."""
        sql = (
            "SELECT count(*) FROM"
            " (SELECT vault, epoch FROM vault_key UNION SELECT vault, epoch FROM keygen)"
        )
        return int(self._value(sql))

    def headers(self) -> SqliteHeaders:
        """The verified header chain."""
        return SqliteHeaders(self._connection)

    def request_digests(self, withdrawal_ids: Sequence[str]) -> dict[str, bytes]:
        """Digest of the request first seen with each of these ids, where one was."""
        sql = (
            "SELECT withdrawal_id, digest FROM request"
            " WHERE withdrawal_id IN (SELECT value FROM json_each(?))"
        )
        return dict(self._rows(sql, json.dumps(withdrawal_ids)))

    def released_for(self, withdrawal_ids: Sequence[str]) -> tuple[PaidManifest, ...]:
        """Every manifest for which this node released a share that pays one of these ids."""
        sql = (
            "SELECT DISTINCT digest FROM manifest JOIN payment"
            " ON payment.manifest = manifest.digest WHERE manifest.released"
            " AND payment.withdrawal_id IN (SELECT value FROM json_each(?)) ORDER BY digest"
        )
        found = self._rows(sql, json.dumps(withdrawal_ids))
        return tuple(self._paid(digest) for (digest,) in found)

    def _paid(self, digest: bytes) -> PaidManifest:
        ids = self._rows("SELECT withdrawal_id FROM payment WHERE manifest = ?", digest)
        inputs = self._rows("SELECT txid, vout FROM input WHERE manifest = ?", digest)
        return PaidManifest(
            digest,
            frozenset(row[0] for row in ids),
            frozenset(Outpoint(txid, vout) for txid, vout in inputs),
        )

    def own_outputs(self, txids: Sequence[bytes]) -> tuple[OwnOutput, ...]:
        """Change outputs of manifests checked here, by the transaction's id.

        Not those of a rejected one: what is built on it may never confirm, and the withdrawals
        that it pays are bound to it for ever.
        """
        sql = (
            "SELECT DISTINCT change.txid, vout, value_sat, script, position FROM change"
            " JOIN manifest ON digest = manifest WHERE change.txid = ? AND NOT rejected"
        )
        return tuple(
            OwnOutput(Outpoint(txid, vout), TxOut(value_sat, script), index)
            for one in dict.fromkeys(txids)
            for txid, vout, value_sat, script, index in self._rows(sql, one)
        )

    def highest_change_index(self, certificate: bytes) -> int:
        """Highest change index in any manifest read for this vault; -1 for none."""
        sql = "SELECT coalesce(max(position), -1) FROM change WHERE certificate = ?"
        return int(self._value(sql, certificate))

    def change_indices_used(self, certificate: bytes, indices: Sequence[int]) -> dict[int, bytes]:
        """Which of these change indices a manifest used: index -> digest of the first one."""
        sql = (
            "SELECT change.manifest FROM change JOIN manifest ON digest = change.manifest"
            " WHERE certificate = ? AND position = ? ORDER BY manifest.record LIMIT 1"
        )
        rows = ((index, self._row(sql, certificate, index)) for index in indices)
        return {index: row[0] for index, row in rows if row is not None}

    def manifest(self, digest: bytes) -> ManifestEntry | None:
        """A manifest checked here; the proposal's bytes are those of its journal record."""
        sql = "SELECT record, journaled_at_s, rejected FROM manifest WHERE digest = ?"
        row = self._row(sql, digest)
        if row is None:
            return None
        raw = self._value("SELECT raw FROM record WHERE sequence = ?", row[0])
        proposal = open_signed(JournalRecord, raw).document.body
        return ManifestEntry(digest, proposal, row[1], bool(row[2]))

    def open_manifests(self, now_s: int) -> int:
        """How many checked manifests have not expired and were not rejected here."""
        sql = "SELECT count(*) FROM manifest WHERE expires_at_s >= ? AND NOT rejected"
        return int(self._value(sql, now_s))

    def manifests_since(self, at_s: int) -> int:
        """How many manifests were journaled at or after a time."""
        return int(self._value("SELECT count(*) FROM manifest WHERE journaled_at_s >= ?", at_s))

    def refusals_since(self, at_s: int) -> int:
        """How many refusals were journaled at or after a time."""
        first = self._first_record_since(at_s)
        return int(self._value("SELECT count(*) FROM refused WHERE record >= ?", first))

    def _first_record_since(self, at_s: int) -> int:
        """The first record of that time, found by halving: their times never go back."""
        low, high = 1, int(self._value("SELECT coalesce(max(sequence), 0) + 1 FROM record"))
        while low < high:
            middle = (low + high) // 2
            raw = self._value("SELECT raw FROM record WHERE sequence = ?", middle)
            if open_signed(JournalRecord, raw).document.written_at_s < at_s:
                low = middle + 1
            else:
                high = middle
        return low

    def commitment(self, manifest: bytes, round_number: int) -> CommitmentEntry | None:
        """What this node committed to in a round."""
        sql = "SELECT body, package, share_set FROM commitment WHERE manifest = ? AND round = ?"
        row = self._row(sql, manifest, round_number)
        if row is None:
            return None
        committed = decode(CommitmentSet, row[0])
        return CommitmentEntry(committed.boot, committed.commitments, row[1], row[2])

    def decisions(self, manifest: bytes) -> tuple[bytes, ...]:
        """The Signed approvals and rejections journaled here over a manifest, oldest first."""
        sql = "SELECT signed FROM decision WHERE manifest = ? ORDER BY record"
        return tuple(row[0] for row in self._rows(sql, manifest))

    def refused_before(self, subject: bytes, error: str) -> bool:
        """Whether this refusal of this subject is already journaled."""
        sql = "SELECT 1 FROM refused WHERE subject = ? AND error = ?"
        return self._row(sql, subject, error) is not None

    # --- the console ---

    def manifests(self, most: int = MAX_LISTED) -> list[ManifestRow]:
        """The manifests checked here, the last one first."""
        sql = (
            "SELECT digest, batch_id, txid, replaces, journaled_at_s, expires_at_s, rejected,"
            " released, EXISTS (SELECT 1 FROM manifest AS later WHERE later.replaces = m.digest),"
            " (SELECT count(*) FROM payment WHERE payment.manifest = m.digest)"
            " FROM manifest AS m ORDER BY record DESC LIMIT ?"
        )
        return [ManifestRow(*row) for row in self._rows(sql, min(most, MAX_LISTED))]

    def refusals(self, most: int = MAX_LISTED) -> list[tuple[bytes, str]]:
        """Subject and error id of what this node refused, the last one first."""
        sql = "SELECT subject, error FROM refused ORDER BY record DESC LIMIT ?"
        return [tuple(row) for row in self._rows(sql, min(most, MAX_LISTED))]

    def vaults(self) -> list[tuple[str, int, bool]]:
        """Vault, epoch and whether its certificate is signed by all."""
        sql = (
            "SELECT vault, epoch, coalesce((SELECT certified FROM certificate AS c"
            " WHERE c.vault = k.vault AND c.epoch = k.epoch), 0) FROM"
            " (SELECT vault, epoch FROM vault_key UNION SELECT vault, epoch FROM keygen) AS k"
            " ORDER BY vault, epoch"
        )
        return [(vault, epoch, bool(done)) for vault, epoch, done in self._rows(sql)]

    def keygens(self) -> list[KeygenEntry]:
        """Every key generation that was proposed to this node, by vault and epoch."""
        sql = "SELECT proposal, confirmed, started, outcome FROM keygen ORDER BY vault, epoch"
        return [_keygen_entry(row) for row in self._rows(sql)]

    def certificate_of_manifest(self, proposal: bytes) -> bytes:
        """Body of the certificate that a checked manifest names."""
        digest = open_proposal(proposal).body.document.certificate
        return bytes(self._value("SELECT body FROM certificate WHERE digest = ?", digest))

    def unsent_count(self) -> int:
        """How many envelopes wait to be sent."""
        return int(self._value("SELECT count(*) FROM outbox WHERE NOT sent"))

    def table(self, name: str) -> list[Any]:
        """Every row of a projection, to compare it with its replay."""
        return sorted(self._rows(f"SELECT * FROM {name}"), key=repr)  # noqa: S608 - our own names

    # --- SQL ---

    def _forget_genesis(self) -> None:
        self._genesis = None

    def _state(self, name: str) -> Any:
        row = self._row("SELECT value FROM state WHERE name = ?", name)
        return None if row is None else row[0]

    def _row(self, sql: str, *values: Any) -> Any:
        with self._lock:
            return self._connection.execute(sql, values).fetchone()

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def _value(self, sql: str, *values: Any) -> Any:
        return self._row(sql, *values)[0]


def _keygen_entry(row: Any) -> KeygenEntry:
    proposal, confirmed, started, outcome = row
    return KeygenEntry(
        decode(VaultProposal, proposal),
        bool(confirmed),
        started,
        None if outcome is None else decode(KeygenOutcome, outcome),
    )
