"""What the devnet's mempool refuses, in Bitcoin Core's words, and what it lets replace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from coincurve import PrivateKey

from custodyd.devnet.blocks import coinbase
from custodyd.devnet.faucet import FaucetDry
from custodyd.devnet.node import Node
from custodyd.devnet.policy import HALF_ORDER
from custodyd.devnet.rejection import Rejected, RejectKind
from custodyd.devnet.transactions import Transaction, TxInput, TxOutput, build, parse_transaction
from tests.stages.devnet_process import (
    ANYONE,
    COIN_SAT,
    OP_TRUE,
    Money,
    fund,
    output_of,
    pass_on,
    spend,
)

GROUP_ORDER = 2 * HALF_ORDER + 1
P2WPKH_DUST_SAT = 294


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    opened = Node(tmp_path_factory.mktemp("devnet"))
    yield opened
    opened.close()


@pytest.fixture
def coin(node: Node) -> Money:
    return fund(node)[0]


def refusal(node: Node, tx: Transaction) -> Rejected:
    before = [entry.tx.txid for entry in node.pool]
    with pytest.raises(Rejected) as caught:
        node.accept(tx)
    assert [entry.tx.txid for entry in node.pool] == before
    return caught.value


def reason(node: Node, tx: Transaction) -> str:
    return refusal(node, tx).reason


def test_an_ordinary_transaction_is_accepted_and_then_confirmed(node: Node, coin: Money) -> None:
    tx = pass_on(coin)
    node.accept(tx)
    assert tx.txid in node.pool
    node.generate(1, node.faucet.script)
    assert tx.txid not in node.pool
    assert node.coins.get((tx.txid, 0)) is not None
    assert node.coins.get(coin.outpoint) is None


@pytest.mark.parametrize(
    ("expected", "outputs"),
    [
        ("bad-txns-vout-empty", []),
        ("bad-txns-vout-negative", [TxOutput(-1, ANYONE)]),
        ("bad-txns-vout-toolarge", [TxOutput(21_000_000 * COIN_SAT + 1, ANYONE)]),
        ("bad-txns-txouttotal-toolarge", [TxOutput(20_000_000 * COIN_SAT, ANYONE)] * 2),
        ("bad-txns-in-belowout", [TxOutput(2 * COIN_SAT, ANYONE)]),
        ("dust", [TxOutput(P2WPKH_DUST_SAT - 1, b"\x00\x14" + bytes(20))]),
        ("dust", [TxOutput(329, ANYONE)]),
        ("dust", [TxOutput(545, b"\x76\xa9\x14" + bytes(20) + b"\x88\xac")]),
        ("dust", [TxOutput(539, b"\xa9\x14" + bytes(20) + b"\x87")]),
        ("dust", [TxOutput(329, b"\x51\x20" + bytes(32))]),
        ("scriptpubkey", [TxOutput(COIN_SAT // 2, b"\x61")]),
        ("scriptpubkey", [TxOutput(0, b"\x6a\x4c\x51" + bytes(81))]),
        ("multi-op-return", [TxOutput(0, b"\x6a\x01\x00")] * 2),
        ("bare-multisig", [TxOutput(COIN_SAT // 2, b"\x51\x21" + b"\x02" * 33 + b"\x51\xae")]),
        ("tx-size", [TxOutput(1000, b"\x51\x20" + bytes(32))] * 2500),
    ],
)
def test_outputs_that_do_not_relay(
    node: Node, coin: Money, expected: str, outputs: Sequence[TxOutput]
) -> None:
    assert reason(node, spend([coin], outputs)) == expected


def test_the_least_amounts_that_are_not_dust_relay(node: Node, coin: Money) -> None:
    scripts = {
        P2WPKH_DUST_SAT: b"\x00\x14" + bytes(20),
        330: b"\x51\x20" + bytes(32),
        546: b"\x76\xa9\x14" + bytes(20) + b"\x88\xac",
        540: b"\xa9\x14" + bytes(20) + b"\x87",
    }
    node.accept(spend([coin], [TxOutput(amount, s) for amount, s in scripts.items()]))


@pytest.mark.parametrize("version", [0, 3, 0xFFFFFFFF])
def test_other_versions_do_not_relay(node: Node, coin: Money, version: int) -> None:
    assert reason(node, pass_on(coin, version=version)) == "version"


def test_a_locktime_in_the_future_is_not_final(node: Node, coin: Money) -> None:
    height = node.index.height
    assert reason(node, pass_on(coin, locktime=height + 1)) == "non-final"
    later = node.index.median_time(node.index.tip) + 1
    assert reason(node, pass_on(coin, locktime=later)) == "non-final"
    node.accept(pass_on(coin, locktime=height))


def test_a_relative_lock_is_obeyed(node: Node, coin: Money) -> None:
    assert reason(node, pass_on(coin, sequence=3)) == "non-BIP68-final"
    assert reason(node, pass_on(coin, sequence=(1 << 22) | 1)) == "non-BIP68-final"
    node.generate(2, node.faucet.script)
    node.accept(pass_on(coin, sequence=3))


def test_a_coinbase_is_not_spent_before_its_hundredth_block(node: Node) -> None:
    node.generate(1, ANYONE)
    made = output_of(node.index.tip.block.transactions[0])
    assert reason(node, pass_on(made)) == "bad-txns-premature-spend-of-coinbase"
    node.generate(98, node.faucet.script)
    assert reason(node, pass_on(made)) == "bad-txns-premature-spend-of-coinbase"
    node.generate(1, node.faucet.script)
    node.accept(pass_on(made))


def test_inputs_that_are_missing_or_spent(node: Node, coin: Money) -> None:
    unknown = refusal(node, pass_on(Money((b"\x11" * 32, 0), COIN_SAT)))
    assert (unknown.reason, unknown.kind) == (
        "bad-txns-inputs-missingorspent",
        RejectKind.MISSING_INPUTS,
    )
    tx = pass_on(coin)
    node.accept(tx)
    again = refusal(node, tx)
    assert (again.reason, again.kind) == ("txn-already-in-mempool", RejectKind.IN_MEMPOOL)
    node.generate(1, node.faucet.script)
    assert reason(node, pass_on(coin, fee_sat=5000)) == "bad-txns-inputs-missingorspent"
    known = refusal(node, tx)
    assert (known.reason, known.kind) == ("txn-already-known", RejectKind.IN_CHAIN)


def test_a_coinbase_and_twice_the_same_input_are_refused(node: Node, coin: Money) -> None:
    assert reason(node, coinbase(5, 1, ANYONE, [], b"")) == "coinbase"
    twice = spend([coin, coin], [TxOutput(COIN_SAT, ANYONE)])
    assert reason(node, twice) == "bad-txns-inputs-duplicate"


def test_the_minimum_relay_fee_is_asked(node: Node, coin: Money) -> None:
    size = pass_on(coin).vsize
    short = refusal(node, pass_on(coin, fee_sat=size - 1))
    assert (short.reason, short.detail) == ("min relay fee not met", f"{size - 1} < {size}")
    node.accept(pass_on(coin, fee_sat=size))


def test_a_script_that_does_not_hold_is_refused(node: Node, coin: Money) -> None:
    wrong = refusal(node, pass_on(coin, witness=(b"\x52",)))
    assert wrong.reason.startswith("mandatory-script-verify-flag-failed")
    assert wrong.detail.startswith("input 0 of ")


def test_a_forged_signature_is_refused(node: Node) -> None:
    paid = node.faucet.pay(node._faucet_coins(), (TxOutput(COIN_SAT, ANYONE),))
    [item, *rest] = paid.inputs
    signature = bytearray(item.witness[0])
    signature[5] ^= 1
    forged = build(2, (replace(item, witness=(bytes(signature),)), *rest), paid.outputs, 0)
    assert reason(node, forged).startswith("mandatory-script-verify-flag-failed")
    moved = build(2, paid.inputs, (TxOutput(COIN_SAT, node.faucet.script),), 0)
    assert reason(node, moved).startswith("mandatory-script-verify-flag-failed")


def test_a_high_s_is_refused_though_consensus_takes_it(node: Node, coin: Money) -> None:
    signature = PrivateKey(b"\x01" * 32).sign(b"\x02" * 32, hasher=None)
    r_size = signature[3]
    low_s = int.from_bytes(signature[6 + r_size :], "big")
    high = (GROUP_ORDER - low_s).to_bytes(33, "big")
    body = signature[2 : 4 + r_size] + b"\x02" + bytes([len(high)]) + high
    forged = b"\x30" + bytes([len(body)]) + body + b"\x01"
    refused = refusal(node, pass_on(coin, witness=(forged, OP_TRUE)))
    assert "S value is unnecessarily high" in refused.reason


def test_a_legacy_script_must_only_push(node: Node, coin: Money) -> None:
    source = TxInput(*coin.outpoint, b"\x61", 0xFFFFFFFD, (OP_TRUE,))
    tx = build(2, (source,), (TxOutput(COIN_SAT - 1000, ANYONE),), 0)
    assert reason(node, tx) == "scriptsig-not-pushonly"
    long = replace(source, script_sig=b"\x00" * 1651)
    assert reason(node, build(2, (long,), tx.outputs, 0)) == "scriptsig-size"


def test_outputs_of_unknown_witness_versions_cannot_be_spent(node: Node, coin: Money) -> None:
    future = TxOutput(COIN_SAT - 1000, b"\x60\x20" + bytes(32))
    tx = spend([coin], [future])
    node.accept(tx)
    assert reason(node, pass_on(output_of(tx), witness=())) == "bad-txns-nonstandard-inputs"


def test_a_chain_of_more_than_25_unconfirmed_is_refused(node: Node, coin: Money) -> None:
    last = coin
    for _ in range(25):
        tx = pass_on(last)
        node.accept(tx)
        last = output_of(tx)
    assert reason(node, pass_on(last)) == "too-long-mempool-chain"
    node.generate(1, node.faucet.script)
    node.accept(pass_on(last))


def test_a_parent_with_25_descendants_takes_no_more(node: Node, coin: Money) -> None:
    outputs = [TxOutput(100_000, ANYONE)] * 26
    parent = spend([coin], outputs)
    node.accept(parent)
    for vout in range(24):
        node.accept(pass_on(output_of(parent, vout)))
    assert reason(node, pass_on(output_of(parent, 25))) == "too-long-mempool-chain"


# --- replacement --------------------------------------------------------------------------------


def test_a_double_spend_must_pay_more_than_what_it_replaces(node: Node, coin: Money) -> None:
    first = pass_on(coin, fee_sat=1000)
    node.accept(first)
    assert reason(node, pass_on(coin, fee_sat=999)) == "insufficient fee"
    assert reason(node, pass_on(coin, fee_sat=1000, locktime=1)) == "insufficient fee"
    short = refusal(node, pass_on(coin, fee_sat=1000 + first.vsize - 1))
    assert (short.reason, "additional fees" in short.detail) == ("insufficient fee", True)
    second = pass_on(coin, fee_sat=1000 + first.vsize)
    node.accept(second)
    assert first.txid not in node.pool
    assert second.txid in node.pool


def test_a_replacement_needs_no_signal_and_takes_descendants_along(node: Node, coin: Money) -> None:
    first = pass_on(coin, sequence=0xFFFFFFFF)
    child = pass_on(output_of(first), fee_sat=2000)
    node.accept(first)
    node.accept(child)
    less = refusal(node, pass_on(coin, fee_sat=2999))
    assert (less.reason, "less fees than conflicting" in less.detail) == ("insufficient fee", True)
    node.accept(pass_on(coin, fee_sat=4000))
    assert first.txid not in node.pool
    assert child.txid not in node.pool


def test_a_replacement_adds_no_unconfirmed_input(node: Node) -> None:
    one, other = fund(node, 2)
    node.accept(pass_on(one))
    waiting = pass_on(other)
    node.accept(waiting)
    both = spend([one, output_of(waiting)], [TxOutput(COIN_SAT, ANYONE)])
    assert reason(node, both) == "replacement-adds-unconfirmed"


def test_a_replacement_does_not_spend_what_it_replaces(node: Node) -> None:
    coin = fund(node)[0]
    first = pass_on(coin)
    node.accept(first)
    both = spend([coin, output_of(first)], [TxOutput(COIN_SAT, ANYONE)])
    assert reason(node, both) == "bad-txns-spends-conflicting-tx"


def test_a_replacement_evicts_at_most_a_hundred(node: Node) -> None:
    parents = fund(node, 5)
    for parent in parents:
        fan = spend([parent], [TxOutput(1_000_000, ANYONE)] * 24)
        node.accept(fan)
        for vout in range(20):
            node.accept(pass_on(output_of(fan, vout)))
    all_of_them = spend(parents, [TxOutput(COIN_SAT, ANYONE)])
    assert reason(node, all_of_them) == "too many potential replacements"


# --- what the pool does with what it has ----------------------------------------------------------


def test_a_block_takes_the_better_fee_rate_first_and_parents_before_children(node: Node) -> None:
    poor, rich = fund(node, 2)
    parent = pass_on(poor, fee_sat=200)
    cheap = pass_on(rich, fee_sat=5_000)
    child = pass_on(output_of(parent), fee_sat=90_000)
    for tx in (parent, cheap, child):
        node.accept(tx)
    node.generate(1, node.faucet.script)
    taken = [tx.txid for tx in node.index.tip.block.transactions[1:]]
    assert taken == [parent.txid, child.txid, cheap.txid]


def test_a_coinbase_collects_the_fees(node: Node, coin: Money) -> None:
    node.accept(pass_on(coin, fee_sat=12_345))
    fees = sum(entry.fee_sat for entry in node.pool)
    node.generate(1, node.faucet.script)
    height = node.index.height
    subsidy = (50 * COIN_SAT) >> (height // 150)
    assert node.index.tip.block.transactions[0].outputs[0].amount_sat == subsidy + fees


def test_a_dry_faucet_says_so(node: Node) -> None:
    with pytest.raises(FaucetDry):
        node.pay_from_faucet((TxOutput(20_000_000 * COIN_SAT, ANYONE),))


def test_bytes_behind_a_transaction_are_refused(tmp_path: Path) -> None:
    raw = spend([Money((bytes(32), 0), 1)], [TxOutput(1, ANYONE)]).raw
    assert parse_transaction(raw).raw == raw
    for wrong in (raw + b"\x00", raw[:-1], b"", raw.replace(b"\x00\x01", b"\x00\x00", 1)):
        with pytest.raises(ValueError, match=r"."):
            parse_transaction(wrong)
