"""The store's incarnation: how everybody notices that yesterday's database came back.

An incarnation is 16 random bytes, made with the database. A sidecar file in the data folder, apart
from the database, remembers (incarnation, boot counter, last event). At each start the two are
compared, and a database that lies behind the sidecar, or that the sidecar does not know, gets a new
incarnation, durable before anything is served. Clients then submit again what is not final, and
signer nodes begin their inbox anew; both are harmless when nothing was lost.

The sidecar follows the database about once a second (`Sidecar.follow`), so a copy that is younger
than that and was put back without a restart in between goes unnoticed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, insert, select, update

from custodyd.errors import CustodydError, ErrorId
from custodyd.store.schema import STORE_INCARNATIONS, STORE_META
from custodyd.store.store import Store

INCARNATION_BYTES: Final = 16
_META_ID: Final = 1
_MAX_SIDECAR_BYTES: Final = 1_024


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a database had come; incarnation in hex."""

    incarnation: str
    boot_counter: int
    last_event: int


@dataclass(frozen=True, slots=True)
class Boot:
    """A start of the daemon: the present incarnation, and whether this start made it."""

    incarnation: bytes
    boot_counter: int
    is_renewed: bool


class Sidecar:
    """The file beside the database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: Mark | None = None

    def read(self) -> Mark | None:
        """The mark, or None when there is no file or none that can be read (never trusted then)."""
        try:
            raw = self._path.read_bytes()[:_MAX_SIDECAR_BYTES]
        except FileNotFoundError:
            return None
        except OSError as bad:
            raise CustodydError(ErrorId.FILE_UNREADABLE, f"{self._path}: {bad.strerror}") from bad
        try:
            found = json.loads(raw)
            return Mark(
                str(found["incarnation"]), int(found["boot_counter"]), int(found["last_event"])
            )
        except (ValueError, KeyError, TypeError):
            return None

    def write(self, mark: Mark) -> None:
        """Write durably, all or nothing; does nothing when the file says so already."""
        if mark == self._written:
            return
        staged = self._path.with_suffix(".staged")
        with staged.open("w") as file:
            json.dump(asdict(mark), file)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(self._path)
        _sync_folder(self._path.parent)
        self._written = mark

    def follow(self, store: Store) -> None:
        """Note how far the store has come."""
        with store.reading() as connection:
            self.write(mark_of(connection))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        os.fsync(descriptor)


def mark_of(connection: Connection) -> Mark:
    """How far this database has come."""
    meta = connection.execute(select(STORE_META)).one()
    return Mark(current_incarnation(connection).hex(), meta.boot_counter, meta.last_event)


def current_incarnation(connection: Connection) -> bytes:
    """The present incarnation, 16 bytes."""
    statement = (
        select(STORE_INCARNATIONS.c.incarnation)
        .order_by(STORE_INCARNATIONS.c.ordinal.desc())
        .limit(1)
    )
    incarnation: bytes = connection.execute(statement).scalar_one()
    return incarnation


def begin_boot(store: Store, sidecar: Sidecar, now_s: int) -> Boot:
    """Count this start, renew the incarnation where the rules above say so; durable on return."""
    known = sidecar.read()
    with store.transaction() as connection:
        boot = _count_boot(connection, known, now_s)
        mark = mark_of(connection)
    sidecar.write(mark)
    return boot


def _count_boot(connection: Connection, known: Mark | None, now_s: int) -> Boot:
    meta = connection.execute(select(STORE_META)).one_or_none()
    if meta is None:
        connection.execute(
            insert(STORE_META).values(
                id=_META_ID, boot_counter=0, last_event=0, oldest_event=1, created_at_s=now_s
            )
        )
        _renew(connection, now_s)
        is_renewed = True
    else:
        is_renewed = known is None or _lies_behind(connection, known)
        if is_renewed:
            _renew(connection, now_s)
    counted = max(meta.boot_counter if meta else 0, known.boot_counter if known else 0) + 1
    connection.execute(update(STORE_META).values(boot_counter=counted))
    return Boot(current_incarnation(connection), counted, is_renewed)


def _lies_behind(connection: Connection, known: Mark) -> bool:
    now = mark_of(connection)
    was_here = connection.execute(
        select(STORE_INCARNATIONS.c.ordinal).where(
            STORE_INCARNATIONS.c.incarnation == bytes.fromhex(known.incarnation)
        )
    ).scalar_one_or_none()
    return (
        was_here is None
        or now.boot_counter < known.boot_counter
        or now.last_event < known.last_event
    )


def _renew(connection: Connection, now_s: int) -> None:
    ordinal = connection.execute(
        select(func.coalesce(func.max(STORE_INCARNATIONS.c.ordinal), 0) + 1)
    ).scalar_one()
    last = connection.execute(select(STORE_META.c.last_event)).scalar_one()
    connection.execute(
        insert(STORE_INCARNATIONS).values(
            ordinal=ordinal,
            incarnation=secrets.token_bytes(INCARNATION_BYTES),
            first_event=last + 1,
            started_at_s=now_s,
        )
    )
