"""Documents lead somewhere, and the check of it can fail."""

from __future__ import annotations

from pathlib import Path

from tests.house.documents import all_findings, links, targets_exist


def test_documents_lead_somewhere_and_generated_pages_are_current() -> None:
    assert [str(finding) for finding in sorted(all_findings())] == []


def test_relative_links_are_found_and_others_left_alone() -> None:
    text = "[a](b.md#part) [c](https://x.example/d)\n[e](../f.md)"
    assert list(links(text)) == [("b.md", 1), ("../f.md", 2)]


def test_a_make_target_that_does_not_exist_is_found() -> None:
    assert [f.line for f in targets_exist(Path("x.md"), "run `make test`\nor `make tea`")] == [2]
