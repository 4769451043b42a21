"""Forms batches: the oldest queued withdrawals that the coins pay, into a manifest.

1. When enough wait or the oldest waited long enough, and the signers have every header to the tip.
2. A withdrawal that cannot be paid (its request is refused by the kernel's own rule) is set aside
   with the reason and blocks nobody.
3. If the coins do not reach for all, the oldest that fit are paid; the others wait for FUNDS.
4. What was built passes the kernel's check_manifest here before it is stored.
5. One transaction: change index, reservation, batch, a proposal to every signer, withdrawals.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from custodyd.batches import records
from custodyd.batches.evidence import EvidenceMissing, input_evidence, manifest_facts
from custodyd.batches.manifest import (
    BuiltManifest,
    CostRules,
    Plan,
    PlannedChange,
    PlannedCoin,
    PlannedPayout,
    ProposalTooLong,
    build,
    costs,
)
from custodyd.batches.records import StoredBatch, open_proposal
from custodyd.batches.rules import (
    BatchState,
    Payable,
    Waiting,
    affordable,
    fee_rate,
    is_due,
    latest_expiry_s,
)
from custodyd.chain import source
from custodyd.chain.follower import connected_tip
from custodyd.chain.outbox import all_nodes, post_bytes
from custodyd.chain.relay import is_relayed
from custodyd.chain.vaults import allocate_change_index, certified_vaults
from custodyd.chain.work import Work, working
from custodyd.coins.rules import MAX_SELECTED, Coin, InsufficientFunds, Selection, select
from custodyd.coins.service import Depth, OwnChange, note_change, reserve, spendable
from custodyd.errors import CustodydError
from custodyd.store import Store
from custodyd.store.context import StageContext
from custodyd.withdrawals.rules import BlockedReason, WithdrawalState
from custodyd.withdrawals.service import Note, StoredWithdrawal, annotate, move, queued
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.transaction import Outpoint
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.request import Request
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.certify import CertifiedVault
from signer_node.kernel.rules.check_manifest import CheckedManifest, check_manifest
from signer_node.kernel.rules.requests import check_request
from signer_node.kernel.vault.interface import INTERNAL_CHAIN
from signer_node.wire import open_signed

_log = logging.getLogger(__name__)

MAX_QUEUE_READ: Final = 1_000
MAX_ATTEMPTS: Final = 12
"""How often a batch is made smaller before it is given up for this pass."""
FINE_ATTEMPTS: Final = 3
"""So often it loses its youngest withdrawal, then half of them."""
_SMALLER_MAY_PASS: Final = frozenset(
    {
        ErrorId.FEE_EXCEEDS_ABSOLUTE,
        ErrorId.FEE_CEILING_EXCEEDS_POLICY,
        ErrorId.MANIFEST_WEIGHT_EXCEEDED,
    }
)
MIN_MANIFEST_LIFETIME_S: Final = 60
"""A request that ends sooner is not put into a manifest: nobody could approve it in time."""
_SEED_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why withdrawals wait."""

    reason: BlockedReason
    detail: str


@dataclass(frozen=True, slots=True)
class Purse:
    """The coins that may be spent, at what cost, and the seed that decides among them."""

    coins: Sequence[Coin]
    rules: CostRules
    seed: bytes


def form_batches(store: Store, context: StageContext) -> None:
    """One batch for each vault that is due; more come with the next passes."""
    if context.genesis is None:
        return
    with store.reading() as connection:
        vaults = certified_vaults(connection, context.network)
        waiting = [one for one in vaults if queued(connection, _name(one), 1)]
    if not waiting:
        return
    try:
        estimate = source.fee_rate_sat_vb(context.node, context.settings.fee_target_blocks)
    except CustodydError as error:
        _wait_for_chain(store, context, waiting, error)
        return
    ceiling = context.genesis.document.rules.max_fee_rate_sat_vb
    rate = fee_rate(estimate, context.settings, ceiling)
    for vault in waiting:
        with working(store, context) as work:
            _form(work, vault, rate)


def _wait_for_chain(
    store: Store, context: StageContext, vaults: Sequence[CertifiedVault], error: CustodydError
) -> None:
    """No fee rate is known: say so on everything that waits."""
    with working(store, context) as work:
        for vault in vaults:
            waiting = queued(work.connection, _name(vault), MAX_QUEUE_READ)
            _block(work, waiting, Blocked(BlockedReason.CHAIN, error.error.name))


def _name(vault: CertifiedVault) -> str:
    return vault.certificate.document.vault


