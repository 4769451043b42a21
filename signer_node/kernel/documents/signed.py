"""Signed documents: what was received, and what was authenticated, as different types.

A digest is the BIP-340 tagged hash, under the document's own tag, of the body's bytes exactly as
received (PROTOCOL.md section 3), so no two kinds of document can share one. Signatures are
BIP-340 over that digest; a re-signed equal body is the same document.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

from signer_node.kernel import curve
from signer_node.kernel.errors import ErrorId, Refusal


class Document(Protocol):
    """A frozen record with the name that stands in its digest's tag."""

    NAME: ClassVar[str]


D = TypeVar("D", covariant=True)


@dataclass(frozen=True, slots=True)
class Body(Generic[D]):
    """A canonical document without a signature of its own: its digest is all its identity."""

    document: D
    digest: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class Received(Generic[D]):
    """A canonical signed document of which nothing is verified."""

    document: D
    digest: bytes
    key: bytes
    signature: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class Authentic(Generic[D]):
    """A document whose signature by `key` verified; `raw` are its Signed bytes."""

    document: D
    digest: bytes
    key: bytes
    raw: bytes


def document_digest(kind: type[Document], body: bytes) -> bytes:
    """Tagged hash over a body, tag `custodyd/<document>/v1`."""
    return curve.tagged_hash(f"custodyd/{kind.NAME}/v1", body)


def authenticate(received: Received[D], invalid: ErrorId) -> Authentic[D]:
    """Verify the signature by the key that the document itself names; raise Refusal(invalid)."""
    try:
        curve.verify_schnorr(received.key, received.digest, received.signature)
    except ValueError as bad:
        raise Refusal(invalid, f"key {received.key.hex()}") from bad
    return Authentic(received.document, received.digest, received.key, received.raw)


def require_key(key: bytes, allowed: Collection[bytes], unknown: ErrorId) -> None:
    """Raise Refusal(unknown) unless the key is one of those allowed."""
    if key not in allowed:
        raise Refusal(unknown, f"key {key.hex()}")
