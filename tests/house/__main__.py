"""`python -m tests.house`: the house's own lint and its size report. Exits 1 on a finding."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator

from tests.house.dependencies import undeclared_imports, unused_dependencies
from tests.house.layers import optional_rooms_do_not_exist
from tests.house.rules import (
    FOREIGN_PLACES,
    FUNCTION_LINES,
    PRODUCT,
    SIGNER_LINES,
    SIGNER_ROOMS,
    SOURCE_RULES,
    Finding,
    names_say_something,
    no_foreign_places,
)
from tests.house.sources import ROOT, code_lines, length, python_sources, tracked_files

MEDIAN_FUNCTION_LINES = 12


def main() -> int:
    findings = sorted(all_findings())
    for finding in findings:
        print(finding)
    report_sizes()
    return 1 if findings else 0


def all_findings() -> Iterator[Finding]:
    for path in tracked_files():
        yield from names_say_something(path)
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if FOREIGN_PLACES.search(text):
            yield from no_foreign_places(path, text)
    for one in python_sources():
        for rule in SOURCE_RULES:
            yield from rule(one)
    yield from optional_rooms_do_not_exist()
    yield from undeclared_imports()
    yield from unused_dependencies()


def report_sizes() -> None:
    """Prints what shows drift: targets, not limits."""
    sources = python_sources()
    by_room = {room: sum(code_lines(s) for s in sources if s.is_in(room)) for room in SIGNER_ROOMS}
    lengths = [length(f) for s in sources if s.is_in(*PRODUCT) for f in s.functions()]
    rooms = ", ".join(f"{room.rpartition('/')[2]} {lines}" for room, lines in by_room.items())
    total = sum(by_room.values())
    past = f", {total - SIGNER_LINES} PAST THE TARGET" if total > SIGNER_LINES else ""
    median = statistics.median(lengths or [0])
    print(f"house: signer {total} code lines of {SIGNER_LINES}{past} ({rooms})")
    print(
        f"house: functions have {median:g} lines in the median (target {MEDIAN_FUNCTION_LINES}), "
        f"the longest {max(lengths, default=0)} (limit {FUNCTION_LINES})"
    )


if __name__ == "__main__":
    sys.exit(main())
