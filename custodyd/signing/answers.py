"""What signers answer, stored as it came: verdicts, commitments, shares, and evidence of faults.

Nothing is judged here but form; `rounds` judges. The first answer of a node counts: a second one
that differs is no reason to change what a package may be built on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from custodyd.batches import decisions
from custodyd.signing.rules import RoundState
from custodyd.signing.tables import COMMITMENTS, EVIDENCE, ROUNDS, SHARES
from signer_node.kernel.documents.manifest import Verdict
from signer_node.kernel.documents.signing import CommitmentSet, ShareSet
from signer_node.wire import decode

MAX_EVIDENCE: Final = 1_000
"""Envelopes kept against one node: enough to convict it, not enough to fill the disk."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A checked envelope: by which signer node (empty: none), its payload, its Signed bytes."""

    node: str
    payload: bytes
    envelope: bytes
    now_s: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What somebody did: an error id, what exactly, about which manifest."""

    name: str
    detail: str
    manifest: bytes | None


def keep_evidence(connection: Connection, delivered: Delivered, fault: Fault) -> None:
    """Keep an envelope that convicts its sender; of each node a bounded number."""
    of_node = select(func.count()).where(EVIDENCE.c.node == delivered.node)
    if connection.execute(of_node).scalar_one() >= MAX_EVIDENCE:
        return
    number = connection.execute(select(func.coalesce(func.max(EVIDENCE.c.number), 0) + 1))
    connection.execute(
        insert(EVIDENCE).values(
            number=number.scalar_one(),
            node=delivered.node,
            fault=fault.name,
            detail=fault.detail,
            manifest=fault.manifest,
            envelope=delivered.envelope,
            seen_at_s=delivered.now_s,
        )
    )


def keep_verdict(connection: Connection, delivered: Delivered) -> None:
    """A verdict over a manifest; or over a package, which it spoils when it is a refusal."""
    verdict = decode(Verdict, delivered.payload)
    spoilt = connection.execute(
        select(ROUNDS.c.manifest, ROUNDS.c.round, ROUNDS.c.spoilt_by, ROUNDS.c.members).where(
            ROUNDS.c.package_digest == verdict.subject
        )
    ).one_or_none()
    if spoilt is None:
        decisions.keep_verdict(connection, delivered.node, verdict, delivered.now_s)
        if not verdict.accepted:
            _spoil_opened(connection, verdict.subject, delivered)
    elif not verdict.accepted and delivered.node in spoilt.members.split(","):
        names = _with(spoilt.spoilt_by, f"{delivered.node}={verdict.error}")
        connection.execute(
            update(ROUNDS)
            .where(ROUNDS.c.manifest == spoilt.manifest, ROUNDS.c.round == spoilt.round)
            .values(spoilt_by=names)
        )


def _spoil_opened(connection: Connection, manifest: bytes, delivered: Delivered) -> None:
    """A node refused to commit: the round that waits for it can end at once."""
    verdict = decode(Verdict, delivered.payload)
    rows = connection.execute(
        select(ROUNDS.c.round, ROUNDS.c.members, ROUNDS.c.spoilt_by).where(
            ROUNDS.c.manifest == manifest, ROUNDS.c.state == RoundState.OPENED
        )
    ).all()
    for row in rows:
        if delivered.node in row.members.split(","):
            names = _with(row.spoilt_by, f"{delivered.node}={verdict.error}")
            connection.execute(
                update(ROUNDS)
                .where(ROUNDS.c.manifest == manifest, ROUNDS.c.round == row.round)
                .values(spoilt_by=names)
            )


def _with(names: str, name: str) -> str:
    known = [one for one in names.split(",") if one]
    return ",".join(known if name in known else [*known, name])


def keep_commitments(connection: Connection, delivered: Delivered) -> None:
    """The commitments of a node for a round that was opened to it."""
    document = decode(CommitmentSet, delivered.payload)
    members = connection.execute(
        select(ROUNDS.c.members).where(
            ROUNDS.c.manifest == document.manifest, ROUNDS.c.round == document.round
        )
    ).scalar_one_or_none()
    if members is None or delivered.node not in members.split(","):
        return
    key = {"manifest": document.manifest, "round": document.round, "node": delivered.node}
    _insert_first(
        connection,
        COMMITMENTS,
        key,
        {"commitment_set": delivered.payload, "envelope": delivered.envelope},
    )


def keep_shares(connection: Connection, delivered: Delivered) -> None:
    """The shares of a node for a package that was built with it."""
    document = decode(ShareSet, delivered.payload)
    row = connection.execute(
        select(ROUNDS.c.members, ROUNDS.c.manifest).where(
            ROUNDS.c.package_digest == document.package
        )
    ).one_or_none()
    if row is None or delivered.node not in row.members.split(","):
        return
    if bytes(row.manifest) != document.manifest:
        fault = Fault("SHARE_INVALID", "of another manifest than its package", document.manifest)
        keep_evidence(connection, delivered, fault)
        return
    key = {"package": document.package, "node": delivered.node}
    _insert_first(
        connection,
        SHARES,
        key,
        {"share_set": delivered.payload, "envelope": delivered.envelope, "bad": False},
    )


def _insert_first(
    connection: Connection, table: Any, key: dict[str, Any], values: dict[str, Any]
) -> None:
    found = select(table.c.node).where(*(table.c[name] == value for name, value in key.items()))
    if connection.execute(found).first() is None:
        connection.execute(insert(table).values(**key, **values))
