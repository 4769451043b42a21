"""The journal: whole or not at all, chained and signed, and its projections are its replay."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node import wire
from signer_node.adapters.journal import (
    SCHEMA_VERSION,
    Cursor,
    Journal,
    Writer,
    connect,
    connect_memory,
    connect_read_only,
    reader,
)
from signer_node.adapters.projections import TABLES
from signer_node.core.step import Outgoing, Record, Step
from signer_node.kernel.curve import sign_schnorr, xonly_from_secret
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.journal import RecordKind
from signer_node.kernel.errors import ErrorId, Refusal
from tests.world.payouts import (
    Draft,
    approval,
    draft,
    operator_envelope,
    propose,
    rejection,
    sign,
)
from tests.world.quorum import World, secret

KEY = b"\x07" * 32
WRITER = Writer(
    xonly_from_secret(KEY), lambda digest: sign_schnorr(KEY, digest, bytes(32)), b"b" * 16
)
BOOT = Step(records=(Record(RecordKind.BOOT, b"b" * 16),))
NOW_S = 1_800_000_000


def refused(call: Callable[[], Any]) -> ErrorId:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.error


def tables(journal: Journal) -> dict[str, list[Any]]:
    return {name: journal.table(name) for name in TABLES}


# --- projections ---


def live(world: World, choice: random.Random) -> None:
    """A few events of a quorum's life, good and bad, in any order."""
    drafts: list[Draft] = []
    for number in range(choice.randint(2, 6)):
        match choice.choice(("propose", "reuse", "reject", "approve", "sign", "reorg", "garbage")):
            case "propose":
                drafts.append(draft(world, f"w-{number}", f"x-{number}", change_index=len(drafts)))
                propose(world, drafts[-1])
            case "reuse" if drafts:
                propose(world, draft(world, f"w-{number}", change_index=0))
            case "reject" if drafts:
                payload = rejection(world, choice.choice(drafts).digest, "alice")
                _decide(world, payload)
            case "approve" if drafts:
                payload = approval(world, choice.choice(drafts).digest, "alice")
                _decide(world, payload)
            case "sign" if drafts:
                _sign(world, choice.choice(drafts), number)
            case "reorg" if world.chain.height > 2:
                world.chain = world.chain.fork(choice.randint(1, 2))
                for _block in range(3):
                    world.chain.mine()
                world.tell_headers()
            case "garbage":
                world.send("s1", PayloadType.MANIFEST_PROPOSAL, choice.randbytes(50))
        world.now_s += choice.randint(0, 3_000)


def _decide(world: World, payload: bytes) -> None:
    try:
        world.deliver("s1", operator_envelope(world, "s1", "alice", payload))
    except Refusal:
        return


def _sign(world: World, one: Draft, number: int) -> None:
    try:
        sign(world, one, ["s1", "s2"], number + 1)
    except (AssertionError, AttributeError):
        return  # a node refused: that is journaled too


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_projections_are_what_a_replay_of_the_records_gives(seed: int) -> None:
    world = World()
    live(world, random.Random(seed))
    for sim in world.nodes.values():
        before = tables(sim.journal)
        assert before["header"]
        assert before["genesis"]
        sim.journal.replay()
        assert tables(sim.journal) == before
        assert sim.journal.verify_all() == sim.journal.head().sequence


def test_a_reorganised_chain_is_replayed_to_the_same_tip() -> None:
    world = World()
    for _block in range(4):
        world.mine()
    other = world.chain.fork(2)
    world.chain = other
    for _block in range(3):
        world.mine()
    journal = world.nodes["s1"].journal
    assert journal.headers().tip().hash == other.blocks[-1].header.hash
    before = tables(journal)
    journal.replay()
    assert tables(journal) == before


def test_what_a_signed_batch_leaves_is_found_by_every_question() -> None:
    world = World()
    batch = draft(world, "w-1", "w-2")
    propose(world, batch)
    sign(world, batch, ["s1", "s2"])
    journal = world.nodes["s1"].journal
    (paid,) = journal.released_for(["w-2", "unknown"])
    assert (paid.digest, paid.withdrawal_ids) == (batch.digest, frozenset({"w-1", "w-2"}))
    assert paid.conflict_tokens == frozenset({batch.coins[0].outpoint})
    certificate = world.vault.certificate.digest
    assert journal.highest_change_index(certificate) == 0
    assert journal.change_indices_used(certificate, [0, 1]) == {0: batch.digest}
    (row,) = journal.manifests()
    assert journal.own_outputs([row.txid])[0].index == 0
    assert (row.released, row.rejected, row.payouts) == (1, 0, 2)
    entry = journal.manifest(batch.digest)
    assert entry is not None
    assert entry.proposal == batch.proposal()
    assert world.nodes["s3"].journal.released_for(["w-1"]) == ()


