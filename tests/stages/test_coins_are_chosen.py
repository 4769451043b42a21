"""Coins: the choice is sound for every purse, a coin is spent by one batch, sums are right."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from custodyd.batches.rules import BatchState
from custodyd.coins.rules import MAX_SELECTED, Coin, Costs, InsufficientFunds, select
from custodyd.coins.service import Depth, reserve, spendable
from custodyd.store import Store
from signer_node.kernel.bitcoin.transaction import Outpoint
from signer_node.kernel.units import fee_sat_for_weight
from tests.stages.house import House
from tests.world.quorum import VAULT

SEED = b"seed"


def coin(value_sat: int, number: int = 0, height: int | None = 1) -> Coin:
    outpoint = Outpoint(number.to_bytes(32, "big"), 0)
    return Coin(outpoint, value_sat, b"\x00\x20" + bytes(32), 0, number, height)


def costs(target_sat: int, rate: int = 5, min_change_sat: int = 5_000) -> Costs:
    return Costs(
        target_sat=target_sat,
        base_weight=600,
        input_weight=420,
        change_weight=172,
        min_change_sat=min_change_sat,
        fee_rate_sat_vb=rate,
    )


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.integers(1, 50_000_000), max_size=40),
    target_sat=st.integers(1, 100_000_000),
    rate=st.integers(1, 200),
    min_change_sat=st.integers(0, 100_000),
    seed=st.binary(max_size=8),
)
def test_every_choice_balances_pays_the_rate_and_makes_no_dust(
    values: list[int], target_sat: int, rate: int, min_change_sat: int, seed: bytes
) -> None:
    coins = [coin(value, number) for number, value in enumerate(values)]
    cost = costs(target_sat, rate, min_change_sat)
    try:
        chosen = select(coins, cost, seed)
    except InsufficientFunds:
        assert sum(max(0, value - cost.input_fee_sat) for value in values) < (
            target_sat + cost.base_fee_sat
        )
        return
    total_sat = sum(one.value_sat for one in chosen.coins)
    assert len({one.outpoint for one in chosen.coins}) == len(chosen.coins) <= MAX_SELECTED
    assert total_sat == target_sat + chosen.change_sat + chosen.fee_sat
    weight = cost.base_weight + cost.input_weight * len(chosen.coins)
    if chosen.change_sat:
        assert chosen.change_sat >= min_change_sat
        assert chosen.fee_sat == fee_sat_for_weight(weight + cost.change_weight, rate)
    else:
        assert chosen.fee_sat >= fee_sat_for_weight(weight, rate)
    assert select(coins, cost, seed) == chosen, "the same seed chooses the same"


def test_an_exact_match_makes_no_change() -> None:
    cost = costs(1_000_000)
    exact = 1_000_000 + cost.base_fee_sat + 2 * cost.input_fee_sat
    coins = [coin(900_000, 1), coin(exact - 600_000, 2), coin(600_000, 3), coin(5_000_000, 4)]
    chosen = select(coins, cost, SEED)
    assert {one.index for one in chosen.coins} == {2, 3}
    assert chosen.change_sat == 0
    assert chosen.fee_sat == exact - 1_000_000


def test_a_coin_that_costs_more_than_it_is_worth_is_left_alone() -> None:
    cost = costs(100_000, rate=100)
    coins = [coin(cost.input_fee_sat, number) for number in range(30)] + [coin(10_000_000, 99)]
    assert [one.index for one in select(coins, cost, SEED).coins] == [99]


def test_unconfirmed_change_is_spent_only_where_the_rest_is_short() -> None:
    coins = [coin(2_000_000, 1), coin(9_000_000, 2, height=None)]
    assert {one.index for one in select(coins, costs(1_000_000), SEED).coins} == {1}
    assert 2 in {one.index for one in select(coins, costs(5_000_000), SEED).coins}


def test_many_small_coins_stay_within_the_most_inputs() -> None:
    coins = [coin(100_000, number) for number in range(600)]
    with pytest.raises(InsufficientFunds):
        select(coins, costs(50_000_000), SEED)
    assert len(select(coins, costs(20_000_000), SEED).coins) <= MAX_SELECTED


def test_a_coin_belongs_to_one_batch(store: Store) -> None:
    outpoint = Outpoint(b"\x01" * 32, 0)
    with store.transaction() as connection:
        reserve(connection, [outpoint], "a")
    with pytest.raises(IntegrityError), store.transaction() as connection:
        reserve(connection, [outpoint], "b")


def test_the_balances_figures_are_disjoint_and_sum_up_to_what_the_vault_holds(
    store: Store,
) -> None:
    house = House(store)
    house.make_vault()
    house.fund(5_000_000)
    assert house.balance().available_sat == 5_000_000
    house.withdraw("w-1", 1_000_000)
    house.settle(4)
    batch = house.batch()
    held = house.balance()
    assert held.available_sat == 0
    assert held.pending_change_sat == batch.change_sat
    assert held.reserved_sat == 1_000_000 + batch.fee_sat
    assert sum((held.available_sat, held.reserved_sat, held.pending_change_sat)) == 5_000_000
    house.sign(batch)
    house.mine()
    house.settle(2)
    after = house.balance()
    assert after.available_sat == batch.change_sat
    assert after.reserved_sat == after.pending_change_sat == 0


def test_change_of_a_broadcast_batch_pays_the_next_one_unconfirmed() -> None:
    house = House()
    house.make_vault()
    house.fund(5_000_000)
    house.withdraw("w-1", 1_000_000)
    house.settle(4)
    house.sign(house.batch())
    house.withdraw("w-2", 1_000_000)
    house.settle(4)
    second = house.batch()
    assert second.number == 2
    assert second.received.body.document.evidence[0].inclusion is None
    assert house.sign(second).state is BatchState.BROADCAST
    assert house.balance().pending_change_sat == second.change_sat
    house.mine(3)
    house.settle(3)
    assert [one.state for one in house.batches()] == [BatchState.FINAL] * 2


def test_shallow_deposits_and_immature_coinbases_are_not_spendable() -> None:
    house = House()
    house.make_vault()
    house.fund(5_000_000)
    with house.store.reading() as connection:
        height = house.world.chain.height
        assert len(spendable(connection, VAULT, Depth(height, 1))) == 1
        assert spendable(connection, VAULT, Depth(height, 2)) == []
