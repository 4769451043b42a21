"""Deposits: seen, confirming, creditable, taken back; never the internal chain."""

from __future__ import annotations

import pytest

from custodyd.deposits.rules import (
    TRANSITIONS,
    DepositState,
    depth_needed,
    state_on_chain,
    transition_name,
)
from custodyd.rpc.v1 import deposit_pb2, event_pb2
from custodyd.store import Store
from custodyd.store.events import events_after
from custodyd.store.settings import DepositTier
from signer_node.kernel.bitcoin.transaction import TxOut
from tests.stages.house import House

TIERS = (DepositTier(0, 1), DepositTier(1_000, 3), DepositTier(1_000_000, 6))


@pytest.fixture
def house() -> House:
    made = House()
    made.tune(deposit_tiers=(DepositTier(0, 1), DepositTier(2_000_000, 3)))
    made.make_vault()
    return made


def states(house: House) -> list[str]:
    return [deposit_pb2.DepositState.Name(one.state)[14:] for one in house.deposits()]


def told(house: House) -> list[str]:
    """The states of deposits that events told, in order."""
    with house.store.reading() as connection:
        events = [event_pb2.Event.FromString(one.raw) for one in events_after(connection, 0)]
    return [
        deposit_pb2.DepositState.Name(one.deposit.state)[14:]
        for one in events
        if one.WhichOneof("subject") == "deposit"
    ]


def test_a_deposit_is_seen_confirming_and_creditable_by_depth(store: Store) -> None:
    house = House(store)
    house.tune(deposit_tiers=(DepositTier(0, 1), DepositTier(2_000_000, 3)))
    house.make_vault()
    payment = house.deposit(5_000_000, 2)
    house.settle(4)
    (seen,) = house.deposits()
    assert states(house) == ["SEEN"]
    assert seen.txid == payment.txid[::-1].hex()
    assert seen.address == house.world.vault.kind.address(0, 2)
    assert seen.confirmations == 0
    assert house.balance().pending_deposits_sat == 5_000_000
    house.mine()
    house.settle(2)
    assert states(house) == ["CONFIRMING"]
    house.mine(2)
    house.settle(2)
    (credited,) = house.deposits()
    assert states(house) == ["CREDITABLE"]
    assert credited.confirmations == 3
    assert told(house) == ["SEEN", "CONFIRMING", "CREDITABLE"]


def test_a_small_deposit_is_creditable_sooner(house: House) -> None:
    house.deposit(1_000_000)
    house.mine()
    house.settle(2)
    assert states(house) == ["CREDITABLE"]


def test_what_the_chain_takes_back_is_told_and_may_come_back(house: House) -> None:
    payment = house.deposit(1_000_000)
    house.mine()
    house.settle(2)
    house.reorganise(1)
    house.settle(2)
    assert states(house) == ["REORGED"]
    house.node.mempool[payment.txid] = payment
    house.settle(4)
    assert states(house) == ["SEEN"]
    house.mine()
    house.settle(2)
    assert states(house) == ["CREDITABLE"]
    assert told(house) == ["CREDITABLE", "REORGED", "SEEN", "CREDITABLE"]


def test_a_deposit_that_another_block_confirms_is_taken_back_and_found(house: House) -> None:
    payment = house.deposit(5_000_000)
    house.mine(3)
    house.settle(2)
    assert states(house) == ["CREDITABLE"]
    house.reorganise(3, payment, extra=0)
    house.mine()
    house.settle(2)
    (found,) = house.deposits()
    assert found.height == house.world.chain.height - 3
    assert states(house) == ["CREDITABLE"]
    assert "REORGED" in told(house)


def test_a_deposit_that_leaves_the_mempool_unconfirmed_is_taken_back(house: House) -> None:
    house.deposit(1_000_000)
    house.settle(4)
    assert states(house) == ["SEEN"]
    house.node.mempool.clear()
    house.settle(4)
    assert states(house) == ["REORGED"]


def test_the_internal_chain_is_never_a_deposit(house: House) -> None:
    house.deposit(1_000_000, 3, chain=1)
    house.settle(4)
    house.mine(3)
    house.settle(3)
    assert house.deposits() == []
    assert house.balance().available_sat == 1_000_000


def test_two_outputs_of_one_transaction_are_two_deposits(house: House) -> None:
    kind = house.world.vault.kind
    outputs = [TxOut(700_000, kind.script(0, at)) for at in (1, 1, 2)]
    payment = house.world.foreign_transaction(*outputs)
    house.node.mempool[payment.txid] = payment
    house.mine()
    house.settle(2)
    assert sorted((one.vout, one.index) for one in house.deposits()) == [(0, 1), (1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("amount_sat", "depth"), [(0, 1), (999, 1), (1_000, 3), (999_999, 3), (1_000_000, 6)]
)
def test_the_greatest_tier_not_above_the_amount_decides(amount_sat: int, depth: int) -> None:
    assert depth_needed(amount_sat, TIERS) == depth
    assert state_on_chain(amount_sat, depth, TIERS) is DepositState.CREDITABLE
    if depth > 1:
        assert state_on_chain(amount_sat, depth - 1, TIERS) is DepositState.CONFIRMING


def test_every_transition_has_one_name() -> None:
    assert len(set(TRANSITIONS.values())) == len(TRANSITIONS)
    with pytest.raises(ValueError, match="no deposit goes"):
        transition_name(None, DepositState.REORGED)
