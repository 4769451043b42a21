"""Withdrawals as a table of states: what may follow what, on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import event_pb2, withdrawal_pb2
from custodyd.store import Store
from custodyd.store.context import StageContext
from custodyd.store.events import events_after
from custodyd.withdrawals import service
from custodyd.withdrawals.rules import (
    ENDS,
    MAY_EXPIRE,
    TRANSITIONS,
    WAITS_FOR,
    BlockedReason,
    WithdrawalState,
    check_transition,
    sources_of,
)
from custodyd.withdrawals.service import Note
from custodyd.withdrawals.tables import WITHDRAWALS
from signer_node.kernel.bitcoin.network import Network
from tests.stages.conftest import NOW_S

S = WithdrawalState
REAL_STATES = [state for state in S if state.value]


class _Nowhere:
    def call(self, method: str, *_params: object) -> Any:
        raise CustodydError(ErrorId.CHAIN_UNREACHABLE, method)


def _context(now_s: int = NOW_S) -> StageContext:
    def seal(*_arguments: object) -> bytes:
        raise AssertionError("withdrawals seal nothing")

    return StageContext(lambda: now_s, Network.REGTEST, None, _Nowhere(), seal)


def _add(connection: Connection, number: int, state: WithdrawalState, **changes: Any) -> str:
    values: dict[str, Any] = {
        "number": number,
        "external_id": f"w-{number}",
        "vault": "hot",
        "request_digest": number.to_bytes(32, "big"),
        "signed_request": b"signed",
        "script": b"\x00\x14" + bytes(20),
        "address": "bcrt1q",
        "amount_sat": 1_000,
        "account": "",
        "valid_until_s": NOW_S + 100,
        "state": state,
        "blocked_reason": WAITS_FOR[state],
        "blocked_detail": "",
        "confirmations": 0,
        "created_at_s": NOW_S,
        "updated_at_s": NOW_S,
    }
    connection.execute(insert(WITHDRAWALS).values(**(values | changes)))
    return f"w-{number}"


def _states_told(connection: Connection) -> list[tuple[str, int]]:
    told = [event_pb2.Event.FromString(event.raw) for event in events_after(connection, 0)]
    return [(event.withdrawal.external_id, event.withdrawal.state) for event in told]


def test_the_numbers_of_states_and_reasons_are_those_of_the_api() -> None:
    states = dict(withdrawal_pb2.WithdrawalState.items())
    assert {f"WITHDRAWAL_STATE_{state.name}": state.value for state in S} == states
    reasons = dict(withdrawal_pb2.BlockedReason.items())
    assert {f"BLOCKED_REASON_{reason.name}": reason.value for reason in BlockedReason} == reasons


def test_every_state_is_reached_and_only_ends_are_left_by_nothing() -> None:
    reached = {S.ACCEPTED}
    for _ in S:
        reached |= {new for (old, new) in TRANSITIONS if old in reached}
    assert reached == set(REAL_STATES)
    assert set(REAL_STATES) - {old for (old, _new) in TRANSITIONS} == ENDS
    assert S.COMMITTED not in MAY_EXPIRE
    assert S.BATCHED not in MAY_EXPIRE
    with pytest.raises(CustodydError):
        check_transition(S.FINAL, S.QUEUED)


@pytest.mark.parametrize("new", REAL_STATES, ids=lambda state: state.name)
def test_a_move_obeys_the_table_and_tells_or_changes_nothing(
    store: Store, new: WithdrawalState
) -> None:
    with store.transaction() as connection:
        for old in REAL_STATES:
            _add(connection, old.value, old)
    for old in REAL_STATES:
        one = f"w-{old.value}"

        def change(connection: Connection, one: str = one) -> None:
            service.move(connection, [one], new, NOW_S + 1)

        if old in sources_of(new):
            store.run(change)
        else:
            with pytest.raises(CustodydError) as refused:
                store.run(change)
            assert refused.value.error is ErrorId.STATE_TRANSITION_FORBIDDEN
    allowed = [old for old in REAL_STATES if old in sources_of(new)]
    with store.reading() as connection:
        assert _states_told(connection) == [(f"w-{old.value}", new.value) for old in allowed]
        for old in REAL_STATES:
            found = service.get(connection, f"w-{old.value}")
            assert found.state is (new if old in allowed else old)
            if old in allowed:
                assert found.blocked_reason is WAITS_FOR[new]


def test_a_move_of_many_is_all_or_nothing(store: Store) -> None:
    with store.transaction() as connection:
        ids = [_add(connection, number, S.QUEUED) for number in range(1, 1_200)]
        ids.append(_add(connection, 2_000, S.FINAL))

    def batch(connection: Connection) -> None:
        service.move(connection, ids, S.BATCHED, NOW_S, Note(batch_id="b-1"))

    with pytest.raises(CustodydError, match="FINAL -> BATCHED"):
        store.run(batch)
    with store.reading() as connection:
        assert service.count_by_state(connection) == {S.QUEUED: 1_199, S.FINAL: 1}
    ids.pop()
    store.run(batch)
    with store.reading() as connection:
        assert service.count_by_state(connection) == {S.BATCHED: 1_199, S.FINAL: 1}
        assert len(service.in_batch(connection, "b-1")) == 1_199


def test_a_batch_leaves_no_trace_on_what_it_gives_back(store: Store) -> None:
    with store.transaction() as connection:
        one = _add(connection, 1, S.QUEUED)
        note = Note(batch_id="b-1", txid=b"\7" * 32, outputs={one: 4})
        service.move(connection, [one], S.BATCHED, NOW_S, note)
        batched = service.get(connection, one)
        service.move(connection, [one], S.QUEUED, NOW_S)
        queued = service.get(connection, one)
    assert (batched.batch_id, batched.txid, batched.output) == ("b-1", b"\7" * 32, 4)
    assert batched.message().txid == "07" * 32
    assert queued == replace(
        batched, state=S.QUEUED, batch_id=None, txid=None, output=None,
        blocked_reason=BlockedReason.BATCH,
    )  # fmt: skip


def test_a_note_that_says_nothing_new_tells_nothing(store: Store) -> None:
    funds = Note(blocked_reason=BlockedReason.FUNDS, blocked_detail="0.1 missing")
    with store.transaction() as connection:
        ids = [_add(connection, number, S.QUEUED) for number in (1, 2)]
        service.annotate(connection, ids[:1], funds, NOW_S)
        service.annotate(connection, ids, funds, NOW_S)
        service.annotate(connection, ids, funds, NOW_S)
        service.annotate(connection, ids, Note(), NOW_S)
        assert [told for told, _ in _states_told(connection)] == ids


def test_reconciling_queues_what_was_accepted_and_expires_what_cannot_be_paid(
    store: Store,
) -> None:
    with store.transaction() as connection:
        _add(connection, 1, S.ACCEPTED)
        for number, state in enumerate((S.QUEUED, S.HELD, S.BATCHED, S.COMMITTED), start=2):
            _add(connection, number, state, valid_until_s=NOW_S - 1)
    service.reconcile(store, _context())
    with store.reading() as connection:
        states = {one.number: one.state for one in service.list_page(connection, None, None, 10)}
        assert service.queued(connection, "hot", 10)[0].number == 1
    assert states == {1: S.QUEUED, 2: S.EXPIRED, 3: S.EXPIRED, 4: S.BATCHED, 5: S.COMMITTED}
    service.reconcile(store, _context())
    with store.reading() as connection:
        assert len(_states_told(connection)) == 3


def test_only_what_is_held_is_released(store: Store) -> None:
    with store.transaction() as connection:
        held = _add(connection, 1, S.HELD)
        final = _add(connection, 2, S.FINAL)
        assert service.release_holds(connection, [held, final, "unknown"], NOW_S) == [held]
        assert service.get(connection, held).state is S.QUEUED
