"""G11: no signature without its record, durable first; a journal that fails stops signing."""

from __future__ import annotations

import sqlite3

import pytest

from signer_node import wire
from signer_node.core import node as core
from signer_node.core.step import Step
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.journal import JournalRecord, RecordKind, Release
from signer_node.kernel.documents.signing import ShareSet
from signer_node.kernel.errors import ErrorId, Refusal
from tests.world.payouts import Draft, draft, open_round, package, propose, send_package
from tests.world.quorum import SimNode, World


def records(sim: SimNode) -> list[JournalRecord]:
    rows = sim.journal._connection.execute("SELECT raw FROM record ORDER BY sequence")
    return [wire.open_signed(JournalRecord, raw).document for (raw,) in rows]


def opened() -> tuple[World, Draft, bytes]:
    world = World()
    one = draft(world)
    propose(world, one)
    commitments = open_round(world, one.digest, ["s1", "s2"])
    return world, one, wire.encode(package(world, one.digest, commitments))


def test_every_released_share_stands_in_the_journal_before_it_leaves() -> None:
    world, _one, payload = opened()
    answer = world.send("s1", PayloadType.SIGNING_PACKAGE, payload)[-1]
    record = records(world.nodes["s1"])[-1]
    assert record.kind is RecordKind.RELEASED
    release = wire.decode(Release, record.body)
    assert release.package == payload
    assert release.share_set == answer.payload


def test_every_step_of_a_payout_stands_in_the_journal_in_order() -> None:
    world, _one, payload = opened()
    world.send("s1", PayloadType.SIGNING_PACKAGE, payload)
    kinds = [record.kind for record in records(world.nodes["s1"])]
    assert kinds == [
        RecordKind.GENESIS_CONFIRMED,
        RecordKind.COSIGNER_KEY,
        RecordKind.CERTIFICATE_SIGNED,
        RecordKind.VAULT_CERTIFIED,
        RecordKind.HEADERS,
        RecordKind.MANIFEST_CHECKED,
        RecordKind.COMMITTED,
        RecordKind.RELEASED,
    ]


def test_a_journal_that_cannot_be_written_releases_nothing() -> None:
    world, _one, payload = opened()
    sim = world.nodes["s1"]
    pages = sim.journal._connection.execute("PRAGMA page_count").fetchone()[0]
    sim.journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    raw = world.coordinator.envelope(
        sim.identity_key, PayloadType.SIGNING_PACKAGE, payload, world.now_s + 60
    )
    step = core.deliver(sim.node, raw, world.now_s)
    assert any(outgoing.type is PayloadType.SHARE_SET for outgoing in step.outbox)
    sim.journal._connection.execute("PRAGMA cache_size = 10")
    with pytest.raises(Refusal) as caught:
        sim.commit(Step(step.records * 20, step.outbox * 20), world.now_s)
    assert caught.value.error is ErrorId.JOURNAL_UNWRITABLE


def test_a_share_never_leaves_without_its_record_committed() -> None:
    """A commit that fails half way leaves neither record nor message."""
    world, one, payload = opened()
    sim = world.nodes["s1"]
    before = sim.disk()
    raw = world.coordinator.envelope(
        sim.identity_key, PayloadType.SIGNING_PACKAGE, payload, world.now_s + 60
    )
    step = core.deliver(sim.node, raw, world.now_s)
    sim.journal._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(Refusal):
        sim.journal.commit(step, world.now_s)
    sim.journal._connection.execute("PRAGMA query_only = OFF")
    assert sim.journal.unsent(100, 1 << 20, world.now_s) == []
    assert sim.disk() == before
    assert one.digest


def test_a_tampered_record_is_found_when_the_node_starts() -> None:
    world, _one, _payload = opened()
    image = world.nodes["s1"].disk()
    connection = sqlite3.connect(":memory:")
    connection.deserialize(image)
    sequence, raw = connection.execute(
        "SELECT sequence, raw FROM record ORDER BY sequence DESC LIMIT 1"
    ).fetchone()
    bent = raw[:-1] + bytes([raw[-1] ^ 1])
    connection.execute("UPDATE record SET raw = ? WHERE sequence = ?", (bent, sequence))
    connection.commit()
    with pytest.raises(Refusal) as caught:
        world.nodes["s1"].start(connection.serialize())
    assert caught.value.error is ErrorId.JOURNAL_BROKEN


def test_projections_are_what_a_replay_of_the_journal_gives() -> None:
    world, one, payload = opened()
    sim = world.nodes["s1"]
    world.send("s1", PayloadType.SIGNING_PACKAGE, payload)
    ids = [asked.withdrawal_id for asked in one.requests]
    before = (sim.journal.released_for(ids), sim.journal.request_digests(ids))
    sim.journal.replay()
    assert (sim.journal.released_for(ids), sim.journal.request_digests(ids)) == before
    built = wire.decode(
        type(package(world, one.digest, open_round(world, one.digest, ["s2"]))), payload
    )
    assert isinstance(send_package(world, built, "s1"), ShareSet)
