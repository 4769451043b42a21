"""Deposits, one row for each output, for ever: what was told to the backend is not forgotten."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table

from custodyd.deposits.rules import DepositState
from custodyd.store.schema import METADATA, EnumName

DEPOSITS = Table(
    "deposits",
    METADATA,
    # Order in which they were seen; pages walk it.
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("txid", LargeBinary(32), nullable=False),
    Column("vout", BigInteger, nullable=False),
    Column("vault", String(32), nullable=False),
    Column("child", Integer, nullable=False),
    Column("address", String(90), nullable=False),
    Column("amount_sat", BigInteger, nullable=False),
    Column("state", EnumName(DepositState), nullable=False),
    # Zero and empty until confirmed.
    Column("height", Integer, nullable=False),
    Column("block", LargeBinary(32), nullable=False),
    Column("updated_at_s", BigInteger, nullable=False),
    Index(None, "txid", "vout", unique=True),
    Index(None, "state"),
)
