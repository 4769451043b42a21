"""Both databases for the tests of stages: SQLite in a file, and a real PostgreSQL server.

Where PostgreSQL's programs are missing, the tests that need them are skipped, loudly.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from custodyd.store import Store, open_store
from custodyd.store.incarnation import Sidecar, begin_boot
from custodyd.store.migrate import migrate
from tests.stages.postgres_server import PostgresMissing, postgres_server

NOW_S = 1_800_000_000


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a server of this session's own; its database `postgres`."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(postgres_server())
        except PostgresMissing as missing:
            pytest.skip(str(missing))
        yield url


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """URL of an empty database of this test's own."""
    import psycopg

    name = f"test_{os.urandom(8).hex()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    """A store with this version's schema, booted once; on both databases."""
    opened = open_store(database_url)
    migrate(opened)
    begin_boot(opened, Sidecar(tmp_path / "mark.json"), NOW_S)
    yield opened
    opened.close()
