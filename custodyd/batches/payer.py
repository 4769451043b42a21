"""The payer's confirmation: the backend endorses each manifest against its own ledger.

It is asked only for APPROVED batches. From then on a batch binds: see rules.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, func, select, update

from custodyd.batches.records import get
from custodyd.batches.rules import BatchState
from custodyd.batches.tables import BATCHES
from custodyd.errors import CustodydError, ErrorId
from custodyd.store import Store
from custodyd.store.context import StageContext
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.request import PayerConfirmation
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.rules.payer import check_payer_confirmation
from signer_node.wire import open_signed

MAX_LISTED: Final = 16
_WAITING: Final = frozenset({BatchState.APPROVED, BatchState.COMMITTED})


def unconfirmed(connection: Connection) -> Sequence[tuple[str, bytes]]:
    """(batch id, proposal) of approved batches that wait for the payer, oldest first."""
    rows = connection.execute(
        select(BATCHES.c.batch_id, BATCHES.c.proposal)
        .where(BATCHES.c.state == BatchState.APPROVED, BATCHES.c.payer_confirmation.is_(None))
        .order_by(BATCHES.c.number)
        .limit(MAX_LISTED)
    )
    return [(row.batch_id, bytes(row.proposal)) for row in rows]


def confirm(store: Store, context: StageContext, batch_id: str, signed_confirmation: bytes) -> None:
    """Check and store a confirmation; another one for the same manifest changes nothing.

    Raises NOT_FOUND, BATCH_NOT_WAITING, or the kernel's Refusal.
    """
    if context.genesis is None:
        raise CustodydError(ErrorId.GENESIS_MISSING)
    with store.transaction() as connection:
        _confirm(connection, context.genesis, batch_id, signed_confirmation)


def _confirm(
    connection: Connection, genesis: Body[Genesis], batch_id: str, signed_confirmation: bytes
) -> None:
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
