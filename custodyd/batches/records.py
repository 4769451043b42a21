"""Batches as records: reading them, changing their state (the only place that does), telling.

Every change of state obeys the table in rules.py, has its event in the same transaction, and is
noted by its name in the stage's work.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from custodyd.batches.rules import BatchState, transition_name
from custodyd.batches.tables import BATCHES, PAYOUTS
from custodyd.chain.work import Work
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import batch_pb2, withdrawal_pb2
from custodyd.store.events import append_event
from custodyd.withdrawals.rules import BlockedReason
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.manifest import Manifest, ManifestProposal
from signer_node.kernel.documents.request import Request
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.rules.check_manifest import ReceivedManifest
from signer_node.kernel.rules.decide import Subject, requesters_of
from signer_node.wire import decode, decode_body, open_signed

_PROPOSALS_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch as the table has it; `txid` in internal byte order, `replaces` a batch id."""

    number: int
    batch_id: str
    vault: str
    state: BatchState
    blocked_reason: BlockedReason
    blocked_detail: str
    digest: bytes
    proposal: bytes
    txid: bytes
    paid_sat: int
    fee_sat: int
    change_sat: int
    input_count: int
    created_at_s: int
    expires_at_s: int
    binding: bool
    replaces: str | None
    payer_confirmation: bytes | None
    rounds: int
    signed: bytes | None
    confirmations: int
    sent_at_s: int

    @property
    def received(self) -> ReceivedManifest:
        """The manifest and its requests, decoded."""
        return open_proposal(self.proposal)

    def subject(self, genesis: Body[Genesis]) -> Subject:
        """What operators decide over."""
        received = self.received
        keys = [request.document.key for request in received.requests]
        return Subject(
            self.digest, received.body.document.policy, requesters_of(genesis.document, keys)
        )


@lru_cache(maxsize=_PROPOSALS_KEPT)
def open_proposal(raw: bytes) -> ReceivedManifest:
    """Decode a proposal with its manifest and requests; raises Refusal on bytes out of form."""
    proposal = decode(ManifestProposal, raw)
    return ReceivedManifest(
        decode_body(Manifest, proposal.manifest),
        tuple(open_signed(Request, one) for one in proposal.requests),
    )


def ids_in_states(connection: Connection, states: Collection[BatchState]) -> Sequence[str]:
    """Ids of batches in these states, oldest first; rejected ones only if they still bind."""
    rows = connection.execute(
        select(BATCHES.c.batch_id)
        .where(
            BATCHES.c.state.in_(states),
            or_(BATCHES.c.state != BatchState.REJECTED, BATCHES.c.binding),
        )
        .order_by(BATCHES.c.number)
    )
    return list(rows.scalars())


def get(connection: Connection, batch_id: str) -> StoredBatch:
    """One batch; raises NOT_FOUND."""
    row = connection.execute(select(BATCHES).where(BATCHES.c.batch_id == batch_id)).one_or_none()
    if row is None:
        raise CustodydError(ErrorId.NOT_FOUND, f"batch {batch_id}", field="batch_id")
    return _stored(row)


def by_manifest(connection: Connection, digest: bytes) -> StoredBatch | None:
    """The batch of a manifest."""
    row = connection.execute(select(BATCHES).where(BATCHES.c.digest == digest)).one_or_none()
    return None if row is None else _stored(row)


def list_page(
    connection: Connection, state: BatchState | None, after: int | None, limit: int
) -> Sequence[StoredBatch]:
    """A page, newest first: batches before number `after`."""
    statement = select(BATCHES).order_by(BATCHES.c.number.desc()).limit(limit)
    if state is not None:
        statement = statement.where(BATCHES.c.state == state)
    if after is not None:
        statement = statement.where(BATCHES.c.number < after)
    return [_stored(row) for row in connection.execute(statement)]