# --- tampering ---


@cache
def grown() -> bytes:
    """The disk of a node with some records, as an image."""
    world = World()
    batch = draft(world)
    propose(world, batch)
    sign(world, batch, ["s1", "s2"])
    return world.nodes["s1"].disk()


def identity_of(name: str) -> bytes:
    return xonly_from_secret(secret(f"{name} identity"))


def _journal_with(change: Callable[[sqlite3.Connection], Any]) -> Journal:
    connection = connect_memory(grown())
    change(connection)
    return Journal(connection, reader(identity_of("s1")))


@settings(max_examples=100, deadline=None)
@given(sequence=st.integers(1, 7), at=st.integers(0), flip=st.integers(1, 255))
def test_a_change_of_any_byte_of_any_record_is_found(sequence: int, at: int, flip: int) -> None:
    def tamper(connection: sqlite3.Connection) -> None:
        sql = "SELECT raw FROM record WHERE sequence = ?"
        raw = bytearray(connection.execute(sql, (sequence,)).fetchone()[0])
        raw[at % len(raw)] ^= flip
        connection.execute("UPDATE record SET raw = ? WHERE sequence = ?", (raw, sequence))

    assert refused(lambda: _journal_with(tamper).verify_all()) is ErrorId.JOURNAL_BROKEN


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM record WHERE sequence = 1",
        "DELETE FROM record WHERE sequence = 4",
        "UPDATE record SET digest = zeroblob(32) WHERE sequence = 3",
        "UPDATE record SET sequence = 1000 WHERE sequence = 5",
        (
            "UPDATE record SET raw = (SELECT raw FROM record WHERE sequence = 2),"
            " digest = (SELECT digest FROM record WHERE sequence = 2) WHERE sequence = 3"
        ),
        "INSERT INTO record SELECT 99, digest, raw FROM record WHERE sequence = 2",
        "DROP TABLE record",
    ],
)
def test_records_removed_moved_or_doubled_are_found(sql: str) -> None:
    def tamper(connection: sqlite3.Connection) -> None:
        connection.execute(sql)

    assert refused(lambda: _journal_with(tamper).verify_all()) in (
        ErrorId.JOURNAL_BROKEN,
        ErrorId.JOURNAL_UNWRITABLE,
    )


def test_records_of_another_node_are_found() -> None:
    connection = connect_memory(grown())
    other = reader(identity_of("s2"))
    assert refused(lambda: Journal(connection, other)) is ErrorId.JOURNAL_BROKEN


