"""What came from the signer nodes, key generation, and rounds."""

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
)

from custodyd.signing.rules import KeygenState, RoundState
from custodyd.store.schema import METADATA, EnumName

# Every envelope that was taken, by the digest of its body: the same one again changes nothing.
INBOX = Table(
    "mailbox_in",
    METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("sender", LargeBinary(32), nullable=False),
    Column("incarnation", LargeBinary(16), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("received_at_s", BigInteger, nullable=False),
    Index(None, "sender", "incarnation", "sequence"),
    Index(None, "received_at_s"),
)

# What a node did that no honest node does, with the envelope that proves it.
EVIDENCE = Table(
    "signer_evidence",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("node", String(32), nullable=False),
    # An id of the signer's catalogue, or EQUIVOCATION.
    Column("fault", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("manifest", LargeBinary(32), nullable=True),
    Column("envelope", LargeBinary, nullable=False),
    Column("seen_at_s", BigInteger, nullable=False),
    Index(None, "manifest"),
)

# Signed CosignerKey of each node for a vault; the first one that verified.
COSIGNER_KEYS = Table(
    "cosigner_keys",
    METADATA,
    Column("vault", String(32), primary_key=True),
    Column("node", String(32), primary_key=True),
    Column("signed", LargeBinary, nullable=False),
)

# The latest attempt at the key generation of a vault.
KEYGENS = Table(
    "keygens",
    METADATA,
    Column("vault", String(32), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("state", EnumName(KeygenState), nullable=False),
    Column("begun_at_s", BigInteger, nullable=False),
    # When the present state began.
    Column("since_s", BigInteger, nullable=False),
    # Digest of what was sent last: a node's refusal names it.
    Column("asked", LargeBinary(32), nullable=False),
    # FrostKey, from SEALED on.
    Column("frost", LargeBinary, nullable=True),
    # Why the last attempt that failed did, as people read it; whoever is named stands in it.
    Column("trouble", Text, nullable=False),
)

# What nodes sent in an attempt, the first of each step; forgotten when the vault is drafted.
KEYGEN_MESSAGES = Table(
    "keygen_messages",
    METADATA,
    Column("vault", String(32), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    # The type of the payload, by its number.
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("node", String(32), primary_key=True),
    Column("message", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
)

# A node's refusal of what was sent last.
KEYGEN_REFUSALS = Table(
    "keygen_refusals",
    METADATA,
    Column("vault", String(32), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("node", String(32), primary_key=True),
    Column("error", String(64), nullable=False),
    Column("detail", Text, nullable=False),
)

CERTIFICATE_SIGNATURES = Table(
    "certificate_signatures",
    METADATA,
    Column("certificate", LargeBinary(32), primary_key=True),
    Column("node", String(32), primary_key=True),
    Column("signature", LargeBinary(64), nullable=False),
)

ROUNDS = Table(
    "signing_rounds",
    METADATA,
    Column("manifest", LargeBinary(32), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("batch_id", String(64), nullable=False),
    Column("state", EnumName(RoundState), nullable=False),
    # Nodes of the signer set in the order of the roster, separated by commas.
    Column("members", Text, nullable=False),
    # Those who spoilt it, likewise.
    Column("spoilt_by", Text, nullable=False),
    Column("opened_at_s", BigInteger, nullable=False),
    # When the present state began; a round that stays in it for too long fails.
    Column("since_s", BigInteger, nullable=False),
    Column("package", LargeBinary, nullable=True),
    Column("package_digest", LargeBinary(32), nullable=True),
    Index(None, "state"),
    Index(None, "package_digest"),
)

# CommitmentSets and ShareSets, with the envelope that brought them.
COMMITMENTS = Table(
    "signing_commitments",
    METADATA,
    Column("manifest", LargeBinary(32), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("node", String(32), primary_key=True),
    Column("commitment_set", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
)

SHARES = Table(
    "signing_shares",
    METADATA,
    Column("package", LargeBinary(32), primary_key=True),
    Column("node", String(32), primary_key=True),
    Column("share_set", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("bad", Boolean, nullable=False),
)
