"""Projections of the journal: tables that answer the core, dropped and replayed at will.

`apply` is the only writer. It is a function of the tables and one record, so replaying the records
gives the same tables; nothing is in them that the records do not say. Bodies were checked by the
core before they became records: what does not decode here means a broken journal.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from signer_node.adapters.header_store import append_headers, start_headers
from signer_node.core.projection import summarise
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.journal import RecordKind, Refused, Release
from signer_node.kernel.documents.manifest import Approval, Decision, Headers
from signer_node.kernel.documents.signing import CommitmentSet, ShareSet
from signer_node.kernel.documents.vault import (
    CosignerKey,
    KeygenOutcome,
    VaultCertificate,
    VaultProposal,
)
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.vault.making import MADE_TOGETHER
from signer_node.wire import decode, decode_body, encode, open_countersigned, open_signed

SCHEMA: Final = """
CREATE TABLE genesis (digest BLOB NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE vault_key (
    vault TEXT NOT NULL, epoch INTEGER NOT NULL, signed BLOB NOT NULL,
    PRIMARY KEY (vault, epoch)) STRICT;
CREATE TABLE keygen (
    vault TEXT NOT NULL, epoch INTEGER NOT NULL, proposal BLOB NOT NULL,
    confirmed INTEGER NOT NULL, started INTEGER NOT NULL, outcome BLOB,
    PRIMARY KEY (vault, epoch)) STRICT;
CREATE TABLE quarantine (since_s INTEGER NOT NULL) STRICT;
CREATE TABLE certificate (
    digest BLOB PRIMARY KEY, vault TEXT NOT NULL, epoch INTEGER NOT NULL, body BLOB NOT NULL,
    certified INTEGER NOT NULL, countersigned BLOB) STRICT;
CREATE UNIQUE INDEX certificate_of_vault ON certificate (vault, epoch);
CREATE TABLE header (
    hash BLOB PRIMARY KEY, height INTEGER NOT NULL, raw BLOB NOT NULL, chainwork BLOB NOT NULL,
    best INTEGER NOT NULL) STRICT;
CREATE INDEX header_on_best_chain ON header (height) WHERE best;
CREATE TABLE request (withdrawal_id TEXT PRIMARY KEY, digest BLOB NOT NULL) STRICT;
CREATE TABLE manifest (
    digest BLOB PRIMARY KEY, record INTEGER NOT NULL, batch_id TEXT NOT NULL,
    txid BLOB NOT NULL, replaces BLOB NOT NULL, journaled_at_s INTEGER NOT NULL,
    expires_at_s INTEGER NOT NULL, rejected INTEGER NOT NULL, released INTEGER NOT NULL) STRICT;
CREATE INDEX manifest_expiry ON manifest (expires_at_s);
CREATE INDEX manifest_journaled ON manifest (journaled_at_s);
CREATE INDEX manifest_replaced ON manifest (replaces);
CREATE TABLE payment (
    manifest BLOB NOT NULL, withdrawal_id TEXT NOT NULL,
    PRIMARY KEY (withdrawal_id, manifest)) STRICT;
CREATE INDEX payment_of_manifest ON payment (manifest);
CREATE TABLE input (
    manifest BLOB NOT NULL, txid BLOB NOT NULL, vout INTEGER NOT NULL,
    PRIMARY KEY (manifest, txid, vout)) STRICT;
CREATE TABLE change (
    manifest BLOB NOT NULL, certificate BLOB NOT NULL, txid BLOB NOT NULL, vout INTEGER NOT NULL,
    value_sat INTEGER NOT NULL, script BLOB NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (manifest, vout)) STRICT;
CREATE INDEX change_of_transaction ON change (txid);
CREATE INDEX change_position ON change (certificate, position);
CREATE TABLE decision (
    manifest BLOB NOT NULL, person TEXT NOT NULL, approves INTEGER NOT NULL, signed BLOB NOT NULL,
    decided_at_s INTEGER NOT NULL, record INTEGER PRIMARY KEY) STRICT;
CREATE INDEX decision_of_manifest ON decision (manifest);
CREATE TABLE commitment (
    manifest BLOB NOT NULL, round INTEGER NOT NULL, body BLOB NOT NULL, package BLOB,
    share_set BLOB, PRIMARY KEY (manifest, round)) STRICT;
CREATE TABLE refused (
    subject BLOB NOT NULL, error TEXT NOT NULL, record INTEGER NOT NULL,
    PRIMARY KEY (subject, error)) STRICT;
"""
TABLES: Final = (
    "genesis", "vault_key", "keygen", "quarantine", "certificate", "header", "request", "manifest",
    "payment", "input", "change", "decision", "commitment", "refused",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Written:
    """A record as the projections see it."""

    sequence: int
    kind: RecordKind
    written_at_s: int
    body: bytes


def apply(connection: sqlite3.Connection, written: Written) -> None:
    """Bring the tables up to date with one more record; raises Refusal(JOURNAL_BROKEN)."""
    project = _PROJECT.get(written.kind)
    if project is None:
        raise Refusal(ErrorId.JOURNAL_BROKEN, f"record {written.sequence} of unknown kind")
    try:
        project(connection, written)
    except Refusal as fault:
        detail = f"record {written.sequence} does not decode: {fault}"
        raise Refusal(ErrorId.JOURNAL_BROKEN, detail) from fault


def _nothing(_connection: sqlite3.Connection, _written: Written) -> None:
    return


def _genesis(connection: sqlite3.Connection, written: Written) -> None:
    genesis = decode_body(Genesis, written.body)
    connection.execute("INSERT INTO genesis VALUES (?, ?)", (genesis.digest, written.body))
    start_headers(connection, genesis.document)


def _headers(connection: sqlite3.Connection, written: Written) -> None:
    row = connection.execute("SELECT body FROM genesis").fetchone()
    network = decode(Genesis, row[0]).network
    headers = decode(Headers, written.body).headers
    append_headers(connection, headers, written.written_at_s, network)


def _cosigner_key(connection: sqlite3.Connection, written: Written) -> None:
    key = open_signed(CosignerKey, written.body).document
    connection.execute(
        "INSERT INTO vault_key VALUES (?, ?, ?)", (key.vault, key.epoch, written.body)
    )


def _keygen_proposed(connection: sqlite3.Connection, written: Written) -> None:
    proposal = decode(VaultProposal, written.body)
    connection.execute(
        "INSERT INTO keygen VALUES (?, ?, ?, 0, 0, NULL) ON CONFLICT (vault, epoch)"
        " DO UPDATE SET proposal = excluded.proposal",
        (proposal.vault, proposal.epoch, written.body),
    )


def _keygen_confirmed(connection: sqlite3.Connection, written: Written) -> None:
    proposal = decode(VaultProposal, written.body)
    connection.execute(
        "UPDATE keygen SET confirmed = 1 WHERE vault = ? AND epoch = ?",
        (proposal.vault, proposal.epoch),
    )


def _keygen_started(connection: sqlite3.Connection, written: Written) -> None:
    proposal = decode(VaultProposal, written.body)
    connection.execute(
        "UPDATE keygen SET started = ? WHERE vault = ? AND epoch = ?",
        (proposal.attempt, proposal.vault, proposal.epoch),
    )


def _share_recovered(connection: sqlite3.Connection, written: Written) -> None:
    outcome = decode(KeygenOutcome, written.body)
    proposal = VaultProposal(
        outcome.genesis, outcome.vault, MADE_TOGETHER, outcome.epoch, outcome.attempt
    )
    connection.execute(
        "INSERT INTO keygen VALUES (?, ?, ?, 0, 0, ?) ON CONFLICT (vault, epoch)"
        " DO UPDATE SET outcome = excluded.outcome",
        (outcome.vault, outcome.epoch, encode(proposal), written.body),
    )
    connection.execute("INSERT INTO quarantine VALUES (?)", (written.written_at_s,))


def _keygen_finished(connection: sqlite3.Connection, written: Written) -> None:
    outcome = decode(KeygenOutcome, written.body)
    connection.execute(
        "UPDATE keygen SET outcome = ? WHERE vault = ? AND epoch = ?",
        (written.body, outcome.vault, outcome.epoch),
    )


def _certificate_signed(connection: sqlite3.Connection, written: Written) -> None:
    certificate = decode_body(VaultCertificate, written.body)
    document = certificate.document
    values = (certificate.digest, document.vault, document.epoch, written.body)
    connection.execute("INSERT INTO certificate VALUES (?, ?, ?, ?, 0, NULL)", values)


def _vault_certified(connection: sqlite3.Connection, written: Written) -> None:
    body, _signatures = open_countersigned(written.body)
    certificate = decode_body(VaultCertificate, body)
    document = certificate.document
    values = (certificate.digest, document.vault, document.epoch, body, written.body)
    connection.execute(
        "INSERT INTO certificate VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (digest) DO UPDATE"
        " SET certified = 1, countersigned = excluded.countersigned",
        values,
    )


def _manifest_checked(connection: sqlite3.Connection, written: Written) -> None:
    manifest = summarise(written.body)
    digest = manifest.digest
    connection.execute(
        "INSERT INTO manifest VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0)",
        (digest, written.sequence, manifest.batch_id, manifest.txid, manifest.replaces,
         written.written_at_s,
         manifest.expires_at_s),
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO request VALUES (?, ?) ON CONFLICT DO NOTHING", manifest.withdrawals
    )
    connection.executemany(
        "INSERT INTO payment VALUES (?, ?)",
        [(digest, one) for one, _request in manifest.withdrawals],
    )
    connection.executemany(
        "INSERT INTO input VALUES (?, ?, ?)",
        [(digest, outpoint.txid, outpoint.vout) for outpoint in manifest.inputs],
    )
    connection.executemany(
        "INSERT INTO change VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (digest, manifest.certificate, own.outpoint.txid, own.outpoint.vout,
             own.output.value_sat, own.output.script, own.index)
            for own in manifest.changes
        ],
    )  # fmt: skip


def _refused(connection: sqlite3.Connection, written: Written) -> None:
    refused = decode(Refused, written.body)
    connection.execute(
        "INSERT INTO refused VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (refused.subject, refused.error, written.sequence),
    )


def _decision(connection: sqlite3.Connection, written: Written) -> None:
    approval = open_signed(Approval, written.body).document
    approves = approval.decision is Decision.APPROVE
    values = (approval.manifest, approval.person, approves, written.body, approval.decided_at_s)
    connection.execute(
        "INSERT INTO decision VALUES (?, ?, ?, ?, ?, ?)", (*values, written.sequence)
    )
    if not approves:
        connection.execute(
            "UPDATE manifest SET rejected = 1 WHERE digest = ?", (approval.manifest,)
        )


def _committed(connection: sqlite3.Connection, written: Written) -> None:
    committed = decode(CommitmentSet, written.body)
    connection.execute(
        "INSERT INTO commitment VALUES (?, ?, ?, NULL, NULL) ON CONFLICT (manifest, round)"
        " DO UPDATE SET body = excluded.body",
        (committed.manifest, committed.round, written.body),
    )


def _released(connection: sqlite3.Connection, written: Written) -> None:
    release = decode(Release, written.body)
    shares = decode(ShareSet, release.share_set)
    connection.execute(
        "UPDATE commitment SET package = ?, share_set = ? WHERE manifest = ? AND round = ?",
        (shares.package, release.share_set, shares.manifest, shares.round),
    )
    connection.execute("UPDATE manifest SET released = 1 WHERE digest = ?", (shares.manifest,))


_PROJECT: Final[dict[RecordKind, Callable[[sqlite3.Connection, Written], None]]] = {
    RecordKind.BOOT: _nothing,
    RecordKind.GENESIS_CONFIRMED: _genesis,
    RecordKind.HEADERS: _headers,
    RecordKind.COSIGNER_KEY: _cosigner_key,
    RecordKind.KEYGEN_PROPOSED: _keygen_proposed,
    RecordKind.KEYGEN_CONFIRMED: _keygen_confirmed,
    RecordKind.KEYGEN_STARTED: _keygen_started,
    RecordKind.KEYGEN_FINISHED: _keygen_finished,
    RecordKind.SHARE_RECOVERED: _share_recovered,
    RecordKind.CERTIFICATE_SIGNED: _certificate_signed,
    RecordKind.VAULT_CERTIFIED: _vault_certified,
    RecordKind.MANIFEST_CHECKED: _manifest_checked,
    RecordKind.REFUSED: _refused,
    RecordKind.DECISION: _decision,
    RecordKind.COMMITTED: _committed,
    RecordKind.RELEASED: _released,
}
