"""`python -m tests.house.documents`: the documents say what is so. Exits 1 on a finding.

- A relative link leads to a file of the repository.
- A page under docs/ is linked from somewhere.
- A `make` target that a document names exists.
- A generated page is what the code says (`--write` writes it).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.house.generated_pages import PAGES
from tests.house.rules import Finding
from tests.house.sources import ROOT, tracked_files

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"(?:^|`)make ([a-z][a-z-]*)", re.MULTILINE)
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the generated pages")
    if parser.parse_args().write:
        for path, page in PAGES.items():
            (ROOT / path).write_text(page(), encoding="utf-8")
        return 0
    findings = sorted(all_findings())
    for finding in findings:
        print(finding)
    return 1 if findings else 0


def all_findings() -> Iterator[Finding]:
    documents = [path for path in tracked_files() if path.suffix == ".md"]
    linked: set[Path] = set()
    for document in documents:
        text = (ROOT / document).read_text(encoding="utf-8")
        yield from targets_exist(document, text)
        for target, line in links(text):
            full = (ROOT / document.parent / target).resolve()
            linked.add(full)
            if not full.exists():
                yield Finding(document, line, f"links to {target}, which is not there")
    for document in documents:
        if document.is_relative_to("docs") and (ROOT / document).resolve() not in linked:
            yield Finding(document, 1, "no page links here: add it to its room's README.md")
    yield from pages_are_current()


def links(text: str) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(text.splitlines(), start=1):
        for match in LINK.finditer(line):
            if "://" not in match[1] and not match[1].startswith("mailto:"):
                yield match[1], number


def targets_exist(document: Path, text: str) -> Iterator[Finding]:
    known = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    for match in COMMAND.finditer(text):
        if match[1] not in known:
            line = text.count("\n", 0, match.start()) + 1
            yield Finding(document, line, f"`make {match[1]}` is no target of the Makefile")


def pages_are_current() -> Iterator[Finding]:
    for path, page in PAGES.items():
        full = ROOT / path
        if not full.exists() or full.read_text(encoding="utf-8") != page():
            yield Finding(Path(path), 1, "is not what the code says: run `make docs`")


if __name__ == "__main__":
    sys.exit(main())
