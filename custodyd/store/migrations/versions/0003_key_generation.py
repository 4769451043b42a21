"""Tables of key generation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
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


def _keygens() -> None:
    op.create_table(
        "keygens",
        sa.Column("vault", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("begun_at_s", sa.BigInteger(), nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.Column("asked", sa.LargeBinary(length=32), nullable=False),
        sa.Column("frost", sa.LargeBinary(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("vault", name=op.f("pk_keygens")),
    )


def _keygen_messages() -> None:
    op.create_table(
        "keygen_messages",
        sa.Column("vault", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "vault", "attempt", "step", "node", name=op.f("pk_keygen_messages")
        ),
    )


def _keygen_refusals() -> None:
    op.create_table(
        "keygen_refusals",
        sa.Column("vault", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("error", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("vault", "attempt", "node", name=op.f("pk_keygen_refusals")),
    )


TABLES = {
    "keygens": _keygens,
    "keygen_messages": _keygen_messages,
    "keygen_refusals": _keygen_refusals,
}
