"""A coordinator that numbers its mailbox so that a node never reads it again, sends what no node
can take in, or comes back whole from yesterday: nodes live on, and a later coordinator is heard."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import grpc
import pytest

from signer_node.adapters.journal import Cursor
from signer_node.adapters.link import Arrived, Link
from signer_node.mailbox.v1 import mailbox_pb2
from tests.signer.test_link import Daemon
from tests.world.whole import Whole

STORE = b"s" * 16


def answer(*sequences: int) -> Any:
    items = [mailbox_pb2.InboxItem(sequence=one, envelope=b"%d" % one) for one in sequences]
    return mailbox_pb2.SyncResponse(store_incarnation=STORE, inbox=items)


def no_channel() -> grpc.Channel:
    raise AssertionError("nothing is called")


@pytest.mark.parametrize("far", [2**63 - 1, 2**63, 2**64 - 1, 2**40])
def test_a_cursor_is_not_thrown_to_where_nobody_follows(far: int) -> None:
    daemon = Daemon()
    link = Link(daemon, no_channel)
    link._take(answer(1, 2, far))
    assert (daemon.taken, daemon.at) == ([b"1", b"2"], Cursor(STORE, 2))
    link._take(answer(3))
    assert daemon.at == Cursor(STORE, 3)


def test_an_answer_that_no_code_foresaw_does_not_end_the_link() -> None:
    link: Link

    def arrived(_items: list[Arrived]) -> None:
        raise OverflowError("not foreseen")

    opened = []

    def open_channel() -> grpc.Channel:
        opened.append(1)
        if len(opened) == 3:
            link.stop()
        arrived([])
        raise AssertionError

    link = Link(Daemon(), open_channel)
    link.run()
    assert len(opened) == 3


def test_database_and_sidecar_come_back_together_from_yesterday(tmp_path: Path) -> None:
    """A snapshot of the whole machine: nothing there tells that it is old, but the nodes have read
    further than it ever wrote."""
    whole = Whole(tmp_path)
    whole.deposit(50_000_000)
    whole.mine(2)
    whole.withdraw("w-1", "w-2")
    whole.run(whole.all_final)
    database = whole.copy_store()
    sidecar = tmp_path / "yesterday.json"
    shutil.copy(tmp_path / "coordinator" / "sidecar.json", sidecar)

    whole.withdraw("w-3", "w-4")
    whole.run(whole.all_final)
    shutil.copy(sidecar, tmp_path / "coordinator" / "sidecar.json")
    before = whole.coordinator.incarnation
    whole.put_back(database)
    assert whole.coordinator.incarnation == before, "nothing here tells that it is old"

    whole.withdraw("w-5", "w-6")
    whole.run(lambda: paid(whole, "w-5", "w-6"), turns=120)
    for one in ("w-1", "w-2", "w-3", "w-4", "w-5", "w-6"):
        assert len(whole.payments_to(one)) == 1, one


def paid(whole: Whole, *ids: str) -> bool:
    return all(len(whole.payments_to(one)) == 1 for one in ids)
