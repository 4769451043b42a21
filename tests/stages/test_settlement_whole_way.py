"""The way of a withdrawal through all stages with real signer cores."""

from __future__ import annotations

import pytest

from custodyd.batches.rules import BatchState
from custodyd.store import Store, open_store
from custodyd.withdrawals.rules import WithdrawalState
from tests.stages.house import House


@pytest.fixture
def house() -> House:
    store: Store = open_store("sqlite://")
    return House(store)


def test_withdrawals_go_from_request_to_final(house: House) -> None:
    batch = house.up_to_approval()
    assert batch.state is BatchState.PROPOSED
    batch = house.sign(batch)
    assert batch.state is BatchState.BROADCAST
    assert house.node.sent == [batch.txid]
    house.mine()
    house.settle(3)
    assert house.batch().state is BatchState.CONFIRMED
    house.mine(3)
    house.settle(3)
    assert house.batch().state is BatchState.FINAL
    for external_id in ("w-1", "w-2"):
        assert house.withdrawal(external_id).state is WithdrawalState.FINAL
