"""The payer's confirmation and the requests behind it (PROTOCOL.md G4, G10), in the exchange's
own ledger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from custodyd.client.ledger import RequestState
from custodyd.client.payer import confirm
from custodyd.client.requests import keep, sign_payment, submit_open
from custodyd.errors import CustodydError, ErrorId
from signer_node import wire
from signer_node.kernel.bitcoin.transaction import TxOut
from signer_node.kernel.curve import verify_schnorr
from signer_node.kernel.documents.request import PayerConfirmation, Request
from signer_node.kernel.errors import ErrorId as SignerErrorId
from signer_node.kernel.errors import Refusal
from tests.stages.exchange import Exchange, payment
from tests.world.payouts import Coin, Draft, coin, p2wpkh
from tests.world.quorum import World


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(World(), tmp_path)


def asked(exchange: Exchange, *ids: str) -> list[Request]:
    """Requests that the exchange signed and kept."""
    now_s = exchange.world.now_s
    requests = [sign_payment(payment(one), exchange.requester, now_s) for one in ids]
    kept = keep(exchange.ledger, requests)
    return [wire.open_signed(Request, one.signed).document for one in kept]


def drafted(exchange: Exchange, *ids: str, coins: list[Coin] | None = None) -> Draft:
    requests = [
        wire.open_signed(Request, own.signed).document
        for own in (exchange.ledger.request(one) for one in ids)
        if own is not None
    ]
    return Draft(exchange.world, coins or [coin(exchange.world)], requests)


def confirmed(exchange: Exchange, draft: Draft) -> bytes:
    return confirm(exchange.payer, "b1", draft.proposal(), 1, exchange.world.now_s)


def test_a_manifest_of_own_requests_is_confirmed_by_a_signature_over_its_digest(
    exchange: Exchange,
) -> None:
    asked(exchange, "w-1", "w-2")
    draft = drafted(exchange, "w-1", "w-2")
    received = wire.open_signed(PayerConfirmation, confirmed(exchange, draft))
    verify_schnorr(exchange.key.public, received.digest, received.signature)
    assert received.document.manifest == draft.digest
    assert received.document.genesis == exchange.world.genesis.digest


def test_the_same_manifest_gets_the_same_confirmation_again(exchange: Exchange) -> None:
    asked(exchange, "w-1")
    draft = drafted(exchange, "w-1")
    first = confirmed(exchange, draft)
    exchange.world.now_s += 60
    assert confirmed(exchange, draft) == first


def test_a_second_manifest_for_a_withdrawal_is_confirmed_only_if_the_two_conflict(
    exchange: Exchange,
) -> None:
    asked(exchange, "w-1", "w-2")
    shared = coin(exchange.world)
    confirmed(exchange, drafted(exchange, "w-1", "w-2", coins=[shared]))
    with pytest.raises(Refusal) as disjoint:
        confirmed(exchange, drafted(exchange, "w-1", "w-2"))
    assert disjoint.value.error is SignerErrorId.WITHDRAWAL_ALREADY_PAID
    with pytest.raises(Refusal):
        confirmed(exchange, drafted(exchange, "w-1", coins=[shared]))
    replacement = drafted(exchange, "w-1", "w-2", coins=[shared, coin(exchange.world)])
    confirmed(exchange, replacement)


def test_a_manifest_that_was_kept_but_not_signed_binds_after_a_crash(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(exchange, "w-1")
    first = drafted(exchange, "w-1")

    def crash(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("custodyd.client.payer._sign", crash)
        with pytest.raises(KeyboardInterrupt):
            confirmed(exchange, first)
    exchange.ledger.close()
    exchange.open()
    with pytest.raises(Refusal):
        confirmed(exchange, drafted(exchange, "w-1"))
    assert confirmed(exchange, first)


def test_what_the_exchange_did_not_ask_for_is_not_confirmed(exchange: Exchange) -> None:
    requests = asked(exchange, "w-1")
    world = exchange.world
    foreign = replace(requests[0], withdrawal_id="w-9")
    bent = replace(requests[0], amount_sat=requests[0].amount_sat + 1)
    for request in (foreign, bent):
        with pytest.raises(CustodydError) as refused:
            confirmed(exchange, Draft(world, [coin(world)], [request]))
        assert refused.value.error is ErrorId.MANIFEST_NOT_OURS


def test_outputs_that_pay_elsewhere_are_not_confirmed(exchange: Exchange) -> None:
    asked(exchange, "w-1")
    swapped = drafted(exchange, "w-1")
    swapped.outputs[0] = TxOut(swapped.outputs[0].value_sat, p2wpkh(666))
    stolen_change = drafted(exchange, "w-1")
    stolen_change.outputs[1] = TxOut(stolen_change.outputs[1].value_sat, p2wpkh(666))
    extra = drafted(exchange, "w-1")
    extra.outputs.append(TxOut(5_000, p2wpkh(666)))
    for draft in (swapped, stolen_change, extra):
        with pytest.raises(CustodydError) as refused:
            confirmed(exchange, draft)
        assert refused.value.error is ErrorId.MANIFEST_NOT_OURS
    assert exchange.ledger.confirmed_before(["w-1"]) == ()


def test_what_ended_here_is_not_paid_unless_it_was_confirmed_before(exchange: Exchange) -> None:
    """The exchange may have given the money back; but a released share is a bearer instrument."""
    asked(exchange, "w-1", "w-2")
    confirmed_one = drafted(exchange, "w-2")
    confirmed(exchange, confirmed_one)
    for one in ("w-1", "w-2"):
        exchange.ledger.mark_ended(one, "REJECTED")
    with pytest.raises(CustodydError) as caught:
        confirmed(exchange, drafted(exchange, "w-1"))
    assert caught.value.error is ErrorId.MANIFEST_NOT_OURS
    again = drafted(exchange, "w-2", coins=confirmed_one.coins)
    again.fee_sat += 500
    assert confirmed(exchange, again)


def test_an_expired_manifest_and_one_of_another_vault_are_not_confirmed(
    exchange: Exchange,
) -> None:
    asked(exchange, "w-1")
    world = exchange.world
    late = drafted(exchange, "w-1")
    late.overrides = {"not_before_s": world.now_s - 100, "expires_at_s": world.now_s - 1}
    other = drafted(exchange, "w-1")
    other.overrides = {"certificate": bytes(32)}
    for draft in (late, other):
        with pytest.raises(CustodydError):
            confirmed(exchange, draft)


def test_a_request_is_durable_before_it_is_sent_and_sent_again_to_another_store(
    exchange: Exchange,
) -> None:
    coordinator = exchange.coordinator
    asked(exchange, "w-1", "w-2")
    coordinator.down = True
    backend = exchange.backend()
    backend.turn()
    assert coordinator.accepted == {}
    coordinator.down = False
    backend.turn()
    assert set(coordinator.accepted) == {"w-1", "w-2"}
    first = dict(coordinator.accepted)
    coordinator.accepted.clear()
    backend.turn()
    assert coordinator.accepted == {}
    coordinator.incarnation = b"\x02" * 16
    exchange.backend().turn()
    assert coordinator.accepted == first


def test_a_request_that_is_refused_for_good_is_kept_with_its_reason(exchange: Exchange) -> None:
    asked(exchange, "w-1", "w-2")
    exchange.coordinator.refuse = {"w-1": "REQUEST_EXPIRED"}
    told: list[str] = []
    submit_open(
        exchange.coordinator,  # type: ignore[arg-type]
        exchange.ledger,
        exchange.coordinator.incarnation,
        exchange.world.now_s,
        lambda one, fault: told.append(f"{one} {fault.reason}"),
    )
    assert told == ["w-1 REQUEST_EXPIRED"]
    refused = exchange.ledger.request("w-1")
    assert refused is not None
    assert refused.state is RequestState.REFUSED
    assert "REQUEST_EXPIRED" in refused.refusal
    assert "w-2" in exchange.coordinator.accepted


def test_an_id_is_one_payment_for_ever(exchange: Exchange) -> None:
    asked(exchange, "w-1")
    now_s = exchange.world.now_s
    again = keep(exchange.ledger, [sign_payment(payment("w-1"), exchange.requester, now_s + 5)])
    assert again[0].digest == exchange.ledger.request("w-1").digest  # type: ignore[union-attr]
    other = sign_payment(payment("w-1", 2_000_000), exchange.requester, now_s)
    new = sign_payment(payment("w-2"), exchange.requester, now_s)
    with pytest.raises(CustodydError) as refused:
        keep(exchange.ledger, [new, other])
    assert refused.value.error is ErrorId.WITHDRAWAL_ID_REUSED
    assert exchange.ledger.request("w-2") is None


def test_the_backend_answers_by_itself_and_the_signers_accept_what_it_signed(
    exchange: Exchange,
) -> None:
    asked(exchange, "w-1")
    draft = drafted(exchange, "w-1")
    exchange.coordinator.unconfirmed = {"b1": draft.proposal()}
    exchange.backend().turn()
    assert exchange.told("manifest confirmed") == [{"batch_id": "b1"}]
    signed = exchange.coordinator.confirmations["b1"]
    assert wire.open_signed(PayerConfirmation, signed).document.manifest == draft.digest
