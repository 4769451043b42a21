"""The event stream, read by a thread of its own into a bounded queue.

The reader resumes after what it last put into the queue. What was handled is the ledger's
business: a process that starts again begins at the cursor stored there, so events may come twice
and none is lost. The thread touches neither ledger nor keys.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import Final

from custodyd.client.connection import Coordinator
from custodyd.client.errors import ClientError
from custodyd.rpc.v1 import event_pb2

QUEUE_LENGTH: Final = 1_000
STREAM_TIMEOUT_S: Final = 300.0
PAUSE_S: Final = 0.5
_PUT_TIMEOUT_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on: after this sequence of this store incarnation (empty: unknown)."""

    sequence: int
    incarnation: bytes


class EventReader:
    """Reads until stopped. One thread takes from it; `restart` moves it to another position."""

    def __init__(self, coordinator: Coordinator, position: Position) -> None:
        self._coordinator = coordinator
        self._position = position
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._inbox: queue.Queue[event_pb2.WatchEventsResponse] = queue.Queue(QUEUE_LENGTH)
        self._thread = threading.Thread(target=self._read, name="events", daemon=True)

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no other stream; the one that runs ends with its channel."""
        self._stop.set()

    def restart(self, position: Position) -> None:
        """Go on from here with the next stream; what waits in the queue is dropped."""
        with self._lock:
            self._position = position
        self.take(0)

    def take(self, timeout_s: float) -> list[event_pb2.WatchEventsResponse]:
        """What came in; waits for the first one."""
        found: list[event_pb2.WatchEventsResponse] = []
        try:
            found.append(
                self._inbox.get(timeout=timeout_s) if timeout_s else self._inbox.get(False)
            )
            while len(found) < QUEUE_LENGTH:
                found.append(self._inbox.get_nowait())
        except queue.Empty:
            pass
        return found

    def _read(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                position = self._position
            try:
                self._stream(position)
            except (ClientError, ValueError):
                # ValueError: the channel was closed under us, at the end of the process.
                self._stop.wait(PAUSE_S)

    def _stream(self, position: Position) -> None:
        answers = self._coordinator.watch_events(
            position.sequence, position.incarnation, STREAM_TIMEOUT_S
        )
        for answer in answers:
            if self._stop.is_set() or not self._advance(position, answer):
                return
            position = Position(answer.event.sequence, answer.store_incarnation)

    def _advance(self, before: Position, answer: event_pb2.WatchEventsResponse) -> bool:
        """Queue an answer and move on; False when `restart` came between."""
        while not self._stop.is_set():
            with self._lock:
                if self._position != before:
                    return False
                try:
                    self._inbox.put_nowait(answer)
                except queue.Full:
                    pass
                else:
                    self._position = Position(answer.event.sequence, answer.store_incarnation)
                    return True
            self._stop.wait(_PUT_TIMEOUT_S)
        return False
