"""Headers for the signer nodes: each is brought from the tip that it told to the follower's.

A node is sent nothing before it told a tip (it knows no genesis yet). `heard_tip` begins again from
what a node says when it read everything and still stands elsewhere: headers that it got too early,
or a disk that it lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, and_, or_, select, update

from custodyd.chain.outbox import post
from custodyd.chain.rules import MAX_HEADERS
from custodyd.chain.tables import BLOCKS, SIGNERS
from custodyd.chain.work import Work, working
from custodyd.store import Store
from custodyd.store.context import StageContext
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.manifest import Headers

RESEND_AFTER_S: Final = 10
MAX_ENVELOPES_PER_PASS: Final = 20


def relay_headers(store: Store, context: StageContext) -> None:
    """Post what the nodes lack; bounded, the rest comes with the next pass."""
    for _envelope in range(MAX_ENVELOPES_PER_PASS):
        with store.reading() as connection:
            behind = _nodes_behind(connection)
        if not behind:
            return
        with working(store, context) as work:
            for node, relayed in behind:
                _post_next(work, node, relayed)
            work.moved("headers.relayed")


def is_relayed(connection: Connection) -> bool:
    """Whether every node that told a tip has all headers up to ours in its mailbox."""
    return not _nodes_behind(connection)


def heard_tip(connection: Connection, node: str, tip_hash: bytes, now_s: int) -> None:
    """A node told its tip in a heartbeat that arrived at `now_s`."""
    connection.execute(
        update(SIGNERS)
        .where(
            SIGNERS.c.node == node,
            or_(
                SIGNERS.c.relayed.is_(None),
                and_(
                    SIGNERS.c.relayed != tip_hash,
                    SIGNERS.c.acknowledged >= SIGNERS.c.headers_sequence,
                    SIGNERS.c.headers_posted_at_s <= now_s - RESEND_AFTER_S,
                ),
            ),
        )
        .values(relayed=tip_hash)
    )


def _nodes_behind(connection: Connection) -> Sequence[tuple[str, bytes]]:
    tip = _connected_hash(connection)
    rows = connection.execute(
        select(SIGNERS.c.node, SIGNERS.c.relayed)
        .where(SIGNERS.c.relayed.is_not(None), SIGNERS.c.relayed != tip)
        .order_by(SIGNERS.c.node)
    )
    return [(row.node, bytes(row.relayed)) for row in rows]


def _connected_hash(connection: Connection) -> bytes:
    return bytes(
        connection.execute(
            select(BLOCKS.c.hash)
            .where(BLOCKS.c.connected)
            .order_by(BLOCKS.c.height.desc())
            .limit(1)
        ).scalar_one()
    )


def _post_next(work: Work, node: str, relayed: bytes) -> None:
    start = _fork_height(work.connection, relayed)
    rows = work.connection.execute(
        select(BLOCKS.c.hash, BLOCKS.c.header)
        .where(BLOCKS.c.connected, BLOCKS.c.height > start)
        .order_by(BLOCKS.c.height)
        .limit(MAX_HEADERS)
    ).all()
    values: dict[str, object] = {"relayed": _connected_hash(work.connection)}
    if rows:
        headers = Headers(tuple(bytes(row.header) for row in rows))
        values = {
            "relayed": bytes(rows[-1].hash),
            "headers_sequence": post(work, node, PayloadType.HEADERS, headers),
            "headers_posted_at_s": work.now_s,
        }
    work.connection.execute(update(SIGNERS).where(SIGNERS.c.node == node).values(values))


def _fork_height(connection: Connection, known: bytes) -> int:
    """Height of the last connected block at or below one that the node knows.

    A block that we never saw: from the first block on, which every node knows.
    """
    row = connection.execute(select(BLOCKS).where(BLOCKS.c.hash == known)).one_or_none()
    while row is not None and not row.connected:
        row = connection.execute(select(BLOCKS).where(BLOCKS.c.hash == row.previous)).one_or_none()
    if row is not None:
        return int(row.height)
    first = connection.execute(select(BLOCKS.c.height).order_by(BLOCKS.c.height).limit(1))
    return int(first.scalar_one())
