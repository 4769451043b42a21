"""Settlement's reconciler: broadcast from durable bytes, look, count confirmations, be final.

The chain node is asked outside of transactions; what it said is used only for what may be asked
again. Whether a transaction is in a block is read from the follower's tables alone.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from custodyd.batches.records import (
    StoredBatch,
    annotate,
    change_state,
    external_ids,
    get,
    ids_in_states,
)
from custodyd.batches.rules import BatchState
from custodyd.chain import source
from custodyd.chain.follower import connected_tip
from custodyd.chain.tables import SPENDS, TRANSACTIONS
from custodyd.chain.work import Work, working
from custodyd.coins.service import publish_change
from custodyd.coins.tables import RESERVATIONS
from custodyd.errors import CustodydError, ErrorId
from custodyd.settlement.rules import Next, Sight, next_step
from custodyd.store import Store
from custodyd.store.context import StageContext
from custodyd.withdrawals.rules import BlockedReason, WithdrawalState
from custodyd.withdrawals.service import Note, lookup, move
from custodyd.withdrawals.service import annotate as annotate_withdrawals

_log = logging.getLogger(__name__)

WATCHED: Final = (
    BatchState.PROPOSED,
    BatchState.APPROVED,
    BatchState.COMMITTED,
    BatchState.SIGNED,
    BatchState.BROADCAST,
    BatchState.CONFIRMED,
    BatchState.REJECTED,
)
_SENDABLE: Final = (BatchState.SIGNED, BatchState.BROADCAST)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A broadcast: refused says what the node answered, empty for taken or unknown."""

    sent: bool
    refused: str


def reconcile(store: Store, context: StageContext) -> None:
    """One pass over all batches whose transaction may be seen."""
    if context.genesis is None:
        return
    with store.reading() as connection:
        batches = [get(connection, one) for one in ids_in_states(connection, WATCHED)]
    for batch in batches:
        _settle(store, context, batch)


def _settle(store: Store, context: StageContext, batch: StoredBatch) -> None:
    with store.reading() as connection:
        confirmations = confirmations_of(connection, batch.txid)
    in_mempool = False
    if batch.state in _SENDABLE and confirmations == 0:
        in_mempool = source.in_mempool(context.node, batch.txid)
    sight = Sight(confirmations, in_mempool, context.now_s() - batch.sent_at_s)
    step = next_step(batch.state, sight, context.settings.final_depth)
    attempt = Attempt(sent=False, refused="")
    if step is Next.BROADCAST:
        attempt = _broadcast(context, batch)
    with working(store, context) as work:
        current = get(work.connection, batch.batch_id)
        seen = confirmations_of(work.connection, batch.txid)
        if current.state is batch.state and seen == confirmations:
            _apply(work, current, step, sight, attempt)


def confirmations_of(connection: Connection, txid: bytes) -> int:
    """In how many blocks of our follower's chain a transaction is buried; 0 for in none."""
    height = connection.execute(
        select(TRANSACTIONS.c.height).where(TRANSACTIONS.c.txid == txid)
    ).scalar_one_or_none()
    return 0 if height is None else connected_tip(connection).height - int(height) + 1


def _broadcast(context: StageContext, batch: StoredBatch) -> Attempt:
    """Give the durable bytes to the node; what came of it is found by looking."""
    try:
        source.broadcast(context.node, batch.signed or b"")
    except CustodydError as error:
        taken = source.in_mempool(context.node, batch.txid)
        if error.error is ErrorId.CHAIN_REFUSED:
            return Attempt(sent=taken, refused="" if taken else error.detail)
        return Attempt(sent=taken, refused="" if taken else "the node did not answer")
    return Attempt(sent=True, refused="")


