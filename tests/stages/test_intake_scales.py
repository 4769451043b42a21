"""Intake costs the same whatever was taken in before: no statement of it reads a whole table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event

from custodyd.store import open_store
from custodyd.store.answers import CallKey
from custodyd.store.incarnation import Sidecar, begin_boot
from custodyd.store.migrate import migrate
from custodyd.withdrawals.rules import check_request
from custodyd.withdrawals.service import Intake, accept_many
from signer_node.kernel.documents.request import Request
from signer_node.wire import open_signed
from tests.world.payouts import request
from tests.world.quorum import World, secret, sign_document

# One row each.
TINY = ("store_meta",)


def _intakes(world: World) -> list[Intake]:
    return [
        Intake(
            CallKey("spiffe://custodyd/backend/exchange", f"call-{number}"),
            check_request(
                open_signed(
                    Request,
                    sign_document(request(world, f"w-{number}", 50_000), secret("backend")),
                ),
                world.genesis,
            ),
        )
        for number in range(3)
    ]


def test_no_statement_of_intake_reads_a_whole_table(tmp_path: Path) -> None:
    world = World()
    store = open_store(f"sqlite:///{tmp_path / 'test.db'}")
    migrate(store)
    begin_boot(store, Sidecar(tmp_path / "mark.json"), world.now_s)
    ran: list[tuple[str, Any]] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def _note(_c: Connection, _cursor: Any, statement: str, given: Any, *_more: Any) -> None:
        ran.append((statement, given[0] if isinstance(given, list) else given))

    store.run(lambda connection: accept_many(connection, _intakes(world), world.now_s))
    event.remove(store.engine, "before_cursor_execute", _note)
    explained = [one for one in ran if one[0].startswith(("SELECT", "UPDATE"))]
    assert len(explained) >= 4
    with store.reading() as connection:
        for statement, given in explained:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given).fetchall()
            steps = [row[3] for row in plan]
            scans = [one for one in steps if one.startswith("SCAN") and not one.endswith(TINY)]
            assert scans == [], (statement, steps)
    store.close()
