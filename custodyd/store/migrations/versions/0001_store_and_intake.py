"""The store's own tables, slots, withdrawals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
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


def _envelope_heads() -> None:
    op.create_table(
        "envelope_heads",
        sa.Column("incarnation", sa.LargeBinary(length=16), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("incarnation", name=op.f("pk_envelope_heads")),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_events")),
    )


def _facts() -> None:
    op.create_table(
        "facts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_facts")),
    )


def _leases() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )


def _request_answers() -> None:
    op.create_table(
        "request_answers",
        sa.Column("caller", sa.String(length=128), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("method", sa.String(length=64), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "request_id", name=op.f("pk_request_answers")),
    )
    op.create_index(
        op.f("ix_request_answers_created_at_s"), "request_answers", ["created_at_s"], unique=False
    )


def _slots() -> None:
    op.create_table(
        "slots",
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at_s", sa.BigInteger(), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("enrolment", sa.LargeBinary(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("filled_at_s", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("role", "name", name=op.f("pk_slots")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_slots_token_hash")),
    )


def _store_incarnations() -> None:
    op.create_table(
        "store_incarnations",
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("incarnation", sa.LargeBinary(length=16), nullable=False),
        sa.Column("first_event", sa.BigInteger(), nullable=False),
        sa.Column("started_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ordinal", name=op.f("pk_store_incarnations")),
        sa.UniqueConstraint("incarnation", name=op.f("uq_store_incarnations_incarnation")),
    )


def _store_meta() -> None:
    op.create_table(
        "store_meta",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("boot_counter", sa.BigInteger(), nullable=False),
        sa.Column("last_event", sa.BigInteger(), nullable=False),
        sa.Column("oldest_event", sa.BigInteger(), nullable=False),
        sa.Column("created_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store_meta")),
    )


def _withdrawal_conflicts() -> None:
    op.create_table(
        "withdrawal_conflicts",
        sa.Column("request_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=False),
        sa.Column("signed_request", sa.LargeBinary(), nullable=False),
        sa.Column("seen_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("request_digest", name=op.f("pk_withdrawal_conflicts")),
    )
    op.create_index(
        op.f("ix_withdrawal_conflicts_external_id"),
        "withdrawal_conflicts",
        ["external_id"],
        unique=False,
    )


def _withdrawals() -> None:
    op.create_table(
        "withdrawals",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=False),
        sa.Column("vault", sa.String(length=32), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("signed_request", sa.LargeBinary(), nullable=False),
        sa.Column("script", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.String(length=90), nullable=False),
        sa.Column("amount_sat", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("valid_until_s", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("blocked_reason", sa.String(length=32), nullable=False),
        sa.Column("blocked_detail", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.String(length=64), nullable=True),
        sa.Column("bound_to", sa.String(length=64), nullable=True),
        sa.Column("txid", sa.LargeBinary(length=32), nullable=True),
        sa.Column("output", sa.Integer(), nullable=True),
        sa.Column("confirmations", sa.Integer(), nullable=False),
        sa.Column("created_at_s", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_withdrawals")),
        sa.UniqueConstraint("external_id", name=op.f("uq_withdrawals_external_id")),
        sa.UniqueConstraint("request_digest", name=op.f("uq_withdrawals_request_digest")),
    )
    op.create_index(op.f("ix_withdrawals_batch_id"), "withdrawals", ["batch_id"], unique=False)
    op.create_index(
        op.f("ix_withdrawals_state_number"), "withdrawals", ["state", "number"], unique=False
    )


TABLES = {
    "envelope_heads": _envelope_heads,
    "events": _events,
    "facts": _facts,
    "leases": _leases,
    "request_answers": _request_answers,
    "slots": _slots,
    "store_incarnations": _store_incarnations,
    "store_meta": _store_meta,
    "withdrawal_conflicts": _withdrawal_conflicts,
    "withdrawals": _withdrawals,
}
