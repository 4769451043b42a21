"""Rounds: from an approved batch to its signed transaction, with the signers that are there.

 1. A round is opened for a batch that is approved (now), confirmed by the payer where the genesis
    asks it, unexpired, and of which t signers are online that did not refuse it.
 2. The package is durable, and the batch COMMITTED with its withdrawals, before it can leave.
 3. Every share is verified; a bad one names its sender, is kept as evidence, and its sender is left
    out. The transaction counts only after every input's signatures were verified (kernel.vault).
 4. A round that stays for too long fails with the silent ones named; the next one goes on without
    them where it can. Shares that come late still complete the round that they belong to.
 5. The signed bytes are stored before anybody broadcasts them.

A vault kind without nonces has empty commitments and takes the same steps.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from custodyd.batches.decisions import (
    approvals_to_send,
    valid_decisions,
    verdicts,
)
from custodyd.batches.records import (
    StoredBatch,
    annotate,
    change_state,
    external_ids,
    get,
    ids_in_states,
)
from custodyd.batches.rules import BatchState
from custodyd.chain.outbox import post, post_bytes
from custodyd.chain.vaults import certified_vault
from custodyd.chain.work import Work, working
from custodyd.signing.answers import Delivered, Fault, keep_evidence
from custodyd.signing.liveness import online_nodes
from custodyd.signing.rules import (
    Candidate,
    RoundState,
    choose_signers,
    missing_members,
    round_transition,
)
from custodyd.signing.tables import COMMITMENTS, EVIDENCE, ROUNDS, SHARES
from custodyd.store import Store
from custodyd.store.context import StageContext
from custodyd.telemetry.metrics import round_ended
from custodyd.withdrawals.rules import BlockedReason, WithdrawalState
from custodyd.withdrawals.service import Note, lookup, move
from custodyd.withdrawals.service import annotate as annotate_withdrawals
from signer_node.kernel.bitcoin.psbt import parse_psbt
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.signed import document_digest
from signer_node.kernel.documents.signing import (
    MAX_ROUNDS,
    CommitmentSet,
    RoundOpening,
    ShareSet,
    SignerCommitments,
    SigningPackage,
)
from signer_node.kernel.errors import ErrorId
from signer_node.kernel.rules.certify import CertifiedVault
from signer_node.kernel.rules.decide import Outcome, tally
from signer_node.kernel.vault import interface
from signer_node.wire import decode, encode

_log = logging.getLogger(__name__)

SIGNABLE: Final = (BatchState.APPROVED, BatchState.COMMITTED)
FIRST_PAUSE_S: Final = 1
LONGEST_PAUSE_S: Final = 60
"""Between rounds that failed, doubling: a signer that refuses at once must not be hammered."""
LATE_ROUNDS_KEPT: Final = 8
"""Failed rounds of a batch whose late shares are still looked at."""


@dataclass(frozen=True, slots=True)
class Round:
    """A round as the table has it."""

    manifest: bytes
    number: int
    state: RoundState
    members: tuple[str, ...]
    spoilt_by: tuple[str, ...]
    opened_at_s: int
    since_s: int
    package: bytes | None
    package_digest: bytes | None


def reconcile(store: Store, context: StageContext) -> None:
    """One pass over all batches that wait for signers."""
    with store.reading() as connection:
        ids = ids_in_states(connection, SIGNABLE)
    for batch_id in ids:
        with working(store, context) as work:
            batch = get(work.connection, batch_id)
            if batch.state in SIGNABLE:
                _advance(work, batch)


def rounds_of(connection: Connection, manifest: bytes) -> Sequence[Round]:
    """All rounds of a manifest, oldest first."""
    rows = connection.execute(
        select(ROUNDS).where(ROUNDS.c.manifest == manifest).order_by(ROUNDS.c.round)
    )
    return [_round(row) for row in rows]


def _round(row: Row[Any]) -> Round:
    return Round(
        manifest=bytes(row.manifest),
        number=row.round,
        state=row.state,
        members=_names(row.members),
        spoilt_by=_names(row.spoilt_by),
        opened_at_s=row.opened_at_s,
        since_s=row.since_s,
        package=None if row.package is None else bytes(row.package),
        package_digest=None if row.package_digest is None else bytes(row.package_digest),
    )


def _names(joined: str) -> tuple[str, ...]:
    return tuple(name for name in joined.split(",") if name)


def _advance(work: Work, batch: StoredBatch) -> None:
    """Take every step that is possible for a batch now."""
    rounds = rounds_of(work.connection, batch.digest)
    for one in reversed(rounds[-LATE_ROUNDS_KEPT:]):
        if one.package is not None and _complete(work, batch, one):
            return
    last = rounds[-1] if rounds else None
    if last is not None and last.state is RoundState.OPENED:
        last = _package(work, batch, last)
    if last is not None and last.state in (RoundState.OPENED, RoundState.PACKAGED):
        last = _fail_if_spoilt(work, last)
    if last is None or last.state is RoundState.FAILED:
        rounds = rounds_of(work.connection, batch.digest)
        _open_next(work, get(work.connection, batch.batch_id), rounds)
    else:
        _wait_for_members(work, batch, last)


# ----------------------------------------------------------------------------------------- opening
def _open_next(work: Work, batch: StoredBatch, rounds: Sequence[Round]) -> None:
    if not _may_open(work, batch):
        return
    if rounds and not _paused_enough(work, rounds):
        return
    choice = choose_signers(_candidates(work, batch, rounds), work.genesis.document.threshold)
    if not choice.members:
        _wait_for_signers(work, batch, choice.waiting_for)
        return
    number = rounds[-1].number + 1 if rounds else 1
    if number > MAX_ROUNDS:
        _note(work, batch, BlockedReason.SIGNERS, f"{MAX_ROUNDS} rounds failed")
        return
    _open(work, batch, number, choice.members)


def _may_open(work: Work, batch: StoredBatch) -> bool:
    """Rule 1, but for the signers; says what is missing."""
    if batch.expires_at_s <= work.now_s:
        return False
    asks_payer = work.genesis.document.rules.payer_confirmation_required
    if asks_payer and batch.payer_confirmation is None:
        _note(work, batch, BlockedReason.PAYER, "")
        return False
    decisions = valid_decisions(work.connection, work.genesis, batch, work.now_s)
    counted = tally(work.genesis.document, decisions)
    if counted.outcome is not Outcome.APPROVED:
        _note(work, batch, BlockedReason.APPROVALS, "approvals ran out: approve again")
        return False
    return True


def _paused_enough(work: Work, rounds: Sequence[Round]) -> bool:
    failed = sum(1 for one in rounds if one.state is RoundState.FAILED)
    pause_s = min(FIRST_PAUSE_S << min(failed - 1, 16), LONGEST_PAUSE_S) if failed > 2 else 0
    return work.now_s >= rounds[-1].since_s + pause_s


def _candidates(work: Work, batch: StoredBatch, rounds: Sequence[Round]) -> Sequence[Candidate]:
    online = online_nodes(work.connection, work.context)
    refused = {
        one.node
        for one in verdicts(work.connection, batch.digest)
        if not one.accepted and not one.may_pass
    }
    culprits = _culprits(work.connection, batch.digest)
    spoilt = [name.partition("=")[0] for one in rounds for name in one.spoilt_by]
    return [
        Candidate(
            node=seat.name,
            online=seat.name in online,
            refused=seat.name in refused,
            culprit=seat.name in culprits,
            failures=spoilt.count(seat.name),
        )
        for seat in work.genesis.document.signers
    ]


def _culprits(connection: Connection, manifest: bytes) -> frozenset[str]:
    rows = connection.execute(select(EVIDENCE.c.node).where(EVIDENCE.c.manifest == manifest))
    return frozenset(rows.scalars())


def _open(work: Work, batch: StoredBatch, number: int, members: tuple[str, ...]) -> None:
    work.connection.execute(
        insert(ROUNDS).values(
            manifest=batch.digest,
            round=number,
            batch_id=batch.batch_id,
            state=RoundState.OPENED,
            members=",".join(members),
            spoilt_by="",
            opened_at_s=work.now_s,
            since_s=work.now_s,
            package=None,
            package_digest=None,
        )
    )
    accepted = {one.node for one in verdicts(work.connection, batch.digest) if one.accepted}
    for node in members:
        if node not in accepted:
            post_bytes(work, node, PayloadType.MANIFEST_PROPOSAL, batch.proposal)
        post(work, node, PayloadType.ROUND_OPENING, RoundOpening(batch.digest, number))
    work.moved(round_transition(None, RoundState.OPENED))
    detail = f"round {number}: {', '.join(members)}"
    annotate(
        work,
        batch,
        rounds=batch.rounds + 1,
        blocked_reason=BlockedReason.SIGNERS,
        blocked_detail=detail,
    )
    _note_withdrawals(work, batch, BlockedReason.SIGNERS, detail)


# --------------------------------------------------------------------------------------- packaging
def _package(work: Work, batch: StoredBatch, opened: Round) -> Round:
    """Rule 2, once all commitments are there."""
    sets = _commitments(work.connection, opened)
    if missing_members(opened.members, sets) or opened.spoilt_by:
        return opened
    if not _may_open(work, batch):
        return opened
    vault = certified_vault(work.connection, work.context.network, batch.vault)
    bad = _bad_commitments(work, vault, batch, opened, sets)
    if bad:
        return _fail(work, opened, bad)
    decisions = valid_decisions(work.connection, work.genesis, batch, work.now_s)
    package = SigningPackage(
        manifest=batch.digest,
        round=opened.number,
        approvals=approvals_to_send(decisions),
        payer_confirmation=batch.payer_confirmation or b"",
        signers=tuple(
            SignerCommitments(node, sets[node].boot, sets[node].commitments)
            for node in opened.members
        ),
    )
    raw = encode(package)
    if batch.state is BatchState.APPROVED:
        change_state(work, batch, BatchState.COMMITTED, blocked_reason=BlockedReason.SIGNERS)
    _commit_withdrawals(work, batch)
    for node in opened.members:
        post_bytes(work, node, PayloadType.SIGNING_PACKAGE, raw)
    return _change_round(
        work,
        opened,
        RoundState.PACKAGED,
        package=raw,
        package_digest=document_digest(SigningPackage, raw),
    )


def _commitments(connection: Connection, opened: Round) -> Mapping[str, CommitmentSet]:
    rows = connection.execute(
        select(COMMITMENTS.c.node, COMMITMENTS.c.commitment_set).where(
            COMMITMENTS.c.manifest == opened.manifest, COMMITMENTS.c.round == opened.number
        )
    )
    return {row.node: decode(CommitmentSet, bytes(row.commitment_set)) for row in rows}


def _bad_commitments(
    work: Work,
    vault: CertifiedVault,
    batch: StoredBatch,
    opened: Round,
    sets: Mapping[str, CommitmentSet],
) -> tuple[str, ...]:
    """Members whose commitments can be no honest signer's; kept as evidence."""
    bad = []
    for node in opened.members:
        try:
            vault.kind.check_commitments(node, sets[node].commitments, batch.input_count)
        except interface.BadCommitments as wrong:
            envelope = work.connection.execute(
                select(COMMITMENTS.c.envelope).where(
                    COMMITMENTS.c.manifest == opened.manifest,
                    COMMITMENTS.c.round == opened.number,
                    COMMITMENTS.c.node == node,
                )
            ).scalar_one()
            fault = Fault(ErrorId.COMMITMENT_INVALID.name, str(wrong), batch.digest)
            _convict(work, node, bytes(envelope), fault)
            bad.append(node)
    return tuple(bad)


