"""The house rules hold, and each of them can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.__main__ import all_findings
from tests.house.dependencies import undeclared
from tests.house.layers import optional_rooms_do_not_exist
from tests.house.rules import (
    SOURCE_RULES,
    configuration_is_read_at_the_door,
    files_fit_a_head,
    functions_fit_a_screen,
    names_say_something,
    no_foreign_places,
    pure_functions_take_few_values,
    vault_kind_is_compared_in_one_room,
)
from tests.house.sources import code_lines, source

LONG = "def long() -> None:\n" + "    pass\n" * 70
SIX = "def six(a, b, c, *, d, e, f): ..."


def test_the_house_rules_hold_everywhere() -> None:
    assert [str(finding) for finding in sorted(all_findings())] == []


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (vault_kind_is_compared_in_one_room, "custodyd/x.py", "a.kind == VaultKind.WSH"),
        (vault_kind_is_compared_in_one_room, "custodyd/x.py", "a in (m.VaultKind.WSH, 1)"),
        (vault_kind_is_compared_in_one_room, "signer_node/core/x.py", "a != 'taproot-frost'"),
        (
            vault_kind_is_compared_in_one_room,
            "deploy/local/x.py",
            "match a:\n    case VaultKind.WSH: pass",
        ),
        (configuration_is_read_at_the_door, "custodyd/api/x.py", "import tomllib"),
        (configuration_is_read_at_the_door, "signer_node/core/x.py", "import os\nos.environ['A']"),
        (configuration_is_read_at_the_door, "custodyd/store/x.py", "from os import getenv"),
        (functions_fit_a_screen, "custodyd/x.py", LONG),
        (files_fit_a_head, "tests/x.py", "x = 1\n" * 601),
        (pure_functions_take_few_values, "signer_node/kernel/x.py", SIX),
        (pure_functions_take_few_values, "custodyd/batches/rules.py", SIX),
    ],
)
def test_a_rule_catches_what_it_is_for(rule: object, path: str, text: str) -> None:
    assert rule in SOURCE_RULES
    assert callable(rule)
    assert list(rule(source(path, text)))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (vault_kind_is_compared_in_one_room, "signer_node/kernel/vault/x.py", "a == VaultKind.WSH"),
        (vault_kind_is_compared_in_one_room, "custodyd/x.py", "{VaultKind.WSH: 1}[a]"),
        (configuration_is_read_at_the_door, "custodyd/daemon/x.py", "import tomllib"),
        (
            pure_functions_take_few_values,
            "signer_node/kernel/x.py",
            "def f(self, a, b, c, d, e): ...",
        ),
        (pure_functions_take_few_values, "custodyd/store/x.py", SIX),
    ],
)
def test_a_rule_leaves_the_rest_alone(rule: object, path: str, text: str) -> None:
    assert callable(rule)
    assert not list(rule(source(path, text)))


@pytest.mark.parametrize("name", ["custodyd/utils.py", "a/key_helpers.py", "common/x.py"])
def test_a_file_name_that_says_nothing_is_found(name: str) -> None:
    assert list(names_say_something(Path(name)))


@pytest.mark.parametrize(
    "text", ["https://" + "pypi" + ".org/simple", "see /" + "root/x", "at /" + "home/ann/keys"]
)
def test_a_registry_or_a_folder_of_one_machine_is_found(text: str) -> None:
    assert list(no_foreign_places(Path("x"), text))


def test_docstrings_and_comments_are_not_code_lines() -> None:
    text = '"""Says.\n\nMore."""\n# why\n\nx = (\n    1\n)\n\n\n'
    text += 'def f():\n    """Doc."""\n    return 1\n'
    assert code_lines(source("x.py", text)) == 5


def test_an_import_that_is_not_declared_is_found() -> None:
    text = "import os\nimport sqlalchemy.orm\nfrom coincurve import PublicKey"
    findings = undeclared(source("custodyd/client/x.py", text), {"coincurve"})
    assert [finding.line for finding in findings] == [2]


def test_a_room_that_exists_is_not_optional(tmp_path: Path) -> None:
    contract = 'layers = ["(old) | (new)", "(later)"]\ncontainers = ["house"]'
    text = f"[[tool.importlinter.contracts]]\n{contract}\n"
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    for room in ("old", "new"):
        (tmp_path / "house" / room).mkdir(parents=True)
    (tmp_path / "house" / "new" / "__init__.py").touch()
    assert ["house/new" in str(f) for f in optional_rooms_do_not_exist(tmp_path)] == [True]
