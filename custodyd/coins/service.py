"""Coins: reading what can be spent, reserving it for one batch, giving it back, balances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update
from sqlalchemy.sql.selectable import Select

from custodyd.chain.tables import MEMPOOL_OUTPUTS, OUTPUTS, SPENDS, TRANSACTIONS
from custodyd.coins.rules import Coin
from custodyd.coins.tables import CHANGE, RESERVATIONS
from signer_node.kernel.bitcoin.transaction import FORBIDDEN_STRIPPED_BYTES, Outpoint
from signer_node.kernel.vault.interface import EXTERNAL_CHAIN, INTERNAL_CHAIN

COINBASE_MATURITY: Final = 100
MAX_CANDIDATES: Final = 5_000
"""Coins that one selection looks at, the most valuable first."""


@dataclass(frozen=True, slots=True)
class Depth:
    """From where one looks: the tip's height and what the genesis asks of a deposit."""

    tip_height: int
    min_confirmations: int


@dataclass(frozen=True, slots=True)
class OwnChange:
    """A change output of a batch's transaction, whose bytes without witness are `stripped`."""

    outpoint: Outpoint
    index: int
    value_sat: int
    script: bytes
    stripped: bytes


@dataclass(frozen=True, slots=True)
class Balance:
    """Disjoint figures; their sum is what the vault holds or expects.

    `reserved_sat` is what leaves by batches that are not confirmed: their inputs less their change,
    which is `pending_change_sat`.
    """

    available_sat: int
    reserved_sat: int
    pending_change_sat: int
    pending_deposits_sat: int


def spendable(connection: Connection, vault: str, depth: Depth) -> Sequence[Coin]:
    """What a batch may spend now: deep enough, not spent, not reserved; then own change."""
    confirmed = _unspent(
        select(OUTPUTS).where(OUTPUTS.c.vault == vault, _deep_enough(depth)), OUTPUTS
    )
    confirmed = confirmed.join(TRANSACTIONS, TRANSACTIONS.c.txid == OUTPUTS.c.txid).where(
        func.length(TRANSACTIONS.c.stripped) != FORBIDDEN_STRIPPED_BYTES
    )
    unconfirmed = _unspent(
        select(CHANGE).where(CHANGE.c.vault == vault, CHANGE.c.spendable, ~_in_a_block()), CHANGE
    )
    coins = [_confirmed_coin(row) for row in _most_valuable(connection, confirmed, OUTPUTS)]
    coins += [_change_coin(row) for row in _most_valuable(connection, unconfirmed, CHANGE)]
    return coins


def reserve(connection: Connection, outpoints: Iterable[Outpoint], batch_id: str) -> None:
    """Reserve coins for a batch; IntegrityError if one is reserved already."""
    rows = [{"txid": one.txid, "vout": one.vout, "batch_id": batch_id} for one in outpoints]
    connection.execute(insert(RESERVATIONS), rows)


def note_change(
    connection: Connection, vault: str, batch_id: str, changes: Sequence[OwnChange]
) -> None:
    """Remember the change outputs of a batch's transaction; not spendable yet."""
    rows = [
        {
            "txid": one.outpoint.txid,
            "vout": one.outpoint.vout,
            "vault": vault,
            "child": one.index,
            "value_sat": one.value_sat,
            "script": one.script,
            "batch_id": batch_id,
            "spendable": False,
            "stripped": one.stripped,
        }
        for one in changes
    ]
    if rows:
        connection.execute(insert(CHANGE), rows)


def publish_change(connection: Connection, batch_id: str) -> None:
    """The batch's transaction is out: its change may be spent."""
    connection.execute(update(CHANGE).where(CHANGE.c.batch_id == batch_id).values(spendable=True))


def free(connection: Connection, batch_id: str) -> None:
    """Give back what a batch reserved and forget its change: it will never be signed."""
    connection.execute(delete(RESERVATIONS).where(RESERVATIONS.c.batch_id == batch_id))
    connection.execute(delete(CHANGE).where(CHANGE.c.batch_id == batch_id))


