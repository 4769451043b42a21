"""Withdrawals: intake, changes of state, reading. Each function works in the caller's transaction.

To the backend: what `accept_many` returned as accepted is durable with its event once the caller's
transaction is; the same request again is the same withdrawal; the same id with another body is
refused. To other stages: `move` is the only way to change a state, it obeys the table in rules.py,
and every change has its event in the same transaction.

A withdrawal is written as ACCEPTED. `reconcile` moves it on to QUEUED: that is the place where
something may come to hold it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, or_, select, update

from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import withdrawal_pb2
from custodyd.store.answers import (
    Answer,
    CallKey,
    find_answers,
    forget_answers,
    keep_answers,
    require_same_body,
)
from custodyd.store.context import StageContext
from custodyd.store.events import append_events
from custodyd.store.store import Store
from custodyd.withdrawals.rules import (
    MAY_EXPIRE,
    WAITS_FOR,
    BlockedReason,
    CheckedRequest,
    WithdrawalState,
    check_transition,
    check_validity,
    sources_of,
)
from custodyd.withdrawals.tables import WITHDRAWAL_CONFLICTS, WITHDRAWALS
from signer_node.kernel.errors import Refusal

CREATE: Final = "CreateWithdrawal"
MAX_LOOKUP: Final = 1_000
# How many rows one reconciler step moves, and how many ids one statement names.
STEP_ROWS: Final = 500
# Made once: to build a statement costs more than to run it, and every intake runs these.
_COLUMNS: Final = tuple(column.name for column in WITHDRAWALS.columns)
_BY_IDS: Final = (
    select(WITHDRAWALS)
    .where(WITHDRAWALS.c.external_id.in_(bindparam("ids", expanding=True)))
    .order_by(WITHDRAWALS.c.number)
)
_NEXT_NUMBER: Final = select(func.coalesce(func.max(WITHDRAWALS.c.number), 0) + 1)
_MAKE: Final = insert(WITHDRAWALS)
# States that a batch has no part in: what a batch left behind is forgotten on the way there.
_UNBATCHED: Final = frozenset({WithdrawalState.QUEUED, WithdrawalState.HELD})


@dataclass(frozen=True, slots=True)
class Intake:
    """A checked request, by which call it came."""

    key: CallKey
    checked: CheckedRequest


@dataclass(frozen=True, slots=True)
class StoredWithdrawal:
    """A withdrawal as the table has it. `txid` in internal byte order."""

    number: int
    external_id: str
    vault: str
    request_digest: bytes
    signed_request: bytes
    script: bytes
    address: str
    amount_sat: int
    account: str
    valid_until_s: int
    state: WithdrawalState
    blocked_reason: BlockedReason
    blocked_detail: str
    batch_id: str | None
    bound_to: str | None
    txid: bytes | None
    output: int | None
    confirmations: int
    created_at_s: int
    updated_at_s: int

    def message(self) -> withdrawal_pb2.Withdrawal:
        """The resource as the API shows it."""
        return withdrawal_pb2.Withdrawal(
            external_id=self.external_id,
            vault=self.vault,
            address=self.address,
            amount_sat=self.amount_sat,
            account=self.account,
            state=withdrawal_pb2.WithdrawalState.ValueType(self.state.value),
            blocked_reason=withdrawal_pb2.BlockedReason.ValueType(self.blocked_reason.value),
            blocked_detail=self.blocked_detail,
            batch_id=self.batch_id or "",
            txid=self.txid[::-1].hex() if self.txid else "",
            output=self.output or 0,
            confirmations=self.confirmations,
            created_at_s=self.created_at_s,
            updated_at_s=self.updated_at_s,
            request_digest=self.request_digest,
        )


@dataclass(frozen=True, slots=True)
class Note:
    """What a stage knows of withdrawals beside their state; None leaves a column as it is."""

    blocked_reason: BlockedReason | None = None
    blocked_detail: str | None = None
    batch_id: str | None = None
    bound_to: str | None = None
    txid: bytes | None = None
    confirmations: int | None = None
    # external_id -> output of the batch's transaction.
    outputs: Mapping[str, int] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------ intake
def accept_many(
    connection: Connection, intakes: Sequence[Intake], now_s: int
) -> list[withdrawal_pb2.Withdrawal | CustodydError | Refusal]:
    """Take checked requests in, all in this transaction; answers each in its place.

    Errors are answers: REQUEST_ID_REUSED, WITHDRAWAL_ID_REUSED (kept as evidence), and what
    `check_validity` finds of a new request. Statements are set-wise, whatever the number.
    """
    gulp = _Gulp(
        answers=find_answers(connection, {intake.key for intake in intakes}),
        known={one.external_id: one for one in _by_ids(connection, _ids_of(intakes))},
        next_number=connection.execute(_NEXT_NUMBER).scalar_one(),
        now_s=now_s,
    )
    results: list[withdrawal_pb2.Withdrawal | CustodydError | Refusal] = []
    for intake in intakes:
        try:
            results.append(gulp.take(intake))
        except (CustodydError, Refusal) as refused:
            results.append(refused)
    gulp.store(connection)
    return results


def accept(connection: Connection, intake: Intake, now_s: int) -> withdrawal_pb2.Withdrawal:
    """Take one checked request in; raises what `accept_many` answers as error."""
    (result,) = accept_many(connection, [intake], now_s)
    if isinstance(result, CustodydError | Refusal):
        raise result
    return result


def preview(connection: Connection, intake: Intake, now_s: int) -> withdrawal_pb2.Withdrawal:
    """What `accept` would answer; nothing is written (validate_only)."""
    gulp = _Gulp(
        answers=find_answers(connection, {intake.key}),
        known={one.external_id: one for one in _by_ids(connection, _ids_of([intake]))},
        next_number=0,
        now_s=now_s,
    )
    return gulp.take(intake)


def _ids_of(intakes: Sequence[Intake]) -> list[str]:
    return [intake.checked.request.document.withdrawal_id for intake in intakes]


@dataclass(slots=True)
class _Gulp:
    """One transaction's intake: what was known before, what becomes known in it."""

    answers: dict[CallKey, Answer]
    known: dict[str, StoredWithdrawal]
    next_number: int
    now_s: int
    made: list[StoredWithdrawal] = field(default_factory=list)
    answered: list[Answer] = field(default_factory=list)
    conflicts: list[Intake] = field(default_factory=list)

    def take(self, intake: Intake) -> withdrawal_pb2.Withdrawal:
        request = intake.checked.request
        stored = self.answers.get(intake.key)
        if stored is not None:
            require_same_body(stored, CREATE, request.digest)
            return withdrawal_pb2.Withdrawal.FromString(stored.answer)
        withdrawal = self.known.get(request.document.withdrawal_id)
        if withdrawal is None:
            check_validity(request.document, self.now_s)
            withdrawal = self._make(intake.checked)
        elif withdrawal.request_digest != request.digest:
            self.conflicts.append(intake)
            raise CustodydError(
                ErrorId.WITHDRAWAL_ID_REUSED, withdrawal.external_id, field="signed_request"
            )
        message = withdrawal.message()
        answer = Answer(intake.key, CREATE, request.digest, message.SerializeToString())
        self.answers[intake.key] = answer
        self.answered.append(answer)
        return message

    def _make(self, checked: CheckedRequest) -> StoredWithdrawal:
        request = checked.request.document
        withdrawal = StoredWithdrawal(
            number=self.next_number,
            external_id=request.withdrawal_id,
            vault=request.vault,
            request_digest=checked.request.digest,
            signed_request=checked.request.raw,
            script=request.script,
            address=checked.address,
            amount_sat=request.amount_sat,
            account=request.account,
            valid_until_s=request.valid_until_s,
            state=WithdrawalState.ACCEPTED,
            blocked_reason=WAITS_FOR[WithdrawalState.ACCEPTED],
            blocked_detail="",
            batch_id=None,
            bound_to=None,
            txid=None,
            output=None,
            confirmations=0,
            created_at_s=self.now_s,
            updated_at_s=self.now_s,
        )
        self.next_number += 1
        self.known[withdrawal.external_id] = withdrawal
        self.made.append(withdrawal)
        return withdrawal

    def store(self, connection: Connection) -> None:
        if self.made:
            connection.execute(_MAKE, [_columns(one) for one in self.made])
            append_events(connection, [one.message() for one in self.made], self.now_s)
        keep_answers(connection, self.answered, self.now_s)
        _keep_conflicts(connection, self.conflicts, self.now_s)


