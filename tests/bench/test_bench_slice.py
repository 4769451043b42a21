"""The benchmarks themselves work: a few rounds of the fast ones, and what their rows say."""

from __future__ import annotations

import json

import pytest

from signer_node.kernel.bitcoin.transaction import parse_transaction
from signer_node.kernel.vault.registry import open_vault
from tests.bench import intake, manifest_check, multisig
from tests.bench.measure import Direction, Measurement

ROW = {
    "name",
    "value",
    "unit",
    "baseline",
    "baseline_value",
    "ratio",
    "goal",
    "direction",
    "met",
    "note",
}


def check_rows(rows: list[Measurement]) -> None:
    for one in rows:
        row = json.loads(json.dumps(one.as_row()))
        assert set(row) == ROW
        assert row["name"]
        assert row["unit"]
        assert row["value"] > 0
        assert row["baseline_value"] > 0
        assert row["ratio"] == pytest.approx(row["value"] / row["baseline_value"], rel=1e-3)
        assert row["met"] in (True, False)


def test_all_three_multisig_sides_make_the_same_payments_and_verify() -> None:
    vault = open_vault(multisig.DESCRIPTION)
    made = {name: parse_transaction(work()) for name, work in multisig.signed_by_all()}
    for transaction in made.values():
        vault.verify_signed(multisig.COINS, transaction)
    assert {one.txid for one in made.values()} == {made["ours"].txid}
    assert made["ours"].outputs[:-1] == multisig.PAYOUTS


def test_the_multisig_work_is_faster_than_both_other_wallets() -> None:
    rows = multisig.run(rounds=5)
    check_rows(rows)
    assert [one.baseline for one in rows] == ["embit", "bdk"]
    assert all(one.ratio is not None and one.ratio <= 1.0 for one in rows)


def test_the_manifest_check_is_measured_beside_its_bare_cryptography() -> None:
    check_rows(manifest_check.run())


def test_intake_is_measured_beside_a_bare_echo_on_both_databases() -> None:
    rows = intake.run(calls=40, rounds=1)
    assert [one.name for one in rows] == ["unary intake, SQLite", "unary intake, PostgreSQL"]
    check_rows([one for one in rows if one.baseline_value is not None])


@pytest.mark.parametrize(
    ("direction", "ratio", "met"),
    [
        (Direction.LOWER, 0.9, True),
        (Direction.LOWER, 1.1, False),
        (Direction.HIGHER, 1.1, True),
        (Direction.HIGHER, 0.9, False),
    ],
)
def test_a_goal_is_met_only_on_its_own_side(direction: Direction, ratio: float, met: bool) -> None:
    assert Measurement("name", ratio, "s", "other", 1.0, 1.0, direction).met is met


def test_without_a_baseline_nothing_is_claimed() -> None:
    row = Measurement("name", 2.0, "s", "", None, None, Direction.LOWER).as_row()
    assert (row["ratio"], row["met"]) == (None, None)
