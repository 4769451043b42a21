"""Which signer nodes are there: from their polls and heartbeats."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from custodyd.chain.relay import heard_tip
from custodyd.chain.tables import BLOCKS, CHAIN_VIEW, OUTBOX, SIGNERS
from custodyd.rpc.v1 import admin_pb2
from custodyd.signing.answers import Delivered
from custodyd.store.context import StageContext
from signer_node.kernel.documents.manifest import Heartbeat
from signer_node.wire import decode

_log = logging.getLogger(__name__)


def note_sync(connection: Connection, node: str, cursor: int, now_s: int) -> None:
    """A node called: it is there, and what it has read up to `cursor` is durable with it.

    A node that read further than this store ever wrote met a later state of it, of which nothing
    else tells (database and sidecar came back together). Everything in its mailbox is numbered
    anew behind what it read, else it would wait for ever for numbers that it has passed.
    """
    last = connection.execute(
        select(SIGNERS.c.last_sequence).where(SIGNERS.c.node == node)
    ).scalar_one_or_none()
    if last is not None and cursor > last:
        _log.warning("mailbox numbered anew", extra={"node": node, "cursor": cursor, "last": last})
        connection.execute(
            update(OUTBOX).where(OUTBOX.c.node == node).values(sequence=OUTBOX.c.sequence + cursor)
        )
        connection.execute(
            update(SIGNERS)
            .where(SIGNERS.c.node == node)
            .values(
                last_sequence=SIGNERS.c.last_sequence + cursor,
                headers_sequence=SIGNERS.c.headers_sequence + cursor,
            )
        )
    connection.execute(
        update(SIGNERS).where(SIGNERS.c.node == node).values(last_seen_s=now_s, acknowledged=cursor)
    )


def note_heartbeat(connection: Connection, delivered: Delivered) -> None:
    """What a node says of itself."""
    beat = decode(Heartbeat, delivered.payload)
    connection.execute(
        update(SIGNERS)
        .where(SIGNERS.c.node == delivered.node)
        .values(
            last_seen_s=delivered.now_s,
            tip_height=beat.tip_height,
            tip_hash=beat.tip_hash,
            journal_sequence=beat.journal_sequence,
            journal_head=beat.journal_head,
        )
    )
    heard_tip(connection, delivered.node, beat.tip_hash, delivered.now_s)


def online_nodes(connection: Connection, context: StageContext) -> frozenset[str]:
    """Nodes that called recently enough."""
    since_s = context.now_s() - context.settings.signer_offline_after_s
    rows = connection.execute(select(SIGNERS.c.node).where(SIGNERS.c.last_seen_s >= since_s))
    return frozenset(rows.scalars())


def signer_status(
    connection: Connection, context: StageContext
) -> Sequence[admin_pb2.SignerStatus]:
    """Every signer node of the genesis as the API shows it, in the order of the roster."""
    online = online_nodes(connection, context)
    rows = {row.node: row for row in connection.execute(select(SIGNERS))}
    shown = []
    for seat in context.genesis.document.signers if context.genesis else ():
        status = admin_pb2.SignerStatus(node=seat.name, online=seat.name in online)
        if (row := rows.get(seat.name)) is not None:
            status.last_seen_s = row.last_seen_s
            status.tip_height = row.tip_height
            status.journal_sequence = row.journal_sequence
        shown.append(status)
    return shown


def fill_chain(connection: Connection, status: admin_pb2.Status) -> None:
    """Height and tip that the follower connected, and when the chain node answered last."""
    view = connection.execute(select(CHAIN_VIEW.c.seen_at_s)).one_or_none()
    if view is None:
        return
    tip = connection.execute(
        select(BLOCKS.c.height, BLOCKS.c.hash)
        .where(BLOCKS.c.connected)
        .order_by(BLOCKS.c.height.desc())
        .limit(1)
    ).one()
    status.chain_height = tip.height
    status.chain_tip = bytes(tip.hash)[::-1].hex()
    status.chain_seen_s = view.seen_at_s