def _convict(work: Work, node: str, envelope: bytes, fault: Fault) -> None:
    keep_evidence(work.connection, Delivered(node, b"", envelope, work.now_s), fault)
    _log.error("signer named", extra={"node": node, "reason": fault.name})


def _commit_withdrawals(work: Work, batch: StoredBatch) -> None:
    ids = external_ids(work.connection, batch.batch_id)
    waiting = [
        one.external_id
        for one in lookup(work.connection, ids)
        if one.state is not WithdrawalState.COMMITTED
    ]
    if waiting:
        move(work.connection, waiting, WithdrawalState.COMMITTED, work.now_s)


# ------------------------------------------------------------------------------------------ shares
def _complete(work: Work, batch: StoredBatch, packaged: Round) -> bool:
    """Rules 3 and 5: whether the shares of this round made the signed transaction."""
    sets = _shares(work.connection, packaged)
    if missing_members(packaged.members, sets):
        return False
    vault = certified_vault(work.connection, work.context.network, batch.vault)
    session = session_of(vault, batch, packaged)
    try:
        signed = vault.kind.aggregate(session, {node: sets[node].shares for node in sets})
    except interface.BadShare:
        _name_culprits(work, vault, session, packaged, sets)
        return False
    done = _change_round(work, packaged, RoundState.DONE)
    change_state(work, batch, BatchState.SIGNED, signed=signed.raw)
    if signed.txid != batch.txid:
        raise interface.NotSigned("the signed transaction is another one than the manifest's")
    _note_withdrawals(work, batch, BlockedReason.CHAIN, "")
    _log.info("batch signed", extra={"batch": batch.batch_id, "round": done.number})
    return True


