"""Reservations, and change that no block holds yet. Confirmed coins stand in the follower's tables.

A coin's state follows from where it stands: in `coin_change` only (own unconfirmed change), in
`chain_outputs` (confirmed), in `chain_spends` too (spent); reserved if in `coin_reservations`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table

from custodyd.store.schema import METADATA

# The primary key is what makes a coin belong to one batch only.
RESERVATIONS = Table(
    "coin_reservations",
    METADATA,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("vout", BigInteger, primary_key=True),
    Column("batch_id", String(64), nullable=False),
    Index(None, "batch_id"),
)

# Change outputs of batches' transactions, known since the manifest was built.
CHANGE = Table(
    "coin_change",
    METADATA,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("vout", BigInteger, primary_key=True),
    Column("vault", String(32), nullable=False),
    Column("child", Integer, nullable=False),
    Column("value_sat", BigInteger, nullable=False),
    Column("script", LargeBinary(64), nullable=False),
    Column("batch_id", String(64), nullable=False),
    # Whether the transaction was broadcast, so that its change may be spent unconfirmed.
    Column("spendable", Boolean, nullable=False),
    # The whole transaction without witness: evidence for whoever spends the change.
    Column("stripped", LargeBinary, nullable=False),
    Index(None, "batch_id"),
    Index(None, "vault"),
)