def _columns(withdrawal: StoredWithdrawal) -> dict[str, Any]:
    return {name: getattr(withdrawal, name) for name in _COLUMNS}


def _keep_conflicts(connection: Connection, intakes: Sequence[Intake], now_s: int) -> None:
    for intake in intakes:
        request = intake.checked.request
        table = WITHDRAWAL_CONFLICTS
        known = select(table.c.external_id).where(table.c.request_digest == request.digest)
        if connection.execute(known).first() is None:
            connection.execute(
                insert(table).values(
                    request_digest=request.digest,
                    external_id=request.document.withdrawal_id,
                    signed_request=request.raw,
                    seen_at_s=now_s,
                )
            )


# --------------------------------------------------------------------------------- changes of state
def move(
    connection: Connection,
    external_ids: Sequence[str],
    to: WithdrawalState,
    now_s: int,
    note: Note | None = None,
) -> None:
    """Change the state of these withdrawals, all or none, with an event for each.

    `blocked_reason` becomes what the new state waits for unless the note says otherwise. On the way
    to QUEUED and HELD the batch, transaction and output are forgotten. Raises
    STATE_TRANSITION_FORBIDDEN naming the first withdrawal whose state does not allow it.
    """
    note = note or Note()
    values = _noted(note)
    values.setdefault("blocked_reason", WAITS_FOR[to])
    values.setdefault("blocked_detail", "")
    if to in _UNBATCHED:
        values |= {"batch_id": None, "txid": None, "output": None, "confirmations": 0}
    values |= {"state": to, "updated_at_s": now_s}
    for ids in _chunks(external_ids):
        changed = connection.execute(
            update(WITHDRAWALS)
            .where(WITHDRAWALS.c.external_id.in_(ids), WITHDRAWALS.c.state.in_(sources_of(to)))
            .values(**values)
        ).rowcount
        if changed != len(set(ids)):
            _explain_refusal(connection, ids, to, changed)
    _set_outputs(connection, note.outputs)
    _tell(connection, external_ids, now_s)


