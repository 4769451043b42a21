"""Withdrawals, one row each, for ever.

`batch_id`, `txid`, `output` and `confirmations` are written by the later stages through
`withdrawals.service.move`, which alone changes `state`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text

from custodyd.store.schema import METADATA, EnumName
from custodyd.withdrawals.rules import BlockedReason, WithdrawalState

WITHDRAWALS = Table(
    "withdrawals",
    METADATA,
    # Order of acceptance: batches take the oldest first, pages walk it.
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("external_id", String(64), nullable=False, unique=True),
    Column("vault", String(32), nullable=False),
    # Digest of the request's body, and its Signed bytes as received.
    Column("request_digest", LargeBinary(32), nullable=False, unique=True),
    Column("signed_request", LargeBinary, nullable=False),
    Column("script", LargeBinary, nullable=False),
    Column("address", String(90), nullable=False),
    Column("amount_sat", BigInteger, nullable=False),
    Column("account", Text, nullable=False),
    Column("valid_until_s", BigInteger, nullable=False),
    Column("state", EnumName(WithdrawalState), nullable=False),
    Column("blocked_reason", EnumName(BlockedReason), nullable=False),
    Column("blocked_detail", Text, nullable=False),
    Column("batch_id", String(64), nullable=True),
    # The first batch that was approved with it: from then on only that batch and what replaces it
    # may pay (PROTOCOL.md G4), and it neither expires nor is cancelled.
    Column("bound_to", String(64), nullable=True),
    # Internal byte order.
    Column("txid", LargeBinary(32), nullable=True),
    Column("output", Integer, nullable=True),
    Column("confirmations", Integer, nullable=False),
    Column("created_at_s", BigInteger, nullable=False),
    Column("updated_at_s", BigInteger, nullable=False),
    Index(None, "state", "number"),
    Index(None, "batch_id"),
)

# A withdrawal id that came again with another body: refused, and kept as evidence.
WITHDRAWAL_CONFLICTS = Table(
    "withdrawal_conflicts",
    METADATA,
    Column("request_digest", LargeBinary(32), primary_key=True),
    Column("external_id", String(64), nullable=False),
    Column("signed_request", LargeBinary, nullable=False),
    Column("seen_at_s", BigInteger, nullable=False),
    Index(None, "external_id"),
)
