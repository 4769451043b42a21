"""The deposits' reconciler: what the follower found at external addresses, told as deposits.

It compares tables set-wise: outputs in blocks and mempool on the one side, deposits on the other.
A deposit that is creditable and buried far below is left alone; a reorganisation reaches it by its
block, which the follower then no longer counts as connected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, func, insert, or_, select, update

from custodyd.chain.follower import connected_tip
from custodyd.chain.tables import MEMPOOL_OUTPUTS, OUTPUTS
from custodyd.chain.vaults import certified_vault
from custodyd.chain.work import Work, working
from custodyd.deposits.rules import DepositState, state_on_chain, transition_name
from custodyd.deposits.tables import DEPOSITS
from custodyd.rpc.v1 import deposit_pb2
from custodyd.store import Store
from custodyd.store.context import StageContext
from custodyd.store.events import append_event
from signer_node.kernel.vault.interface import EXTERNAL_CHAIN

ROWS_PER_STEP: Final = 500
MAX_STEPS: Final = 1_000
_NO_BLOCK: Final = b""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An output to an external address as it stands now; height 0 in the mempool."""

    txid: bytes
    vout: int
    vault: str
    index: int
    amount_sat: int
    height: int
    block: bytes


def reconcile(store: Store, context: StageContext) -> None:
    """Bring deposits to what the follower's tables say; bounded steps of a transaction each."""
    if context.genesis is None:
        return
    for step in (_take_back, _confirm, _credit, _see):
        for _number in range(MAX_STEPS):
            with store.reading() as connection:
                if not _anything(connection, context, step):
                    break
            with working(store, context) as work:
                _apply(work, step)


def _anything(connection: Connection, context: StageContext, step: Any) -> bool:
    return bool(step(connection, context))


def _apply(work: Work, step: Any) -> None:
    tip = connected_tip(work.connection).height
    for sighting, before, after in step(work.connection, work.context):
        _write(work, sighting, before, after)
        message = _message(_row(work.connection, sighting), tip)
        append_event(work.connection, message, work.now_s)
        work.moved(transition_name(before, after))


_Change = tuple[Sighting, DepositState | None, DepositState]


def _take_back(connection: Connection, _context: StageContext) -> Sequence[_Change]:
    """Deposits whose output no block and no mempool holds any more, or another block does."""
    rows = connection.execute(
        select(DEPOSITS)
        .outerjoin(OUTPUTS, _same(OUTPUTS))
        .outerjoin(MEMPOOL_OUTPUTS, _same(MEMPOOL_OUTPUTS))
        .where(
            or_(
                and_(
                    DEPOSITS.c.state.in_([DepositState.CONFIRMING, DepositState.CREDITABLE]),
                    or_(OUTPUTS.c.block.is_(None), OUTPUTS.c.block != DEPOSITS.c.block),
                ),
                and_(
                    DEPOSITS.c.state == DepositState.SEEN,
                    OUTPUTS.c.block.is_(None),
                    MEMPOOL_OUTPUTS.c.txid.is_(None),
                ),
            )
        )
        .limit(ROWS_PER_STEP)
    )
    return [(_gone(row), row.state, DepositState.REORGED) for row in rows]


def _confirm(connection: Connection, context: StageContext) -> Sequence[_Change]:
    """Outputs in blocks that are no deposits yet, or deposits that were not in one."""
    tip = connected_tip(connection).height
    rows = connection.execute(
        select(OUTPUTS, DEPOSITS.c.state)
        .outerjoin(DEPOSITS, _same(OUTPUTS))
        .where(
            OUTPUTS.c.chain == EXTERNAL_CHAIN,
            or_(
                DEPOSITS.c.state.is_(None),
                DEPOSITS.c.state.in_([DepositState.SEEN, DepositState.REORGED]),
            ),
        )
        .order_by(OUTPUTS.c.height, OUTPUTS.c.txid, OUTPUTS.c.vout)
        .limit(ROWS_PER_STEP)
    )
    return [(_sighted(row), row.state, _state_of(row, tip, context)) for row in rows]


def _credit(connection: Connection, context: StageContext) -> Sequence[_Change]:
    """Deposits that became deep enough, or are no longer."""
    tip = connected_tip(connection).height
    deepest = max((tier.depth for tier in context.settings.deposit_tiers), default=1)
    rows = connection.execute(
        select(OUTPUTS, DEPOSITS.c.state)
        .join(DEPOSITS, _same(OUTPUTS))
        .where(
            or_(
                DEPOSITS.c.state == DepositState.CONFIRMING,
                and_(
                    DEPOSITS.c.state == DepositState.CREDITABLE,
                    OUTPUTS.c.height > tip - deepest + 1,
                ),
            )
        )
    )
    changes = [(_sighted(row), row.state, _state_of(row, tip, context)) for row in rows]
    return [change for change in changes if change[1] is not change[2]][:ROWS_PER_STEP]


