"""The one MetaData of all tables, the column types they share, and the store's own tables."""

from __future__ import annotations

from enum import Enum
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_LONGEST_NAME = 32
EnumT = TypeVar("EnumT", bound=Enum)


class EnumName(TypeDecorator[EnumT], Generic[EnumT]):
    """A member of a closed set, stored by its name so that people can read the table."""

    impl = String(_LONGEST_NAME)
    cache_ok = True

    def __init__(self, kind: type[EnumT]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: EnumT | None, _dialect: Dialect) -> str | None:
        return None if value is None else value.name

    def process_result_value(self, value: Any | None, _dialect: Dialect) -> EnumT | None:
        return None if value is None else self.kind[value]


# One row: what the store knows of itself.
STORE_META = Table(
    "store_meta",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("boot_counter", BigInteger, nullable=False),
    Column("last_event", BigInteger, nullable=False),
    # Sequence of the oldest event kept; last_event + 1 when none is.
    Column("oldest_event", BigInteger, nullable=False),
    Column("created_at_s", BigInteger, nullable=False),
)

# Every incarnation that this database ever had; the present one has the greatest ordinal.
STORE_INCARNATIONS = Table(
    "store_incarnations",
    METADATA,
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("incarnation", LargeBinary(16), nullable=False, unique=True),
    Column("first_event", BigInteger, nullable=False),
    Column("started_at_s", BigInteger, nullable=False),
)

# Outbox of events: gap-free, written in the transaction of what they tell.
EVENTS = Table(
    "events",
    METADATA,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at_s", BigInteger, nullable=False),
    # custodyd.rpc.v1.Event.
    Column("event", LargeBinary, nullable=False),
)

# Who may work, with a fencing token that only grows.
LEASES = Table(
    "leases",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_at_s", BigInteger, nullable=False),
)

# Answers by idempotency key, of calls that move money or make something.
REQUEST_ANSWERS = Table(
    "request_answers",
    METADATA,
    Column("caller", String(128), primary_key=True),
    Column("request_id", String(36), primary_key=True),
    Column("method", String(64), nullable=False),
    Column("body_digest", LargeBinary(32), nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("created_at_s", BigInteger, nullable=False),
    Index(None, "created_at_s"),
)

# Small facts of the whole quorum by name (the genesis, keys of page tokens).
FACTS = Table(
    "facts",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# The coordinator's own chain of envelopes, one for each start of a process.
ENVELOPE_HEADS = Table(
    "envelope_heads",
    METADATA,
    Column("incarnation", LargeBinary(16), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("head", LargeBinary(32), nullable=False),
)
