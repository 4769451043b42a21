"""The one place that prints: results on standard output, what is wrong on standard error."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from signer_node.kernel.documents.text import shown
from signer_node.kernel.errors import Refusal


def say(text: str = "") -> None:
    """Lines for a person. Foreign text in them was escaped where it came in; what was forgotten
    there is escaped here, line by line."""
    lines = text.split("\n")
    safe = (line if line.isascii() and line.isprintable() else shown(line) for line in lines)
    print("\n".join(safe), flush=True)


def say_json(value: Any) -> None:
    """One JSON document for a program."""
    print(msgspec.json.encode(value).decode(), flush=True)


def complain(refusal: Refusal) -> None:
    """One line that says what is wrong, one what to do."""
    entry = refusal.error.value
    detail = f": {shown(refusal.detail)}" if refusal.detail else ""
    print(f"{refusal.error.name}: {entry.seen}{detail}", file=sys.stderr)
    print(f"  to do: {entry.to_do}", file=sys.stderr, flush=True)


def ask(question: str) -> str:
    """A line typed by a person; empty at the end of input."""
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline(4_096).strip()
