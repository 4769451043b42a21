"""Settlement: from signed bytes to final, whatever the chain node answers."""

from __future__ import annotations

import pytest

from custodyd.batches.rules import BatchState
from custodyd.settlement.rules import Next, Sight, next_step
from custodyd.store import Store
from custodyd.withdrawals.rules import BlockedReason, WithdrawalState
from tests.stages.house import House


def test_withdrawals_go_from_request_to_final_on_both_databases(store: Store) -> None:
    house = House(store)
    batch = house.up_to_approval()
    assert batch.state is BatchState.PROPOSED
    batch = house.sign(batch)
    assert batch.state is BatchState.BROADCAST
    assert house.node.sent == [batch.txid]
    house.mine()
    house.settle(3)
    assert house.batch().state is BatchState.CONFIRMED
    assert house.withdrawal("w-1").state is WithdrawalState.CONFIRMED
    house.mine(2)
    house.settle(3)
    assert house.batch().state is BatchState.FINAL
    for external_id in ("w-1", "w-2"):
        found = house.withdrawal(external_id)
        assert found.state is WithdrawalState.FINAL
        assert found.confirmations == 3
        assert found.txid == batch.txid


@pytest.fixture
def signed() -> House:
    """A house whose batch is signed while the chain node does not answer."""
    house = House()
    batch = house.up_to_approval()
    house.approve(batch)
    house.confirm(batch)
    house.node.down = True
    house.settle(6)
    assert house.batch().state is BatchState.SIGNED
    return house


def test_signed_bytes_are_durable_before_the_first_broadcast(signed: House) -> None:
    assert signed.batch().signed is not None
    assert signed.node.sent == []
    signed.restart()
    signed.node.down = False
    signed.settle(2)
    assert signed.batch().state is BatchState.BROADCAST
    assert signed.node.sent == [signed.batch().txid]


def test_a_broadcast_without_an_answer_is_resolved_by_looking(signed: House) -> None:
    signed.node.down = False
    signed.node.loses_answers = True
    signed.settle(2)
    assert signed.batch().state is BatchState.BROADCAST
    assert len(signed.node.sent) == 1


def test_a_transaction_found_in_a_block_needs_no_broadcast(signed: House) -> None:
    raw = signed.batch().signed
    signed.node.down = False
    signed.node.refuses = "not now (-26)"
    signed.settle(2)
    assert signed.batch().state is BatchState.SIGNED
    assert signed.batch().blocked_reason is BlockedReason.CHAIN
    assert "not now" in signed.batch().blocked_detail
    signed.node.refuses = ""
    signed.node.sendrawtransaction((raw or b"").hex())
    signed.mine()
    signed.settle(2)
    assert signed.batch().state is BatchState.CONFIRMED
    assert "batch.found-signed" in signed.committed


def test_a_block_that_is_left_takes_confirmations_back_and_the_transaction_goes_out_again() -> None:
    house = House()
    house.sign(house.up_to_approval())
    house.mine()
    house.settle(2)
    assert house.batch().state is BatchState.CONFIRMED
    house.reorganise(1)
    house.settle(3)
    batch = house.batch()
    assert batch.state is BatchState.BROADCAST
    assert house.withdrawal("w-1").state is WithdrawalState.BROADCAST
    assert house.node.sent == [batch.txid, batch.txid]
    house.mine()
    house.mine(2)
    house.settle(3)
    assert house.batch().state is BatchState.FINAL


def test_a_transaction_that_left_the_mempool_is_given_again() -> None:
    house = House()
    batch = house.sign(house.up_to_approval())
    house.node.mempool.clear()
    house.settle(3)
    assert len(house.node.sent) == 1
    house.world.now_s += 60
    house.settle(2)
    assert house.node.sent == [batch.txid, batch.txid]
    assert house.batch().state is BatchState.BROADCAST


@pytest.mark.parametrize(
    ("state", "sight", "step"),
    [
        (BatchState.SIGNED, Sight(0, False, 0), Next.BROADCAST),
        (BatchState.SIGNED, Sight(0, True, 0), Next.NOTE_SENT),
        (BatchState.SIGNED, Sight(1, False, 0), Next.NOTE_CONFIRMED),
        (BatchState.COMMITTED, Sight(0, False, 9_999), Next.WAIT),
        (BatchState.COMMITTED, Sight(2, False, 0), Next.NOTE_CONFIRMED),
        (BatchState.REJECTED, Sight(1, False, 0), Next.NOTE_CONFIRMED),
        (BatchState.BROADCAST, Sight(0, True, 9_999), Next.WAIT),
        (BatchState.BROADCAST, Sight(0, False, 59), Next.WAIT),
        (BatchState.BROADCAST, Sight(0, False, 60), Next.BROADCAST),
        (BatchState.CONFIRMED, Sight(0, False, 0), Next.NOTE_REORG),
        (BatchState.CONFIRMED, Sight(5, False, 0), Next.WAIT),
        (BatchState.CONFIRMED, Sight(6, False, 0), Next.NOTE_FINAL),
    ],
)
def test_only_what_is_seen_decides(state: BatchState, sight: Sight, step: Next) -> None:
    assert next_step(state, sight, final_depth=6) is step
