"""Free text: what is refused, and how the rest is shown (PROTOCOL.md section 3).

Control characters (C0, C1, DEL), line and paragraph separators and bidi marks are refused, since
they change what a person reads. What else is not printable ASCII is shown escaped.
"""

from __future__ import annotations

from typing import Final

from signer_node.kernel.errors import ErrorId, Refusal

_CONTROL: Final = frozenset(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)))
_BIDI: Final = frozenset(
    chr(code) for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
)
_SEPARATORS: Final = frozenset("\u2028\u2029")
FORBIDDEN: Final = _CONTROL | _BIDI | _SEPARATORS


def check_text(text: str, field: str) -> None:
    """Raise Refusal(TEXT_FORBIDDEN) naming the field and the first forbidden code point."""
    if text.isascii() and text.isprintable():
        return
    for character in text:
        if character in FORBIDDEN:
            raise Refusal(ErrorId.TEXT_FORBIDDEN, f"{field} holds U+{ord(character):04X}")


def shown(text: str) -> str:
    """The text in printable ASCII: backslash escapes for the rest, so no lookalike can deceive."""
    return "".join(
        character if " " <= character <= "~" and character != "\\" else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