def count_by_state(connection: Connection) -> dict[BatchState, int]:
    """How many batches stand where."""
    rows = connection.execute(select(BATCHES.c.state, func.count()).group_by(BATCHES.c.state))
    return {row[0]: row[1] for row in rows}


def next_number(connection: Connection) -> int:
    """The number of the next batch; gap-free, since there is one writer."""
    return int(
        connection.execute(select(func.coalesce(func.max(BATCHES.c.number), 0) + 1)).scalar_one()
    )


def external_ids(connection: Connection, batch_id: str) -> list[str]:
    """The withdrawals of a batch, in the order of its outputs."""
    return list(
        connection.execute(
            select(PAYOUTS.c.external_id)
            .where(PAYOUTS.c.batch_id == batch_id)
            .order_by(PAYOUTS.c.output)
        ).scalars()
    )


def add(work: Work, batch: StoredBatch, payouts: Sequence[tuple[int, str, bytes]]) -> None:
    """Store a new batch with its payouts (output, external_id, request digest)."""
    values = {column.name: getattr(batch, column.name) for column in BATCHES.columns}
    work.connection.execute(insert(BATCHES).values(**values))
    work.connection.execute(
        insert(PAYOUTS),
        [
            {
                "batch_id": batch.batch_id,
                "output": output,
                "external_id": external_id,
                "request_digest": digest,
            }
            for output, external_id, digest in payouts
        ],
    )
    work.moved(transition_name(None, batch.state))
    _tell(work, batch.batch_id)


def change_state(work: Work, batch: StoredBatch, to: BatchState, **values: Any) -> StoredBatch:
    """Move a batch from the state that was read; nobody else moved it in this transaction."""
    name = transition_name(batch.state, to)
    values.setdefault("blocked_reason", BlockedReason.NONE)
    values.setdefault("blocked_detail", "")
    changed = work.connection.execute(
        update(BATCHES)
        .where(BATCHES.c.batch_id == batch.batch_id, BATCHES.c.state == batch.state)
        .values(state=to, **values)
    ).rowcount
    if changed != 1:
        raise CustodydError(
            ErrorId.STATE_TRANSITION_FORBIDDEN, f"{batch.batch_id} is not {batch.state.name}"
        )
    work.moved(name)
    _tell(work, batch.batch_id)
    return get(work.connection, batch.batch_id)


def annotate(work: Work, batch: StoredBatch, **values: Any) -> StoredBatch:
    """Note something without a change of state; an event only if something differs."""
    if all(getattr(batch, name) == value for name, value in values.items()):
        return batch
    work.connection.execute(
        update(BATCHES).where(BATCHES.c.batch_id == batch.batch_id).values(**values)
    )
    _tell(work, batch.batch_id)
    return get(work.connection, batch.batch_id)


def message(connection: Connection, batch: StoredBatch) -> batch_pb2.Batch:
    """The resource as the API shows it."""
    return batch_pb2.Batch(
        batch_id=batch.batch_id,
        vault=batch.vault,
        state=batch_pb2.BatchState.ValueType(batch.state.value),
        blocked_reason=withdrawal_pb2.BlockedReason.ValueType(batch.blocked_reason.value),
        blocked_detail=batch.blocked_detail,
        manifest_digest=batch.digest,
        external_ids=external_ids(connection, batch.batch_id),
        paid_sat=batch.paid_sat,
        fee_sat=batch.fee_sat,
        change_sat=batch.change_sat,
        input_count=batch.input_count,
        txid=batch.txid[::-1].hex(),
        confirmations=batch.confirmations,
        created_at_s=batch.created_at_s,
        expires_at_s=batch.expires_at_s,
        replaces_batch_id=batch.replaces or "",
        rounds=batch.rounds,
    )


def _tell(work: Work, batch_id: str) -> None:
    batch = get(work.connection, batch_id)
    append_event(work.connection, message(work.connection, batch), work.now_s)


def _stored(row: Row[Any]) -> StoredBatch:
    return StoredBatch(**row._mapping)
