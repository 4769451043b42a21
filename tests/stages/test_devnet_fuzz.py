"""Bytes and JSON that nobody wrote: the devnet answers a documented error, and goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custodyd.devnet.blocks import parse_block
from custodyd.devnet.bytesio import FormatError
from custodyd.devnet.coins import Coin
from custodyd.devnet.dispatch import Dispatcher
from custodyd.devnet.node import Node
from custodyd.devnet.policy import sigops_cost
from custodyd.devnet.script import (
    is_push_only,
    kind_of,
    last_push,
    operations,
    sigop_count,
)
from custodyd.devnet.transactions import (
    Transaction,
    TxInput,
    TxOutput,
    build,
    parse_transaction,
)
from signer_node.kernel.bitcoin import transaction as signers
from tests.stages.devnet_process import ANYONE_ADDRESS

RELAXED = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
METHODS = [
    "getblockhash",
    "getblockheader",
    "getblock",
    "getrawtransaction",
    "gettxout",
    "gettxoutproof",
    "validateaddress",
    "sendrawtransaction",
    "testmempoolaccept",
    "getmempoolentry",
    "getrawmempool",
    "estimatesmartfee",
    "decoderawtransaction",
    "generatetoaddress",
    "generateblock",
    "submitblock",
    "devnet_faucet",
    "devnet_fork",
    "devnet_setfeerate",
    "getblockchaininfo",
    "help",
]
INTERNAL_ERROR = -32603

scripts = st.binary(max_size=60)
inputs = st.builds(
    TxInput,
    st.binary(min_size=32, max_size=32),
    st.integers(0, 0xFFFFFFFF),
    scripts,
    st.integers(0, 0xFFFFFFFF),
    st.lists(scripts, max_size=3).map(tuple),
)
outputs = st.builds(TxOutput, st.integers(0, 10**14), scripts)
transactions = st.builds(
    build,
    st.integers(0, 0x7FFFFFFF),
    st.lists(inputs, min_size=1, max_size=4).map(tuple),
    st.lists(outputs, min_size=1, max_size=4).map(tuple),
    st.integers(0, 0xFFFFFFFF),
)


@pytest.fixture(scope="module")
def dispatcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dispatcher]:
    running = Dispatcher(on_stop=lambda: None)
    running.node = Node(tmp_path_factory.mktemp("devnet"))
    yield running
    running.node.close()


@pytest.fixture(scope="module")
def known_texts(dispatcher: Dispatcher) -> list[str]:
    """What leads deeper into the methods than noise does."""
    node = dispatcher.node
    assert node is not None
    tip = node.index.tip
    coinbase = tip.block.transactions[0]
    return [
        tip.hash[::-1].hex(),
        coinbase.txid[::-1].hex(),
        coinbase.raw.hex(),
        tip.block.raw.hex(),
        ANYONE_ADDRESS,
        "00" * 32,
        "0.1",
    ]


@RELAXED
@given(data=st.data())
def test_no_parameters_make_an_internal_error(
    dispatcher: Dispatcher, known_texts: list[str], data: st.DataObject
) -> None:
    texts = st.sampled_from(known_texts) | st.text(max_size=70)
    numbers = st.integers(-3, 120) | st.integers() | st.floats(allow_nan=False)
    leaves = st.none() | st.booleans() | numbers | texts
    values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
    request = {
        "id": 1,
        "method": data.draw(st.sampled_from(METHODS)),
        "params": data.draw(st.lists(values, max_size=4)),
    }
    answer = json.loads(dispatcher.handle(json.dumps(request).encode()).body)
    assert dispatcher.node is not None
    assert not dispatcher.node.halted.is_set()
    assert answer["error"] is None or answer["error"]["code"] != INTERNAL_ERROR, answer


@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999", "1e-999999999", "1" * 4000])
@pytest.mark.parametrize("method", METHODS)
def test_numbers_beyond_all_reason_are_refused_at_once(
    dispatcher: Dispatcher, method: str, number: str
) -> None:
    for params in (f"[{number}]", f'["{"00" * 32}",{number}]', f'["{ANYONE_ADDRESS}",{number}]'):
        body = f'{{"id":1,"method":"{method}","params":{params}}}'.encode()
        answer: Any = json.loads(dispatcher.handle(body).body)
        assert answer["error"] is None or answer["error"]["code"] != INTERNAL_ERROR


@RELAXED
@given(
    body=st.binary(max_size=80)
    | st.text(alphabet='{}[]",:0123nulltrue', max_size=40).map(str.encode)
)
def test_no_body_goes_unanswered(dispatcher: Dispatcher, body: bytes) -> None:
    reply = dispatcher.handle(body)
    assert reply.status in (200, 204, 400, 404, 500)
    if reply.body:
        json.loads(reply.body)


@RELAXED
@given(tx=transactions)
def test_a_transaction_is_read_as_it_was_written_and_as_the_signer_reads_it(
    tx: Transaction,
) -> None:
    assert parse_transaction(tx.raw) == tx
    theirs = signers.parse_transaction(tx.raw)
    assert (theirs.txid, theirs.weight) == (tx.txid, tx.weight)
    assert theirs.locktime == tx.locktime
    assert [(o.value_sat, o.script) for o in theirs.outputs] == [
        (o.amount_sat, o.script) for o in tx.outputs
    ]
    seen = [(i.outpoint.txid, i.outpoint.vout, i.script_sig, i.sequence) for i in theirs.inputs]
    assert seen == [(i.txid, i.vout, i.script_sig, i.sequence) for i in tx.inputs]
    stacks = theirs.witnesses or ((),) * len(tx.inputs)
    assert stacks == tuple(i.witness for i in tx.inputs)


@RELAXED
@given(tx=transactions, data=st.data())
def test_a_changed_byte_is_never_read_as_the_same_transaction(
    tx: Transaction, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(tx.raw) - 1))
    changed = bytearray(tx.raw)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        other = parse_transaction(bytes(changed))
    except FormatError:
        return
    assert other.raw == bytes(changed)
    assert other.wtxid != tx.wtxid


@RELAXED
@given(raw=st.binary(max_size=300))
def test_noise_is_a_format_error_or_reads_back(raw: bytes) -> None:
    for read in (parse_transaction, parse_block):
        try:
            assert read(raw).raw == raw
        except FormatError:
            continue


@RELAXED
@given(script=st.binary(max_size=120))
def test_no_script_breaks_the_readers(script: bytes) -> None:
    for opcode, data in operations(script):
        assert opcode >= -1
        assert data is None or data in script
    kind_of(script)
    last_push(script)
    is_push_only(script)
    assert sigop_count(script, accurate=True) <= sigop_count(script, accurate=False)


def test_sigops_cost_as_core_counts_it() -> None:
    """Legacy ones count four times, a P2WPKH input once, a multisig by its number of keys."""
    p2pkh = TxOutput(1, b"\x76\xa9\x14" + bytes(20) + b"\x88\xac")
    p2wpkh = TxOutput(1, b"\x00\x14" + bytes(20))
    p2wsh = TxOutput(1, b"\x00\x20" + bytes(32))
    two_of_three = b"\x52" + (b"\x21" + b"\x02" * 33) * 3 + b"\x53\xae"
    spent = [
        (TxInput(bytes(32), 0, b"", 0, (b"s", b"k")), p2wpkh),
        (TxInput(bytes(32), 1, b"", 0, (b"", b"s", b"s", two_of_three)), p2wsh),
        (TxInput(bytes(32), 2, b"\x01\x00", 0), p2pkh),
    ]
    tx = build(2, tuple(item for item, _ in spent), (p2pkh, p2wpkh), 0)
    coins = [Coin(output, 1, False) for _, output in spent]
    assert sigops_cost(tx, coins) == 4 + 1 + 3
    nested = TxInput(bytes(32), 3, b"\x4c" + bytes([len(two_of_three)]) + two_of_three, 0)
    p2sh = Coin(TxOutput(1, b"\xa9\x14" + bytes(20) + b"\x87"), 1, False)
    assert sigops_cost(build(2, (nested,), (p2wpkh,), 0), [p2sh]) == 4 * 3
