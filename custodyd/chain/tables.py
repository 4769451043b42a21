"""What the follower knows, and what leaves for the signer nodes.

Rows that a block caused carry its hash: removing them is the block's undo.
"""

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
)

from custodyd.chain.rules import VaultState
from custodyd.store.schema import METADATA, EnumName

# Vaults of this quorum. Here, below all stages, since everyone asks for them.
VAULTS = Table(
    "vaults",
    METADATA,
    Column("vault", String(32), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("state", EnumName(VaultState), nullable=False),
    # Body of the VaultCertificate, from DRAFTED on; its digest; Countersigned when CERTIFIED.
    Column("draft", LargeBinary, nullable=True),
    Column("digest", LargeBinary(32), nullable=True, unique=True),
    Column("certificate", LargeBinary, nullable=True),
    Column("created_at_s", BigInteger, nullable=False),
    # When the signers were asked last.
    Column("asked_at_s", BigInteger, nullable=False),
    # The follower's height when the vault was certified: nothing pays it before.
    Column("birth_height", Integer, nullable=False),
    # Indices below these are watched; `count` is what the backend asked for.
    Column("deposit_count", Integer, nullable=False),
    Column("external_watched", Integer, nullable=False),
    Column("internal_watched", Integer, nullable=False),
    Column("next_change", Integer, nullable=False),
)

WATCHED_SCRIPTS = Table(
    "watched_scripts",
    METADATA,
    Column("script", LargeBinary(64), primary_key=True),
    Column("vault", String(32), nullable=False),
    Column("chain", Integer, nullable=False),
    Column("child", Integer, nullable=False),
)

# Every block that the follower connected, also those that the chain left again.
BLOCKS = Table(
    "chain_blocks",
    METADATA,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("height", Integer, nullable=False),
    Column("previous", LargeBinary(32), nullable=False),
    Column("header", LargeBinary(80), nullable=False),
    Column("connected", Boolean, nullable=False),
    Index(None, "connected", "height"),
)

# One row: what the node said last.
CHAIN_VIEW = Table(
    "chain_view",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("tip_hash", LargeBinary(32), nullable=False),
    Column("tip_height", Integer, nullable=False),
    Column("seen_at_s", BigInteger, nullable=False),
    # When the mempool was read last.
    Column("mempool_at_s", BigInteger, nullable=False),
    # A rescan for newly watched scripts goes on from this height; null: none is due.
    Column("rescan_height", Integer, nullable=True),
)

# Outputs to watched scripts in connected blocks. `child` is the derivation index on its chain
# (a column called index would hide a method of the rows).
OUTPUTS = Table(
    "chain_outputs",
    METADATA,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("vout", BigInteger, primary_key=True),
    Column("vault", String(32), nullable=False),
    Column("chain", Integer, nullable=False),
    Column("child", Integer, nullable=False),
    Column("value_sat", BigInteger, nullable=False),
    Column("script", LargeBinary(64), nullable=False),
    Column("block", LargeBinary(32), nullable=False),
    Column("height", Integer, nullable=False),
    Column("coinbase", Boolean, nullable=False),
    Index(None, "block"),
    Index(None, "vault", "chain"),
)

# Spends of those outputs in connected blocks.
SPENDS = Table(
    "chain_spends",
    METADATA,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("vout", BigInteger, primary_key=True),
    Column("spender", LargeBinary(32), nullable=False),
    Column("block", LargeBinary(32), nullable=False),
    Column("height", Integer, nullable=False),
    Index(None, "block"),
    Index(None, "spender"),
)

# Transactions that made such an output or spend, with what proves them.
TRANSACTIONS = Table(
    "chain_transactions",
    METADATA,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("block", LargeBinary(32), nullable=False),
    Column("height", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("stripped", LargeBinary, nullable=False),
    # Hashes of 32 bytes, one behind the other.
    Column("branch", LargeBinary, nullable=False),
    Column("coinbase", LargeBinary, nullable=False),
    Column("coinbase_branch", LargeBinary, nullable=False),
    Index(None, "block"),
)

# Outputs to watched external scripts seen in the node's mempool.
MEMPOOL_OUTPUTS = Table(
    "mempool_outputs",
    METADATA,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("vout", BigInteger, primary_key=True),
    Column("vault", String(32), nullable=False),
    Column("chain", Integer, nullable=False),
    Column("child", Integer, nullable=False),
    Column("value_sat", BigInteger, nullable=False),
)

# Mempool transactions looked at already, ours or not.
MEMPOOL_SEEN = Table(
    "mempool_seen",
    METADATA,
    Column("txid", LargeBinary(32), primary_key=True),
)

# Envelopes for the signer nodes; a gap-free sequence for each. Only what stands here is sent.
OUTBOX = Table(
    "mailbox_out",
    METADATA,
    Column("node", String(32), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("posted_at_s", BigInteger, nullable=False),
)

# Where each signer node stands.
SIGNERS = Table(
    "signers",
    METADATA,
    Column("node", String(32), primary_key=True),
    Column("last_sequence", BigInteger, nullable=False),
    # The cursor that the node said last: up to it, everything is durable there.
    Column("acknowledged", BigInteger, nullable=False),
    Column("last_seen_s", BigInteger, nullable=False),
    # As its last heartbeat said.
    Column("tip_height", Integer, nullable=False),
    Column("tip_hash", LargeBinary(32), nullable=True),
    Column("journal_sequence", BigInteger, nullable=False),
    Column("journal_head", LargeBinary(32), nullable=True),
    Column("genesis_posted", Boolean, nullable=False),
    # The last header posted to it; null until it tells its tip. Then: in which envelope, and when.
    Column("relayed", LargeBinary(32), nullable=True),
    Column("headers_sequence", BigInteger, nullable=False),
    Column("headers_posted_at_s", BigInteger, nullable=False),
)
