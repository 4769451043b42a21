"""Replacements: a binding batch whose manifest ended is proposed again.

Same inputs, payouts and change, so the very same transaction: whatever shares of the old manifest
exist, nothing new can be paid by them. Only batch id, evidence and lifetime are new, and `replaces`
names the old manifest. A rejected batch is proposed again when all its withdrawals were released.
"""

from __future__ import annotations

from sqlalchemy import select

from custodyd.batches import records
from custodyd.batches.evidence import EvidenceMissing, input_evidence, manifest_facts
from custodyd.batches.forming import MIN_MANIFEST_LIFETIME_S, batch_name, new_batch, store_batch
from custodyd.batches.manifest import BuiltManifest, Renewal, rebuild
from custodyd.batches.records import StoredBatch, annotate, change_state, external_ids
from custodyd.batches.rules import BatchState, Payable, latest_expiry_s
from custodyd.chain.relay import is_relayed
from custodyd.chain.tables import TRANSACTIONS
from custodyd.chain.vaults import certified_vault
from custodyd.chain.work import Work
from custodyd.coins.service import hand_over
from custodyd.withdrawals.rules import BlockedReason, WithdrawalState
from custodyd.withdrawals.service import Note, StoredWithdrawal, lookup, move
from custodyd.withdrawals.service import annotate as annotate_withdrawals
from signer_node.kernel.bitcoin.psbt import parse_psbt
from signer_node.kernel.errors import Refusal
from signer_node.kernel.rules.certify import CertifiedVault
from signer_node.kernel.rules.check_manifest import CheckedManifest, check_manifest


def replace_if_due(work: Work, batch: StoredBatch) -> None:
    """Replace a batch that binds and cannot be signed as it is."""
    if not batch.binding or _is_in_a_block(work, batch):
        return
    paid = lookup(work.connection, external_ids(work.connection, batch.batch_id))
    if batch.state is BatchState.REJECTED:
        if not _all_released(work, batch, paid):
            return
    elif batch.expires_at_s >= work.now_s:
        return
    if not is_relayed(work.connection):
        _wait(work, batch, BlockedReason.CHAIN, "headers on their way to the signers")
        return
    ended = [one.external_id for one in paid if _ends_too_soon(work, one)]
    if ended:
        _wait(work, batch, BlockedReason.HELD, f"requests ended: {', '.join(ended[:5])}")
        return
    try:
        _replace(work, batch, paid)
    except EvidenceMissing as missing:
        _wait(work, batch, BlockedReason.CHAIN, f"no block holds {missing}")
    except Refusal as refusal:
        _wait(work, batch, BlockedReason.HELD, f"no replacement: {refusal}")


def _is_in_a_block(work: Work, batch: StoredBatch) -> bool:
    found = select(TRANSACTIONS.c.txid).where(TRANSACTIONS.c.txid == batch.txid)
    return work.connection.execute(found).first() is not None


def _ends_too_soon(work: Work, withdrawal: StoredWithdrawal) -> bool:
    return withdrawal.valid_until_s < work.now_s + MIN_MANIFEST_LIFETIME_S


def _wait(work: Work, batch: StoredBatch, reason: BlockedReason, detail: str) -> None:
    annotate(work, batch, blocked_reason=reason, blocked_detail=detail)


def _all_released(work: Work, batch: StoredBatch, paid: list[StoredWithdrawal]) -> bool:
    """Whether every withdrawal is queued again; those that are wait for the others."""
    held = [one.external_id for one in paid if one.state is not WithdrawalState.QUEUED]
    if not held:
        return True
    released = [one.external_id for one in paid if one.state is WithdrawalState.QUEUED]
    if released:
        detail = f"paid together with {', '.join(held[:5])}: release these too"
        note = Note(blocked_reason=BlockedReason.HELD, blocked_detail=detail)
        annotate_withdrawals(work.connection, released, note, work.now_s)
    return False


def _replace(work: Work, batch: StoredBatch, paid: list[StoredWithdrawal]) -> None:
    number = records.next_number(work.connection)
    vault = certified_vault(work.connection, work.context.network, batch.vault)
    built = _rebuilt(work, batch, paid, number)
    checked = _checked(work, vault, built)
    new = new_batch(work, number, checked, built, replaces=batch)
    change_state(work, batch, BatchState.REPLACED, blocked_detail=f"by {new.batch_id}")
    store_batch(work, new, checked)
    hand_over(work.connection, batch.batch_id, new.batch_id)
    ids = [one.external_id for one in paid]
    outputs = {one.request.request.withdrawal_id: one.output for one in checked.payouts}
    note = Note(
        batch_id=new.batch_id,
        txid=new.txid,
        outputs=outputs,
        blocked_reason=BlockedReason.APPROVALS,
        blocked_detail=f"again, for {batch.batch_id}",
    )
    if batch.state is BatchState.REJECTED:
        move(work.connection, ids, WithdrawalState.BATCHED, work.now_s, note)
    else:
        annotate_withdrawals(work.connection, ids, note, work.now_s)


def _checked(work: Work, vault: CertifiedVault, built: BuiltManifest) -> CheckedManifest:
    received = records.open_proposal(built.proposal)
    facts = manifest_facts(work.connection, work.genesis, vault, received, work.now_s)
    return check_manifest(received, facts)


def _rebuilt(
    work: Work, batch: StoredBatch, paid: list[StoredWithdrawal], number: int
) -> BuiltManifest:
    received = batch.received
    parent = received.body
    psbt = parse_psbt(parent.document.psbt)
    evidence = tuple(
        input_evidence(work.connection, txin.outpoint, (old.chain, old.index))
        for txin, old in zip(psbt.transaction.inputs, parent.document.evidence, strict=True)
    )
    payables = [Payable(one.external_id, one.amount_sat, one.valid_until_s) for one in paid]
    lifetime_s = min(
        work.context.settings.manifest_lifetime_s,
        work.genesis.document.rules.max_manifest_lifetime_s,
    )
    renewal = Renewal(
        batch_id=batch_name(number, work.now_s),
        evidence=evidence,
        not_before_s=work.now_s,
        expires_at_s=latest_expiry_s(payables, work.now_s, lifetime_s),
    )
    return rebuild(parent, tuple(one.raw for one in received.requests), psbt, renewal)
