"""What a step of the core returns; the shell commits it in one transaction.

Records and outbox become durable together; the link sends only what it reads back from the outbox,
so nothing can leave that is not on disk (PROTOCOL.md G5, G11).
"""

from __future__ import annotations

from dataclasses import dataclass

from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.journal import RecordKind


@dataclass(frozen=True, slots=True)
class Record:
    """A journal record to append: its kind and body."""

    kind: RecordKind
    body: bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A payload for the coordinator; the journal gives it envelope, sequence and signature."""

    type: PayloadType
    payload: bytes
    lifetime_s: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something at this node waits for an operator: the digest of a manifest, or of a proposal.

    `vault` is empty for a manifest, and names the vault whose making is proposed.
    """

    manifest: bytes
    vault: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """The effects of one event, as data."""

    records: tuple[Record, ...] = ()
    outbox: tuple[Outgoing, ...] = ()
    notices: tuple[Notice, ...] = ()
