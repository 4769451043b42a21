"""Bytes <-> documents: the only codec (PROTOCOL.md section 3, docs/reference/formats.md)."""

from signer_node.wire.codec import decode, decode_body, encode, open_signed
from signer_node.wire.signed import (
    SignedBytes,
    countersigned_bytes,
    open_countersigned,
    open_envelope,
    signed_bytes,
    split_signed,
)

__all__ = [
    "SignedBytes",
    "countersigned_bytes",
    "decode",
    "decode_body",
    "encode",
    "open_countersigned",
    "open_envelope",
    "open_signed",
    "signed_bytes",
    "split_signed",
]
