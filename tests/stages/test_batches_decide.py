"""Batches: who is paid when, and what operators, payer and signers say to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from custodyd.batches import payer
from custodyd.batches.rules import TRANSITIONS, BatchState, transition_name
from custodyd.errors import CustodydError, ErrorId
from custodyd.store import Store
from custodyd.withdrawals.rules import BlockedReason, WithdrawalState
from signer_node import wire
from signer_node.kernel.bitcoin.address import dust_threshold_sat
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.manifest import Decision, RejectReason, Verdict
from signer_node.kernel.errors import Refusal
from tests.stages.house import House
from tests.world.payouts import approval, confirmation, p2wpkh
from tests.world.quorum import World, secret, sign_document


def rejection(world: World, manifest: bytes, person: str, *outputs: int) -> bytes:
    return approval(
        world,
        manifest,
        person,
        decision=Decision.REJECT,
        reason=RejectReason.WRONG_DESTINATION,
        text="not this one",
        outputs=tuple(outputs),
    )


@pytest.fixture
def house() -> House:
    return House()


# --- forming ---


def test_a_batch_waits_for_number_or_age(house: House) -> None:
    house.tune(batch_max_age_s=30, batch_enough_withdrawals=3)
    house.make_vault()
    house.fund(9_000_000)
    house.withdraw("a", 500_000)
    house.withdraw("b", 500_000)
    house.settle(5)
    assert house.batches() == []
    house.withdraw("c", 500_000)
    house.settle(2)
    assert len(house.batches()) == 1
    house.withdraw("d", 500_000)
    house.settle(5)
    assert len(house.batches()) == 1
    house.world.now_s += 30
    house.settle(2)
    assert len(house.batches()) == 1, "its coins are reserved by the first batch"
    assert house.withdrawal("d").blocked_reason is BlockedReason.FUNDS


def test_more_than_a_batch_takes_wait_for_the_next(house: House) -> None:
    house.tune(batch_max_withdrawals=2)
    house.make_vault()
    house.fund(4_000_000, 4_000_000)
    for name in "abcd":
        house.withdraw(name, 500_000)
    house.settle(5)
    states = [house.withdrawal(name).batch_id for name in "abcd"]
    assert len(house.batches()) == 2
    assert states[0] == states[1] != states[2] == states[3]


def test_the_oldest_that_fit_are_paid_and_the_others_wait_for_funds(house: House) -> None:
    house.make_vault()
    house.fund(2_000_000)
    house.withdraw("large", 1_500_000)
    house.withdraw("too-large", 1_000_000)
    house.withdraw("small", 300_000)
    house.settle(4)
    assert house.withdrawal("large").state is WithdrawalState.BATCHED
    assert house.withdrawal("small").state is WithdrawalState.BATCHED
    waiting = house.withdrawal("too-large")
    assert waiting.state is WithdrawalState.QUEUED
    assert waiting.blocked_reason is BlockedReason.FUNDS
    house.fund(3_000_000)
    house.settle(4)
    assert house.withdrawal("too-large").state is WithdrawalState.BATCHED


def test_a_withdrawal_that_cannot_be_paid_blocks_nobody(house: House) -> None:
    house.make_vault()
    house.fund(5_000_000)
    house.withdraw("ends", 500_000, valid_until_s=house.world.now_s + 40)
    house.withdraw("good", dust_threshold_sat(p2wpkh(1)) + 200_000)
    house.settle(4)
    assert house.withdrawal("good").state is WithdrawalState.BATCHED
    ends = house.withdrawal("ends")
    assert ends.state is WithdrawalState.QUEUED
    assert "REQUEST_EXPIRED" in ends.blocked_detail


def test_a_fee_above_the_share_waits_and_says_so(house: House) -> None:
    house.tune(fee_fallback_sat_vb=100, fee_cap_sat_vb=100)
    house.make_vault()
    house.fund(5_000_000)
    house.withdraw("a", 10_000)
    house.settle(4)
    assert house.batches() == []
    assert "FEE_EXCEEDS_SHARE" in house.withdrawal("a").blocked_detail


def test_a_change_index_is_never_given_twice(house: House) -> None:
    house.make_vault()
    house.fund(3_000_000, 3_000_000)
    house.tune(batch_max_withdrawals=1)
    house.withdraw("a", 500_000)
    house.withdraw("b", 500_000)
    house.settle(5)
    indices = [
        change.index for one in house.batches() for change in one.received.body.document.changes
    ]
    assert len(indices) == 2
    assert len(set(indices)) == 2


def test_identical_withdrawals_are_each_paid_by_an_output_of_their_own(house: House) -> None:
    house.make_vault()
    house.fund(5_000_000)
    for name in "abc":
        house.withdraw(name, 400_000, script=p2wpkh(7))
    house.settle(4)
    outputs = {house.withdrawal(name).output for name in "abc"}
    assert len(outputs) == 3
    assert house.sign(house.batch()).state is BatchState.BROADCAST


# --- deciding ---


def test_approval_asks_the_payer_and_then_the_signers(house: House) -> None:
    batch = house.up_to_approval()
    assert house.withdrawal("w-1").blocked_reason is BlockedReason.APPROVALS
    house.approve(batch, "alice")
    assert house.batch().state is BatchState.PROPOSED
    assert "1 more people" in house.batch().blocked_detail
    house.approve(batch, "bob")
    assert house.batch().state is BatchState.APPROVED
    house.settle(2)
    assert house.batch().blocked_reason is BlockedReason.PAYER
    assert house.withdrawal("w-1").blocked_reason is BlockedReason.PAYER


def test_one_person_counts_once(house: House) -> None:
    batch = house.up_to_approval()
    house.decide(batch, "alice")
    house.world.now_s += 1
    house.decide(batch, "alice")
    house.settle(3)
    assert house.batch().state is BatchState.PROPOSED


def test_a_rejection_of_an_output_rejects_that_withdrawal_alone(house: House) -> None:
    batch = house.up_to_approval()
    output = house.withdrawal("w-1").output
    assert output is not None
    house.decide(batch, "bob", rejection(house.world, batch.digest, "bob", output))
    house.settle(2)
    assert house.batch(0).state is BatchState.REJECTED
    assert house.withdrawal("w-1").state is WithdrawalState.REJECTED
    assert "WRONG_DESTINATION not this one" in house.withdrawal("w-1").blocked_detail
    house.settle(4)
    again = house.batch()
    assert again.batch_id != batch.batch_id
    assert house.withdrawal("w-2").batch_id == again.batch_id
    assert house.sign(again).state is BatchState.BROADCAST


def test_a_rejection_of_the_whole_holds_everything_until_it_is_released(house: House) -> None:
    batch = house.up_to_approval()
    house.decide(batch, "bob", rejection(house.world, batch.digest, "bob"))
    house.settle(4)
    assert house.batch().state is BatchState.REJECTED
    assert house.withdrawal("w-1").state is WithdrawalState.HELD
    assert house.balance().reserved_sat == 0
    assert house.release("w-1", "w-2", "nobody") == ["w-1", "w-2"]
    house.settle(4)
    assert house.batch().state is BatchState.PROPOSED
    assert house.batch().replaces is None


def test_a_rejection_after_approval_keeps_the_coins_and_only_a_replacement_pays(
    house: House,
) -> None:
    batch = house.up_to_approval()
    house.approve(batch)
    assert house.batch().state is BatchState.APPROVED
    house.decide(batch, "carol", rejection(house.world, batch.digest, "carol"))
    house.settle(4)
    assert house.batch().state is BatchState.REJECTED
    assert house.withdrawal("w-1").state is WithdrawalState.HELD
    assert house.balance().reserved_sat > 0
    house.release("w-1")
    house.settle(3)
    assert len(house.batches()) == 1, "paid together or not at all"
    assert house.withdrawal("w-1").blocked_reason is BlockedReason.HELD
    assert "w-2" in house.withdrawal("w-1").blocked_detail
    house.release("w-2")
    house.settle(4)
    again = house.batch()
    assert again.replaces == batch.batch_id
    assert again.received.body.document.replaces == batch.digest
    assert again.txid == batch.txid
    assert house.batch(0).state is BatchState.REPLACED
    assert house.sign(again).state is BatchState.BROADCAST


def test_what_a_batch_binds_neither_expires_nor_is_paid_by_another(house: House) -> None:
    batch = house.up_to_approval()
    house.approve(batch)
    house.decide(batch, "carol", rejection(house.world, batch.digest, "carol"))
    house.settle(3)
    house.release("w-1", "w-2")
    house.world.now_s += 100_000
    house.fund(9_000_000)
    house.settle(4)
    assert [one.state for one in house.batches()] == [BatchState.REJECTED]
    assert "requests ended" in house.batch().blocked_detail
    assert house.withdrawal("w-1").state is WithdrawalState.QUEUED


# --- expiring ---


def test_a_proposal_that_expires_is_abandoned_and_its_withdrawals_are_batched_anew(
    house: House,
) -> None:
    house.tune(manifest_lifetime_s=100)
    batch = house.up_to_approval()
    house.world.now_s += 101
    house.settle(4)
    assert house.batch(0).state is BatchState.ABANDONED
    again = house.batch()
    assert again.batch_id != batch.batch_id
    assert again.replaces is None
    assert house.withdrawal("w-1").batch_id == again.batch_id


@pytest.mark.parametrize("committed", [False, True])
def test_an_approved_batch_that_expires_is_proposed_again_with_the_same_transaction(
    store: Store, committed: bool
) -> None:
    house = House(store)
    house.tune(manifest_lifetime_s=100)
    batch = house.up_to_approval()
    house.approve(batch)
    if committed:
        drop = {PayloadType.SHARE_SET}
        for name in house.world.nodes:
            house.tampers[name] = lambda envelope: (
                None if envelope.type in drop else resealed(house, envelope)
            )
        house.confirm(batch)
        house.settle(4)
        assert house.batch().state is BatchState.COMMITTED
        assert house.withdrawal("w-1").state is WithdrawalState.COMMITTED
    house.tampers.clear()
    house.away = set(house.world.nodes)
    house.world.now_s += 101
    house.settle(3)
    again = house.batch()
    assert house.batch(0).state is BatchState.REPLACED
    assert again.state is BatchState.PROPOSED
    assert again.replaces == batch.batch_id
    assert again.txid == batch.txid
    assert house.withdrawal("w-1").batch_id == again.batch_id
    with pytest.raises(CustodydError) as refused:
        house.confirm(again)
    assert refused.value.error is ErrorId.BATCH_NOT_WAITING
    house.away = set()
    house.settle(3)
    house.sign(again)
    house.mine(3)
    house.settle(3)
    assert house.batch().state is BatchState.FINAL
    assert house.withdrawal("w-1").state is WithdrawalState.FINAL
    assert set(house.node.sent) == {batch.txid}


def resealed(house: House, envelope: Envelope) -> bytes:
    """The envelope again, signed by the node that sent it."""
    name = next(
        sim.name for sim in house.world.nodes.values() if sim.identity_key == envelope.sender
    )
    return sign_document(envelope, secret(f"{name} identity"))


def test_a_replacement_that_expires_is_replaced_in_its_turn(house: House) -> None:
    house.tune(manifest_lifetime_s=100)
    house.approve(house.up_to_approval())
    for _time in range(2):
        house.world.now_s += 101
        house.settle(3)
    states = [one.state for one in house.batches()]
    assert states == [BatchState.REPLACED, BatchState.REPLACED, BatchState.PROPOSED]
    assert house.sign(house.batch()).state is BatchState.BROADCAST


# --- refusing ---


def refusing(house: House, error: str) -> None:
    """All nodes say no to manifests with this error."""

    def refuse(envelope: Envelope) -> bytes | None:
        if envelope.type is not PayloadType.VERDICT:
            return resealed(house, envelope)
        verdict = wire.decode(Verdict, envelope.payload)
        refused = Verdict(verdict.subject, accepted=False, error=error, detail="because")
        return resealed(house, replace(envelope, payload=wire.encode(refused)))

    for name in house.world.nodes:
        house.tampers[name] = refuse


def test_what_more_than_f_live_signers_refuse_is_given_up_and_held(house: House) -> None:
    refusing(house, "FEE_EXCEEDS_RATE")
    house.up_to_approval()
    assert house.batch().state is BatchState.ABANDONED
    held = house.withdrawal("w-1")
    assert held.state is WithdrawalState.HELD
    assert "FEE_EXCEEDS_RATE because" in held.blocked_detail
    assert house.balance().reserved_sat == 0


def test_a_refusal_that_may_pass_is_shown_and_asked_again(house: House) -> None:
    refusing(house, "INPUT_BLOCK_UNKNOWN")
    batch = house.up_to_approval()
    assert batch.state is BatchState.PROPOSED
    assert "s1: INPUT_BLOCK_UNKNOWN" in batch.blocked_detail
    house.tampers.clear()
    house.world.now_s += 11
    house.settle(3)
    assert "INPUT_BLOCK_UNKNOWN" not in house.batch().blocked_detail


# --- the payer ---


def test_a_confirmation_is_taken_only_for_what_it_names(house: House) -> None:
    batch = house.up_to_approval()
    house.approve(batch)
    with house.store.reading() as connection:
        assert payer.unconfirmed(connection) == [(batch.batch_id, batch.proposal)]
    for forged in (
        confirmation(house.world, bytes(32)),
        confirmation(house.world, batch.digest, signer=secret("alice")),
    ):
        with pytest.raises(Refusal):
            payer.confirm(house.store, house.context, batch.batch_id, forged)
    house.confirm(batch)
    house.confirm(batch)
    with house.store.reading() as connection:
        assert payer.unconfirmed(connection) == []


def test_no_round_opens_before_the_payer_confirmed(house: House) -> None:
    house.approve(house.up_to_approval())
    house.settle(4)
    assert house.batch().rounds == 0


# --- the table ---


def test_every_transition_has_one_name() -> None:
    assert len(set(TRANSITIONS.values())) == len(TRANSITIONS)
    with pytest.raises(ValueError, match="no batch goes"):
        transition_name(BatchState.COMMITTED, BatchState.ABANDONED)


def test_what_bound_once_is_never_abandoned() -> None:
    sources = {before for before, after in TRANSITIONS.values() if after is BatchState.ABANDONED}
    assert sources == {BatchState.PROPOSED}


def test_without_a_chain_node_nothing_is_proposed_and_it_says_so(house: House) -> None:
    house.make_vault()
    house.fund(5_000_000)
    house.node.down = True
    house.withdraw("w-1", 1_000_000)
    house.settle(3)
    assert house.batches() == []
    waiting = house.withdrawal("w-1")
    assert waiting.blocked_reason is BlockedReason.CHAIN
    house.node.down = False
    house.settle(3)
    assert house.withdrawal("w-1").state is WithdrawalState.BATCHED


def test_a_batch_whose_fee_would_exceed_the_policy_is_made_smaller(house: House) -> None:
    house.tune(fee_fallback_sat_vb=100, fee_cap_sat_vb=100)
    house.make_vault()
    house.fund(90_000_000)
    for number in range(40):
        house.withdraw(f"w-{number}", 1_000_000)
    house.settle(4)
    assert house.batches()
    for batch in house.batches():
        assert batch.fee_sat <= house.world.rules.max_fee_sat
    assert house.withdrawal("w-0").state is WithdrawalState.BATCHED


def test_withdrawals_that_no_coin_reaches_do_not_starve_smaller_ones(house: House) -> None:
    house.tune(batch_max_withdrawals=2)
    house.make_vault()
    house.fund(2_000_000)
    for number in range(4):
        house.withdraw(f"large-{number}", 50_000_000)
    house.withdraw("small", 500_000)
    house.settle(4)
    assert house.withdrawal("small").state is WithdrawalState.BATCHED
    assert house.withdrawal("large-3").blocked_reason is BlockedReason.FUNDS
