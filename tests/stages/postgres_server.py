"""A PostgreSQL server of one's own, on a unix socket, for as long as it is needed.

PostgreSQL refuses root, so Debian's binaries run as its user on a folder under the system's
temporary one.
"""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_TIMEOUT_S = 30


class PostgresMissing(Exception):
    """What is not there on this machine, and how to get it."""


@contextmanager
def postgres_server() -> Iterator[str]:
    """URL of a running server, its database `postgres`; raises `PostgresMissing`."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="custodyd-postgres-"))
    data = folder / "data"
    try:
        _give_to_postgres(folder)
        made = (binaries / "initdb", "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8")
        _run(*made, "-D", data)
        options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
        _run(binaries / "pg_ctl", "start", "-w", "-D", data, "-l", folder / "log", "-o", options)
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            _run(binaries / "pg_ctl", "stop", "-m", "immediate", "-D", data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    on_path = found[-1] if found else shutil.which("initdb")
    if on_path is None:
        raise PostgresMissing("PostgreSQL's initdb is not installed (`make tools`)")
    return Path(on_path).parent


def _give_to_postgres(folder: Path) -> None:
    if os.getuid() != 0:
        return
    try:
        owner = pwd.getpwnam("postgres")
    except KeyError:
        raise PostgresMissing("root has no user `postgres` to run PostgreSQL as") from None
    os.chown(folder, owner.pw_uid, owner.pw_gid)


def _run(*command: str | Path) -> None:
    as_user: dict[str, object] = {"user": "postgres", "group": "postgres", "extra_groups": []}
    options = as_user if os.getuid() == 0 else {}
    subprocess.run(
        [str(part) for part in command],
        check=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        stdout=subprocess.DEVNULL,
        timeout=START_TIMEOUT_S,
        **options,  # type: ignore[call-overload]
    )
