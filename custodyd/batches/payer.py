"""The payer's confirmation: the backend endorses each manifest against its own ledger.

It is asked only for APPROVED batches. From then on a batch binds: see rules.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, func, select, update

from custodyd.batches.records import StoredBatch, get, in_states
from custodyd.batches.rules import BatchState
from custodyd.batches.tables import BATCHES
from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.request import PayerConfirmation
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.rules.payer import check_payer_confirmation
from signer_node.wire import open_signed

MAX_ANSWER_BYTES: Final = 3 * 1024 * 1024
"""Proposals of one answer together, besides the first."""
_WAITING: Final = frozenset({BatchState.APPROVED, BatchState.COMMITTED})


def unconfirmed(connection: Connection) -> Sequence[StoredBatch]:
    """Approved batches that wait for the payer, oldest first, as many as fit in one answer."""
    chosen: list[StoredBatch] = []
    total_bytes = 0
    for batch in in_states(connection, [BatchState.APPROVED]):
        if batch.payer_confirmation is not None:
            continue
        total_bytes += len(batch.proposal)
        if chosen and total_bytes > MAX_ANSWER_BYTES:
            break
        chosen.append(batch)
    return chosen


def confirm(
    connection: Connection,
    genesis: Body[Genesis],
    batch_id: str,
    signed_confirmation: bytes,
) -> None:
    """Check and store a confirmation; another one for the same manifest changes nothing.

    Raises NOT_FOUND, BATCH_NOT_WAITING, or the kernel's Refusal.
    """
    batch = get(connection, batch_id)
    received = open_signed(PayerConfirmation, signed_confirmation)
    keys = {request.document.key for request in batch.received.requests}
    check_payer_confirmation(received, genesis, batch.digest, keys)
    if batch.payer_confirmation is not None:
        return
    if batch.state not in _WAITING:
        raise CustodydError(ErrorId.BATCH_NOT_WAITING, f"{batch_id} is {batch.state.name}")
    connection.execute(
        update(BATCHES)
        .where(BATCHES.c.batch_id == batch_id)
        .values(payer_confirmation=signed_confirmation)
    )


def waiting_count(connection: Connection) -> int:
    """How many batches wait for the payer."""
    statement = select(func.count()).where(
        BATCHES.c.state == BatchState.APPROVED, BATCHES.c.payer_confirmation.is_(None)
    )
    return int(connection.execute(statement).scalar_one())
