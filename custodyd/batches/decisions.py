"""What operators and signers say to a manifest: stored as it came, counted by the kernel's rule.

Storing is the mailbox's part (`keep_decision`, `keep_verdict`); counting is the reconciler's.
 1. A decision is counted only if the kernel's check_approval takes it, at the moment of counting.
 2. A rejection stops the batch whatever was approved. Before approval the outputs that it names are
    REJECTED and the rest is queued again, none named: all HELD. After approval: all HELD, the coins
    stay reserved, and only a replacement may pay.
 3. When more than n-t signers refuse, the manifest can never be signed: a PROPOSED one is abandoned
    and its withdrawals are HELD with the error id. Refusals that may pass are asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from custodyd.batches.records import StoredBatch
from custodyd.batches.tables import BATCHES, DECISIONS, VERDICTS
from custodyd.chain.outbox import post_bytes
from custodyd.chain.work import Work
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.manifest import Approval, Decision, Verdict
from signer_node.kernel.documents.signed import Body, Received, authenticate
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.decide import CheckedApproval, check_approval
from signer_node.wire import open_signed

MAX_DECISIONS: Final = 10
"""Approvals, and as many rejections, kept of one operator over one manifest."""
REPOST_AFTER_S: Final = 10
MAX_REPOSTS: Final = 100


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """A signer's last word on a manifest."""

    node: str
    accepted: bool
    error: str
    detail: str
    received_at_s: int
    posted_again: int

    @property
    def may_pass(self) -> bool:
        """Whether the same manifest may be accepted later."""
        return self.error in ErrorId.__members__ and ErrorId[self.error].value.retryable

    def __str__(self) -> str:
        return f"{self.node}: {self.error} {self.detail}".rstrip()


def keep_decision(connection: Connection, genesis: Body[Genesis], raw: bytes, now_s: int) -> None:
    """Store an operator's decision once; raises Refusal if it is none.

    Any signer node may bring it, so its signature is verified before it takes a place: else one
    corrupt node could fill the places of others, or take that of a decision by its body alone.
    """
    received = open_signed(Approval, raw)
    manifest = received.document.manifest
    if not _is_known(connection, manifest):
        return
    seat = genesis.document.operator_by_key(received.key)
    if seat is None or seat.person != received.document.person:
        raise Refusal(ErrorId.APPROVAL_OPERATOR_UNKNOWN, f"key {received.key.hex()}")
    authenticate(received, ErrorId.APPROVAL_SIGNATURE_INVALID)
    rows = connection.execute(
        select(DECISIONS.c.decision).where(DECISIONS.c.manifest == manifest)
    ).scalars()
    before = [
        one
        for one in map(_opened, rows)
        if one.key == received.key and one.document.decision is received.document.decision
    ]
    if len(before) >= MAX_DECISIONS or received.digest in {one.digest for one in before}:
        return
    number = connection.execute(select(func.coalesce(func.max(DECISIONS.c.number), 0) + 1))
    connection.execute(
        insert(DECISIONS).values(
            number=number.scalar_one(),
            manifest=manifest,
            digest=received.digest,
            decision=raw,
            received_at_s=now_s,
        )
    )


def _opened(raw: bytes) -> Received[Approval]:
    return open_signed(Approval, bytes(raw))


def keep_verdict(connection: Connection, node: str, verdict: Verdict, now_s: int) -> None:
    """Store a signer's verdict; a later one takes the place of the one before."""
    if not _is_known(connection, verdict.subject):
        return
    values: dict[str, Any] = {
        "accepted": verdict.accepted,
        "error": verdict.error,
        "detail": verdict.detail,
        "received_at_s": now_s,
    }
    key = (VERDICTS.c.manifest == verdict.subject, VERDICTS.c.node == node)
    if connection.execute(update(VERDICTS).where(*key).values(**values)).rowcount:
        return
    connection.execute(
        insert(VERDICTS).values(manifest=verdict.subject, node=node, posted_again=0, **values)
    )


def _is_known(connection: Connection, manifest: bytes) -> bool:
    """Whether there is such a manifest: nobody fills the tables with words about others."""
    found = select(BATCHES.c.number).where(BATCHES.c.digest == manifest)
    return connection.execute(found).first() is not None


def verdicts(connection: Connection, manifest: bytes) -> Sequence[StoredVerdict]:
    """What the signers said to a manifest, by node."""
    rows = connection.execute(
        select(VERDICTS).where(VERDICTS.c.manifest == manifest).order_by(VERDICTS.c.node)
    )
    return [
        StoredVerdict(
            row.node, row.accepted, row.error, row.detail, row.received_at_s, row.posted_again
        )
        for row in rows
    ]


def valid_decisions(
    connection: Connection, genesis: Body[Genesis], batch: StoredBatch, now_s: int
) -> Sequence[CheckedApproval]:
    """Rule 1: the decisions that count now, in the order in which they came."""
    rows = connection.execute(
        select(DECISIONS.c.decision)
        .where(DECISIONS.c.manifest == batch.digest)
        .order_by(DECISIONS.c.number)
    ).scalars()
    subject = batch.subject(genesis)
    valid = []
    for raw in rows:
        try:
            valid.append(check_approval(open_signed(Approval, bytes(raw)), genesis, subject, now_s))
        except Refusal:
            continue
    return valid


def approvals_to_send(decisions: Sequence[CheckedApproval]) -> tuple[bytes, ...]:
    """One approval for each person, the newest: what a signing package carries."""
    by_person = {
        one.seat.person: one.authentic.raw
        for one in decisions
        if one.authentic.document.decision is Decision.APPROVE
    }
    return tuple(by_person[person] for person in sorted(by_person))


def post_again(work: Work, batch: StoredBatch, said: Sequence[StoredVerdict]) -> None:
    """Ask signers once more whose refusal may pass: their headers or clock were behind."""
    for one in said:
        waits = one.received_at_s + REPOST_AFTER_S > work.now_s
        if one.accepted or not one.may_pass or waits or one.posted_again >= MAX_REPOSTS:
            continue
        post_bytes(work, one.node, PayloadType.MANIFEST_PROPOSAL, batch.proposal)
        work.connection.execute(
            update(VERDICTS)
            .where(VERDICTS.c.manifest == batch.digest, VERDICTS.c.node == one.node)
            .values(posted_again=VERDICTS.c.posted_again + 1, received_at_s=work.now_s)
        )
