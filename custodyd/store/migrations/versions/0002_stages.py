"""Tables of chain, coins, deposits, batches, signing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    for make in TABLES.values():
        make()


def downgrade() -> None:
    """Back to the one before."""
    for name in reversed(TABLES):
        op.drop_table(name)


def _batch_decisions() -> None:
    op.create_table(
        "batch_decisions",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("decision", sa.LargeBinary(), nullable=False),
        sa.Column("received_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_batch_decisions")),
        sa.UniqueConstraint("manifest", "digest", name=op.f("uq_batch_decisions_manifest_digest")),
    )


def _batch_payouts() -> None:
    op.create_table(
        "batch_payouts",
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("output", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "output", name=op.f("pk_batch_payouts")),
    )
    op.create_index(
        op.f("ix_batch_payouts_external_id"), "batch_payouts", ["external_id"], unique=False
    )


def _batch_verdicts() -> None:
    op.create_table(
        "batch_verdicts",
        sa.Column("manifest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("error", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("received_at_s", sa.BigInteger(), nullable=False),
        sa.Column("posted_again", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("manifest", "node", name=op.f("pk_batch_verdicts")),
    )


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("vault", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("blocked_reason", sa.String(length=32), nullable=False),
        sa.Column("blocked_detail", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("proposal", sa.LargeBinary(), nullable=False),
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("paid_sat", sa.BigInteger(), nullable=False),
        sa.Column("fee_sat", sa.BigInteger(), nullable=False),
        sa.Column("change_sat", sa.BigInteger(), nullable=False),
        sa.Column("input_count", sa.Integer(), nullable=False),
        sa.Column("created_at_s", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_s", sa.BigInteger(), nullable=False),
        sa.Column("binding", sa.Boolean(), nullable=False),
        sa.Column("replaces", sa.String(length=64), nullable=True),
        sa.Column("payer_confirmation", sa.LargeBinary(), nullable=True),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=True),
        sa.Column("confirmations", sa.Integer(), nullable=False),
        sa.Column("sent_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_batches")),
        sa.UniqueConstraint("batch_id", name=op.f("uq_batches_batch_id")),
        sa.UniqueConstraint("digest", name=op.f("uq_batches_digest")),
    )
    op.create_index(op.f("ix_batches_state"), "batches", ["state"], unique=False)
    op.create_index(op.f("ix_batches_txid"), "batches", ["txid"], unique=False)


def _certificate_signatures() -> None:
    op.create_table(
        "certificate_signatures",
        sa.Column("certificate", sa.LargeBinary(length=32), nullable=False),
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=False),
        sa.PrimaryKeyConstraint("certificate", "node", name=op.f("pk_certificate_signatures")),
    )


def _chain_blocks() -> None:
    op.create_table(
        "chain_blocks",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("previous", sa.LargeBinary(length=32), nullable=False),
        sa.Column("header", sa.LargeBinary(length=80), nullable=False),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_chain_blocks")),
    )
    op.create_index(
        op.f("ix_chain_blocks_connected_height"),
        "chain_blocks",
        ["connected", "height"],
        unique=False,
    )


def _chain_outputs() -> None:
    op.create_table(
        "chain_outputs",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vout", sa.BigInteger(), nullable=False),
        sa.Column("vault", sa.String(length=32), nullable=False),
        sa.Column("chain", sa.Integer(), nullable=False),
        sa.Column("child", sa.Integer(), nullable=False),
        sa.Column("value_sat", sa.BigInteger(), nullable=False),
        sa.Column("script", sa.LargeBinary(length=64), nullable=False),
        sa.Column("block", sa.LargeBinary(length=32), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("coinbase", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("txid", "vout", name=op.f("pk_chain_outputs")),
    )
    op.create_index(op.f("ix_chain_outputs_block"), "chain_outputs", ["block"], unique=False)
    op.create_index(
        op.f("ix_chain_outputs_vault_chain"), "chain_outputs", ["vault", "chain"], unique=False
    )


def _chain_spends() -> None:
    op.create_table(
        "chain_spends",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vout", sa.BigInteger(), nullable=False),
        sa.Column("spender", sa.LargeBinary(length=32), nullable=False),
        sa.Column("block", sa.LargeBinary(length=32), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("txid", "vout", name=op.f("pk_chain_spends")),
    )
    op.create_index(op.f("ix_chain_spends_block"), "chain_spends", ["block"], unique=False)
    op.create_index(op.f("ix_chain_spends_spender"), "chain_spends", ["spender"], unique=False)


def _chain_transactions() -> None:
    op.create_table(
        "chain_transactions",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("block", sa.LargeBinary(length=32), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("stripped", sa.LargeBinary(), nullable=False),
        sa.Column("branch", sa.LargeBinary(), nullable=False),
        sa.Column("coinbase", sa.LargeBinary(), nullable=False),
        sa.Column("coinbase_branch", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("txid", name=op.f("pk_chain_transactions")),
    )
    op.create_index(
        op.f("ix_chain_transactions_block"), "chain_transactions", ["block"], unique=False
    )


def _chain_view() -> None:
    op.create_table(
        "chain_view",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tip_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tip_height", sa.Integer(), nullable=False),
        sa.Column("seen_at_s", sa.BigInteger(), nullable=False),
        sa.Column("mempool_at_s", sa.BigInteger(), nullable=False),
        sa.Column("rescan_height", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chain_view")),
    )


def _coin_change() -> None:
    op.create_table(
        "coin_change",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vout", sa.BigInteger(), nullable=False),
        sa.Column("vault", sa.String(length=32), nullable=False),
        sa.Column("child", sa.Integer(), nullable=False),
        sa.Column("value_sat", sa.BigInteger(), nullable=False),
        sa.Column("script", sa.LargeBinary(length=64), nullable=False),
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("spendable", sa.Boolean(), nullable=False),
        sa.Column("stripped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("txid", "vout", name=op.f("pk_coin_change")),
    )
    op.create_index(op.f("ix_coin_change_batch_id"), "coin_change", ["batch_id"], unique=False)
    op.create_index(op.f("ix_coin_change_vault"), "coin_change", ["vault"], unique=False)


def _coin_reservations() -> None:
    op.create_table(
        "coin_reservations",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vout", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("txid", "vout", name=op.f("pk_coin_reservations")),
    )
    op.create_index(
        op.f("ix_coin_reservations_batch_id"), "coin_reservations", ["batch_id"], unique=False
    )


def _cosigner_keys() -> None:
    op.create_table(
        "cosigner_keys",
        sa.Column("vault", sa.String(length=32), nullable=False),
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("vault", "node", name=op.f("pk_cosigner_keys")),
    )


def _deposits() -> None:
    op.create_table(
        "deposits",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vout", sa.BigInteger(), nullable=False),
        sa.Column("vault", sa.String(length=32), nullable=False),
        sa.Column("child", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(length=90), nullable=False),
        sa.Column("amount_sat", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("block", sa.LargeBinary(length=32), nullable=False),
        sa.Column("updated_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_deposits")),
    )
    op.create_index(op.f("ix_deposits_state"), "deposits", ["state"], unique=False)
    op.create_index(op.f("ix_deposits_txid_vout"), "deposits", ["txid", "vout"], unique=True)


def _mailbox_in() -> None:
    op.create_table(
        "mailbox_in",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sender", sa.LargeBinary(length=32), nullable=False),
        sa.Column("incarnation", sa.LargeBinary(length=16), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("received_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_mailbox_in")),
    )
    op.create_index(
        op.f("ix_mailbox_in_received_at_s"), "mailbox_in", ["received_at_s"], unique=False
    )
    op.create_index(
        op.f("ix_mailbox_in_sender_incarnation_sequence"),
        "mailbox_in",
        ["sender", "incarnation", "sequence"],
        unique=False,
    )


def _mailbox_out() -> None:
    op.create_table(
        "mailbox_out",
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("posted_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", "sequence", name=op.f("pk_mailbox_out")),
    )


def _mempool_outputs() -> None:
    op.create_table(
        "mempool_outputs",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vout", sa.BigInteger(), nullable=False),
        sa.Column("vault", sa.String(length=32), nullable=False),
        sa.Column("chain", sa.Integer(), nullable=False),
        sa.Column("child", sa.Integer(), nullable=False),
        sa.Column("value_sat", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("txid", "vout", name=op.f("pk_mempool_outputs")),
    )


def _mempool_seen() -> None:
    op.create_table(
        "mempool_seen",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("txid", name=op.f("pk_mempool_seen")),
    )


def _signer_evidence() -> None:
    op.create_table(
        "signer_evidence",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("fault", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("seen_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_signer_evidence")),
    )
    op.create_index(
        op.f("ix_signer_evidence_manifest"), "signer_evidence", ["manifest"], unique=False
    )


def _signers() -> None:
    op.create_table(
        "signers",
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_s", sa.BigInteger(), nullable=False),
        sa.Column("tip_height", sa.Integer(), nullable=False),
        sa.Column("tip_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("journal_sequence", sa.BigInteger(), nullable=False),
        sa.Column("journal_head", sa.LargeBinary(length=32), nullable=True),
        sa.Column("genesis_posted", sa.Boolean(), nullable=False),
        sa.Column("relayed", sa.LargeBinary(length=32), nullable=True),
        sa.Column("headers_sequence", sa.BigInteger(), nullable=False),
        sa.Column("headers_posted_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_signers")),
    )


def _signing_commitments() -> None:
    op.create_table(
        "signing_commitments",
        sa.Column("manifest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("commitment_set", sa.LargeBinary(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("manifest", "round", "node", name=op.f("pk_signing_commitments")),
    )


def _signing_rounds() -> None:
    op.create_table(
        "signing_rounds",
        sa.Column("manifest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("members", sa.Text(), nullable=False),
        sa.Column("spoilt_by", sa.Text(), nullable=False),
        sa.Column("opened_at_s", sa.BigInteger(), nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.Column("package", sa.LargeBinary(), nullable=True),
        sa.Column("package_digest", sa.LargeBinary(length=32), nullable=True),
        sa.PrimaryKeyConstraint("manifest", "round", name=op.f("pk_signing_rounds")),
    )
    op.create_index(
        op.f("ix_signing_rounds_package_digest"), "signing_rounds", ["package_digest"], unique=False
    )
    op.create_index(op.f("ix_signing_rounds_state"), "signing_rounds", ["state"], unique=False)


def _signing_shares() -> None:
    op.create_table(
        "signing_shares",
        sa.Column("package", sa.LargeBinary(length=32), nullable=False),
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("share_set", sa.LargeBinary(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("bad", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("package", "node", name=op.f("pk_signing_shares")),
    )


def _vaults() -> None:
    op.create_table(
        "vaults",
        sa.Column("vault", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("draft", sa.LargeBinary(), nullable=True),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("certificate", sa.LargeBinary(), nullable=True),
        sa.Column("created_at_s", sa.BigInteger(), nullable=False),
        sa.Column("asked_at_s", sa.BigInteger(), nullable=False),
        sa.Column("birth_height", sa.Integer(), nullable=False),
        sa.Column("deposit_count", sa.Integer(), nullable=False),
        sa.Column("external_watched", sa.Integer(), nullable=False),
        sa.Column("internal_watched", sa.Integer(), nullable=False),
        sa.Column("next_change", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("vault", name=op.f("pk_vaults")),
        sa.UniqueConstraint("digest", name=op.f("uq_vaults_digest")),
    )


def _watched_scripts() -> None:
    op.create_table(
        "watched_scripts",
        sa.Column("script", sa.LargeBinary(length=64), nullable=False),
        sa.Column("vault", sa.String(length=32), nullable=False),
        sa.Column("chain", sa.Integer(), nullable=False),
        sa.Column("child", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("script", name=op.f("pk_watched_scripts")),
    )


TABLES = {
    "batch_decisions": _batch_decisions,
    "batch_payouts": _batch_payouts,
    "batch_verdicts": _batch_verdicts,
    "batches": _batches,
    "certificate_signatures": _certificate_signatures,
    "chain_blocks": _chain_blocks,
    "chain_outputs": _chain_outputs,
    "chain_spends": _chain_spends,
    "chain_transactions": _chain_transactions,
    "chain_view": _chain_view,
    "coin_change": _coin_change,
    "coin_reservations": _coin_reservations,
    "cosigner_keys": _cosigner_keys,
    "deposits": _deposits,
    "mailbox_in": _mailbox_in,
    "mailbox_out": _mailbox_out,
    "mempool_outputs": _mempool_outputs,
    "mempool_seen": _mempool_seen,
    "signer_evidence": _signer_evidence,
    "signers": _signers,
    "signing_commitments": _signing_commitments,
    "signing_rounds": _signing_rounds,
    "signing_shares": _signing_shares,
    "vaults": _vaults,
    "watched_scripts": _watched_scripts,
}
