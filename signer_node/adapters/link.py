"""The link: one thread that carries envelopes between the outbox and the coordinator's mailbox.

1. It sends only what it reads back from the journal's outbox, oldest first, bounded in number and
   bytes, and marks it sent after the answer; what was answered twice is sent twice, never lost.
2. A long poll is always open. What arrives goes to the daemon in order, and the next poll asks from
   the cursor that the daemon made durable together with the effects.
3. When the coordinator's store has another incarnation, the cursor begins at 0 again.
4. Faults are waited out with bounded exponential back-off and jitter; none ends the thread.
5. An item far beyond the cursor is left alone: nobody moves the cursor to where it never gets by
   itself, and the store of the coordinator could never reach it again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import grpc

from signer_node.adapters.journal import Cursor
from signer_node.kernel.errors import Refusal
from signer_node.mailbox.v1 import mailbox_pb2, mailbox_pb2_grpc

MAX_ROWS: Final = 64
MAX_BYTES: Final = 8 * 1024 * 1024
POLL_WAIT_MS: Final = 20_000
SEND_TIMEOUT_S: Final = 30.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 10.0
_SPARE_S: Final = 10.0
_TICK_S: Final = 1.0
_STALLED_S: Final = 0.5
_SHORTEST_POLL_S: Final = 0.25
_FURTHEST_JUMP: Final = 1_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arrived:
    """An inbox item: the envelope's bytes and the cursor that stands after it."""

    envelope: bytes
    cursor: Cursor


class Mail(Protocol):
    """What the link needs of the daemon; every call may block until the daemon did it."""

    def cursor(self) -> Cursor:
        """How far the inbox is durably taken."""

    def unsent(self, most_rows: int, most_bytes: int) -> list[tuple[int, bytes]]:
        """What waits in the outbox."""

    def store_changed(self, cursor: Cursor) -> None:
        """The coordinator has another store: begin at this cursor."""

    def sent(self, positions: list[int]) -> None:
        """These are durable at the coordinator."""

    def arrived(self, items: list[Arrived]) -> None:
        """Take these in order, and make effects and cursors durable."""

    def contact(self) -> None:
        """The coordinator has just answered."""


@dataclass(slots=True)
class Link:
    """`open_channel` makes a fresh channel, so that a renewed certificate is taken up."""

    mail: Mail
    open_channel: Callable[[], grpc.Channel]
    wait_ms: int = POLL_WAIT_MS
    _wake: threading.Event = field(default_factory=threading.Event)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _pause_s: float = _FIRST_PAUSE_S

    def run(self) -> None:
        """Work until `stop`."""
        while not self._stopping.is_set():
            try:
                with self.open_channel() as channel:
                    self._serve(mailbox_pb2_grpc.MailboxServiceStub(channel))
            except grpc.RpcError as fault:
                _log.warning("coordinator unreachable", extra={"grpc_code": fault.code().name})
                self._back_off()
            except Refusal as refusal:
                _log.warning("no link", extra={"error": refusal.error.name})
                self._back_off()
            except Exception:  # noqa: BLE001 - no answer of the coordinator may end the node
                _log.error("internal error", exc_info=True)
                self._back_off()

    def wake(self) -> None:
        """Something stands in the outbox, or the daemon may take again what it left."""
        self._wake.set()

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping.set()
        self._wake.set()

    def _back_off(self) -> None:
        jittered_s = self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        self._stopping.wait(jittered_s)

    def _serve(self, stub: Any) -> None:
        poll: Any = None
        began_s = 0.0
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                sent = self._send_all(stub)
                if poll is None:
                    poll, began_s = self._start_poll(stub), time.monotonic()
                self._wake.wait(_TICK_S)
                if poll.done():
                    finished, poll = poll, None
                    empty = not self._take(finished.result())
                    if empty and not sent and time.monotonic() - began_s < _SHORTEST_POLL_S:
                        # The coordinator had no room to let it wait.
                        self._wake.clear()
                        self._wake.wait(_SHORTEST_POLL_S)
        finally:
            if poll is not None:
                poll.cancel()

    def _start_poll(self, stub: Any) -> Any:
        timeout_s = self.wait_ms / 1000 + _SPARE_S
        poll = stub.Sync.future(self._request([], self.wait_ms), timeout=timeout_s)
        poll.add_done_callback(lambda _poll: self._wake.set())
        return poll

    def _send_all(self, stub: Any) -> bool:
        """Whether anything was sent: then a coordinator may have ended the poll."""
        sent = False
        while rows := self.mail.unsent(MAX_ROWS, MAX_BYTES):
            request = self._request([envelope for _position, envelope in rows], 0)
            response = stub.Sync(request, timeout=SEND_TIMEOUT_S)
            self.mail.sent([position for position, _envelope in rows])
            self._take(response)
            sent = True
        return sent

    def _request(self, outbox: list[bytes], wait_ms: int) -> Any:
        cursor = self.mail.cursor()
        return mailbox_pb2.SyncRequest(
            outbox=outbox,
            cursor=cursor.sequence,
            store_incarnation=cursor.store_incarnation,
            wait_ms=wait_ms,
        )

    def _take(self, response: Any) -> bool:
        """Hand over what is new, and whether anything was: answers of two open calls overlap."""
        self._pause_s = _FIRST_PAUSE_S
        self.mail.contact()
        incarnation = response.store_incarnation
        known = self.mail.cursor()
        if known.store_incarnation not in (b"", incarnation):
            self.mail.store_changed(Cursor(incarnation, 0))
            return True
        after = known.sequence
        items = []
        for item in response.inbox:
            if after < item.sequence <= after + _FURTHEST_JUMP:
                after = item.sequence
                items.append(Arrived(item.envelope, Cursor(incarnation, after)))
        if not items:
            return False
        self.mail.arrived(items)
        if self.mail.cursor().sequence < after:
            # The daemon waits for a person: what it left comes again, but not in a tight loop.
            self._stopping.wait(_STALLED_S)
        return True
