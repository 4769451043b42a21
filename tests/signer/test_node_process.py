"""A real signer node process over mutual TLS: its whole life, kill -9 included."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.manifest import Approval, Decision
from signer_node.wire import open_signed
from tests.signer.process import ProcessWorld
from tests.world.payouts import draft, verdict_of

ALICE = "alice's own passphrase"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessWorld]:
    made = ProcessWorld(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_batch_is_reviewed_approved_and_signed_through_restarts(world: ProcessWorld) -> None:
    world.begin()
    batch = draft(world)
    assert verdict_of(world.send("s1", PayloadType.MANIFEST_PROPOSAL, batch.proposal())) is None
    world.process.kill()
    world.process.start()

    listed = world.process.must("list", "--waiting")
    assert [row["digest"] for row in listed] == [batch.digest.hex()]
    shown = world.process.must("show", "b1")
    assert shown["digest"] == batch.digest.hex()
    group = shown["largest"]["address"]
    screen = world.process.run("show", "b1").out
    print(screen)
    last = group[-(len(group) % 4 or 4) :]
    wrong = world.process.run(
        "approve", "b1", "--key", world.alice, "--confirm", "nope", passphrase=ALICE
    )
    assert wrong.code == 3 and "DECISION_NOT_CONFIRMED" in wrong.err
    world.process.must("approve", "b1", "--key", world.alice, "--confirm", last, passphrase=ALICE)
    deadline = time.monotonic() + 10
    while not (found := [one for one in world.sent() if one.type is PayloadType.APPROVAL]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    approval = open_signed(Approval, found[0].payload)
    assert approval.document.manifest == batch.digest
    assert approval.document.decision is Decision.APPROVE
