"""Records of a signer node's journal (PROTOCOL.md G11)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, ClassVar

from signer_node.kernel.documents.fields import (
    MAX_ENVELOPE,
    Digest,
    ErrorName,
    Payload,
    ShortText,
    Size,
    Time,
    Uint32,
    Uint64,
)


class RecordKind(Enum):
    """What a record says; its body is the document named."""

    UNKNOWN = 0
    BOOT = 1
    GENESIS_CONFIRMED = 2
    HEADERS = 3
    COSIGNER_KEY = 4
    CERTIFICATE_SIGNED = 5
    VAULT_CERTIFIED = 6
    MANIFEST_CHECKED = 7
    REFUSED = 8
    DECISION = 9
    COMMITTED = 10
    RELEASED = 11
    KEYGEN_PROPOSED = 12
    KEYGEN_CONFIRMED = 13
    KEYGEN_STARTED = 14
    KEYGEN_FINISHED = 15
    SHARE_RECOVERED = 16


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One link of the chain; `previous` is the digest of the record before."""

    NAME: ClassVar[str] = "journal-record"
    sequence: Uint64
    kind: RecordKind
    version: Uint32
    previous: Digest
    written_at_s: Time
    body: Payload


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal, of what, and the bytes that were refused."""

    NAME: ClassVar[str] = "refused"
    error: ErrorName
    detail: ShortText
    subject: Digest
    evidence: Payload


@dataclass(frozen=True, slots=True)
class Release:
    """A package and the shares released for it."""

    NAME: ClassVar[str] = "release"
    package: Annotated[bytes, Size(1, MAX_ENVELOPE)]
    share_set: Annotated[bytes, Size(1, MAX_ENVELOPE)]
