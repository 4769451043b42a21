"""Small facts of the whole quorum by name, each written once or replaced whole."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, insert, select

from custodyd.store.schema import FACTS

# Canonical bytes of signer_node.wire.v1.Genesis.
GENESIS: Final = "genesis"
# 32 bytes that bind page tokens to their filters.
PAGE_KEY: Final = "page_key"


def get_fact(connection: Connection, name: str) -> bytes | None:
    """The value, or None."""
    statement = select(FACTS.c.value).where(FACTS.c.name == name)
    value: bytes | None = connection.execute(statement).scalar_one_or_none()
    return value


def put_fact(connection: Connection, name: str, value: bytes) -> None:
    """Write or replace."""
    connection.execute(delete(FACTS).where(FACTS.c.name == name))
    connection.execute(insert(FACTS).values(name=name, value=value))
