"""G10: crash anywhere, converge; nothing paid twice, nothing accepted lost.

Every transition that the coordinator persists, read from its tables, is the moment of a kill -9 in
one test: the process dies right after the commit and starts again on its disk. Whatever happened,
each withdrawal is paid by exactly one transaction of the chain. Also: the chain's process, a signer
or the backend dies, and the coordinator's database of yesterday comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from custodyd.batches import rules as batches
from custodyd.batches.rules import BatchState
from custodyd.chain import rules as chain
from custodyd.chain.vaults import EXTERNAL_GAP
from custodyd.deposits import rules as deposits
from custodyd.devnet.node import ForkPlan
from custodyd.devnet.transactions import parse_transaction
from custodyd.signing import rules as signing
from custodyd.store.context import DepositTier
from custodyd.withdrawals import service as withdrawals
from signer_node.kernel.documents.journal import RecordKind
from tests.world.whole import MAX_TURNS, SETTINGS, Killed, Whole

IDS = ("w-1", "w-2", "w-3")
AMOUNT_SAT = 1_000_000
PROPOSED, APPROVED, COMMITTED = BatchState.PROPOSED, BatchState.APPROVED, BatchState.COMMITTED
Scenario = Callable[[Whole], None]


def paid_once(whole: Whole) -> None:
    for one in IDS:
        payments = whole.payments_to(one)
        assert len(payments) == 1, f"{one} is paid {len(payments)} times"
        outputs = [each for each in payments[0].outputs if each.script == whole.script(one)]
        assert [each.value_sat for each in outputs] == [AMOUNT_SAT]


def begin(whole: Whole) -> None:
    whole.deposit(50_000_000)
    whole.withdraw(*IDS, amount_sat=AMOUNT_SAT)


def end(whole: Whole) -> None:
    whole.run(whole.all_final)
    paid_once(whole)


def until(whole: Whole, name: str) -> None:
    whole.run(lambda: name in whole.seen)


def let_it_expire(whole: Whole) -> None:
    whole.now_s += whole.settings.manifest_lifetime_s + 1


def release(whole: Whole) -> None:
    with whole.coordinator.store.transaction() as connection:
        withdrawals.release_holds(connection, IDS, whole.now_s)


# --- what may happen to a batch ---


def a_day(whole: Whole) -> None:
    begin(whole)
    end(whole)


def nobody_approves_in_time(whole: Whole) -> None:
    people, whole.approvers = whole.approvers, ()
    begin(whole)
    until(whole, "batch.proposed")
    let_it_expire(whole)
    whole.approvers = people
    until(whole, "batch.abandoned")
    end(whole)


def the_payer_sleeps_too_long(whole: Whole) -> None:
    """Approved but never confirmed: proposed again; that proposal expires unapproved, and again."""
    whole.at["batch.approved"] = lambda: whole.asleep.add("backend")
    begin(whole)
    until(whole, "batch.approved")
    people, whole.approvers = whole.approvers, ()
    let_it_expire(whole)
    until(whole, "batch.replaced-approved")
    let_it_expire(whole)
    until(whole, "batch.replaced-proposed")
    whole.approvers = people
    whole.asleep.clear()
    end(whole)


def a_package_is_out_and_nobody_answers(whole: Whole) -> None:
    whole.at["batch.committed"] = lambda: whole.asleep.update(whole.nodes)
    begin(whole)
    until(whole, "batch.committed")
    let_it_expire(whole)
    until(whole, "batch.replaced-committed")
    whole.asleep.clear()
    end(whole)


def an_operator_rejects(whole: Whole) -> None:
    whole.rejecter = "alice"
    begin(whole)
    until(whole, "batch.rejected")
    whole.rejecter = ""
    whole.run(lambda: all(one.startswith("HELD") for one in whole.states().values()))
    release(whole)
    end(whole)


def an_operator_rejects_after_the_approvals(whole: Whole) -> None:
    whole.at["batch.approved"] = lambda: whole.asleep.add("backend")
    begin(whole)
    until(whole, "batch.approved")
    whole.reject("alice")
    until(whole, "batch.rejected-approved")
    whole.asleep.clear()
    whole.run(lambda: all(one.startswith("HELD") for one in whole.states().values()))
    release(whole)
    until(whole, "batch.replaced-rejected")
    end(whole)


def an_operator_rejects_after_the_package(whole: Whole) -> None:
    whole.at["batch.committed"] = lambda: whole.asleep.update(("s2", "s3"))
    begin(whole)
    until(whole, "batch.committed")
    whole.reject("alice")
    until(whole, "batch.rejected-committed")
    whole.asleep.clear()
    release(whole)
    end(whole)


def a_signer_falls_asleep_in_a_round(whole: Whole) -> None:
    """First before it commits, then after the package: others take its place each time."""

    def others_too() -> None:
        whole.at.pop("round.packaged", None)
        whole.at.pop("batch.committed", None)
        whole.asleep.update(("s2", "s3"))

    whole.at["round.opened"] = lambda: whole.asleep.add("s1")
    # Both names are of one transaction; the process may die at the first.
    whole.at["round.packaged"] = whole.at["batch.committed"] = others_too
    begin(whole)
    until(whole, "round.failed-opened")
    whole.asleep.clear()
    until(whole, "round.failed-packaged")
    whole.asleep.clear()
    end(whole)


# --- what may happen on the chain ---


def the_block_is_left(whole: Whole) -> None:
    begin(whole)
    until(whole, "batch.confirmed")
    whole.devnet.fork(ForkPlan(depth=1, blocks=2))
    until(whole, "batch.reorged")
    end(whole)


def somebody_else_mines_it_first(whole: Whole) -> None:
    """The signed bytes leave another way, and are in a block before a broadcast is noted."""

    def leak() -> None:
        whole.devnet.accept(parse_transaction(whole.last_batch().signed))
        whole.mine()
        raise Killed("round.done")

    # The round is done and the batch is signed in one transaction.
    whole.at["round.done"] = leak
    begin(whole)
    until(whole, "batch.found-signed")
    end(whole)


def yesterday(moment: str) -> Scenario:
    """The database of `moment` comes back after the payment was confirmed."""

    def scenario(whole: Whole) -> None:
        copies: list[Path] = []
        whole.at[moment] = lambda: copies.append(whole.copy_store())
        begin(whole)
        until(whole, "batch.confirmed")
        whole.put_back(copies[0])
        end(whole)

    scenario.__name__ = f"yesterday_was_{moment}"
    return scenario


def yesterday_was_rejected(whole: Whole) -> None:
    whole.at["batch.approved"] = lambda: whole.asleep.add("backend")
    begin(whole)
    until(whole, "batch.approved")
    whole.reject("alice")
    until(whole, "batch.rejected-approved")
    copy = whole.copy_store()
    whole.asleep.clear()
    release(whole)
    until(whole, "batch.confirmed")
    whole.put_back(copy)
    end(whole)


# --- what may happen to a deposit ---


def two_deep(whole: Whole) -> Whole:
    """Deposits are creditable at two confirmations; the coordinator starts with that setting."""
    whole.settings = replace(SETTINGS, deposit_tiers=(DepositTier(0, 2),))
    whole.kill_coordinator()
    return whole


def pays_in_the_end(whole: Whole) -> None:
    whole.withdraw(*IDS, amount_sat=AMOUNT_SAT)
    end(whole)


def a_deposit_is_left_by_a_reorganisation(whole: Whole) -> None:
    two_deep(whole).deposit(50_000_000, mined=False)
    whole.wait("deposit.seen")
    whole.mine()
    whole.wait("deposit.confirming")
    whole.mine()
    whole.wait("deposit.creditable")
    whole.devnet.fork(ForkPlan(depth=3, blocks=4))
    whole.wait("deposit.seen-again")
    pays_in_the_end(whole)


def a_deposit_is_in_a_block_before_it_was_seen(whole: Whole) -> None:
    """Its only block is left, and it is in the next one before the mempool is read."""
    two_deep(whole).deposit(50_000_000)
    whole.wait("deposit.found")
    whole.at["deposit.reorged"] = whole.mine
    whole.devnet.fork(ForkPlan(depth=1, blocks=2))
    whole.wait("deposit.back")
    pays_in_the_end(whole)


def a_deposit_comes_back_deep(whole: Whole) -> None:
    two_deep(whole).deposit(50_000_000)
    whole.wait("deposit.found")
    whole.at["deposit.reorged"] = lambda: whole.mine(3)
    whole.devnet.fork(ForkPlan(depth=1, blocks=2))
    whole.wait("deposit.back-deep")
    pays_in_the_end(whole)


def a_deposit_is_deep_at_once(whole: Whole) -> None:
    two_deep(whole).deposit(50_000_000, mined=False)
    whole.wait("deposit.seen")
    whole.mine(2)
    whole.wait("deposit.confirmed-deep")
    pays_in_the_end(whole)


def deposits_shall_be_deeper_from_now_on(whole: Whole) -> None:
    """Creditable at one confirmation; then the coordinator starts with another setting."""
    whole.deposit(50_000_000)
    whole.wait("deposit.found-deep")
    two_deep(whole)
    whole.wait("deposit.shallow-again")
    pays_in_the_end(whole)


def a_deposit_vanishes(whole: Whole) -> None:
    """The mempool lets go of it, and its coin is spent otherwise."""
    payment = whole.deposit(50_000_000, mined=False)
    whole.wait("deposit.seen")
    whole.devnet.pool.remove(payment.txid)
    whole.deposit(50_000_001)
    whole.wait("deposit.vanished")
    pays_in_the_end(whole)


def a_deposit_to_an_address_far_beyond_the_watched(whole: Whole) -> None:
    whole.asleep.add("backend")
    for _ in range(EXTERNAL_GAP + 2):
        whole.next_deposit_script()
    whole.deposit(50_000_000)
    whole.turn()
    whole.asleep.clear()
    whole.wait("chain.rescanned")
    pays_in_the_end(whole)


A_DAY: Final = frozenset(
    {
        *signing.OTHER_TRANSITIONS,
        *signing.VAULT_TRANSITIONS,
        *("chain.started", "chain.connected", "headers.relayed", "deposit.found-deep"),
        *("batch.proposed", "batch.approved", "batch.committed", "batch.signed"),
        *("batch.broadcast", "batch.confirmed", "batch.final"),
        *("round.opened", "round.packaged", "round.done"),
    }
)

# What may happen, with the transitions that each adds to those of an ordinary day.
SCENARIOS: Final[dict[Scenario, str]] = {
    a_day: "",
    nobody_approves_in_time: "batch.abandoned",
    the_payer_sleeps_too_long: "batch.replaced-approved batch.replaced-proposed",
    a_package_is_out_and_nobody_answers: "batch.replaced-committed",
    an_operator_rejects: "batch.rejected",
    an_operator_rejects_after_the_approvals: "batch.rejected-approved batch.replaced-rejected",
    an_operator_rejects_after_the_package: "batch.rejected-committed",
    a_signer_falls_asleep_in_a_round: "round.failed-opened round.failed-packaged round.done-late",
    the_block_is_left: "batch.reorged chain.disconnected chain.mempool-read",
    somebody_else_mines_it_first: "batch.found-signed",
    yesterday("batch.proposed"): "batch.found-proposed",
    yesterday("batch.approved"): "batch.found-approved",
    yesterday("batch.committed"): "batch.found-committed",
    yesterday_was_rejected: "batch.found-rejected",
    a_deposit_is_left_by_a_reorganisation: (
        "deposit.seen deposit.confirming deposit.creditable deposit.reorged-late deposit.seen-again"
    ),
    a_deposit_is_in_a_block_before_it_was_seen: "deposit.found deposit.reorged deposit.back",
    a_deposit_comes_back_deep: "deposit.back-deep",
    a_deposit_is_deep_at_once: "deposit.confirmed-deep",
    deposits_shall_be_deeper_from_now_on: "deposit.shallow-again",
    a_deposit_vanishes: "deposit.vanished",
    a_deposit_to_an_address_far_beyond_the_watched: "chain.rescanned",
}

ALL: Final = frozenset(
    {
        *batches.TRANSITIONS,
        *chain.TRANSITIONS,
        *deposits.TRANSITIONS,
        *signing.ROUND_TRANSITIONS,
        *signing.VAULT_TRANSITIONS,
        *signing.OTHER_TRANSITIONS,
    }
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_the_coordinator_dies_at_each_transition_of(tmp_path: Path, scenario: Scenario) -> None:
    whole = Whole(tmp_path, deadly=True)
    scenario(whole)
    assert set(SCENARIOS[scenario].split()) <= set(whole.seen)


def test_every_transition_of_the_tables_is_the_moment_of_a_death() -> None:
    reached = {name for names in SCENARIOS.values() for name in names.split()} | A_DAY
    assert reached <= ALL
    assert sorted(ALL - reached) == []


# --- the others die ---


def test_each_signer_dies_after_each_kind_of_record(tmp_path: Path) -> None:
    whole = Whole(tmp_path, deadly_for_signers=True)
    a_day(whole)
    assert all(RecordKind.COMMITTED in whole.died[name] for name in ("s1", "s2"))


def test_the_coordinator_dies_at_each_transition_of_a_key_generation(tmp_path: Path) -> None:
    """And of the day after it; attempts that fail: tests/stages/test_key_generation.py."""
    whole = Whole(tmp_path, deadly=True, kind="taproot-frost")
    a_day(whole)
    assert {"keygen.shared", "keygen.sealed", "keygen.done"} <= set(whole.seen)


def test_each_signer_dies_after_each_kind_of_record_of_a_key_generation(tmp_path: Path) -> None:
    """Operators confirm again at a node that restarted; no money is without a share."""
    whole = Whole(tmp_path, deadly_for_signers=True, kind="taproot-frost")
    a_day(whole)
    for name in whole.nodes:
        assert {
            RecordKind.KEYGEN_PROPOSED,
            RecordKind.KEYGEN_CONFIRMED,
            RecordKind.KEYGEN_STARTED,
            RecordKind.KEYGEN_FINISHED,
            RecordKind.CERTIFICATE_SIGNED,
            RecordKind.VAULT_CERTIFIED,
        } <= whole.died[name]


def test_the_chain_dies_between_any_two_turns(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    begin(whole)
    for _ in range(MAX_TURNS):
        if whole.all_final():
            break
        whole.turn()
        whole.mine()
        whole.kill_devnet()
    paid_once(whole)
    assert whole.all_final()


def test_the_backend_dies_between_any_two_turns(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    begin(whole)
    for _ in range(MAX_TURNS):
        if whole.all_final():
            break
        whole.turn()
        whole.mine()
        whole.kill_backend()
    paid_once(whole)
    assert whole.all_final()


@pytest.mark.parametrize("noticed", [True, False])
def test_a_request_accepted_and_forgotten_is_submitted_again(tmp_path: Path, noticed: bool) -> None:
    """The database of before the request comes back, under a new incarnation or unnoticed."""
    whole = Whole(tmp_path)
    whole.deposit(50_000_000)
    copy = whole.copy_store()
    if noticed:
        whole.turn()
    whole.withdraw(*IDS, amount_sat=AMOUNT_SAT)
    whole.backend.turn()
    assert set(whole.states()) == set(IDS)
    before = whole.coordinator.incarnation
    whole.put_back(copy)
    assert (whole.coordinator.incarnation != before) is noticed
    assert whole.states() == {}
    end(whole)
