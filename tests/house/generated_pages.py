"""Pages of docs/reference that are written from the code, as a whole or in their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from custodyd.errors import ErrorId as CoordinatorErrorId
from signer_node.kernel.errors import ErrorEntry, ErrorId
from tests.house.formats_page import formats_page

HEAD = """# Errors

Written by `make docs` from the catalogues in the code. Ids never change their meaning. *At fault*
says who may be: the one who has to act. *Again* says whether the same thing may succeed later.
*Exit* is the exit code of a command that ends with it (2 is a wrong command line).
"""


def errors_page() -> str:
    signer = [_row(member.name, member.value) for member in ErrorId]
    coordinator = [_row(member.name, member.value) for member in CoordinatorErrorId]
    lines = [HEAD, "## Coordinator", "", *_table(coordinator), ""]
    return "\n".join([*lines, "## Signer node", "", *_table(signer), ""])


def _row(name: str, entry: ErrorEntry) -> tuple[str, ...]:
    again = "yes" if entry.retryable else "no"
    fault = entry.fault.value
    return (f"`{name}`", fault, entry.seen, entry.to_do, again, str(entry.exit_code.value))


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    head = ("id", "at fault", "seen", "what to do", "again", "exit")
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/errors.md": errors_page,
    "docs/reference/formats.md": formats_page,
}