def annotate(connection: Connection, external_ids: Sequence[str], note: Note, now_s: int) -> None:
    """Note something without a change of state; events only for those where something differs."""
    values = _noted(note)
    if not values and not note.outputs:
        return
    differs = or_(*[WITHDRAWALS.c[name].is_distinct_from(value) for name, value in values.items()])
    changed: list[str] = []
    for ids in _chunks(external_ids):
        statement = (
            update(WITHDRAWALS)
            .where(WITHDRAWALS.c.external_id.in_(ids), differs)
            .values(**values, updated_at_s=now_s)
            .returning(WITHDRAWALS.c.external_id)
        )
        changed += connection.execute(statement).scalars()
    _set_outputs(connection, note.outputs)
    _tell(connection, changed, now_s)


def release_holds(connection: Connection, external_ids: Sequence[str], now_s: int) -> list[str]:
    """HELD -> QUEUED for those of the ids that are held; returns which."""
    held = [
        one.external_id
        for one in lookup(connection, external_ids)
        if one.state is WithdrawalState.HELD
    ]
    move(connection, held, WithdrawalState.QUEUED, now_s)
    return held


def _noted(note: Note) -> dict[str, Any]:
    names = ("blocked_reason", "blocked_detail", "batch_id", "bound_to", "txid", "confirmations")
    return {name: getattr(note, name) for name in names if getattr(note, name) is not None}


def _set_outputs(connection: Connection, outputs: Mapping[str, int]) -> None:
    if outputs:
        connection.execute(
            update(WITHDRAWALS)
            .where(WITHDRAWALS.c.external_id == bindparam("which"))
            .values(output=bindparam("place")),
            [{"which": one, "place": place} for one, place in outputs.items()],
        )


def _explain_refusal(
    connection: Connection, ids: Sequence[str], to: WithdrawalState, changed: int
) -> None:
    # Those moved just now stand in `to` already: look for one that could not come there.
    for withdrawal in _by_ids(connection, ids):
        if withdrawal.state is not to:
            check_transition(withdrawal.state, to)
    raise CustodydError(
        ErrorId.STATE_TRANSITION_FORBIDDEN,
        f"{len(ids) - changed} of {len(ids)} withdrawals are unknown or {to.name} already",
    )


def _tell(connection: Connection, external_ids: Sequence[str], now_s: int) -> None:
    append_events(connection, [one.message() for one in _by_ids(connection, external_ids)], now_s)


# ----------------------------------------------------------------------------------------- reading
def get(connection: Connection, external_id: str) -> StoredWithdrawal:
    """One withdrawal; raises NOT_FOUND."""
    found = lookup(connection, [external_id])
    if not found:
        raise CustodydError(ErrorId.NOT_FOUND, f"withdrawal {external_id}", field="external_id")
    return found[0]


