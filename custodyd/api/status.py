"""Heights, read from what the follower keeps."""

from __future__ import annotations

from sqlalchemy import Connection, select

from custodyd.chain.follower import connected_tip
from custodyd.chain.tables import CHAIN_VIEW


def followed_height(connection: Connection) -> int:
    """Height of the last block that the follower read; 0 before it began."""
    try:
        return connected_tip(connection).height
    except LookupError:
        return 0


def node_height(connection: Connection) -> int:
    """Height that the chain node said last; 0 before."""
    return int(connection.execute(select(CHAIN_VIEW.c.tip_height)).scalar_one_or_none() or 0)
