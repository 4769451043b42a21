"""The daemon's writer: one step, one commit, in order; what it cannot do safely it does not do."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from signer_node.adapters.clock import MAX_STEP_S, Clock
from signer_node.adapters.journal import Cursor, Journal, connect_memory
from signer_node.adapters.link import Arrived
from signer_node.core.ledger import Node
from signer_node.core.step import Step
from signer_node.daemon.notice import Notifier
from signer_node.daemon.service import Service
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.manifest import Headers
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.wire import encode
from tests.world.payouts import draft
from tests.world.quorum import START_S, Messenger, SimNode, World, secret

STORE = b"s" * 16


class Time:
    """A wall clock and a steady one."""

    def __init__(self) -> None:
        self.wall_s = float(START_S)
        self.steady_s = 100.0

    def pass_s(self, seconds: float) -> None:
        self.wall_s += seconds
        self.steady_s += seconds

    def clock(self, not_before_s: int = 0) -> Clock:
        return Clock(not_before_s, lambda: self.wall_s, lambda: self.steady_s)


class Bench:
    """A node s1 that is new, or one that is already in a world's quorum."""

    def __init__(self, world: World, *, fresh: bool) -> None:
        self.world = world
        sim = SimNode("s1") if fresh else world.nodes["s1"]
        self.time = Time()
        self.journal: Journal = sim.journal
        self.node: Node = sim.node
        notifier = Notifier((), None)
        self.service = Service(sim.node, sim.journal, self.time.clock(), notifier)
        self.service.start()
        self.sequence = 0
        self.messenger = world.coordinator

    def items(self, *envelopes: bytes) -> list[Arrived]:
        made = []
        for envelope in envelopes:
            self.sequence += 1
            made.append(Arrived(envelope, Cursor(STORE, self.sequence)))
        return made

    def envelope(self, kind: PayloadType, payload: bytes) -> bytes:
        expires_at_s = self.world.now_s + 3_600
        return self.messenger.envelope(self.node.identity_key, kind, payload, expires_at_s)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def fresh(world: World) -> Iterator[Bench]:
    bench = Bench(world, fresh=True)
    yield bench
    bench.service.stop()


@pytest.fixture
def bench(world: World) -> Iterator[Bench]:
    made = Bench(world, fresh=False)
    yield made
    made.service.stop()


def test_before_the_genesis_is_confirmed_the_inbox_waits_and_nothing_is_lost(
    fresh: Bench, world: World
) -> None:
    world.mine()
    genesis = fresh.envelope(PayloadType.GENESIS, world.genesis.raw)
    headers = fresh.envelope(PayloadType.HEADERS, encode(Headers(world.chain.headers(0))))
    items = fresh.items(genesis, headers)
    fresh.service.arrived(items)
    assert fresh.service.cursor() == Cursor(STORE, 1)
    assert fresh.journal.pending_genesis() == world.genesis.raw
    assert fresh.journal.genesis() is None

    fresh.service.confirm_genesis(" ".join(words_from_digest(world.genesis.digest)))
    fresh.service.arrived(items[1:])
    assert fresh.service.cursor() == Cursor(STORE, 2)
    assert fresh.journal.headers().tip().height == world.chain.height


def test_words_of_another_genesis_confirm_nothing(fresh: Bench, world: World) -> None:
    fresh.service.arrived(fresh.items(fresh.envelope(PayloadType.GENESIS, world.genesis.raw)))
    for words in ("", "abandon " * 24, " ".join(words_from_digest(bytes(32)))):
        with pytest.raises(Refusal) as caught:
            fresh.service.confirm_genesis(words)
        assert caught.value.error is ErrorId.GENESIS_WORDS_DIFFER
    assert fresh.journal.genesis() is None


def test_a_genesis_that_is_not_ours_is_passed_over(fresh: Bench, world: World) -> None:
    stranger = Messenger(secret("stranger"), world.genesis.digest)
    forged = stranger.envelope(
        fresh.node.identity_key, PayloadType.GENESIS, world.genesis.raw, START_S + 60
    )
    fresh.service.arrived(fresh.items(forged))
    assert fresh.journal.pending_genesis() is None
    assert fresh.service.cursor() == Cursor(STORE, 1)
    assert fresh.service.refusals["ENVELOPE_SENDER_UNKNOWN"] == 1


def test_bad_envelopes_are_counted_and_the_next_one_is_taken(bench: Bench, world: World) -> None:
    world.mine(tell=["s2"])
    good = bench.envelope(PayloadType.HEADERS, encode(Headers(world.chain.headers(0))))
    bench.service.arrived(bench.items(b"garbage", b"", good[:-1], good))
    assert bench.service.cursor() == Cursor(STORE, 4)
    assert bench.journal.headers().tip().height == world.chain.height
    assert sum(bench.service.refusals.values()) == 3