def lookup(connection: Connection, external_ids: Collection[str]) -> list[StoredWithdrawal]:
    """Those of the ids that exist, oldest first."""
    return _by_ids(connection, list(external_ids))


def list_page(
    connection: Connection, state: WithdrawalState | None, after: int | None, limit: int
) -> list[StoredWithdrawal]:
    """A page, newest first: those accepted before number `after`."""
    statement = select(WITHDRAWALS).order_by(WITHDRAWALS.c.number.desc()).limit(limit)
    if state is not None:
        statement = statement.where(WITHDRAWALS.c.state == state)
    if after is not None:
        statement = statement.where(WITHDRAWALS.c.number < after)
    return _read(connection, statement)


def queued(connection: Connection, vault: str, limit: int) -> list[StoredWithdrawal]:
    """What waits for a batch, oldest first."""
    return _read(
        connection,
        select(WITHDRAWALS)
        .where(WITHDRAWALS.c.state == WithdrawalState.QUEUED, WITHDRAWALS.c.vault == vault)
        .order_by(WITHDRAWALS.c.number)
        .limit(limit),
    )


def in_batch(connection: Connection, batch_id: str) -> list[StoredWithdrawal]:
    """The withdrawals of a batch, oldest first."""
    statement = select(WITHDRAWALS).where(WITHDRAWALS.c.batch_id == batch_id)
    return _read(connection, statement.order_by(WITHDRAWALS.c.number))


def count_by_state(connection: Connection) -> dict[WithdrawalState, int]:
    """How many stand where."""
    rows = connection.execute(
        select(WITHDRAWALS.c.state, func.count()).group_by(WITHDRAWALS.c.state)
    )
    return {row[0]: row[1] for row in rows}


def oldest_by_state(connection: Connection) -> dict[WithdrawalState, int]:
    """Since when the oldest stands in each state that is not an end, seconds since 1970."""
    rows = connection.execute(
        select(WITHDRAWALS.c.state, func.min(WITHDRAWALS.c.created_at_s)).group_by(
            WITHDRAWALS.c.state
        )
    )
    return {row[0]: row[1] for row in rows}


def _by_ids(connection: Connection, external_ids: Sequence[str]) -> list[StoredWithdrawal]:
    found: list[StoredWithdrawal] = []
    for ids in _chunks(external_ids):
        found += map(_stored, connection.execute(_BY_IDS, {"ids": ids}))
    return found


def _read(connection: Connection, statement: Select[Any]) -> list[StoredWithdrawal]:
    return [_stored(row) for row in connection.execute(statement)]


def _stored(row: Row[Any]) -> StoredWithdrawal:
    return StoredWithdrawal(**row._mapping)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), STEP_ROWS):
        yield ids[start : start + STEP_ROWS]


# ------------------------------------------------------------------------------------- reconciling
def reconcile(store: Store, context: StageContext) -> None:
    """Queue what was accepted, expire what nobody can pay any more, forget old answers."""
    _queue_accepted(store, context)
    _expire(store, context)
    with store.transaction() as connection:
        context.fence(connection)
        forget_answers(connection, context.now_s())


def _queue_accepted(store: Store, context: StageContext) -> None:
    accepted = WITHDRAWALS.c.state == WithdrawalState.ACCEPTED
    statement = select(WITHDRAWALS.c.external_id).where(accepted).order_by(WITHDRAWALS.c.number)
    _move_all(store, context, statement, WithdrawalState.QUEUED)


def _expire(store: Store, context: StageContext) -> None:
    statement = (
        select(WITHDRAWALS.c.external_id)
        .where(
            WITHDRAWALS.c.state.in_(MAY_EXPIRE),
            WITHDRAWALS.c.bound_to.is_(None),
            WITHDRAWALS.c.valid_until_s < context.now_s(),
        )
        .order_by(WITHDRAWALS.c.number)
    )
    _move_all(store, context, statement, WithdrawalState.EXPIRED)


def _move_all(store: Store, context: StageContext, which: Select[Any], to: WithdrawalState) -> None:
    """Move what `which` selects, a bounded step in each transaction, until nothing is left."""
    with store.reading() as connection:
        if connection.execute(which.limit(1)).first() is None:
            return
    count = STEP_ROWS
    while count == STEP_ROWS:
        with store.transaction() as connection:
            context.fence(connection)
            ids = list(connection.execute(which.limit(STEP_ROWS)).scalars())
            move(connection, ids, to, context.now_s())
            count = len(ids)
