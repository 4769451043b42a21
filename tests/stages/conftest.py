"""Both databases for the tests of stages: SQLite in a file, and a real PostgreSQL server.

PostgreSQL refuses root, so Debian's binaries run as its user on a folder under the system's
temporary one. Where they are missing, the tests that need them are skipped, loudly.
"""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from custodyd.store import Store, open_store
from custodyd.store.incarnation import Sidecar, begin_boot
from custodyd.store.migrate import migrate

START_TIMEOUT_S = 30
NOW_S = 1_800_000_000


def _binaries() -> Path | None:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if found:
        return Path(found[-1]).parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


def _run(*command: str | Path) -> None:
    as_user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    options: dict[str, object] = as_user if os.getuid() == 0 else {}
    subprocess.run(
        [str(part) for part in command],
        check=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        stdout=subprocess.DEVNULL,
        timeout=START_TIMEOUT_S,
        **options,  # type: ignore[call-overload]
    )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a server of this session's own, on a unix socket; its database `postgres`."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's initdb is not installed (`make tools`)")
    folder = Path(tempfile.mkdtemp(prefix="custodyd-postgres-"))
    if os.getuid() == 0:
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("root has no user `postgres` to run PostgreSQL as")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = folder / "data"
    try:
        _run(
            binaries / "initdb",
            "-A",
            "trust",
            "-U",
            "postgres",
            "--no-sync",
            "-E",
            "UTF8",
            "-D",
            data,
        )
        options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
        _run(binaries / "pg_ctl", "start", "-w", "-D", data, "-l", folder / "log", "-o", options)
        yield f"postgresql://postgres@/postgres?host={folder}"
        _run(binaries / "pg_ctl", "stop", "-m", "immediate", "-D", data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty database of this test's own."""
    import psycopg

    name = f"test_{os.urandom(8).hex()}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres_server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres_server, autocommit=True) as connection:
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
