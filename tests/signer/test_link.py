"""The link: everything arrives once, in order, through faults of the way and of the store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from signer_node.adapters.journal import Cursor
from signer_node.adapters.link import MAX_ROWS, Arrived, Link
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.mailbox.v1 import mailbox_pb2, mailbox_pb2_grpc


class Store(mailbox_pb2_grpc.MailboxServiceServicer):
    """A coordinator's mailbox; `plan` may answer or fail a call before it is served."""

    def __init__(self) -> None:
        self.incarnation = os.urandom(16)
        self.inbox: list[bytes] = []
        self.outbox: list[bytes] = []
        self.calls: list[Any] = []
        self.plan: list[Callable[[Any], Any]] = []
        self.changed = threading.Condition()
        self.may_wait = True

    def Sync(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        with self.changed:
            self.calls.append(request)
            if self.plan:
                self.plan.pop(0)(context)
            same = request.store_incarnation in (b"", self.incarnation)
            after = request.cursor if same else 0
            self.outbox.extend(request.outbox)
            self.changed.notify_all()
            if self.may_wait:
                self.changed.wait_for(lambda: len(self.inbox) > after, request.wait_ms / 1000)
            return mailbox_pb2.SyncResponse(
                store_incarnation=self.incarnation,
                inbox=[
                    mailbox_pb2.InboxItem(sequence=n, envelope=one)
                    for n, one in enumerate(self.inbox, 1)
                    if n > after
                ],
            )

    def put(self, *envelopes: bytes) -> None:
        with self.changed:
            self.inbox.extend(envelopes)
            self.changed.notify_all()

    def wait(self, until: Callable[[], bool], timeout_s: float = 10) -> None:
        with self.changed:
            assert self.changed.wait_for(until, timeout_s)


class Daemon:
    """A journal's side of the link in memory; `stalled` takes nothing, as before the genesis."""

    def __init__(self) -> None:
        self.at = Cursor()
        self.taken: list[bytes] = []
        self.waiting: dict[int, bytes] = {}
        self.stalled = False
        self.contacts = 0
        self.changes = 0

    def cursor(self) -> Cursor:
        return self.at

    def unsent(self, most_rows: int, most_bytes: int) -> list[tuple[int, bytes]]:
        return sorted(self.waiting.items())[:most_rows]

    def sent(self, positions: list[int]) -> None:
        for position in positions:
            self.waiting.pop(position)

    def store_changed(self, cursor: Cursor) -> None:
        self.at = cursor
        self.changes += 1

    def arrived(self, items: list[Arrived]) -> None:
        if not self.stalled:
            self.taken.extend(item.envelope for item in items)
            self.at = items[-1].cursor

    def contact(self) -> None:
        self.contacts += 1


class Way:
    """Store, daemon and the link between them."""

    def __init__(self) -> None:
        self.store = Store()
        self.daemon = Daemon()
        self.server = grpc.server(ThreadPoolExecutor(4))
        mailbox_pb2_grpc.add_MailboxServiceServicer_to_server(self.store, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.opened = 0
        self.refuse_opening = 0
        self.link = Link(self.daemon, self.open, wait_ms=1_000)
        self.thread = threading.Thread(target=self.link.run)

    def open(self) -> grpc.Channel:
        self.opened += 1
        if self.refuse_opening:
            self.refuse_opening -= 1
            raise Refusal(ErrorId.FILE_UNREADABLE, "no certificate")
        return grpc.insecure_channel(f"127.0.0.1:{self.port}")

    def close(self) -> None:
        self.link.stop()
        self.thread.join(15)
        self.server.stop(0).wait()
        assert not self.thread.is_alive()


@pytest.fixture
def way() -> Iterator[Way]:
    made = Way()
    made.thread.start()
    try:
        yield made
    finally:
        made.close()


def eventually(until: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def unavailable(context: Any) -> None:
    context.abort(grpc.StatusCode.UNAVAILABLE, "as the test wants it")


def test_what_arrives_while_a_poll_is_open_comes_at_once_and_in_order(way: Way) -> None:
    way.store.wait(lambda: bool(way.store.calls))
    began = time.monotonic()
    way.store.put(b"1", b"2", b"3")
    eventually(lambda: way.daemon.taken == [b"1", b"2", b"3"])
    assert time.monotonic() - began < 0.9
    assert way.daemon.at == Cursor(way.store.incarnation, 3)
    assert way.daemon.contacts >= 1


def test_what_is_to_be_sent_does_not_wait_for_the_poll(way: Way) -> None:
    way.store.wait(lambda: bool(way.store.calls))
    began = time.monotonic()
    way.daemon.waiting = {1: b"a", 2: b"b"}
    way.link.wake()
    way.store.wait(lambda: way.store.outbox == [b"a", b"b"])
    eventually(lambda: not way.daemon.waiting)
    assert time.monotonic() - began < 0.9


def test_more_than_one_call_holds_is_sent_in_order(way: Way) -> None:
    way.daemon.waiting = {n: bytes((n % 256,)) for n in range(MAX_ROWS * 2 + 1)}
    way.link.wake()
    eventually(lambda: not way.daemon.waiting)
    assert way.store.outbox == [bytes((n % 256,)) for n in range(MAX_ROWS * 2 + 1)]
    assert max(len(call.outbox) for call in way.store.calls) == MAX_ROWS


def test_faults_of_the_way_lose_nothing_and_repeat_nothing(way: Way) -> None:
    way.store.plan = [unavailable] * 3
    way.refuse_opening = 2
    way.daemon.waiting = {1: b"a"}
    way.store.put(b"1", b"2")
    way.link.wake()
    eventually(lambda: way.daemon.taken == [b"1", b"2"] and not way.daemon.waiting)
    assert way.store.outbox == [b"a"]
    assert way.opened >= 3


def test_an_answer_lost_on_the_way_is_asked_for_again(way: Way) -> None:
    def after_storing(context: Any) -> None:
        way.store.outbox.extend(way.store.calls[-1].outbox)
        unavailable(context)

    way.store.wait(lambda: bool(way.store.calls))
    way.store.plan = [after_storing]
    way.daemon.waiting = {1: b"a"}
    way.link.wake()
    eventually(lambda: not way.daemon.waiting)
    assert way.store.outbox == [b"a", b"a"]


def test_another_store_is_taken_from_its_beginning(way: Way) -> None:
    way.store.put(b"1", b"2", b"3")
    eventually(lambda: len(way.daemon.taken) == 3)
    with way.store.changed:
        way.store.incarnation = os.urandom(16)
        way.store.inbox = [b"x", b"y", b"z", b"w"]
        way.store.changed.notify_all()
    eventually(lambda: way.daemon.taken[3:] == [b"x", b"y", b"z", b"w"])
    assert way.daemon.at == Cursor(way.store.incarnation, 4)
    assert way.daemon.changes == 1


def test_a_daemon_that_waits_for_a_person_is_asked_again_but_not_in_a_tight_loop(way: Way) -> None:
    way.daemon.stalled = True
    way.store.put(b"1")
    time.sleep(1.2)
    assert way.daemon.taken == []
    assert len(way.store.calls) < 12
    way.daemon.stalled = False
    eventually(lambda: way.daemon.taken == [b"1"])


def test_a_coordinator_that_lets_nobody_wait_is_not_asked_in_a_tight_loop(way: Way) -> None:
    way.store.may_wait = False
    time.sleep(1.0)
    assert len(way.store.calls) < 12


def test_pauses_grow_to_a_bound_and_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    way = Way()
    pauses: list[float] = []
    monkeypatch.setattr(way.link._stopping, "wait", pauses.append)
    for _fault in range(12):
        way.link._back_off()
    assert pauses[0] <= 0.1
    assert pauses[-1] <= 10.0
    assert all(5.0 <= pause <= 10.0 for pause in pauses[-3:])
    way.link._take(mailbox_pb2.SyncResponse(store_incarnation=b"s"))
    way.link._back_off()
    assert pauses[-1] <= 0.1
    way.server.stop(0).wait()
