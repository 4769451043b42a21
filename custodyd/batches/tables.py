"""Batches, what they pay, and what operators and signers said to their manifests."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from custodyd.batches.rules import BatchState
from custodyd.store.schema import METADATA, EnumName
from custodyd.withdrawals.rules import BlockedReason

BATCHES = Table(
    "batches",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("batch_id", String(64), nullable=False, unique=True),
    Column("vault", String(32), nullable=False),
    Column("state", EnumName(BatchState), nullable=False),
    Column("blocked_reason", EnumName(BlockedReason), nullable=False),
    Column("blocked_detail", Text, nullable=False),
    # Digest of the manifest, and the ManifestProposal that the signers got.
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("proposal", LargeBinary, nullable=False),
    # Internal byte order; fixed since the manifest was built (inputs are segwit).
    Column("txid", LargeBinary(32), nullable=False),
    Column("paid_sat", BigInteger, nullable=False),
    Column("fee_sat", BigInteger, nullable=False),
    Column("change_sat", BigInteger, nullable=False),
    Column("input_count", Integer, nullable=False),
    Column("created_at_s", BigInteger, nullable=False),
    Column("expires_at_s", BigInteger, nullable=False),
    # It was approved once: its withdrawals can be paid by nothing that does not conflict with it.
    Column("binding", Boolean, nullable=False),
    Column("replaces", String(64), nullable=True),
    # Signed PayerConfirmation.
    Column("payer_confirmation", LargeBinary, nullable=True),
    # How often the proposal was posted to signers that could not judge it yet.
    Column("rounds", Integer, nullable=False),
    # The signed transaction: durable before its first broadcast.
    Column("signed", LargeBinary, nullable=True),
    Column("confirmations", Integer, nullable=False),
    # When it was given to the chain node last.
    Column("sent_at_s", BigInteger, nullable=False),
    Index(None, "state"),
    Index(None, "txid"),
)

# Which output of a batch pays which withdrawal; kept for every batch that ever was.
PAYOUTS = Table(
    "batch_payouts",
    METADATA,
    Column("batch_id", String(64), primary_key=True),
    Column("output", Integer, primary_key=True),
    Column("external_id", String(64), nullable=False),
    Column("request_digest", LargeBinary(32), nullable=False),
    Index(None, "external_id"),
)

# Operators' decisions as they came, one for each (manifest, operator key, body).
DECISIONS = Table(
    "batch_decisions",
    METADATA,
    Column("number", BigInteger, primary_key=True),
    Column("manifest", LargeBinary(32), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    # Signed Approval.
    Column("decision", LargeBinary, nullable=False),
    Column("received_at_s", BigInteger, nullable=False),
    UniqueConstraint("manifest", "digest"),
)

# What each signer said to a manifest, the last word of each.
VERDICTS = Table(
    "batch_verdicts",
    METADATA,
    Column("manifest", LargeBinary(32), primary_key=True),
    Column("node", String(32), primary_key=True),
    Column("accepted", Boolean, nullable=False),
    Column("error", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("received_at_s", BigInteger, nullable=False),
    Column("posted_again", Integer, nullable=False),
)