def session_of(
    vault: CertifiedVault, batch: StoredBatch, packaged: Round
) -> interface.SigningSession:
    """The session that a stored package describes."""
    manifest = batch.received.body.document
    psbt = parse_psbt(manifest.psbt)
    package = decode(SigningPackage, packaged.package or b"")
    inputs = [
        interface.SessionInput(evidence.chain, evidence.index, fields.witness_utxo.value_sat)
        for evidence, fields in zip(manifest.evidence, psbt.inputs, strict=True)
        if fields.witness_utxo is not None
    ]
    members = [interface.SignerCommitments(one.node, one.commitments) for one in package.signers]
    return vault.kind.open_session(psbt, inputs, members)


def _shares(connection: Connection, packaged: Round) -> Mapping[str, ShareSet]:
    rows = connection.execute(
        select(SHARES.c.node, SHARES.c.share_set).where(
            SHARES.c.package == packaged.package_digest, ~SHARES.c.bad
        )
    )
    return {row.node: decode(ShareSet, bytes(row.share_set)) for row in rows}


def _name_culprits(
    work: Work,
    vault: CertifiedVault,
    session: interface.SigningSession,
    packaged: Round,
    sets: Mapping[str, ShareSet],
) -> None:
    for node, answer in sorted(sets.items()):
        try:
            vault.kind.verify_share(session, node, answer.shares)
        except interface.BadShare as bad:
            key = (SHARES.c.package == packaged.package_digest, SHARES.c.node == node)
            envelope = work.connection.execute(select(SHARES.c.envelope).where(*key))
            fault = Fault(ErrorId.SHARE_INVALID.name, str(bad), packaged.manifest)
            _convict(work, node, bytes(envelope.scalar_one()), fault)
            work.connection.execute(update(SHARES).where(*key).values(bad=True))


