"""A coordinator that tells B's client what is not: nothing of it is credited, revived or paid, and
none of it keeps the client from what it verifies itself (PROTOCOL.md G4, G10, G14)."""

from __future__ import annotations

from pathlib import Path

import pytest

from custodyd.cli.screen import Screen, Trouble, fail
from custodyd.client.ledger import CreditState, RequestState
from custodyd.client.requests import keep, sign_payment, submit
from custodyd.rpc.v1 import withdrawal_pb2
from signer_node import wire
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.request import Request
from tests.stages.exchange import Exchange, payment
from tests.stages.test_client_believes_proofs import claim_of
from tests.world.payouts import Draft, coin, sign
from tests.world.quorum import World


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(World(), tmp_path)


def asked(exchange: Exchange, *ids: str) -> None:
    """The exchange asks for payments; the coordinator takes them."""
    requests = [sign_payment(payment(one), exchange.requester, exchange.world.now_s) for one in ids]
    keep(exchange.ledger, requests)
    exchange.backend().turn()


def proposed(exchange: Exchange, *ids: str) -> Draft:
    """A manifest that pays these requests, put before the payer."""
    stored = [exchange.ledger.request(each) for each in ids]
    signed = [each.signed for each in stored if each is not None]
    requests = [wire.open_signed(Request, each).document for each in signed]
    one = Draft(exchange.world, [coin(exchange.world)], requests)
    exchange.coordinator.unconfirmed = {"b1": one.proposal()}
    return one


def test_an_index_that_no_vault_has_ends_no_process(exchange: Exchange) -> None:
    outpoint = exchange.world.fund(50_000)
    exchange.world.mine()
    exchange.coordinator.deposits_seen = [claim_of(exchange, outpoint, 2**32 - 1)]
    exchange.backend().turn()
    assert exchange.ledger.credits() == ()
    exchange.coordinator.deposits_seen = [claim_of(exchange, outpoint)]
    exchange.backend().turn()
    assert [one.outpoint for one in exchange.ledger.credits()] == [outpoint]


def test_a_false_claim_holds_up_no_other_deposit_and_no_payment(exchange: Exchange) -> None:
    world = exchange.world
    asked(exchange, "w-1")
    one = proposed(exchange, "w-1")
    exchange.backend().turn()
    world.send_all(PayloadType.MANIFEST_PROPOSAL, one.proposal())
    world.mine(sign(world, one, ["s1", "s2"]).transaction)
    false, true = world.fund(50_000, 1), world.fund(60_000, 2)
    for _ in range(3):
        world.mine()
    exchange.coordinator.deposits_seen = [
        claim_of(exchange, false, index=7),
        claim_of(exchange, true, index=2),
    ]
    exchange.backend().turn()
    assert [credit.outpoint for credit in exchange.ledger.credits()] == [true]
    assert exchange.told("deposit refused")[0]["outpoint"] == str(false)
    paid = exchange.ledger.request("w-1")
    assert paid is not None
    assert paid.state is RequestState.FINAL


def test_what_ended_is_not_revived_by_asking_again(exchange: Exchange) -> None:
    """C calls a withdrawal expired, the customer gets the money back, the same file is sent once
    more: C takes the request as if it were new, and wants it confirmed."""
    asked(exchange, "w-1")
    exchange.coordinator.withdrawals_seen = [
        withdrawal_pb2.Withdrawal(external_id="w-1", state=withdrawal_pb2.WITHDRAWAL_STATE_EXPIRED)
    ]
    exchange.backend().turn()
    (kept,) = keep(
        exchange.ledger, [sign_payment(payment("w-1"), exchange.requester, exchange.world.now_s)]
    )
    submit(exchange.coordinator, exchange.ledger, kept)  # type: ignore[arg-type]
    again = exchange.ledger.request("w-1")
    assert again is not None
    assert again.state is RequestState.ENDED
    exchange.coordinator.withdrawals_seen = []
    proposed(exchange, "w-1")
    exchange.backend().turn()
    assert exchange.coordinator.confirmations == {}


def test_a_payment_is_final_though_its_request_was_never_acknowledged(exchange: Exchange) -> None:
    """C fails every call that hands requests in, and has them paid all the same."""
    world = exchange.world
    keep(exchange.ledger, [sign_payment(payment("w-1"), exchange.requester, world.now_s)])
    one = proposed(exchange, "w-1")
    backend = exchange.backend()
    backend._pin_vaults()
    backend._confirm()
    world.send_all(PayloadType.MANIFEST_PROPOSAL, one.proposal())
    world.mine(sign(world, one, ["s1", "s2"]).transaction)
    for _ in range(3):
        world.mine()
    backend._follow()
    paid = exchange.ledger.request("w-1")
    assert paid is not None
    assert paid.state is RequestState.FINAL


def test_any_number_of_refused_requests_hides_no_payment(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custodyd.client.backend.MAX_OPEN", 3)
    exchange.coordinator.refuse = {f"r-{n}": "WITHDRAWAL_REFUSED" for n in range(4)}
    asked(exchange, *exchange.coordinator.refuse)
    assert len(exchange.ledger.requests_in([RequestState.REFUSED], 10)) == 4
    asked(exchange, "w-1")
    one = proposed(exchange, "w-1")
    world = exchange.world
    exchange.backend().turn()
    world.send_all(PayloadType.MANIFEST_PROPOSAL, one.proposal())
    world.mine(sign(world, one, ["s1", "s2"]).transaction)
    for _ in range(3):
        world.mine()
    exchange.backend().turn()
    paid = exchange.ledger.request("w-1")
    assert paid is not None
    assert paid.state is RequestState.FINAL


def test_a_credit_whose_block_leaves_the_chain_is_taken_back_aloud(exchange: Exchange) -> None:
    """A reorganisation deeper than the credit's depth: whoever booked it by the line that said so
    hears a line again, once."""
    world = exchange.world
    outpoint = world.fund(70_000)
    world.mine()
    world.mine()
    exchange.coordinator.deposits_seen = [claim_of(exchange, outpoint)]
    exchange.backend().turn()
    assert len(exchange.ledger.credits()) == 1
    exchange.coordinator.deposits_seen = []
    world.chain = world.chain.fork(3)
    for _ in range(5):
        world.chain.mine()
    exchange.backend().turn()
    exchange.backend().turn()
    assert [one.state for one in exchange.ledger.credits()] == [CreditState.REVERSED]
    (told,) = exchange.told("deposit reversed")
    assert (told["outpoint"], told["amount_sat"]) == (str(outpoint), 70_000)


def test_what_it_says_does_not_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False)
    screen.line("waits for \x1b[2Jnobody\u202e")
    screen.table(["id"], [["w-1\x1b]0;all is well\x07"]])
    with pytest.raises(SystemExit):
        fail(Trouble("BAD\x1b[1m", "\x07", "\x9b2J", 3), as_json=False)
    seen = capsys.readouterr()
    said = (seen.out + seen.err).replace("\n", "")
    assert said.isascii()
    assert said.isprintable()
    assert "waits for \\x1b[2Jnobody\\u202e" in seen.out
