"""Opening the database and working in it.

To every stage this module guarantees, on SQLite and PostgreSQL alike:
1. One writer at a time, across threads, processes and replicas: SQLite by BEGIN IMMEDIATE,
   PostgreSQL by a transaction-level advisory lock taken first. So nothing that a write transaction
   reads can change under it, no statement fails on serialization, and sequences have no gaps.
2. A write transaction is durable when its `with` block ends (synchronous = FULL), or rolled back.
3. A reading transaction sees one moment and waits for nobody.
4. Waits are bounded: STORE_BUSY after BUSY_TIMEOUT_S, STORE_UNREACHABLE when nobody answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from custodyd.errors import CustodydError, ErrorId

BUSY_TIMEOUT_S: Final = 20
BEGIN_ATTEMPTS: Final = 3
POOL_SIZE: Final = 16
# Any number that no other program on the same server uses: "custodyd" as ASCII.
ADVISORY_LOCK: Final = int.from_bytes(b"custodyd", "big")
_WRITING: Final = "custodyd_writing"
_READ_ONLY: Final = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
_LOCK: Final = text("SELECT pg_advisory_xact_lock(:key)")

T = TypeVar("T")


class Changes:
    """Tells threads of this process that something was committed; commits elsewhere it misses."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def seen(self) -> int:
        """The count to give to `wait`: taken before looking, so that no change is missed."""
        with self._condition:
            return self._count

    def notify(self) -> None:
        """Wake everybody who waits."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout_s: float) -> None:
        """Return when something was committed after `seen`, at the latest after `timeout_s`."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen, timeout_s)


class Store:
    """A database of the coordinator. `transaction()` writes, `reading()` reads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.changes = Changes()
        self._write_lock = threading.RLock()

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite (else PostgreSQL)."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def transaction(self, *, tells: bool = True) -> Iterator[Connection]:
        """The one writer: commits at the end, rolls back on an exception. Not to be nested.

        Whoever waits for `changes` is woken, unless the writer knows that nothing is due for it.
        """
        # In one process threads queue here, in fair order, instead of polling the database.
        if not self._write_lock.acquire(timeout=BUSY_TIMEOUT_S):
            raise CustodydError(ErrorId.STORE_BUSY)
        try:
            with self._begun(writing=True) as connection:
                yield connection
        finally:
            self._write_lock.release()
        if tells:
            self.changes.notify()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view; a write in it fails, as the defect that it is."""
        if isinstance(self.engine.pool, StaticPool):
            # One connection in all (a database in memory): readers take turns with the writer.
            with self._write_lock, self._begun(writing=False) as connection:
                yield connection
            return
        with self._begun(writing=False) as connection:
            yield connection

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one write transaction."""
        with self.transaction() as connection:
            return work(connection)

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()

    @contextmanager
    def _begun(self, *, writing: bool) -> Iterator[Connection]:
        connection = self._begin(writing=writing)
        try:
            yield connection
            if writing:
                connection.commit()
        except OperationalError as bad:
            if _is_defect(bad):
                raise
            raise _store_error(bad) from bad
        finally:
            # After a commit there is nothing to roll back.
            connection.close()

    def _begin(self, *, writing: bool) -> Connection:
        for attempt in range(1, BEGIN_ATTEMPTS + 1):
            connection = None
            try:
                connection = self.engine.connect()
                connection = connection.execution_options(**{_WRITING: writing})
                connection.begin()
                if not self.is_sqlite:
                    _begin_postgres(connection, writing=writing)
            except DBAPIError as bad:
                if connection is not None:
                    connection.close()
                if attempt == BEGIN_ATTEMPTS:
                    raise _store_error(bad) from bad
                time.sleep(0.05 * attempt)
            else:
                return connection
        raise CustodydError(ErrorId.STORE_UNREACHABLE)


def open_store(url: str) -> Store:
    """Open a store by SQLAlchemy URL: `sqlite:///path`, `sqlite://` (memory), `postgresql://...`.

    The schema is neither made nor checked here (see `custodyd.store.migrate`).
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return Store(_sqlite_engine(url, in_memory=parsed.database in (None, "", ":memory:")))
    if parsed.get_backend_name() != "postgresql":
        raise CustodydError(ErrorId.CONFIG_INVALID, "database is neither SQLite nor PostgreSQL")
    parsed = parsed.set(drivername="postgresql+psycopg")
    return Store(
        create_engine(
            parsed,
            pool_size=POOL_SIZE,
            max_overflow=POOL_SIZE,
            # No ping before use: a connection that died shows in `_begin`, which tries again.
            pool_timeout=BUSY_TIMEOUT_S,
            connect_args={
                "connect_timeout": BUSY_TIMEOUT_S,
                "client_encoding": "utf8",
                "options": f"-c lock_timeout={BUSY_TIMEOUT_S * 1000}",
            },
        )
    )


def _sqlite_engine(url: str, *, in_memory: bool) -> Engine:
    arguments: dict[str, Any] = {
        "connect_args": {"check_same_thread": False, "timeout": BUSY_TIMEOUT_S}
    }
    if in_memory:
        arguments["poolclass"] = StaticPool
    else:
        arguments |= {"pool_size": POOL_SIZE, "max_overflow": POOL_SIZE}
    engine = create_engine(url, **arguments)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # The driver must not begin or commit by itself: `_begin_sqlite` does.
        connection.isolation_level = None
        cursor = connection.cursor()
        if not in_memory:
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin_sqlite(connection: Connection) -> None:
        writing = connection.get_execution_options().get(_WRITING, True)
        connection.exec_driver_sql(f"PRAGMA query_only = {0 if writing else 1}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _begin_postgres(connection: Connection, *, writing: bool) -> None:
    if writing:
        connection.execute(_LOCK, {"key": ADVISORY_LOCK})
    else:
        connection.execute(_READ_ONLY)


def _is_defect(bad: DBAPIError) -> bool:
    """Whether our own statement was at fault, not the database's health."""
    return getattr(bad.orig, "sqlite_errorname", "") in ("SQLITE_READONLY", "SQLITE_ERROR")


def _store_error(bad: DBAPIError) -> CustodydError:
    # The driver's text can hold the URL's password: only the class and SQLSTATE are told.
    code = getattr(bad.orig, "sqlstate", None) or getattr(bad.orig, "sqlite_errorname", "")
    busy = str(code).startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "55P03"))
    error = ErrorId.STORE_BUSY if busy else ErrorId.STORE_UNREACHABLE
    return CustodydError(error, f"{type(bad.orig).__name__} {code}".strip())
