"""EventService: the outbox as a stream, from any sequence that is kept, then live."""

# ruff: noqa: N802 - methods are named as in the .proto file

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import grpc

from custodyd.api.premises import LOOK_EVERY_S, Premises
from custodyd.api.status import followed_height
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import event_pb2, event_pb2_grpc
from custodyd.store.events import StoredEvent, events_after, last_event

HEARTBEAT_S: Final = 5.0


class Events(event_pb2_grpc.EventServiceServicer):
    """See proto/custodyd/rpc/v1/event.proto."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises

    def WatchEvents(
        self, request: event_pb2.WatchEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[event_pb2.WatchEventsResponse]:
        self._check_start(request)
        if not self._premises.streams.take():
            raise CustodydError(ErrorId.SUBSCRIBERS_EXHAUSTED)
        try:
            yield from self._follow(request.after_sequence, context)
        finally:
            self._premises.streams.give_back()

    def _check_start(self, request: event_pb2.WatchEventsRequest) -> None:
        known = request.store_incarnation
        if known and known != self._premises.incarnation:
            raise CustodydError(
                ErrorId.STORE_INCARNATION_CHANGED,
                f"it is {self._premises.incarnation.hex()} now",
                field="store_incarnation",
            )
        with self._premises.store.reading() as connection:
            last = last_event(connection)
        if request.after_sequence > last:
            raise CustodydError(
                ErrorId.ARGUMENT_INVALID, f"the last event is {last}", field="after_sequence"
            )

    def _follow(
        self, sequence: int, context: grpc.ServicerContext
    ) -> Iterator[event_pb2.WatchEventsResponse]:
        premises = self._premises
        quiet_since = time.monotonic()
        while context.is_active() and not premises.stopping.is_set():
            seen = premises.store.changes.seen()
            with premises.store.reading() as connection:
                events = events_after(connection, sequence)
            for event in events:
                sequence = event.sequence
                yield self._response(event)
            if events:
                quiet_since = time.monotonic()
                continue
            if time.monotonic() - quiet_since >= HEARTBEAT_S:
                quiet_since = time.monotonic()
                yield self._heartbeat(sequence)
            premises.store.changes.wait(seen, LOOK_EVERY_S)

    def _response(self, event: StoredEvent) -> event_pb2.WatchEventsResponse:
        return event_pb2.WatchEventsResponse(
            event=event_pb2.Event.FromString(event.raw),
            store_incarnation=self._premises.incarnation,
        )

    def _heartbeat(self, sequence: int) -> event_pb2.WatchEventsResponse:
        with self._premises.store.reading() as connection:
            height = followed_height(connection)
        return event_pb2.WatchEventsResponse(
            event=event_pb2.Event(
                sequence=sequence,
                at_s=self._premises.now_s(),
                heartbeat=event_pb2.Heartbeat(chain_height=height),
            ),
            store_incarnation=self._premises.incarnation,
        )