def _form(work: Work, vault: CertifiedVault, rate: int) -> None:
    in_line = queued(work.connection, _name(vault), MAX_QUEUE_READ)
    # What a batch binds is paid by its replacement alone; what ends soon makes no batch due.
    waiting = [one for one in in_line if one.bound_to is None]
    lasting = [one for one in waiting if not _ends_too_soon(work, one)]
    oldest_s = min((one.created_at_s for one in lasting), default=work.now_s)
    is_time = is_due(Waiting(len(lasting), oldest_s), work.context.settings, work.now_s)
    if not is_time and len(lasting) == len(waiting):
        return
    payable = _of_one_payer(work, _set_aside_unpayable(work, vault, waiting))
    if not payable or not is_time:
        return
    if not is_relayed(work.connection):
        _block(work, payable, Blocked(BlockedReason.CHAIN, "headers on their way to the signers"))
        return
    _propose_what_fits(work, vault, payable, rate)


def _of_one_payer(work: Work, payable: list[StoredWithdrawal]) -> list[StoredWithdrawal]:
    """Those by the oldest one's request key, where that key's payer must confirm the batch."""
    if not payable or not work.genesis.document.rules.payer_confirmation_required:
        return payable
    keys = [open_signed(Request, one.signed_request).document.key for one in payable]
    return [one for one, key in zip(payable, keys, strict=True) if key == keys[0]]


def _ends_too_soon(work: Work, withdrawal: StoredWithdrawal) -> bool:
    return withdrawal.valid_until_s < work.now_s + MIN_MANIFEST_LIFETIME_S


def _set_aside_unpayable(
    work: Work, vault: CertifiedVault, waiting: Sequence[StoredWithdrawal]
) -> list[StoredWithdrawal]:
    """Those that the kernel would let a manifest pay; the others are told why not."""
    payable = []
    for one in waiting:
        try:
            received = open_signed(Request, one.signed_request)
            check_request(received, work.genesis, _name(vault), work.now_s)
            if _ends_too_soon(work, one):
                raise Refusal(ErrorId.REQUEST_EXPIRED, f"ends at {one.valid_until_s}")
        except Refusal as refusal:
            _block(work, [one], Blocked(BlockedReason.BATCH, str(refusal)))
            continue
        payable.append(one)
    return payable


def _block(work: Work, waiting: Sequence[StoredWithdrawal], why: Blocked) -> None:
    note = Note(blocked_reason=why.reason, blocked_detail=why.detail)
    annotate(work.connection, [one.external_id for one in waiting], note, work.now_s)


