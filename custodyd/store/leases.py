"""Leases: which replica works at something, with a fencing token that only grows.

Whoever works under a lease calls `check_lease` in every transaction that it commits: a replica that
slept through the expiry finds a greater token and commits nothing (LEASE_LOST).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from custodyd.errors import CustodydError, ErrorId
from custodyd.store.schema import LEASES


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work at `name` until the expiry that stands in the table."""

    name: str
    holder: str
    token: int


def acquire_lease(
    connection: Connection, lease_name: str, holder: str, now_s: int, lifetime_s: int
) -> Lease | None:
    """Take a lease that is free, expired or one's own; None while another holds it."""
    expires_at_s = now_s + lifetime_s
    row = connection.execute(select(LEASES).where(LEASES.c.name == lease_name)).one_or_none()
    if row is None:
        values = {"name": lease_name, "holder": holder, "token": 1, "expires_at_s": expires_at_s}
        connection.execute(insert(LEASES).values(values))
        return Lease(lease_name, holder, 1)
    if row.holder != holder and row.expires_at_s > now_s:
        return None
    token = row.token if row.holder == holder else row.token + 1
    connection.execute(
        update(LEASES)
        .where(LEASES.c.name == lease_name)
        .values(holder=holder, token=token, expires_at_s=expires_at_s)
    )
    return Lease(lease_name, holder, token)


def check_lease(connection: Connection, lease: Lease) -> None:
    """Raise LEASE_LOST unless the lease still carries this token."""
    held = connection.execute(
        select(LEASES.c.token).where(LEASES.c.name == lease.name, LEASES.c.holder == lease.holder)
    ).scalar_one_or_none()
    if held != lease.token:
        raise CustodydError(ErrorId.LEASE_LOST, lease.name)


def renew_lease(connection: Connection, lease: Lease, now_s: int, lifetime_s: int) -> None:
    """Move the expiry; raise LEASE_LOST when another holds the lease by now."""
    check_lease(connection, lease)
    connection.execute(
        update(LEASES).where(LEASES.c.name == lease.name).values(expires_at_s=now_s + lifetime_s)
    )


def release_lease(connection: Connection, lease: Lease, now_s: int) -> None:
    """Let others take it at once; does nothing when it is lost already."""
    connection.execute(
        update(LEASES)
        .where(LEASES.c.name == lease.name, LEASES.c.token == lease.token)
        .values(expires_at_s=now_s)
    )
