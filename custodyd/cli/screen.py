"""What a command says: facts for people or, with --json, one JSON document; errors in two lines.

Exit codes: 0 done, 2 wrong command line, else those of the catalogue (docs/reference/errors.md).
With --json an error is `{"error", "detail", "to_do"}` on standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, NoReturn, TypeVar

import click

from custodyd.client.errors import ClientError
from custodyd.errors import CustodydError
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.documents.text import shown
from signer_node.kernel.errors import Refusal
from signer_node.kernel.units import format_bitcoin

EXIT_FAILED: Final = 1
EXIT_REFUSED: Final = 3
GROUP_DIGITS: Final = 4

C = TypeVar("C", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error as a command shows it."""

    error: str
    detail: str
    to_do: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a command speaks. `facts` is the whole answer with --json, lines are for people."""

    as_json: bool

    def line(self, text: str = "") -> None:
        """A line for people; nothing with --json."""
        if not self.as_json:
            click.echo(plain(text))

    def done(self, facts: Mapping[str, Any] | Sequence[Any]) -> None:
        """The answer for machines; nothing without --json."""
        if self.as_json:
            click.echo(json.dumps(facts, indent=1))

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns for people, as wide as their content."""
        if self.as_json:
            return
        if not rows:
            click.echo("(none)")
            return
        widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
        for row in (heads, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            click.echo(plain("  ".join(cells).rstrip()))


def command(function: C) -> C:
    """Give a command `--json`, pass it a `Screen` first, and end its errors as documented."""

    @click.option("--json", "as_json", is_flag=True, help="answer with one JSON document")
    @wraps(function)
    def run(*args: Any, as_json: bool, **options: Any) -> Any:
        try:
            return function(Screen(as_json), *args, **options)
        except (CustodydError, ClientError, Refusal, BitcoinFault) as fault:
            fail(trouble(fault), as_json=as_json)

    return run  # type: ignore[return-value]


def plain(text: str) -> str:
    """Lines as a terminal may have them: what others wrote there can neither steer it nor mislead
    by lookalikes."""
    lines = text.split("\n")
    return "\n".join(
        line if line.isascii() and line.isprintable() else shown(line) for line in lines
    )


def trouble(fault: Exception) -> Trouble:
    """What the catalogue says of an error."""
    match fault:
        case ClientError():
            return Trouble(fault.reason, fault.detail, fault.to_do, fault.exit_code)
        case CustodydError() | Refusal():
            entry = fault.error.value
            detail = f"{entry.seen}: {fault.detail}" if fault.detail else entry.seen
            return Trouble(fault.error.name, detail, entry.to_do, entry.exit_code.value)
        case _:
            return Trouble("ARGUMENT_INVALID", str(fault), "mend the call", EXIT_REFUSED)


def fail(found: Trouble, *, as_json: bool) -> NoReturn:
    """Say the error and end with its exit code."""
    if as_json:
        record = {"error": found.error, "detail": found.detail, "to_do": found.to_do}
        click.echo(json.dumps(record), err=True)
    else:
        click.echo(f"{shown(found.error)}: {shown(found.detail)}", err=True)
        click.echo(f"  what to do: {shown(found.to_do)}", err=True)
    sys.exit(found.exit_code)


def bitcoin(amount_sat: int) -> str:
    """An amount for people: `0.00012345 BTC`."""
    return f"{format_bitcoin(amount_sat)} BTC"


def enum_tail(name: str, prefix: str) -> str:
    """The speaking part of a protobuf enum's name."""
    return name.removeprefix(prefix)


def word_lines(words: Sequence[str]) -> list[str]:
    """24 words as numbered lines of four."""
    numbered = [f"{number:2}. {word:<9}" for number, word in enumerate(words, 1)]
    return [
        " ".join(numbered[at : at + GROUP_DIGITS]).rstrip()
        for at in range(0, len(numbered), GROUP_DIGITS)
    ]