def _see(connection: Connection, _context: StageContext) -> Sequence[_Change]:
    """Outputs in the mempool that are no deposits yet, or deposits that were lost."""
    rows = connection.execute(
        select(MEMPOOL_OUTPUTS, DEPOSITS.c.state)
        .outerjoin(DEPOSITS, _same(MEMPOOL_OUTPUTS))
        .where(
            MEMPOOL_OUTPUTS.c.chain == EXTERNAL_CHAIN,
            or_(DEPOSITS.c.state.is_(None), DEPOSITS.c.state == DepositState.REORGED),
        )
        .order_by(MEMPOOL_OUTPUTS.c.txid, MEMPOOL_OUTPUTS.c.vout)
        .limit(ROWS_PER_STEP)
    )
    return [
        (
            Sighting(bytes(row.txid), row.vout, row.vault, row.child, row.value_sat, 0, _NO_BLOCK),
            row.state,
            DepositState.SEEN,
        )
        for row in rows
    ]


def _same(table: Any) -> Any:
    return and_(DEPOSITS.c.txid == table.c.txid, DEPOSITS.c.vout == table.c.vout)


def _sighted(row: Row[Any]) -> Sighting:
    return Sighting(
        bytes(row.txid),
        row.vout,
        row.vault,
        row.child,
        row.value_sat,
        row.height,
        bytes(row.block),
    )


def _gone(row: Row[Any]) -> Sighting:
    return Sighting(bytes(row.txid), row.vout, row.vault, row.child, row.amount_sat, 0, _NO_BLOCK)


def _state_of(row: Row[Any], tip: int, context: StageContext) -> DepositState:
    confirmations = tip - row.height + 1
    return state_on_chain(row.value_sat, confirmations, context.settings.deposit_tiers)


def _write(
    work: Work, sighting: Sighting, before: DepositState | None, after: DepositState
) -> None:
    values = {
        "state": after,
        "height": sighting.height,
        "block": sighting.block,
        "updated_at_s": work.now_s,
    }
    if before is not None:
        work.connection.execute(
            update(DEPOSITS)
            .where(DEPOSITS.c.txid == sighting.txid, DEPOSITS.c.vout == sighting.vout)
            .values(**values)
        )
        return
    number = work.connection.execute(select(func.coalesce(func.max(DEPOSITS.c.number), 0) + 1))
    work.connection.execute(
        insert(DEPOSITS).values(
            number=number.scalar_one(),
            txid=sighting.txid,
            vout=sighting.vout,
            vault=sighting.vault,
            child=sighting.index,
            address=_address(work, sighting),
            amount_sat=sighting.amount_sat,
            **values,
        )
    )


def _row(connection: Connection, sighting: Sighting) -> Row[Any]:
    return connection.execute(
        select(DEPOSITS).where(DEPOSITS.c.txid == sighting.txid, DEPOSITS.c.vout == sighting.vout)
    ).one()


def _address(work: Work, sighting: Sighting) -> str:
    vault = certified_vault(work.connection, work.context.network, sighting.vault)
    return vault.kind.address(EXTERNAL_CHAIN, sighting.index)


def _message(row: Row[Any], tip: int) -> deposit_pb2.Deposit:
    block = bytes(row.block)
    return deposit_pb2.Deposit(
        txid=bytes(row.txid)[::-1].hex(),
        vout=row.vout,
        vault=row.vault,
        index=row.child,
        address=row.address,
        amount_sat=row.amount_sat,
        state=deposit_pb2.DepositState.ValueType(row.state.value),
        height=row.height,
        block_hash=block[::-1].hex(),
        confirmations=max(0, tip - row.height + 1) if block else 0,
    )


def list_page(
    connection: Connection, state: DepositState | None, before: int | None, limit: int
) -> Sequence[tuple[int, deposit_pb2.Deposit]]:
    """A page, newest first, as (number, resource): deposits seen before number `before`."""
    statement = select(DEPOSITS).order_by(DEPOSITS.c.number.desc()).limit(limit)
    if state is not None:
        statement = statement.where(DEPOSITS.c.state == state)
    if before is not None:
        statement = statement.where(DEPOSITS.c.number < before)
    rows = connection.execute(statement).all()
    tip = connected_tip(connection).height if rows else 0
    return [(row.number, _message(row, tip)) for row in rows]


def count_by_state(connection: Connection) -> dict[DepositState, int]:
    """How many deposits stand where."""
    rows = connection.execute(select(DEPOSITS.c.state, func.count()).group_by(DEPOSITS.c.state))
    return {row[0]: row[1] for row in rows}
