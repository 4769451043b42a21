"""Slots of the quorum: who may enrol, by which token, and who did."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, String, Table

from custodyd.api.identity import Role
from custodyd.store.schema import METADATA, EnumName

SLOTS = Table(
    "slots",
    METADATA,
    Column("role", EnumName(Role), primary_key=True),
    Column("name", String(32), primary_key=True),
    # SHA-256 of the token's secret; the secret itself is nowhere.
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("created_at_s", BigInteger, nullable=False),
    # Null until enrolled. Digest of everything that was sent, and the answer to it.
    Column("body_digest", LargeBinary(32), nullable=True),
    # signer_node.mailbox.v1.EnrollRequest without its token.
    Column("enrolment", LargeBinary, nullable=True),
    Column("answer", LargeBinary, nullable=True),
    Column("filled_at_s", BigInteger, nullable=True),
)
