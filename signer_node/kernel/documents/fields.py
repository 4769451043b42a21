"""The forms that fields of documents take, as types that the codec enforces on both ways.

A document is a frozen dataclass whose annotations say size, range and text rule of each field
(PROTOCOL.md section 3). Whoever holds a document that came through the codec knows them to hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

MAX_TEXT: Final = 512
MAX_ROSTER: Final = 20
MAX_OPERATORS: Final = 100
MAX_TRANSACTION: Final = 400_000
MAX_PSBT: Final = 2_000_000
MAX_ENVELOPE: Final = 4 * 1024 * 1024
MAX_PAYOUTS: Final = 2_000
MAX_INPUTS: Final = 1_000
MAX_BRANCH: Final = 32
MAX_HEADERS: Final = 2_000
_MAX_MONEY_SAT: Final = 21_000_000 * 100_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of a length between `least` and `most`."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Range:
    """An integer between `least` and `most`, both included."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Text:
    """A text of `least` to `most` characters without control characters and bidi marks.

    `pattern`, if given, must match as a whole.
    """

    least: int
    most: int
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """A sequence of `least` to `most` elements."""

    least: int
    most: int


_NAME: Final = r"[a-z][a-z0-9-]{0,31}"

Digest = Annotated[bytes, Size(32, 32)]
XOnlyKey = Annotated[bytes, Size(32, 32)]
Point = Annotated[bytes, Size(33, 33)]
Signature = Annotated[bytes, Size(64, 64)]
Incarnation = Annotated[bytes, Size(16, 16)]
Name = Annotated[str, Text(1, 32, _NAME)]
WithdrawalId = Annotated[str, Text(1, 64, r"[!-~]+")]
ShortText = Annotated[str, Text(0, MAX_TEXT)]
Label = Annotated[str, Text(1, 64)]
ErrorName = Annotated[str, Text(0, 64, r"[A-Z0-9_]*")]
Amount = Annotated[int, Range(0, _MAX_MONEY_SAT)]
PositiveAmount = Annotated[int, Range(1, _MAX_MONEY_SAT)]
Uint32 = Annotated[int, Range(0, 2**32 - 1)]
Uint64 = Annotated[int, Range(0, 2**64 - 1)]
# Times are seconds since 1970; the cap keeps every sum of two within 64 bits.
Time = Annotated[int, Range(0, 2**40)]
DerivationIndex = Annotated[int, Range(0, 2**31 - 1)]
Script = Annotated[bytes, Size(1, 83)]
Payload = Annotated[bytes, Size(0, MAX_ENVELOPE)]

ZERO_DIGEST: Final = bytes(32)