def test_a_bug_in_one_event_does_not_end_the_node(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from signer_node.core import node as core

    def broken(*_args: object) -> Step:
        raise KeyError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(core, "deliver", broken)
        bench.service.arrived(bench.items(b"anything"))
    assert bench.service.refusals["INTERNAL"] == 1
    assert bench.service.cursor() == Cursor(STORE, 1)
    bench.service.beat()


@pytest.mark.parametrize("step_s", [MAX_STEP_S + 1.0, -MAX_STEP_S - 1.0, 86_400.0])
def test_a_clock_that_jumps_stops_the_node_until_a_restart(
    bench: Bench, world: World, step_s: float
) -> None:
    bench.time.pass_s(10)
    bench.service.beat()
    bench.time.wall_s += step_s
    head = bench.journal.head()
    batch = bench.envelope(PayloadType.MANIFEST_PROPOSAL, draft(world).proposal())
    after = bench.service.cursor()
    head = bench.journal.head()
    bench.service.arrived(bench.items(batch))
    bench.time.wall_s -= step_s
    bench.service.arrived(bench.items(batch))
    assert (bench.service.cursor(), bench.journal.head()) == (after, head)
    halted = bench.service.halted
    assert halted is not None
    assert halted.error is ErrorId.CLOCK_UNSOUND
    with pytest.raises(Refusal):
        bench.service.deliver(batch)


def test_a_slewed_clock_is_sound() -> None:
    time = Time()
    clock = time.clock()
    for _second in range(20):
        time.pass_s(60)
        time.wall_s += 1
    assert clock.sound_s() == int(time.wall_s)


def test_a_clock_before_the_journals_last_record_is_unsound() -> None:
    time = Time()
    clock = time.clock(not_before_s=START_S + MAX_STEP_S + 1)
    with pytest.raises(Refusal) as caught:
        clock.sound_s()
    assert caught.value.error is ErrorId.CLOCK_UNSOUND


def test_a_disk_that_fails_stops_the_node_and_moves_no_cursor(bench: Bench, world: World) -> None:
    connection = bench.journal._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    batch = bench.envelope(PayloadType.MANIFEST_PROPOSAL, draft(world).proposal())
    connection.execute(f"PRAGMA max_page_count = {pages}")
    before = bench.journal.head()
    filler = [
        bench.envelope(PayloadType.MANIFEST_PROPOSAL, bytes((n,)) * 4_000) for n in range(1, 4)
    ]
    items = bench.items(*filler, batch)
    with contextlib.suppress(Refusal):
        bench.service.arrived(items)
    halted = bench.service.halted
    assert halted is not None
    assert halted.error is ErrorId.JOURNAL_UNWRITABLE
    assert bench.service.cursor().sequence < len(items)
    assert bench.journal.head().sequence >= before.sequence
    assert bench.journal.verify_all() == bench.journal.head().sequence


def test_another_store_begins_at_zero(bench: Bench) -> None:
    bench.service.arrived(bench.items(b"garbage"))
    bench.service.store_changed(Cursor(b"t" * 16, 0))
    assert bench.service.cursor() == Cursor(b"t" * 16, 0)


def test_a_waiting_manifest_is_told_by_file_and_command(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = world.nodes["s1"]
    told = tmp_path / "told"
    script = tmp_path / "hook"
    script.write_text(f'#!/bin/sh\necho "$1 $2" > {tmp_path}/called\n')
    script.chmod(0o700)
    notifier = Notifier([str(script), "waits"], told)
    notifier.start()
    service = Service(sim.node, sim.journal, Time().clock(), notifier)
    service.start()
    batch = draft(world)
    envelope = world.coordinator.envelope(
        sim.identity_key, PayloadType.MANIFEST_PROPOSAL, batch.proposal(), world.now_s + 60
    )
    service.deliver(envelope)
    service.deliver(envelope)
    service.stop()
    notifier.stop()
    (line,) = told.read_text().splitlines()
    assert line.split()[1:] == [batch.digest.hex(), "b1"]
    assert (tmp_path / "called").read_text() == "waits b1\n"


def test_a_hook_that_fails_is_logged_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from signer_node.daemon.notice import Waiting

    notifier = Notifier(["/bin/false"], tmp_path / "no such folder" / "file")
    notifier.start()
    with caplog.at_level(logging.WARNING):
        notifier.tell(Waiting("b1", bytes(32), 0))
        notifier.stop()
    assert "notice failed" in caplog.text


def test_the_journal_of_a_bench_is_in_memory() -> None:
    assert connect_memory().execute("PRAGMA database_list").fetchall()[0][2] == ""
