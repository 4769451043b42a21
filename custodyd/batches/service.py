"""The batches' reconciler: decide what is proposed, renew what expired, form what is due.

Each batch is looked at in a transaction of its own. Nothing here calls the next stage: an APPROVED
batch whose payer confirmed is found by `signing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from custodyd.batches.decisions import (
    StoredVerdict,
    post_again,
    valid_decisions,
    verdicts,
)
from custodyd.batches.forming import form_batches
from custodyd.batches.records import (
    StoredBatch,
    annotate,
    change_state,
    external_ids,
    get,
    ids_in_states,
)
from custodyd.batches.replacing import replace_if_due
from custodyd.batches.rules import BatchState
from custodyd.chain.work import Work, working
from custodyd.coins.service import free
from custodyd.store import Store
from custodyd.store.context import StageContext
from custodyd.withdrawals.rules import BlockedReason, WithdrawalState
from custodyd.withdrawals.service import Note, move
from custodyd.withdrawals.service import annotate as annotate_withdrawals
from signer_node.kernel.rules.decide import CheckedApproval, Outcome, Tally, tally

_OPEN: Final = (BatchState.PROPOSED, BatchState.APPROVED, BatchState.COMMITTED)
_RENEWABLE: Final = (BatchState.APPROVED, BatchState.COMMITTED, BatchState.REJECTED)
MAX_NAMED: Final = 10


def reconcile(store: Store, context: StageContext) -> None:
    """One pass over all batches that wait for somebody, then over the queue."""
    if context.genesis is None:
        return
    _each(store, context, _OPEN, _decide)
    _each(store, context, [BatchState.PROPOSED], _abandon_expired)
    _each(store, context, _RENEWABLE, replace_if_due)
    form_batches(store, context)


def _each(
    store: Store,
    context: StageContext,
    states: Sequence[BatchState],
    step: Callable[[Work, StoredBatch], None],
) -> None:
    with store.reading() as connection:
        ids = ids_in_states(connection, states)
    for batch_id in ids:
        with working(store, context) as work:
            batch = get(work.connection, batch_id)
            if batch.state in states:
                step(work, batch)


def _decide(work: Work, batch: StoredBatch) -> None:
    decisions = valid_decisions(work.connection, work.genesis, batch, work.now_s)
    counted = tally(work.genesis.document, decisions)
    said = verdicts(work.connection, batch.digest)
    if counted.outcome is Outcome.REJECTED:
        _reject(work, batch, counted.rejections)
    elif batch.state is not BatchState.PROPOSED:
        return
    elif _too_many_refuse(work, said):
        _give_up(work, batch, said)
    elif counted.outcome is Outcome.APPROVED:
        _approve(work, batch)
    else:
        post_again(work, batch, said)
        _wait(work, batch, counted, said)


def _approve(work: Work, batch: StoredBatch) -> None:
    """From here on the batch binds, and its withdrawals are bound to it."""
    asks_payer = work.genesis.document.rules.payer_confirmation_required
    reason = BlockedReason.PAYER if asks_payer else BlockedReason.SIGNERS
    change_state(work, batch, BatchState.APPROVED, binding=True, blocked_reason=reason)
    ids = external_ids(work.connection, batch.batch_id)
    note = Note(blocked_reason=reason, blocked_detail="", bound_to=batch.batch_id)
    annotate_withdrawals(work.connection, ids, note, work.now_s)


def _wait(work: Work, batch: StoredBatch, counted: Tally, said: Sequence[StoredVerdict]) -> None:
    """Say whose word is missing, and what signers refuse."""
    missing = [f"{counted.people_missing} more people"] if counted.people_missing else []
    if counted.nodes_missing:
        missing.append(f"{counted.nodes_missing} more nodes")
    detail = "; ".join([", ".join(missing), *(str(one) for one in said if not one.accepted)])
    reason = BlockedReason.APPROVALS
    annotate(work, batch, blocked_reason=reason, blocked_detail=detail)
    _note(work, batch, reason, detail)


def _note(work: Work, batch: StoredBatch, reason: BlockedReason, detail: str) -> None:
    ids = external_ids(work.connection, batch.batch_id)
    annotate_withdrawals(
        work.connection, ids, Note(blocked_reason=reason, blocked_detail=detail), work.now_s
    )


def _too_many_refuse(work: Work, said: Sequence[StoredVerdict]) -> bool:
    """Whether fewer than t signers are left that may ever sign."""
    genesis = work.genesis.document
    refusing = [one for one in said if not one.accepted and not one.may_pass]
    return len(refusing) > len(genesis.signers) - genesis.threshold


def _give_up(work: Work, batch: StoredBatch, said: Sequence[StoredVerdict]) -> None:
    """Rule 3 of decisions.py."""
    detail = "; ".join(str(one) for one in said if not one.accepted)
    if batch.binding:
        annotate(work, batch, blocked_reason=BlockedReason.SIGNERS, blocked_detail=detail)
        _note(work, batch, BlockedReason.SIGNERS, detail)
        return
    _end(work, batch, BatchState.ABANDONED, detail)
    _move_to(work, external_ids(work.connection, batch.batch_id), WithdrawalState.HELD, detail)


def _reject(work: Work, batch: StoredBatch, rejections: Sequence[CheckedApproval]) -> None:
    """Rule 2 of decisions.py."""
    detail = "; ".join(_said(one) for one in rejections[:MAX_NAMED])
    ids = external_ids(work.connection, batch.batch_id)
    if batch.binding:
        change_state(
            work,
            batch,
            BatchState.REJECTED,
            blocked_reason=BlockedReason.HELD,
            blocked_detail=detail,
        )
        _move_to(work, ids, WithdrawalState.HELD, detail)
        return
    named = _named(batch, rejections)
    _end(work, batch, BatchState.REJECTED, detail)
    if not named:
        _move_to(work, ids, WithdrawalState.HELD, detail)
        return
    _move_to(work, [one for one in ids if one in named], WithdrawalState.REJECTED, detail)
    _move_to(work, [one for one in ids if one not in named], WithdrawalState.QUEUED, "")


def _said(rejection: CheckedApproval) -> str:
    approval = rejection.authentic.document
    return f"{approval.person}: {approval.reason.name} {approval.text}".rstrip()


def _named(batch: StoredBatch, rejections: Sequence[CheckedApproval]) -> frozenset[str]:
    """Withdrawals that the rejections name; nothing if one of them names none."""
    if any(not one.authentic.document.outputs for one in rejections):
        return frozenset()
    outputs = {at for one in rejections for at in one.authentic.document.outputs}
    received = batch.received
    by_digest = {one.digest: one.document.withdrawal_id for one in received.requests}
    return frozenset(
        by_digest[one.request] for one in received.body.document.payouts if one.output in outputs
    )


def _abandon_expired(work: Work, batch: StoredBatch) -> None:
    """A proposal that nobody approved in time; one that replaces another is renewed instead."""
    if batch.expires_at_s >= work.now_s:
        return
    if batch.binding:
        replace_if_due(work, batch)
        return
    _end(work, batch, BatchState.ABANDONED, "expired before it was approved")
    ids = external_ids(work.connection, batch.batch_id)
    _move_to(work, ids, WithdrawalState.QUEUED, "")


def _end(work: Work, batch: StoredBatch, to: BatchState, detail: str) -> None:
    """End a batch that never bound: its coins are free."""
    change_state(work, batch, to, blocked_detail=detail)
    free(work.connection, batch.batch_id)


def _move_to(work: Work, ids: Sequence[str], to: WithdrawalState, detail: str) -> None:
    if ids:
        move(work.connection, ids, to, work.now_s, Note(blocked_detail=detail))
