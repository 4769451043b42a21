"""The store: one writer, durable or nothing, gap-free events, fenced leases, noticed old copies."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

import custodyd
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import event_pb2, withdrawal_pb2
from custodyd.store import Store, open_store
from custodyd.store.answers import (
    ANSWERS_KEPT_S,
    Answer,
    CallKey,
    check_request_id,
    find_answers,
    forget_answers,
    keep_answers,
    require_same_body,
)
from custodyd.store.events import (
    append_event,
    append_events,
    compact_events,
    events_after,
    last_event,
    oldest_event,
)
from custodyd.store.facts import get_fact, put_fact
from custodyd.store.group_commit import GroupCommit
from custodyd.store.incarnation import Sidecar, begin_boot
from custodyd.store.leases import acquire_lease, check_lease, release_lease, renew_lease
from custodyd.store.migrate import migrate, migration_config, require_schema
from custodyd.store.pages import MAX_PAGE, page_limit, page_start, page_token
from custodyd.store.schema import METADATA
from tests.stages.conftest import NOW_S


def _all_tables() -> None:
    for module in pkgutil.walk_packages(custodyd.__path__, "custodyd."):
        if module.name.endswith(".tables"):
            importlib.import_module(module.name)


def _subject(name: str) -> withdrawal_pb2.Withdrawal:
    return withdrawal_pb2.Withdrawal(external_id=name)


# -------------------------------------------------------------------------------------- migrations
def test_the_migrations_make_exactly_the_tables_of_the_code(store: Store) -> None:
    _all_tables()
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_migrations_can_be_taken_back_to_nothing(store: Store) -> None:
    with store.transaction() as connection:
        command.downgrade(migration_config(connection), "base")
    with store.reading() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}


def test_a_database_of_another_version_is_refused(database_url: str) -> None:
    store = open_store(database_url)
    with pytest.raises(CustodydError) as refused:
        require_schema(store)
    assert refused.value.error is ErrorId.STORE_SCHEMA_DIFFERS
    migrate(store)
    require_schema(store)
    store.close()


# ------------------------------------------------------------------------------------ transactions
def test_an_exception_rolls_everything_back(store: Store) -> None:
    def fail(connection: Connection) -> None:
        put_fact(connection, "a", b"1")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.run(fail)
    with store.reading() as connection:
        assert get_fact(connection, "a") is None


def test_readers_see_one_moment_and_wait_for_nobody(store: Store) -> None:
    with store.transaction() as connection:
        put_fact(connection, "a", b"1")
    with store.reading() as reader:
        assert get_fact(reader, "a") == b"1"
        with store.transaction() as writer:
            put_fact(writer, "a", b"2")
        assert get_fact(reader, "a") == b"1"
    with store.reading() as reader:
        assert get_fact(reader, "a") == b"2"


def test_a_write_among_reads_fails_as_the_defect_it_is(store: Store) -> None:
    with store.reading() as connection, pytest.raises(DBAPIError):
        put_fact(connection, "a", b"1")
    with store.transaction() as connection:
        assert get_fact(connection, "a") is None
        put_fact(connection, "a", b"2")


def test_increments_of_many_processes_are_never_lost(database_url: str, store: Store) -> None:
    """Two stores on one database stand for two processes: no lock of this process helps."""
    stores = [store, open_store(database_url)]

    def add(own: Store) -> None:
        for _ in range(20):
            with own.transaction() as connection:
                value = int(get_fact(connection, "n") or b"0")
                put_fact(connection, "n", str(value + 1).encode())

    threads = [threading.Thread(target=add, args=(own,)) for own in stores * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as connection:
        assert get_fact(connection, "n") == b"80"
    stores[1].close()


def test_a_database_that_is_gone_is_named_without_its_password() -> None:
    store = open_store("postgresql://someone:canary-password@127.0.0.1:1/none")
    with pytest.raises(CustodydError) as refused, store.transaction():
        pass
    assert refused.value.error is ErrorId.STORE_UNREACHABLE
    assert "canary-password" not in str(refused.value)


def test_a_store_in_memory_works_alike(tmp_path: Path) -> None:
    store = open_store("sqlite://")
    migrate(store)
    begin_boot(store, Sidecar(tmp_path / "mark"), NOW_S)
    with store.transaction() as connection:
        assert append_event(connection, _subject("x"), NOW_S) == 1
    with store.reading() as connection:
        assert last_event(connection) == 1


# ------------------------------------------------------------------------------------------ events
def test_events_are_numbered_without_gaps_even_after_rollbacks(store: Store) -> None:
    with store.transaction() as connection:
        append_events(connection, [_subject("a"), _subject("b")], NOW_S)

    def fail(connection: Connection) -> None:
        append_event(connection, _subject("lost"), NOW_S)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.run(fail)
    with store.transaction() as connection:
        append_event(connection, _subject("c"), NOW_S)
    with store.reading() as connection:
        events = events_after(connection, 0)
    told = [event_pb2.Event.FromString(event.raw) for event in events]
    assert [event.sequence for event in told] == [1, 2, 3]
    assert [event.withdrawal.external_id for event in told] == ["a", "b", "c"]


def test_whoever_asks_for_compacted_events_is_told_the_oldest(store: Store) -> None:
    with store.transaction() as connection:
        append_events(connection, [_subject("a"), _subject("b")], NOW_S)
        append_event(connection, _subject("c"), NOW_S + 100)
        assert compact_events(connection, NOW_S + 50) == 2
        assert oldest_event(connection) == 3
    with store.reading() as connection:
        assert [event.sequence for event in events_after(connection, 2)] == [3]
        with pytest.raises(CustodydError, match="oldest event kept is 3") as refused:
            events_after(connection, 1)
    assert refused.value.error is ErrorId.EVENTS_COMPACTED


# ------------------------------------------------------------------------------------------ leases
def test_a_replica_that_slept_through_its_lease_commits_nothing(store: Store) -> None:
    with store.transaction() as connection:
        first = acquire_lease(connection, "work", "one", NOW_S, 10)
        assert acquire_lease(connection, "work", "two", NOW_S + 9, 10) is None
        second = acquire_lease(connection, "work", "two", NOW_S + 11, 10)
    assert first is not None
    assert second is not None
    assert second.token == first.token + 1

    def late(connection: Connection) -> None:
        put_fact(connection, "a", b"1")
        check_lease(connection, first)

    with pytest.raises(CustodydError) as refused:
        store.run(late)
    assert refused.value.error is ErrorId.LEASE_LOST
    with store.transaction() as connection:
        check_lease(connection, second)
        assert get_fact(connection, "a") is None


def test_a_lease_is_renewed_by_its_holder_and_free_once_released(store: Store) -> None:
    with store.transaction() as connection:
        lease = acquire_lease(connection, "work", "one", NOW_S, 10)
        assert lease is not None
        renew_lease(connection, lease, NOW_S + 9, 10)
        assert acquire_lease(connection, "work", "two", NOW_S + 15, 10) is None
        release_lease(connection, lease, NOW_S + 15)
        taken = acquire_lease(connection, "work", "two", NOW_S + 15, 10)
        assert taken is not None
        with pytest.raises(CustodydError):
            renew_lease(connection, lease, NOW_S + 16, 10)


# ------------------------------------------------------------------------------------- incarnation
@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with database and sidecar, as a daemon leaves it after its first boot."""
    store = open_store(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(store)
    assert begin_boot(store, Sidecar(tmp_path / "mark"), NOW_S).is_renewed
    store.close()
    return tmp_path


def _boot(folder: Path) -> tuple[bytes, bool, int]:
    store = open_store(f"sqlite:///{folder / 'a.db'}")
    boot = begin_boot(store, Sidecar(folder / "mark"), NOW_S)
    store.close()
    return boot.incarnation, boot.is_renewed, boot.boot_counter


def test_a_restart_keeps_the_incarnation(folder: Path) -> None:
    first, renewed, counter = _boot(folder)
    assert (renewed, counter) == (False, 2)
    assert _boot(folder) == (first, False, 3)


def test_yesterdays_copy_gets_a_new_incarnation(folder: Path) -> None:
    first, _, _ = _boot(folder)
    shutil.copy(folder / "a.db", folder / "yesterday.db")
    store = open_store(f"sqlite:///{folder / 'a.db'}")
    sidecar = Sidecar(folder / "mark")
    with store.transaction() as connection:
        append_event(connection, _subject("accepted today"), NOW_S)
    sidecar.follow(store)
    store.close()
    for stale in folder.glob("a.db*"):
        stale.unlink()
    shutil.copy(folder / "yesterday.db", folder / "a.db")
    second, renewed, _ = _boot(folder)
    assert renewed
    assert second != first
    assert _boot(folder)[:2] == (second, False)


def test_a_database_without_its_sidecar_or_with_another_ones_is_new(folder: Path) -> None:
    first, _, _ = _boot(folder)
    (folder / "mark").unlink()
    second, renewed, _ = _boot(folder)
    assert renewed
    (folder / "mark").write_text("{ not json")
    third, renewed, _ = _boot(folder)
    assert renewed
    assert len({first, second, third}) == 3


def test_a_crash_between_database_and_sidecar_changes_nothing(folder: Path) -> None:
    first, _, _ = _boot(folder)
    old_mark = (folder / "mark").read_bytes()
    _boot(folder)
    (folder / "mark").write_bytes(old_mark)
    assert _boot(folder)[:2] == (first, False)


# --------------------------------------------------------------------------- answers, pages, group
def test_a_request_id_with_another_body_is_refused(store: Store) -> None:
    key = CallKey("spiffe://custodyd/backend/b", "0b2f7c1e-6a59-4b39-8d9f-2f7a4d5e6c70")
    other = CallKey("spiffe://custodyd/backend/c", key.request_id)
    with store.transaction() as connection:
        keep_answers(connection, [Answer(key, "M", bytes(32), b"answer")], NOW_S)
        found = find_answers(connection, [key, other])
    assert set(found) == {key}
    require_same_body(found[key], "M", bytes(32))
    with pytest.raises(CustodydError) as refused:
        require_same_body(found[key], "M", b"\1" * 32)
    assert refused.value.error is ErrorId.REQUEST_ID_REUSED
    with store.transaction() as connection:
        assert forget_answers(connection, NOW_S + ANSWERS_KEPT_S) == 0
        assert forget_answers(connection, NOW_S + ANSWERS_KEPT_S + 1) == 1


@pytest.mark.parametrize("bad", ["", "x", "0b2f7c1e6a594b398d9f2f7a4d5e6c70", "{0b2f7c1e}"])
def test_a_request_id_is_a_uuid(bad: str) -> None:
    with pytest.raises(CustodydError) as refused:
        check_request_id(bad)
    assert refused.value.error is ErrorId.ARGUMENT_INVALID
    assert refused.value.field == "request_id"


def test_a_page_token_serves_only_its_own_filter() -> None:
    secret = bytes(32)
    token = page_token(secret, "state 3", 41)
    assert page_start(secret, "state 3", token) == 41
    assert page_start(secret, "state 3", "") is None
    for filter_text, bad in [
        ("state 4", token),
        ("state 3", token[:-1]),
        ("state 3", "A" * 32),
        ("state 3", "ö"),
        ("state 3", "x"),
    ]:
        with pytest.raises(CustodydError) as refused:
            page_start(secret, filter_text, bad)
        assert refused.value.error is ErrorId.PAGE_TOKEN_INVALID
    assert page_limit(0) == 50
    assert page_limit(10**6) == MAX_PAGE
    with pytest.raises(CustodydError):
        page_limit(-1)


def test_a_gulp_answers_each_caller_with_its_own_result(store: Store) -> None:
    def work(connection: Connection, jobs: object) -> list[str | CustodydError]:
        results: list[str | CustodydError] = []
        for job in jobs:  # type: ignore[attr-defined]
            if job == "bad":
                results.append(CustodydError(ErrorId.NOT_FOUND))
            else:
                put_fact(connection, job, b"done")
                results.append(job)
        return results

    group: GroupCommit[str, str] = GroupCommit(store, work)
    outcomes: dict[str, object] = {}

    def call(job: str) -> None:
        try:
            outcomes[job] = group.submit(job, 10.0)
        except CustodydError as refused:
            outcomes[job] = refused.error

    threads = [threading.Thread(target=call, args=(job,)) for job in ("a", "bad", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {"a": "a", "b": "b", "c": "c", "bad": ErrorId.NOT_FOUND}
    with store.reading() as connection:
        assert all(get_fact(connection, job) == b"done" for job in ("a", "b", "c"))
    group.close()
    with pytest.raises(CustodydError) as refused:
        group.submit("late", 1.0)
    assert refused.value.error is ErrorId.SHUTTING_DOWN


def test_a_commit_that_fails_is_every_callers_failure(store: Store) -> None:
    def work(_connection: Connection, _jobs: object) -> list[str | CustodydError]:
        raise CustodydError(ErrorId.STORE_UNREACHABLE)

    group: GroupCommit[str, str] = GroupCommit(store, work)
    with pytest.raises(CustodydError) as refused:
        group.submit("a", 10.0)
    assert refused.value.error is ErrorId.STORE_UNREACHABLE
    group.close()