# ----------------------------------------------------------------------------------------- failing
def _fail_if_spoilt(work: Work, current: Round) -> Round:
    """Rule 4, and rounds that somebody refused or whose share was bad."""
    culprits = _culprits(work.connection, current.manifest) & set(current.members)
    if culprits or current.spoilt_by:
        return _fail(work, current, tuple(sorted(culprits)))
    if work.now_s < current.since_s + work.context.settings.round_timeout_s:
        return current
    return _fail(work, current, _silent(work.connection, current))


def _silent(connection: Connection, current: Round) -> tuple[str, ...]:
    if current.state is RoundState.OPENED:
        return missing_members(current.members, _commitments(connection, current))
    return missing_members(current.members, _shares(connection, current))


def _fail(work: Work, current: Round, spoilers: Sequence[str]) -> Round:
    names = dict.fromkeys([*current.spoilt_by, *spoilers])
    _log.warning("round failed", extra={"round": current.number, "spoilt_by": ",".join(names)})
    return _change_round(work, current, RoundState.FAILED, spoilt_by=",".join(names))


def _change_round(work: Work, current: Round, to: RoundState, **values: Any) -> Round:
    key = (ROUNDS.c.manifest == current.manifest, ROUNDS.c.round == current.number)
    work.connection.execute(
        update(ROUNDS).where(*key).values(state=to, since_s=work.now_s, **values)
    )
    work.moved(round_transition(current.state, to))
    if to in (RoundState.DONE, RoundState.FAILED):
        round_ended(to.name, work.now_s - current.opened_at_s)
    return _round(work.connection.execute(select(ROUNDS).where(*key)).one())


# ---------------------------------------------------------------------------------- telling why not
def _wait_for_members(work: Work, batch: StoredBatch, current: Round) -> None:
    silent = _silent(work.connection, current)
    online = online_nodes(work.connection, work.context)
    away = [node for node in silent if node not in online]
    if away:
        detail = f"round {current.number}: waits for {', '.join(silent)}; away: {', '.join(away)}"
        _note(work, get(work.connection, batch.batch_id), BlockedReason.SIGNERS, detail)


def _wait_for_signers(work: Work, batch: StoredBatch, nodes: Sequence[str]) -> None:
    refused = [str(one) for one in verdicts(work.connection, batch.digest) if not one.accepted]
    culprits = sorted(_culprits(work.connection, batch.digest))
    parts = [f"waits for {', '.join(nodes)}" if nodes else "nobody is left that may sign"]
    parts += [f"refused: {'; '.join(refused)}"] if refused else []
    parts += [f"named for a fault: {', '.join(culprits)}"] if culprits else []
    _note(work, batch, BlockedReason.SIGNERS, f"too few signers: {'; '.join(parts)}")


def _note(work: Work, batch: StoredBatch, reason: BlockedReason, detail: str) -> None:
    annotate(work, batch, blocked_reason=reason, blocked_detail=detail)
    _note_withdrawals(work, batch, reason, detail)


def _note_withdrawals(work: Work, batch: StoredBatch, reason: BlockedReason, detail: str) -> None:
    ids = external_ids(work.connection, batch.batch_id)
    note = Note(blocked_reason=reason, blocked_detail=detail)
    annotate_withdrawals(work.connection, ids, note, work.now_s)
