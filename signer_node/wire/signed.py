"""Signed and countersigned bytes, and envelopes."""

from __future__ import annotations

from dataclasses import dataclass

from signer_node.kernel.documents.envelope import Envelope
from signer_node.kernel.documents.fields import MAX_ENVELOPE, MAX_ROSTER
from signer_node.kernel.documents.signed import Received
from signer_node.kernel.documents.vault import KeySignature
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.wire.codec import decode, open_signed, parse_canonical
from signer_node.wire.v1 import signed_pb2


@dataclass(frozen=True, slots=True)
class SignedBytes:
    """The parts of a Signed, uninterpreted."""

    body: bytes
    key_id: bytes
    signature: bytes


def signed_bytes(body: bytes, key_id: bytes, signature: bytes) -> bytes:
    """Canonical bytes of a Signed."""
    signed = signed_pb2.Signed(body=body, key_id=key_id, signature=signature)
    return signed.SerializeToString(deterministic=True)


def split_signed(raw: bytes) -> SignedBytes:
    """The parts of canonical Signed bytes of whatever kind."""
    signed = signed_pb2.Signed()
    parse_canonical(signed, raw)
    return SignedBytes(signed.body, signed.key_id, signed.signature)


def open_envelope(raw: bytes) -> Received[Envelope]:
    """An envelope whose signature is not verified; its key must be the sender that it names."""
    if len(raw) > MAX_ENVELOPE:
        raise Refusal(ErrorId.BYTES_TOO_LONG, f"envelope of {len(raw)} bytes")
    received = open_signed(Envelope, raw)
    if received.key != received.document.sender:
        raise Refusal(ErrorId.ENVELOPE_SIGNATURE_INVALID, "signed by another key than the sender's")
    return received


def countersigned_bytes(body: bytes, signatures: tuple[KeySignature, ...]) -> bytes:
    """Canonical bytes of a body with several signatures."""
    message = signed_pb2.Countersigned(
        body=body,
        signatures=[
            signed_pb2.KeySignature(key_id=one.key_id, signature=one.signature)
            for one in signatures
        ],
    )
    return message.SerializeToString(deterministic=True)


def open_countersigned(raw: bytes) -> tuple[bytes, tuple[KeySignature, ...]]:
    """Body and signatures; nothing is verified."""
    if len(raw) > MAX_ENVELOPE:
        raise Refusal(ErrorId.BYTES_TOO_LONG, f"countersigned body of {len(raw)} bytes")
    message = signed_pb2.Countersigned()
    parse_canonical(message, raw)
    if len(message.signatures) > MAX_ROSTER:
        raise Refusal(ErrorId.FIELD_INVALID, f"{len(message.signatures)} signatures")
    return message.body, tuple(
        decode(KeySignature, one.SerializeToString(deterministic=True))
        for one in message.signatures
    )
