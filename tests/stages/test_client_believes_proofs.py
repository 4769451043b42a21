"""No coin, no credit (PROTOCOL.md G14): genesis by words, vaults by all signatures, deposits and
payments by headers and branches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from custodyd.client.headers import LedgerHeaders
from custodyd.client.ledger import ClientLedger, CreditState, RequestState
from custodyd.client.requests import keep, sign_payment
from custodyd.client.verify import (
    DepositClaim,
    TransactionProof,
    next_address,
    pin_genesis,
    pin_vault,
    verify_certificate,
    verify_deposit,
)
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import deposit_pb2
from signer_node import wire
from signer_node.kernel.bitcoin.transaction import Outpoint, TxOut, txid_to_hex
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.request import Request
from signer_node.kernel.errors import ErrorId as SignerErrorId
from signer_node.kernel.errors import Refusal
from signer_node.kernel.vault.interface import EXTERNAL_CHAIN
from tests.stages.exchange import Exchange, WorldChain, payment
from tests.world.payouts import Draft, coin, sign
from tests.world.quorum import VAULT, World


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(World(), tmp_path)


def claim_of(exchange: Exchange, outpoint: Outpoint, index: int = 0) -> deposit_pb2.Deposit:
    block = exchange.world.chain.block_of(outpoint.txid)
    return deposit_pb2.Deposit(
        txid=txid_to_hex(outpoint.txid),
        vout=outpoint.vout,
        vault=VAULT,
        index=index,
        amount_sat=99,
        block_hash=txid_to_hex(block.header.hash),
    )


def test_a_genesis_is_believed_on_its_words_alone(tmp_path: Path) -> None:
    world, other = World(), World(count=5, threshold=3)
    ledger = ClientLedger(tmp_path / "l.sqlite3")
    key = world.genesis.document.request_keys[0].key
    wrong = " ".join(words_from_digest(other.genesis.digest))
    for words in (wrong, "abandon " * 24, "one two"):
        with pytest.raises(Refusal) as refused:
            pin_genesis(ledger, world.genesis.raw, words, key)
        assert refused.value.error is SignerErrorId.GENESIS_WORDS_DIFFER
    words = " ".join(words_from_digest(world.genesis.digest))
    pin_genesis(ledger, world.genesis.raw, words.upper(), key)
    with pytest.raises(CustodydError) as pinned:
        pin_genesis(ledger, other.genesis.raw, wrong, key)
    assert pinned.value.error is ErrorId.GENESIS_DIFFERS


def test_a_genesis_without_our_key_is_not_pinned(tmp_path: Path) -> None:
    world = World()
    ledger = ClientLedger(tmp_path / "l.sqlite3")
    words = " ".join(words_from_digest(world.genesis.digest))
    with pytest.raises(CustodydError) as refused:
        pin_genesis(ledger, world.genesis.raw, words, bytes(range(32)))
    assert refused.value.error is ErrorId.KEY_NOT_IN_GENESIS
    assert ledger.fact("genesis") is None


def test_a_vault_needs_the_signature_of_every_signer(exchange: Exchange) -> None:
    body, signatures = wire.open_countersigned(exchange.world.certificate)
    for fewer in (signatures[:2], signatures[1:], (*signatures[:2], signatures[0])):
        raw = wire.countersigned_bytes(body, fewer)
        with pytest.raises(Refusal) as refused:
            verify_certificate(exchange.world.genesis, raw)
        assert refused.value.error is SignerErrorId.CERTIFICATE_SIGNATURE_INVALID


def test_another_certificate_does_not_replace_the_pinned_one(
    exchange: Exchange,
) -> None:
    with pytest.raises(CustodydError) as refused:
        exchange.ledger.pin_vault(VAULT, b"other", bytes(32))
    assert refused.value.error is ErrorId.VAULT_PINNED_OTHERWISE
    with pytest.raises(Refusal):
        pin_vault(exchange.ledger, exchange.world.genesis, "cold", exchange.world.certificate)


def test_a_deposit_index_is_handed_out_once_whatever_dies(exchange: Exchange) -> None:
    vault = exchange.world.vault
    seen = [next_address(exchange.ledger, vault, "acme") for _ in range(3)]
    exchange.ledger.close()
    exchange.open()
    other = ClientLedger(exchange.folder / "ledger.sqlite3")
    seen += [next_address(ledger, vault, "") for ledger in (other, exchange.ledger)]
    assert [index for index, _address in seen] == [0, 1, 2, 3, 4]
    assert [address for _index, address in seen] == [
        vault.kind.address(EXTERNAL_CHAIN, at) for at in range(5)
    ]


def test_a_deposit_is_credited_by_its_own_amount_at_depth_and_only_once(
    exchange: Exchange,
) -> None:
    outpoint = exchange.world.fund(123_456)
    exchange.coordinator.deposits_seen = [claim_of(exchange, outpoint)]
    backend = exchange.backend()
    backend.turn()
    assert exchange.ledger.credits() == ()
    exchange.world.mine()
    backend.turn()
    backend.turn()
    (credit,) = exchange.ledger.credits()
    assert (credit.outpoint, credit.amount_sat, credit.state) == (
        outpoint, 123_456, CreditState.CREDITED,
    )  # fmt: skip
    assert len(exchange.told("deposit credited")) == 1
    exchange.backend().turn()
    assert len(exchange.told("deposit credited")) == 1


def test_a_deposit_of_a_block_that_is_on_no_verified_chain_is_not_credited(
    exchange: Exchange,
) -> None:
    world = exchange.world
    fork = world.chain.fork(0)
    outpoint = world.fund(50_000)
    headers = LedgerHeaders(exchange.ledger)
    source = WorldChain(world)
    block = world.chain.block_of(outpoint.txid)
    proof = source.prove(outpoint.txid, block.header.hash)
    assert proof is not None
    world.chain = fork
    claim = DepositClaim(outpoint, VAULT, 0, block.header.hash)
    with pytest.raises(CustodydError) as refused:
        verify_deposit(claim, proof, world.vault, headers)
    assert refused.value.error is ErrorId.DEPOSIT_UNPROVEN


def test_bent_proofs_credit_nothing(exchange: Exchange) -> None:
    world = exchange.world
    outpoint = world.fund(50_000)
    foreign = world.foreign_transaction(TxOut(77_777, world.vault.kind.script(EXTERNAL_CHAIN, 0)))
    backend = exchange.backend()
    backend.turn()
    headers = LedgerHeaders(exchange.ledger)
    block = world.chain.block_of(outpoint.txid)
    honest = WorldChain(world).prove(outpoint.txid, block.header.hash)
    assert honest is not None
    claim = DepositClaim(outpoint, VAULT, 0, block.header.hash)
    assert verify_deposit(claim, honest, world.vault, headers).amount_sat == 50_000

    def refused(claim: DepositClaim, proof: TransactionProof) -> None:
        with pytest.raises(CustodydError) as unproven:
            verify_deposit(claim, proof, world.vault, headers)
        assert unproven.value.error is ErrorId.DEPOSIT_UNPROVEN

    refused(replace(claim, index=1), honest)
    refused(replace(claim, outpoint=Outpoint(outpoint.txid, 1)), honest)
    refused(
        replace(claim, outpoint=Outpoint(foreign.txid, 0)), replace(honest, transaction=foreign.raw)
    )
    refused(claim, replace(honest, branch=(bytes(32),)))
    refused(claim, replace(honest, position=0))
    refused(claim, replace(honest, block_hash=world.chain.blocks[0].header.hash))


def test_a_credit_whose_block_is_left_is_marked_and_credited_again_elsewhere(
    exchange: Exchange,
) -> None:
    world = exchange.world
    outpoint = world.fund(50_000)
    deposit = world.chain.blocks[-1].transactions[1]
    world.mine()
    exchange.coordinator.deposits_seen = [claim_of(exchange, outpoint)]
    backend = exchange.backend()
    backend.turn()
    assert exchange.ledger.credited(outpoint)
    world.chain = world.chain.fork(2)
    for _ in range(3):
        world.chain.mine()
    backend.turn()
    (credit,) = exchange.ledger.credits()
    assert credit.state is CreditState.REVERSED
    world.chain.mine(deposit)
    world.chain.mine()
    exchange.coordinator.deposits_seen = [claim_of(exchange, outpoint)]
    backend.turn()
    assert exchange.ledger.credited(outpoint)


def test_a_payment_is_final_only_by_its_own_proof(exchange: Exchange) -> None:
    world = exchange.world
    kept = keep(exchange.ledger, [sign_payment(payment("w-1"), exchange.requester, world.now_s)])
    request = wire.open_signed(Request, kept[0].signed).document
    draft = Draft(world, [coin(world)], [request])
    exchange.coordinator.unconfirmed = {"b1": draft.proposal()}
    backend = exchange.backend()
    backend.turn()
    for name in world.nodes:
        world.send(name, PayloadType.MANIFEST_PROPOSAL, draft.proposal())
    signed = sign(world, draft, ["s1", "s2"])
    world.mine(signed.transaction)
    for depth in (1, 2):
        backend.turn()
        assert exchange.ledger.request("w-1").state is RequestState.SUBMITTED, depth  # type: ignore[union-attr]
        world.mine()
    backend.turn()
    own = exchange.ledger.request("w-1")
    assert own is not None
    assert (own.state, own.txid) == (RequestState.FINAL, signed.txid)