def _apply(work: Work, batch: StoredBatch, step: Next, sight: Sight, attempt: Attempt) -> None:
    match step:
        case Next.BROADCAST | Next.NOTE_SENT:
            _note_attempt(work, batch, attempt, known=step is Next.NOTE_SENT)
        case Next.NOTE_CONFIRMED:
            _note_confirmed(work, batch, sight.confirmations)
        case Next.NOTE_REORG:
            change_state(
                work,
                batch,
                BatchState.BROADCAST,
                confirmations=0,
                sent_at_s=0,
                blocked_reason=BlockedReason.CHAIN,
                blocked_detail="its block was left",
            )
            _move(work, batch, WithdrawalState.BROADCAST, Note(confirmations=0))
        case Next.NOTE_FINAL:
            change_state(work, batch, BatchState.FINAL, confirmations=sight.confirmations)
            note = Note(confirmations=sight.confirmations)
            _move(work, batch, WithdrawalState.FINAL, note)
        case _:
            _note_waiting(work, batch, sight)


def _note_attempt(work: Work, batch: StoredBatch, attempt: Attempt, *, known: bool) -> None:
    if not known and not attempt.sent:
        detail = f"not taken: {attempt.refused}{_conflict(work.connection, batch)}"
        annotate(work, batch, blocked_reason=BlockedReason.CHAIN, blocked_detail=detail)
        _note(work, batch, BlockedReason.CHAIN, detail)
        return
    if batch.state is BatchState.BROADCAST:
        annotate(work, batch, sent_at_s=work.now_s)
        return
    change_state(
        work,
        batch,
        BatchState.BROADCAST,
        sent_at_s=work.now_s,
        blocked_reason=BlockedReason.CHAIN,
    )
    publish_change(work.connection, batch.batch_id)
    _move(work, batch, WithdrawalState.BROADCAST, Note(txid=batch.txid))
    _log.info("batch broadcast", extra={"batch": batch.batch_id, "txid": batch.txid[::-1].hex()})


def _conflict(connection: Connection, batch: StoredBatch) -> str:
    """Names a transaction in the chain that spent an input of this one."""
    spender = connection.execute(
        select(SPENDS.c.spender)
        .join(
            RESERVATIONS,
            (RESERVATIONS.c.txid == SPENDS.c.txid) & (RESERVATIONS.c.vout == SPENDS.c.vout),
        )
        .where(RESERVATIONS.c.batch_id == batch.batch_id, SPENDS.c.spender != batch.txid)
        .limit(1)
    ).scalar_one_or_none()
    return "" if spender is None else f"; an input was spent by {bytes(spender)[::-1].hex()}"


def _note_confirmed(work: Work, batch: StoredBatch, confirmations: int) -> None:
    change_state(
        work,
        batch,
        BatchState.CONFIRMED,
        confirmations=confirmations,
        binding=True,
        blocked_reason=BlockedReason.CONFIRMATIONS,
    )
    publish_change(work.connection, batch.batch_id)
    note = Note(txid=batch.txid, confirmations=confirmations, batch_id=batch.batch_id)
    _move(work, batch, WithdrawalState.CONFIRMED, note)


def _note_waiting(work: Work, batch: StoredBatch, sight: Sight) -> None:
    if batch.state is BatchState.CONFIRMED and batch.confirmations != sight.confirmations:
        annotate(work, batch, confirmations=sight.confirmations)
        ids = external_ids(work.connection, batch.batch_id)
        note = Note(confirmations=sight.confirmations)
        annotate_withdrawals(work.connection, ids, note, work.now_s)


def _move(work: Work, batch: StoredBatch, to: WithdrawalState, note: Note) -> None:
    """Move the batch's withdrawals that are not there yet."""
    ids = external_ids(work.connection, batch.batch_id)
    waiting = [one.external_id for one in lookup(work.connection, ids) if one.state is not to]
    if waiting:
        move(work.connection, waiting, to, work.now_s, note)


def _note(work: Work, batch: StoredBatch, reason: BlockedReason, detail: str) -> None:
    ids = external_ids(work.connection, batch.batch_id)
    note = Note(blocked_reason=reason, blocked_detail=detail)
    annotate_withdrawals(work.connection, ids, note, work.now_s)