def hand_over(connection: Connection, old_batch: str, new_batch: str) -> None:
    """Coins and change pass to a replacement, which spends and pays the same."""
    for table in (RESERVATIONS, CHANGE):
        connection.execute(
            update(table).where(table.c.batch_id == old_batch).values(batch_id=new_batch)
        )


def balance(connection: Connection, vault: str, depth: Depth) -> Balance:
    """The vault's figures, from one query and so of one moment."""
    unspent = and_(OUTPUTS.c.vault == vault, ~_spent(OUTPUTS))
    waiting = and_(CHANGE.c.vault == vault, ~_in_a_block(), ~_reserved(CHANGE))
    row = connection.execute(
        select(
            _total(OUTPUTS, unspent, ~_reserved(OUTPUTS), _deep_enough(depth)),
            _total(OUTPUTS, unspent, _reserved(OUTPUTS)),
            _total(CHANGE, waiting),
            _total(OUTPUTS, unspent, ~_reserved(OUTPUTS), ~_deep_enough(depth)),
            _total(
                MEMPOOL_OUTPUTS,
                MEMPOOL_OUTPUTS.c.vault == vault,
                MEMPOOL_OUTPUTS.c.chain == EXTERNAL_CHAIN,
                ~_confirmed(MEMPOOL_OUTPUTS),
            ),
        )
    ).one()
    available, reserved, change, shallow, unconfirmed = map(int, row)
    return Balance(available, max(0, reserved - change), change, shallow + unconfirmed)


def _total(table: Any, *conditions: ColumnElement[bool]) -> Any:
    summed = func.coalesce(func.sum(table.c.value_sat), 0)
    return select(summed).where(*conditions).correlate(None).scalar_subquery()


def _deep_enough(depth: Depth) -> ColumnElement[bool]:
    """The kernel's input rule: deposits as deep as the genesis asks, change 1, coinbases 100."""
    external = depth.tip_height - depth.min_confirmations + 1
    mature = depth.tip_height - max(COINBASE_MATURITY, depth.min_confirmations) + 1
    return and_(
        or_(OUTPUTS.c.chain == INTERNAL_CHAIN, OUTPUTS.c.height <= external),
        or_(~OUTPUTS.c.coinbase, OUTPUTS.c.height <= mature),
    )


def _same_outpoint(one: Any, other: Any) -> ColumnElement[bool]:
    return and_(one.c.txid == other.c.txid, one.c.vout == other.c.vout)


def _spent(table: Any) -> ColumnElement[bool]:
    return select(SPENDS.c.vout).where(_same_outpoint(SPENDS, table)).correlate(table).exists()


def _reserved(table: Any) -> ColumnElement[bool]:
    found = select(RESERVATIONS.c.vout).where(_same_outpoint(RESERVATIONS, table))
    return found.correlate(table).exists()


def _confirmed(table: Any) -> ColumnElement[bool]:
    return select(OUTPUTS.c.vout).where(_same_outpoint(OUTPUTS, table)).correlate(table).exists()


def _in_a_block() -> ColumnElement[bool]:
    return _confirmed(CHANGE)


def _unspent(statement: Select[Any], table: Any) -> Select[Any]:
    return statement.where(~_spent(table), ~_reserved(table))


def _most_valuable(connection: Connection, statement: Select[Any], table: Any) -> Sequence[Any]:
    ordered = statement.order_by(table.c.value_sat.desc(), table.c.txid, table.c.vout)
    return connection.execute(ordered.limit(MAX_CANDIDATES)).all()


def _confirmed_coin(row: Any) -> Coin:
    outpoint = Outpoint(bytes(row.txid), row.vout)
    return Coin(outpoint, row.value_sat, bytes(row.script), row.chain, row.child, row.height)


def _change_coin(row: Any) -> Coin:
    outpoint = Outpoint(bytes(row.txid), row.vout)
    return Coin(outpoint, row.value_sat, bytes(row.script), INTERNAL_CHAIN, row.child, None)
