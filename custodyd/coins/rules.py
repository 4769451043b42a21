"""Which coins pay for a batch: a pure choice, the same for the same seed.

 1. Only effective values count: what a coin is worth less what its input costs at the fee rate. A
    coin that costs more than it is worth is never chosen.
 2. An exact match without change is looked for first (branch and bound, bounded number of tries):
    the excess goes to the miners if it is less than what change would cost to make and to spend.
 3. Else a random draw until target and smallest change are reached, and then each chosen coin that
    can go again goes, smallest first. The seed decides the draw.
 4. Confirmed coins first. Our own unconfirmed change is a fallback, used only if the rest is short.
 5. Change below the genesis's floor is not made: the coins' surplus must reach the floor or be so
    small that giving it up is cheaper than making it.

Branch and bound and single random draw follow Erhardt (2016) and Bitcoin Core's
wallet/coinselection.cpp in thought; the numbers are satoshi.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from signer_node.kernel.bitcoin.transaction import Outpoint
from signer_node.kernel.units import fee_sat_for_weight

MAX_TRIES: Final = 20_000
"""Steps of branch and bound before it gives up."""
MAX_SELECTED: Final = 250
"""Inputs of one transaction: with 200 payouts it stays below the standard weight, and their number
takes one byte."""


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that the vault can spend. `height` is None for own unconfirmed change."""

    outpoint: Outpoint
    value_sat: int
    script: bytes
    chain: int
    index: int
    height: int | None


@dataclass(frozen=True, slots=True)
class Costs:
    """What things cost at one fee rate.

    `target_sat` is all that is paid to others. Weights in weight units: `base_weight` of the
    transaction with its payouts and no input, `input_weight` of a signed input, `change_weight` of
    a change output. `min_change_sat` is the smallest change that may be made.
    """

    target_sat: int
    base_weight: int
    input_weight: int
    change_weight: int
    min_change_sat: int
    fee_rate_sat_vb: int

    @property
    def input_fee_sat(self) -> int:
        """What one input costs, rounded up."""
        return fee_sat_for_weight(self.input_weight, self.fee_rate_sat_vb)

    @property
    def base_fee_sat(self) -> int:
        """What the transaction costs before its inputs, without change."""
        return fee_sat_for_weight(self.base_weight, self.fee_rate_sat_vb)

    @property
    def change_fee_sat(self) -> int:
        """What a change output costs to make."""
        return fee_sat_for_weight(self.change_weight, self.fee_rate_sat_vb)

    @property
    def cost_of_change_sat(self) -> int:
        """What change costs to make now and to spend some day at this rate."""
        return self.change_fee_sat + self.input_fee_sat


@dataclass(frozen=True, slots=True)
class Selection:
    """Chosen coins; `change_sat` is 0 for none; `fee_sat` is what is left to the miners."""

    coins: tuple[Coin, ...]
    change_sat: int
    fee_sat: int


class InsufficientFunds(Exception):
    """The coins do not reach; `missing_sat` is how much more would, at least."""

    def __init__(self, missing_sat: int) -> None:
        super().__init__(f"{missing_sat} satoshi are missing")
        self.missing_sat = missing_sat


def select(coins: Sequence[Coin], costs: Costs, seed: bytes) -> Selection:
    """Coins that pay the target with its fees; raises InsufficientFunds."""
    useful = [coin for coin in coins if coin.value_sat > costs.input_fee_sat]
    confirmed = [coin for coin in useful if coin.height is not None]
    short = InsufficientFunds(0)
    for pool in (confirmed, useful):
        try:
            return _select_from(_shuffled(pool, seed), costs)
        except InsufficientFunds as missing:
            short = missing
    raise short


