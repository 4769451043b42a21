"""A room in parentheses in an import contract does not exist; once it does, it is held like any."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.house.rules import Finding
from tests.house.sources import ROOT

OPTIONAL = re.compile(r"\((\w+)\)")


def optional_rooms_do_not_exist(root: Path = ROOT) -> Iterator[Finding]:
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    for contract in tomllib.loads(text)["tool"]["importlinter"]["contracts"]:
        for layer in contract.get("layers", ()):
            for room in OPTIONAL.findall(layer):
                for container in contract["containers"]:
                    if (root / container / room / "__init__.py").exists():
                        reason = f"{container}/{room} exists: take its parentheses away"
                        yield Finding(Path("pyproject.toml"), 1, reason)