def test_a_journal_of_a_newer_version_is_refused() -> None:
    def tamper(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")

    assert refused(lambda: _journal_with(tamper)) is ErrorId.JOURNAL_NEWER


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    path.write_bytes(b"not a database, surely" * 100)
    assert refused(lambda: Journal(connect(path), WRITER)) is ErrorId.JOURNAL_BROKEN


# --- durability ---


def test_a_full_disk_refuses_and_leaves_the_journal_whole(tmp_path: Path) -> None:
    connection = connect(tmp_path / "journal.sqlite3")
    journal = Journal(connection, WRITER)
    journal.commit(BOOT, NOW_S)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    big = Step(records=(Record(RecordKind.BOOT, b"x" * 50_000),))
    assert refused(lambda: journal.commit(big, NOW_S, Cursor(b"i" * 16, 9))) is (
        ErrorId.JOURNAL_UNWRITABLE
    )
    assert (journal.head().sequence, journal.cursor()) == (1, Cursor())
    connection.close()
    again = Journal(connect(tmp_path / "journal.sqlite3"), WRITER)
    assert again.verify_all() == 1


def test_a_journal_opened_for_reading_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "with ? and #" / "journal.sqlite3"
    journal = Journal(connect(path), WRITER)
    journal.commit(BOOT, NOW_S)
    other = Journal(connect_read_only(path), reader(WRITER.identity_key))
    assert other.verify_all() == 1
    assert refused(lambda: other.commit(BOOT, NOW_S)) is ErrorId.JOURNAL_UNWRITABLE


def test_the_file_is_durable_and_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    connection = connect(path)
    Journal(connection, WRITER).commit(BOOT, NOW_S)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    for one in tmp_path.glob("journal*"):
        assert one.stat().st_mode & 0o777 == 0o600, one


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from signer_node.adapters.journal import Cursor, Journal, Writer, connect
from signer_node.core.step import Record, Step
from signer_node.kernel.curve import sign_schnorr, xonly_from_secret
from signer_node.kernel.documents.journal import RecordKind
key = b"\x07" * 32
sign = lambda digest: sign_schnorr(key, digest, bytes(32))
step = Step(records=(Record(RecordKind.BOOT, b"b" * 16),))
journal = Journal(connect(Path(sys.argv[1])), Writer(xonly_from_secret(key), sign, b"b" * 16))
number = journal.cursor().sequence
while True:
    number += 1
    journal.commit(step, 1_800_000_000, Cursor(b"i" * 16, number))
    print(number, flush=True)
"""


def test_kill_9_between_any_two_commits_leaves_whole_steps(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    reported = 0
    for wait_s in (0.0, 0.011, 0.023, 0.037):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait_s)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait()
        reported = max([reported, *map(int, rest)])
        journal = Journal(connect(path), WRITER)
        assert journal.verify_all() == journal.head().sequence == journal.cursor().sequence
        assert journal.cursor().sequence >= reported
        journal.close()


def test_a_failing_record_takes_the_whole_step_with_it() -> None:
    journal = Journal(connect_memory(), WRITER)
    bad = Step(records=(*BOOT.records, Record(RecordKind.MANIFEST_CHECKED, b"no manifest")))
    assert refused(lambda: journal.commit(bad, NOW_S)) is ErrorId.JOURNAL_BROKEN
    assert journal.head().sequence == 0


def test_time_in_records_never_goes_back() -> None:
    journal = Journal(connect_memory(), WRITER)
    journal.commit(BOOT, NOW_S)
    journal.commit(BOOT, NOW_S - 3_600)
    assert journal.head().written_at_s == NOW_S


# --- outbox ---


def _outgoing(payload: bytes, lifetime_s: int = 60) -> Step:
    return Step(outbox=(Outgoing(PayloadType.VERDICT, payload, lifetime_s),))


def test_envelopes_are_chained_within_a_start_and_begin_anew_with_the_next() -> None:
    world = World()
    sim = world.nodes["s1"]
    sim.start(sim.disk())
    for payload in (b"one", b"two"):
        sim.journal.commit(_outgoing(payload), world.now_s)
    sent = [wire.open_envelope(raw) for _at, raw in sim.journal.unsent(9, 1 << 20, world.now_s)]
    first, second = sent
    assert (first.document.sequence, first.document.previous) == (1, ZERO_DIGEST)
    assert (second.document.sequence, second.document.previous) == (2, first.digest)
    assert first.document.incarnation == second.document.incarnation == sim.node.boot
    assert first.document.recipient == world.genesis.document.coordinator_key


def test_what_was_not_sent_is_there_after_a_crash_and_what_expired_is_not() -> None:
    world = World()
    sim = world.nodes["s1"]
    sim.journal.commit(_outgoing(b"short", lifetime_s=5), world.now_s)
    sim.journal.commit(_outgoing(b"long", lifetime_s=500), world.now_s)
    sim.crash()
    later_s = world.now_s + 100
    (waiting,) = sim.journal.unsent(9, 1 << 20, later_s)
    assert wire.open_envelope(waiting[1]).document.payload == b"long"
    sim.journal.mark_sent([], later_s)
    assert sim.journal.unsent_count() == 1
    sim.journal.mark_sent([waiting[0]], later_s)
    assert sim.journal.unsent(9, 1 << 20, later_s) == []


def test_a_call_is_bounded_in_rows_and_bytes_but_never_stuck() -> None:
    world = World()
    journal = world.nodes["s1"].journal
    for _number in range(5):
        journal.commit(_outgoing(b"x" * 1_000), world.now_s)
    assert len(journal.unsent(3, 1 << 20, world.now_s)) == 3
    assert len(journal.unsent(9, 3_000, world.now_s)) == 2
    assert len(journal.unsent(9, 10, world.now_s)) == 1


def test_nothing_is_posted_before_a_genesis_is_confirmed() -> None:
    journal = Journal(connect_memory(), WRITER)
    assert refused(lambda: journal.commit(_outgoing(b"x"), NOW_S)) is ErrorId.GENESIS_NOT_CONFIRMED
