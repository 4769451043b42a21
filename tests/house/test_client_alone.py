"""The exchange's side works with the base of custodyd: no database, metrics or devnet packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.house.sources import ROOT, python_sources

EXTRAS = ("sqlalchemy", "alembic", "psycopg", "prometheus_client", "structlog", "pbk")
EXTRAS += ("grpc_health", "grpc_reflection")
IMPORT_WITHOUT = """
import importlib, sys
blocked, module = sys.argv[1].split(","), sys.argv[2]
sys.modules.update(dict.fromkeys(blocked))
importlib.import_module(module)
"""
IMPORT_TIMEOUT_S = 60


def _client_modules() -> list[str]:
    sources = [s for s in python_sources() if s.is_in("custodyd/client", "custodyd/cli/main.py")]
    return [s.path.with_suffix("").as_posix().replace("/", ".") for s in sources]


@pytest.mark.parametrize("module", _client_modules())
def test_it_imports_without_the_extras(module: str) -> None:
    command = [sys.executable, "-c", IMPORT_WITHOUT, ",".join(EXTRAS), module]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
