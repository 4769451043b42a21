"""units: integers only, rounding on the safe side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer_node.kernel import units


@pytest.mark.parametrize("amount", [-1, units.MAX_MONEY_SAT + 1])
def test_amounts_that_cannot_exist_are_refused(amount: int) -> None:
    with pytest.raises(units.InvalidAmount):
        units.check_amount(amount)


def test_a_payment_of_nothing_is_refused() -> None:
    units.check_amount(0)
    with pytest.raises(units.InvalidAmount):
        units.check_payment(0)
    units.check_payment(units.MAX_MONEY_SAT)


@given(st.integers(1, 400_000), st.integers(0, 10**9))
def test_a_fee_rate_is_rounded_up_to_the_next_satoshi(weight: int, fee_sat: int) -> None:
    rate = units.fee_rate_sat_vb(fee_sat, weight)
    assert units.fee_sat_for_weight(weight, rate) >= fee_sat
    assert rate == 0 or units.fee_sat_for_weight(weight, rate - 1) < fee_sat


@given(st.integers(1, 400_000))
def test_virtual_size_is_a_quarter_rounded_up(weight: int) -> None:
    assert 0 <= units.vbytes_from_weight(weight) * 4 - weight < 4


@given(st.integers(0, units.MAX_MONEY_SAT))
def test_amounts_written_as_bitcoin_read_back(amount: int) -> None:
    assert units.parse_bitcoin(units.format_bitcoin(amount)) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1.",
        ".5",
        "-1",
        "+1",
        "1e8",
        "1,0",
        " 1",
        "1 ",
        "0.123456789",
        "21000001",
        "٣",
        "1_0",
    ],
)
def test_other_texts_are_no_amount(text: str) -> None:
    with pytest.raises(units.InvalidAmount):
        units.parse_bitcoin(text)