def _select_from(pool: Sequence[Coin], costs: Costs) -> Selection:
    needed_sat = costs.target_sat + costs.base_fee_sat
    exact = _branch_and_bound(pool, costs, needed_sat)
    if exact is not None:
        return _settled(exact, costs, change=False)
    drawn = _draw(pool, costs, needed_sat)
    return _settled(drawn, costs, change=_makes_change(drawn, costs, needed_sat))


def _effective_sat(coin: Coin, costs: Costs) -> int:
    return coin.value_sat - costs.input_fee_sat


def _branch_and_bound(
    pool: Sequence[Coin], costs: Costs, needed_sat: int
) -> tuple[Coin, ...] | None:
    """A set worth at least what is needed and at most that plus the cost of change."""
    coins = sorted(pool, key=lambda coin: coin.value_sat, reverse=True)
    values = [_effective_sat(coin, costs) for coin in coins]
    rest = [0] * (len(values) + 1)
    for at in range(len(values) - 1, -1, -1):
        rest[at] = rest[at + 1] + values[at]
    most_sat = needed_sat + costs.cost_of_change_sat
    chosen: list[int] = []
    total_sat = at = 0
    for _try in range(MAX_TRIES):
        if needed_sat <= total_sat <= most_sat:
            return tuple(coins[index] for index in chosen)
        hopeless = total_sat > most_sat or total_sat + rest[at] < needed_sat
        if not hopeless and at < len(values) and len(chosen) < MAX_SELECTED:
            chosen.append(at)
            total_sat += values[at]
            at += 1
            continue
        if not chosen:
            return None
        last = chosen.pop()
        total_sat -= values[last]
        at = last + 1
    return None


def _draw(pool: Sequence[Coin], costs: Costs, needed_sat: int) -> tuple[Coin, ...]:
    """Coins in the pool's order until target and change are reached, then the needless go."""
    wanted_sat = needed_sat + costs.change_fee_sat + costs.min_change_sat
    chosen: list[Coin] = []
    total_sat = 0
    for coin in pool:
        if total_sat >= wanted_sat:
            break
        chosen.append(coin)
        total_sat += _effective_sat(coin, costs)
    if len(chosen) > MAX_SELECTED:
        chosen = sorted(pool, key=lambda coin: coin.value_sat, reverse=True)[:MAX_SELECTED]
        total_sat = sum(_effective_sat(coin, costs) for coin in chosen)
    if total_sat < needed_sat:
        raise InsufficientFunds(needed_sat - total_sat)
    for coin in sorted(chosen, key=lambda coin: coin.value_sat):
        if total_sat - _effective_sat(coin, costs) >= wanted_sat:
            chosen.remove(coin)
            total_sat -= _effective_sat(coin, costs)
    return tuple(chosen)


def _makes_change(chosen: Sequence[Coin], costs: Costs, needed_sat: int) -> bool:
    surplus_sat = sum(_effective_sat(coin, costs) for coin in chosen) - needed_sat
    change_sat = surplus_sat - costs.change_fee_sat
    return change_sat >= max(costs.min_change_sat, 1)


def _settled(chosen: Sequence[Coin], costs: Costs, *, change: bool) -> Selection:
    """The selection with its fee: exactly the rate with change, the whole surplus without."""
    weight = costs.base_weight + len(chosen) * costs.input_weight
    surplus_sat = sum(coin.value_sat for coin in chosen) - costs.target_sat
    if not change:
        return Selection(tuple(chosen), 0, surplus_sat)
    fee_sat = fee_sat_for_weight(weight + costs.change_weight, costs.fee_rate_sat_vb)
    return Selection(tuple(chosen), surplus_sat - fee_sat, fee_sat)


def _shuffled(coins: Sequence[Coin], seed: bytes) -> list[Coin]:
    """An order that the seed decides and nobody without it foresees."""
    return sorted(coins, key=lambda coin: sha256(seed + _name(coin.outpoint)).digest())


def _name(outpoint: Outpoint) -> bytes:
    return outpoint.txid + outpoint.vout.to_bytes(4, "little")
