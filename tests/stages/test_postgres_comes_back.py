"""Connections of the pool that died while nobody used them are replaced without a caller's loss."""

from __future__ import annotations

from sqlalchemy import text

from custodyd.store import Store, open_store

_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def _answer(store: Store, *, writing: bool) -> int:
    with store.transaction() if writing else store.reading() as connection:
        return int(connection.execute(text("SELECT 7")).scalar_one())


def test_connections_that_died_in_the_pool_are_replaced_unseen(postgres_url: str) -> None:
    import psycopg

    store = open_store(postgres_url)
    for writing in (True, False):
        with store.reading() as one, store.reading() as other:
            one.execute(text("SELECT 1"))
            other.execute(text("SELECT 1"))
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(_END_OTHERS)
        assert _answer(store, writing=writing) == 7
    store.close()