def _propose_what_fits(
    work: Work, vault: CertifiedVault, payable: Sequence[StoredWithdrawal], rate: int
) -> None:
    """Rule 3; a batch that is too large in whatever way is made smaller."""
    rules = work.genesis.document.rules
    depth = Depth(connected_tip(work.connection).height, rules.min_input_confirmations)
    coins = spendable(work.connection, _name(vault), depth)
    purse = Purse(coins, CostRules(rate, rules.min_change_sat), secrets.token_bytes(_SEED_BYTES))
    reached = _affordable(work, vault, payable, purse)
    left = [one for one in payable if one not in reached]
    fitting = reached[: work.context.settings.batch_max_withdrawals]
    for attempt in range(MAX_ATTEMPTS):
        if not fitting:
            break
        try:
            _propose(work, vault, fitting, purse)
        except InsufficientFunds:
            kept = len(fitting) - 1 if attempt < FINE_ATTEMPTS else len(fitting) // 2
            left += fitting[kept:]
            fitting = fitting[:kept]
        except ProposalTooLong:
            fitting = fitting[: len(fitting) // 2]
        except (Refusal, EvidenceMissing, BitcoinFault) as refused:
            if _is_too_large(refused) and len(fitting) > 1:
                fitting = fitting[: len(fitting) // 2]
                continue
            _log.warning("manifest not proposed", extra={"reason": str(refused)})
            _block(work, fitting, Blocked(BlockedReason.BATCH, f"not proposed: {refused}"))
            break
        else:
            break
    _block(work, left, Blocked(BlockedReason.FUNDS, _funds_detail(coins)))


def _is_too_large(refused: Exception) -> bool:
    return isinstance(refused, Refusal) and refused.error in _SMALLER_MAY_PASS


def _funds_detail(coins: Sequence[Coin]) -> str:
    return f"{sum(coin.value_sat for coin in coins)} sat can be spent now"


def _affordable(
    work: Work, vault: CertifiedVault, payable: Sequence[StoredWithdrawal], purse: Purse
) -> list[StoredWithdrawal]:
    """The oldest whose amounts the best coins reach for, with the fees of a full batch."""
    batch = payable[: work.context.settings.batch_max_withdrawals]
    cost = costs(vault, _planned(batch), purse.rules)
    worth = [coin.value_sat - cost.input_fee_sat for coin in purse.coins]
    best = sorted((one for one in worth if one > 0), reverse=True)[:MAX_SELECTED]
    candidates = [Payable(one.external_id, one.amount_sat, one.valid_until_s) for one in payable]
    within = affordable(candidates, max(0, sum(best) - cost.base_fee_sat))
    fitting = {one.external_id for one in within}
    return [one for one in payable if one.external_id in fitting]


def _planned(chosen: Sequence[StoredWithdrawal]) -> tuple[PlannedPayout, ...]:
    return tuple(
        PlannedPayout(
            one.external_id, one.request_digest, one.signed_request, one.script, one.amount_sat
        )
        for one in chosen
    )


def _propose(
    work: Work, vault: CertifiedVault, chosen: Sequence[StoredWithdrawal], purse: Purse
) -> None:
    """Rules 4 and 5; an exception leaves nothing behind."""
    selection = select(purse.coins, costs(vault, _planned(chosen), purse.rules), purse.seed)
    with work.connection.begin_nested():
        number = records.next_number(work.connection)
        plan = _plan(work, vault, chosen, selection, purse.seed)
        built = build(plan)
        received = open_proposal(built.proposal)
        facts = manifest_facts(work.connection, work.genesis, vault, received, work.now_s)
        checked = check_manifest(received, facts)
        batch = new_batch(work, number, checked, built, replaces=None)
        store_batch(work, batch, checked)
        reserve(work.connection, [one.outpoint for one in checked.inputs], batch.batch_id)
        note_change(work.connection, batch.vault, batch.batch_id, change_of(checked))
        outputs = {one.request.request.withdrawal_id: one.output for one in checked.payouts}
        note = Note(batch_id=batch.batch_id, txid=batch.txid, outputs=outputs)
        ids = [one.external_id for one in chosen]
        move(work.connection, ids, WithdrawalState.BATCHED, work.now_s, note)
    _log.info("batch proposed", extra={"batch": batch.batch_id, "withdrawals": len(chosen)})


def _plan(
    work: Work,
    vault: CertifiedVault,
    chosen: Sequence[StoredWithdrawal],
    selection: Selection,
    seed: bytes,
) -> Plan:
    lifetime_s = min(
        work.context.settings.manifest_lifetime_s,
        work.genesis.document.rules.max_manifest_lifetime_s,
    )
    payables = [Payable(one.external_id, one.amount_sat, one.valid_until_s) for one in chosen]
    return Plan(
        genesis=work.genesis,
        vault=vault,
        batch_id=batch_name(records.next_number(work.connection), work.now_s),
        payouts=_planned(chosen),
        coins=tuple(_with_evidence(work, coin) for coin in selection.coins),
        change=_change(work, vault, selection),
        locktime=connected_tip(work.connection).height,
        not_before_s=work.now_s,
        expires_at_s=latest_expiry_s(payables, work.now_s, lifetime_s),
        seed=seed,
    )


def _with_evidence(work: Work, coin: Coin) -> PlannedCoin:
    evidence = input_evidence(work.connection, coin.outpoint, (coin.chain, coin.index))
    return PlannedCoin(coin, evidence)


def _change(work: Work, vault: CertifiedVault, selection: Selection) -> PlannedChange | None:
    if selection.change_sat == 0:
        return None
    index = allocate_change_index(work.connection, work.context.network, _name(vault))
    return PlannedChange(index, selection.change_sat)


def batch_name(number: int, now_s: int) -> str:
    """A name that people can say: the day and the batch's number."""
    return f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}-{number:03d}"


def new_batch(
    work: Work,
    number: int,
    checked: CheckedManifest,
    built: BuiltManifest,
    replaces: StoredBatch | None,
) -> StoredBatch:
    """The record of a checked manifest, PROPOSED."""
    return StoredBatch(
        number=number,
        batch_id=checked.body.document.batch_id,
        vault=_name(checked.vault),
        state=BatchState.PROPOSED,
        blocked_reason=BlockedReason.APPROVALS,
        blocked_detail="",
        digest=checked.digest,
        proposal=built.proposal,
        txid=checked.transaction.txid,
        paid_sat=checked.paid_sat,
        fee_sat=checked.fee_sat,
        change_sat=sum(one.value_sat for one in checked.changes),
        input_count=len(checked.inputs),
        created_at_s=work.now_s,
        expires_at_s=checked.body.document.expires_at_s,
        binding=replaces is not None,
        replaces=None if replaces is None else replaces.batch_id,
        payer_confirmation=None,
        rounds=0,
        signed=None,
        confirmations=0,
        sent_at_s=0,
    )


def store_batch(work: Work, batch: StoredBatch, checked: CheckedManifest) -> None:
    """The batch with its payouts, and a proposal in every signer's mailbox."""
    payouts = [
        (one.output, one.request.request.withdrawal_id, one.request.digest)
        for one in checked.payouts
    ]
    records.add(work, batch, payouts)
    for node in all_nodes(work):
        post_bytes(work, node, PayloadType.MANIFEST_PROPOSAL, batch.proposal)


def change_of(checked: CheckedManifest) -> list[OwnChange]:
    """The change outputs of a checked manifest, with what will prove them."""
    transaction = checked.transaction
    return [
        OwnChange(
            outpoint=Outpoint(transaction.txid, one.output),
            index=one.index,
            value_sat=one.value_sat,
            script=checked.vault.kind.script(INTERNAL_CHAIN, one.index),
            stripped=transaction.raw,
        )
        for one in checked.changes
    ]
