"""The house's own lint: mistakes that no tool knows, since they are ours.

Each rule is a generator over one source file (or one path) that yields `Finding`s. The reasons are
in docs/explanation/house.md. Borders between rooms are import-linter's (pyproject.toml); bare
asserts, prints and the like are ruff's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.house.sources import Source, length

PRODUCT = ("custodyd", "signer_node", "deploy", "proto")

# A name that says nothing about what is inside collects everything.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager"}
VAULT_KIND_NAMES = {"wsh-sortedmulti", "taproot-frost"}
CONFIGURATION_MODULES = {"tomllib", "configparser"}
ENVIRONMENT_NAMES = {"environ", "environb", "getenv"}

FUNCTION_LINES = 70
FILE_LINES = 600
PURE_PARAMETERS = 5
# The signer's trusted rooms together, code lines: what an auditor has to read.
SIGNER_ROOMS = tuple(f"signer_node/{room}" for room in ("kernel", "wire", "core", "adapters"))
SIGNER_LINES = 4_000

# Written in pieces, or this file would break its own rule.
FOREIGN_PLACES = re.compile(
    "|".join(
        [
            r"pypi\." + "org",
            r"python" + r"hosted\.",
            r"registry\." + r"(npmjs|yarnpkg)",
            r"(deb|security)\." + r"debian\.org",
            "proxy" + r"\.golang\.org",
            r"(?<![\w.$}])/" + r"(work|root|home|Users|opt/wheels)/\w",
        ]
    )
)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def names_say_something(path: Path) -> Iterator[Finding]:
    for part in (*path.parent.parts, path.stem):
        if EMPTY_NAMES & set(re.split(r"[_\-.]", part.lower())):
            yield Finding(
                path, 1, f"'{part}' does not say what is inside: name it for what it does"
            )


def no_foreign_places(path: Path, text: str) -> Iterator[Finding]:
    """Registry hosts and folders of one machine have no place in a repository."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := FOREIGN_PLACES.search(line):
            yield Finding(path, number, f"names a registry or a folder of one machine: {found[0]}")


def vault_kind_is_compared_in_one_room(source: Source) -> Iterator[Finding]:
    """A second place that asks for the kind is a second place to forget the next kind."""
    if not source.is_in(*PRODUCT) or source.is_in("signer_node/kernel/vault"):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Compare):
            compared: list[ast.AST] = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            compared = [node.value]
        else:
            continue
        if any(_is_vault_kind(part) for whole in compared for part in ast.walk(whole)):
            yield Finding(source.path, _line(node), "compares a vault kind outside kernel/vault")


def _is_vault_kind(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        owner = node.value
        name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
        # VaultKind.UNKNOWN is the codec's "no kind at all", not a kind.
        return name == "VaultKind" and node.attr != "UNKNOWN"
    return isinstance(node, ast.Constant) and node.value in VAULT_KIND_NAMES


def configuration_is_read_at_the_door(source: Source) -> Iterator[Finding]:
    """Files and the environment are read in daemon/ and cli/; everything else is handed values."""
    if not source.is_in("custodyd", "signer_node"):
        return
    if source.is_in("custodyd/daemon", "custodyd/cli", "signer_node/daemon"):
        return
    for node in ast.walk(source.tree):
        if read := _configuration_in(node):
            yield Finding(
                source.path, _line(node), f"reads configuration ({read}) outside daemon/, cli/"
            )


def _configuration_in(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT_NAMES:
        return f"os.{node.attr}" if ast.unparse(node.value) == "os" else None
    if isinstance(node, ast.Import):
        return next((a.name for a in node.names if a.name in CONFIGURATION_MODULES), None)
    if isinstance(node, ast.ImportFrom):
        if node.module in CONFIGURATION_MODULES:
            return node.module
        if node.module == "os":
            return next((a.name for a in node.names if a.name in ENVIRONMENT_NAMES), None)
    return None


def functions_fit_a_screen(source: Source) -> Iterator[Finding]:
    if not source.is_in(*PRODUCT):
        return
    for function in source.functions():
        if (lines := length(function)) > FUNCTION_LINES:
            yield Finding(source.path, function.lineno, f"{function.name} has {lines} lines")


def files_fit_a_head(source: Source) -> Iterator[Finding]:
    lines = source.text.count("\n")
    if lines > FILE_LINES:
        yield Finding(source.path, 1, f"{lines} lines, more than {FILE_LINES}")


def pure_functions_take_few_values(source: Source) -> Iterator[Finding]:
    pure = source.is_in("signer_node/kernel", "signer_node/core") or (
        source.is_in("custodyd") and source.path.name == "rules.py"
    )
    if not pure:
        return
    for function in source.functions():
        spec = function.args
        names = [a.arg for a in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        if count > PURE_PARAMETERS:
            text = f"{function.name} takes {count} values: make them a named frozen record"
            yield Finding(source.path, function.lineno, text)


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 1))


SOURCE_RULES = (
    vault_kind_is_compared_in_one_room,
    configuration_is_read_at_the_door,
    functions_fit_a_screen,
    files_fit_a_head,
    pure_functions_take_few_values,
)
