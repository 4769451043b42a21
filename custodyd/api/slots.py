"""Slots and their one-time tokens.

A token is `custodyd1.<secret, base32>.<SHA-256 of the authority's certificate, hex>`: the second
part opens one slot once, the third lets the applicant know the coordinator before any trust exists.
Only a hash of the secret is stored. The same token with the same content gives the same answer, so
that an answer lost on the way is no loss; with other content it is refused.
"""

from __future__ import annotations

import secrets
from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection, Row, insert, select, update

from custodyd.api.certificates import Authority
from custodyd.api.identity import Identity, Role
from custodyd.api.tables import SLOTS
from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel import curve
from signer_node.mailbox.v1 import enrolment_pb2

TOKEN_PREFIX: Final = "custodyd1"  # noqa: S105 - the format's name
# 160 bits: 32 characters of base32 without padding.
SECRET_BYTES: Final = 20
MAX_TOKEN: Final = 256
MAX_OPERATORS: Final = 100
MAX_PEOPLE: Final = 100
_APPLICANTS: Final = {Role.SIGNER: "signer", Role.BACKEND: "backend", Role.ADMIN: "admin"}
SLOT_ROLES: Final = frozenset(_APPLICANTS)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the quorum; `enrolment` is None until somebody took it."""

    identity: Identity
    enrolment: enrolment_pb2.EnrollRequest | None


@dataclass(frozen=True, slots=True)
class Desk:
    """What enrolling needs beside the call."""

    authority: Authority
    coordinator_address: str


def create_slot(connection: Connection, identity: Identity, fingerprint: str, now_s: int) -> str:
    """Make a slot; returns its token, which is shown once. Raises SLOT_EXISTS."""
    if identity.role not in SLOT_ROLES:
        raise CustodydError(ErrorId.ARGUMENT_INVALID, f"no slots for {identity.role.name}")
    if _find(connection, identity) is not None:
        raise CustodydError(ErrorId.SLOT_EXISTS, identity.uri)
    token, secret_hash = _new_token(fingerprint)
    connection.execute(
        insert(SLOTS).values(
            role=identity.role, name=identity.name, token_hash=secret_hash, created_at_s=now_s
        )
    )
    return token


def renew_token(connection: Connection, identity: Identity, fingerprint: str) -> str:
    """A new token for a slot that nobody took yet; raises NOT_FOUND or TOKEN_USED."""
    row = _find(connection, identity)
    if row is None:
        raise CustodydError(ErrorId.NOT_FOUND, identity.uri)
    if row.enrolment is not None:
        raise CustodydError(ErrorId.TOKEN_USED, identity.uri)
    token, secret_hash = _new_token(fingerprint)
    connection.execute(
        update(SLOTS)
        .where(SLOTS.c.role == identity.role, SLOTS.c.name == identity.name)
        .values(token_hash=secret_hash)
    )
    return token


def list_slots(connection: Connection) -> list[Slot]:
    """All slots, by role and name."""
    rows = connection.execute(select(SLOTS).order_by(SLOTS.c.role, SLOTS.c.name))
    return [Slot(Identity(row.role, row.name), _enrolment(row.enrolment)) for row in rows]


def enroll(
    connection: Connection, request: enrolment_pb2.EnrollRequest, desk: Desk, now_s: int
) -> enrolment_pb2.EnrollResponse:
    """Take a slot. Raises TOKEN_INVALID, TOKEN_USED, SLOT_KIND_DIFFERS, ARGUMENT_INVALID,
    CERTIFICATE_REQUEST_INVALID."""
    row = _by_token(connection, request.token)
    content = enrolment_pb2.EnrollRequest()
    content.CopyFrom(request)
    content.token = ""
    raw = content.SerializeToString(deterministic=True)
    digest = sha256(raw).digest()
    if row.answer is not None:
        if row.body_digest != digest:
            raise CustodydError(ErrorId.TOKEN_USED, field="token")
        return enrolment_pb2.EnrollResponse.FromString(row.answer)
    identity = Identity(row.role, row.name)
    _check_applicant(content, identity.role)
    answer = enrolment_pb2.EnrollResponse(
        certificate=desk.authority.issue_client(content.certificate_request, identity),
        certificate_authority=desk.authority.pem,
        coordinator_address=desk.coordinator_address,
    )
    connection.execute(
        update(SLOTS)
        .where(SLOTS.c.role == identity.role, SLOTS.c.name == identity.name)
        .values(
            body_digest=digest,
            enrolment=raw,
            answer=answer.SerializeToString(deterministic=True),
            filled_at_s=now_s,
        )
    )
    return answer


def _new_token(fingerprint: str) -> tuple[str, bytes]:
    secret = b32encode(secrets.token_bytes(SECRET_BYTES)).decode()
    return f"{TOKEN_PREFIX}.{secret}.{fingerprint}", sha256(secret.encode()).digest()


def _by_token(connection: Connection, token: str) -> Row[tuple[object, ...]]:
    parts = token.split(".") if len(token) <= MAX_TOKEN else []
    row = None
    if len(parts) == 3 and parts[0] == TOKEN_PREFIX:
        # Looked up by its hash: how long it takes tells nothing about the secret.
        hashed = sha256(parts[1].encode()).digest()
        row = connection.execute(select(SLOTS).where(SLOTS.c.token_hash == hashed)).one_or_none()
    if row is None:
        raise CustodydError(ErrorId.TOKEN_INVALID, field="token")
    return row


def _find(connection: Connection, identity: Identity) -> Row[tuple[object, ...]] | None:
    return connection.execute(
        select(SLOTS).where(SLOTS.c.role == identity.role, SLOTS.c.name == identity.name)
    ).one_or_none()


def _enrolment(raw: bytes | None) -> enrolment_pb2.EnrollRequest | None:
    return None if raw is None else enrolment_pb2.EnrollRequest.FromString(raw)


def _check_applicant(content: enrolment_pb2.EnrollRequest, role: Role) -> None:
    if content.WhichOneof("applicant") != _APPLICANTS[role]:
        raise CustodydError(ErrorId.SLOT_KIND_DIFFERS, f"this is a slot for a {role.value}")
    match role:
        case Role.SIGNER:
            _check_signer(content.signer)
        case Role.BACKEND:
            _check_key(content.backend.request_key, "backend.request_key")
            _check_count(content.backend.people, MAX_PEOPLE, "backend.people")


def _check_signer(signer: enrolment_pb2.SignerEnrolment) -> None:
    _check_key(signer.identity_key, "signer.identity_key")
    try:
        curve.check_point(signer.host_key)
    except ValueError:
        raise _invalid("signer.host_key", "not a compressed point of 33 bytes") from None
    _check_count(signer.operators, MAX_OPERATORS, "signer.operators")
    for operator in signer.operators:
        _check_key(operator.key, "signer.operators.key")


def _check_key(key: bytes, field: str) -> None:
    try:
        curve.check_xonly(key)
    except ValueError:
        raise _invalid(field, "not an x-only key of 32 bytes") from None


def _check_count(values: Sequence[object], most: int, field: str) -> None:
    if not 1 <= len(values) <= most:
        raise _invalid(field, f"{len(values)} entries, not 1 to {most}")


def _invalid(field: str, detail: str) -> CustodydError:
    return CustodydError(ErrorId.ARGUMENT_INVALID, f"{field}: {detail}", field=field)
