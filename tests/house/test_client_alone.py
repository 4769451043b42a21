"""The exchange's side works with the base of custodyd: no database, metrics or devnet packages."""

from __future__ import annotations

import subprocess
import sys

from tests.house.sources import ROOT, python_sources

EXTRAS = (
    *("sqlalchemy", "alembic", "psycopg", "prometheus_client", "structlog", "pbk"),
    *("grpc_health", "grpc_reflection"),
)
IMPORT_WITHOUT = """
import importlib, sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
for module in sys.argv[2:]:
    importlib.import_module(module)
"""
IMPORT_TIMEOUT_S = 60


def _client_modules() -> list[str]:
    sources = [s for s in python_sources() if s.is_in("custodyd/client", "custodyd/cli/main.py")]
    return [s.path.with_suffix("").as_posix().replace("/", ".") for s in sources]


def test_the_client_and_its_commands_import_without_the_extras() -> None:
    command = [sys.executable, "-c", IMPORT_WITHOUT, ",".join(EXTRAS), *_client_modules()]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
