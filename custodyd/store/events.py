"""The outbox of events: one gap-free sequence, written in the transaction of what an event tells.

An event that a reader saw is never taken back, and sequence n+1 is never visible before n: writers
are one at a time (`store.store`). Old events are compacted; whoever asks for them is told the
oldest that is kept and reads the present state instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import batch_pb2, deposit_pb2, event_pb2, withdrawal_pb2
from custodyd.store.schema import EVENTS, STORE_META

EVENTS_PER_READ: Final = 500
# Made once: to build a statement costs more than to run it, and every change runs these.
_NUMBER: Final = (
    update(STORE_META)
    .values(last_event=STORE_META.c.last_event + bindparam("count"))
    .returning(STORE_META.c.last_event)
)
_APPEND: Final = insert(EVENTS)

Subject: TypeAlias = withdrawal_pb2.Withdrawal | deposit_pb2.Deposit | batch_pb2.Batch


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its sequence; `raw` is a custodyd.rpc.v1.Event."""

    sequence: int
    raw: bytes


def append_event(connection: Connection, subject: Subject, now_s: int) -> int:
    """Append one event about a resource as it is now; returns its sequence."""
    return append_events(connection, [subject], now_s)


def append_events(connection: Connection, subjects: Sequence[Subject], now_s: int) -> int:
    """Append events in order; returns the last sequence."""
    if not subjects:
        return last_event(connection)
    last = int(connection.execute(_NUMBER, {"count": len(subjects)}).scalar_one())
    first = last - len(subjects) + 1
    rows = [
        {"sequence": first + place, "at_s": now_s, "event": _event(first + place, subject, now_s)}
        for place, subject in enumerate(subjects)
    ]
    connection.execute(_APPEND, rows)
    return last


def _event(sequence: int, subject: Subject, now_s: int) -> bytes:
    event = event_pb2.Event(sequence=sequence, at_s=now_s)
    match subject:
        case withdrawal_pb2.Withdrawal():
            event.withdrawal.CopyFrom(subject)
        case deposit_pb2.Deposit():
            event.deposit.CopyFrom(subject)
        case batch_pb2.Batch():
            event.batch.CopyFrom(subject)
    return event.SerializeToString(deterministic=True)


def last_event(connection: Connection) -> int:
    """The greatest sequence given so far; 0 for none."""
    return int(connection.execute(select(STORE_META.c.last_event)).scalar_one())


def oldest_event(connection: Connection) -> int:
    """The oldest sequence kept; one more than the last when none is."""
    return int(connection.execute(select(STORE_META.c.oldest_event)).scalar_one())


def events_after(
    connection: Connection, sequence: int, limit: int = EVENTS_PER_READ
) -> tuple[StoredEvent, ...]:
    """Events after a sequence, oldest first; raises EVENTS_COMPACTED when some are gone."""
    oldest = oldest_event(connection)
    if sequence + 1 < oldest:
        raise CustodydError(ErrorId.EVENTS_COMPACTED, f"the oldest event kept is {oldest}")
    statement = (
        select(EVENTS.c.sequence, EVENTS.c.event)
        .where(EVENTS.c.sequence > sequence)
        .order_by(EVENTS.c.sequence)
        .limit(min(limit, EVENTS_PER_READ))
    )
    return tuple(StoredEvent(row.sequence, row.event) for row in connection.execute(statement))


def compact_events(connection: Connection, before_s: int) -> int:
    """Forget events older than `before_s`, whole prefixes only; returns how many."""
    newest = connection.execute(
        select(func.max(EVENTS.c.sequence)).where(EVENTS.c.at_s < before_s)
    ).scalar_one_or_none()
    if newest is None:
        return 0
    gone = connection.execute(delete(EVENTS).where(EVENTS.c.sequence <= newest)).rowcount
    connection.execute(update(STORE_META).values(oldest_event=newest + 1))
    return gone
