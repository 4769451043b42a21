"""A distribution imports what it declares, and the signer declares nothing that it does not use.

Each dependency of signer-node is a party that every signer trusts. custodyd's client has to work
with the base of custodyd alone, where no database package is.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.house.rules import Finding
from tests.house.sources import ROOT, Source, python_sources

SIGNER = Path("signer_node/pyproject.toml")
CUSTODYD = Path("pyproject.toml")
OURS = {"custodyd", "signer_node"}
# Where custodyd may use its base dependencies only.
BASE_ROOMS = ("custodyd/client", "custodyd/rpc", "custodyd/errors.py", "custodyd/__init__.py")


def undeclared_imports() -> Iterator[Finding]:
    signer, base = _declared(SIGNER), _declared(CUSTODYD)
    everything = base | _declared(CUSTODYD, extras=True)
    for source in python_sources():
        if source.is_in("signer_node"):
            yield from undeclared(source, signer)
        elif source.is_in(*BASE_ROOMS):
            yield from undeclared(source, base)
        elif source.is_in("custodyd"):
            yield from undeclared(source, everything)


def undeclared(source: Source, declared: set[str]) -> Iterator[Finding]:
    for name, line in imports(source):
        if not declared & _distributions(name):
            yield Finding(source.path, line, f"imports {name}, which is not declared for this room")


def unused_dependencies() -> Iterator[Finding]:
    """Of the signer alone: its list is what an auditor reads."""
    sources = [source for source in python_sources() if source.is_in("signer_node")]
    # Generated code is not among the sources; it needs these.
    used = {"grpcio", "protobuf"}
    for source in sources:
        for name, _ in imports(source):
            used |= _distributions(name)
    for name in sorted(_declared(SIGNER) - used):
        yield Finding(SIGNER, 1, f"declares {name}, which no module imports")


def imports(source: Source) -> Iterator[tuple[str, int]]:
    """Third-party top-level modules with the line."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        else:
            continue
        for name in {name.partition(".")[0] for name in names}:
            if name not in sys.stdlib_module_names and name not in OURS:
                yield name, node.lineno


@functools.cache
def _installed() -> dict[str, set[str]]:
    return {
        module: {_plain(d) for d in names} for module, names in packages_distributions().items()
    }


def _distributions(module: str) -> set[str]:
    return _installed().get(module, set())


@functools.cache
def _declared(path: Path, *, extras: bool = False) -> set[str]:
    project = tomllib.loads((ROOT / path).read_text(encoding="utf-8"))["project"]
    lines: list[str] = list(project["dependencies"])
    if extras:
        for more in project["optional-dependencies"].values():
            lines += more
    return {_plain(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]) for line in lines}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
