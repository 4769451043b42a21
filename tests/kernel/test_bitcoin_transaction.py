"""transaction: exactly one serialisation is accepted, and its hash is the txid."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
import wallycore
from hypothesis import given
from hypothesis import strategies as st

from signer_node.kernel.bitcoin.faults import InvalidTransaction
from signer_node.kernel.bitcoin.transaction import (
    Outpoint,
    Transaction,
    TxIn,
    TxOut,
    attach_witnesses,
    build_transaction,
    parse_stripped,
    parse_transaction,
    strip_witness,
    txid_from_hex,
    txid_to_hex,
)
from signer_node.kernel.units import MAX_MONEY_SAT
from tests.kernel.bitcoin_samples import SEQUENCE, outpoint, p2wpkh, vectors

GENESIS_COINBASE = bytes.fromhex(
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d"
    "0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66"
    "207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe55"
    "48271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba"
    "0b8d578a4c702b6bf11d5fac00000000"
)

txids = st.binary(min_size=32, max_size=32)
uint32 = st.integers(0, 0xFFFFFFFF)
inputs = st.builds(TxIn, st.builds(Outpoint, txids, uint32), st.binary(max_size=300), uint32)
outputs = st.builds(TxOut, st.integers(0, MAX_MONEY_SAT // 8), st.binary(max_size=300))
stacks = st.lists(st.binary(max_size=300), max_size=4).map(tuple)


@st.composite
def transactions(draw: st.DrawFn) -> Transaction:
    txins = draw(st.lists(inputs, min_size=1, max_size=5))
    txouts = draw(st.lists(outputs, min_size=1, max_size=5))
    version = draw(st.integers(-(2**31), 2**31 - 1))
    plain = build_transaction(txins, txouts, draw(uint32), version)
    witnesses = draw(st.lists(stacks, min_size=len(txins), max_size=len(txins)))
    return attach_witnesses(plain, witnesses) if any(witnesses) and draw(st.booleans()) else plain


def simple() -> Transaction:
    return build_transaction(
        [TxIn(outpoint(1), b"", SEQUENCE)], [TxOut(1_000, p2wpkh(1)), TxOut(2_000, p2wpkh(2))], 0
    )


def test_the_first_coinbase_has_the_txid_that_everybody_knows() -> None:
    transaction = parse_transaction(GENESIS_COINBASE)
    assert transaction.is_coinbase
    assert txid_to_hex(transaction.txid) == (
        "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
    )
    assert transaction.weight == 4 * len(GENESIS_COINBASE)
    assert not simple().is_coinbase


@given(transactions())
def test_what_is_built_reads_back_and_wallycore_agrees(transaction: Transaction) -> None:
    again = parse_transaction(transaction.raw)
    assert again == transaction
    assert again.outputs_span == transaction.outputs_span
    written = b"".join(output.serialize() for output in transaction.outputs)
    assert transaction.serialized_outputs == written
    parsed = wallycore.tx_from_bytes(transaction.raw, wallycore.WALLY_TX_FLAG_USE_WITNESS)
    assert bytes(wallycore.tx_get_txid(parsed)) == transaction.txid
    assert wallycore.tx_get_weight(parsed) == transaction.weight
    assert bytes(wallycore.tx_to_bytes(parsed, 0)) == strip_witness(transaction.raw)


@given(transactions())
def test_without_its_witness_a_transaction_keeps_its_txid(transaction: Transaction) -> None:
    stripped = strip_witness(transaction.raw)
    assert hashlib.sha256(hashlib.sha256(stripped).digest()).digest() == transaction.txid
    if len(stripped) != 64:
        assert parse_stripped(stripped).txid == transaction.txid


@given(transactions(), st.binary(min_size=1, max_size=3))
def test_trailing_bytes_are_refused(transaction: Transaction, more: bytes) -> None:
    with pytest.raises(InvalidTransaction):
        parse_transaction(transaction.raw + more)


@given(transactions(), st.data())
def test_a_truncated_transaction_is_refused(transaction: Transaction, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(transaction.raw) - 1))
    with pytest.raises(InvalidTransaction):
        parse_transaction(transaction.raw[:length])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_transaction_or_refused(raw: bytes) -> None:
    with contextlib.suppress(InvalidTransaction):
        assert parse_transaction(raw).raw == raw


@given(transactions(), st.data())
def test_a_mutated_transaction_is_refused_or_reads_back_the_same_by_wallycore(
    transaction: Transaction, data: st.DataObject
) -> None:
    raw = bytearray(transaction.raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        parsed = parse_transaction(bytes(raw))
    except InvalidTransaction:
        return
    other = wallycore.tx_from_bytes(bytes(raw), wallycore.WALLY_TX_FLAG_USE_WITNESS)
    assert bytes(wallycore.tx_get_txid(other)) == parsed.txid
    assert bytes(wallycore.tx_to_bytes(other, int(parsed.has_witness))) == bytes(raw)


def test_a_compact_size_that_is_not_the_shortest_is_refused() -> None:
    raw = simple().raw
    assert raw[4] == 1
    for longer in (b"\xfd\x01\x00", b"\xfe\x01\x00\x00\x00", b"\xff\x01" + bytes(7)):
        with pytest.raises(InvalidTransaction, match="shortest"):
            parse_transaction(raw[:4] + longer + raw[5:])


def test_a_count_beyond_the_data_is_refused_at_once() -> None:
    raw = simple().raw
    with pytest.raises(InvalidTransaction, match="fit"):
        parse_transaction(raw[:4] + b"\xfe\xff\xff\xff\xff" + raw[5:])


def test_a_transaction_without_inputs_or_outputs_is_refused() -> None:
    txin, output = TxIn(outpoint(1), b"", 0), TxOut(1, b"")
    with pytest.raises(InvalidTransaction):
        build_transaction([], [output], 0)
    with pytest.raises(InvalidTransaction):
        build_transaction([txin], [], 0)


def test_an_empty_witness_section_is_refused() -> None:
    raw = simple().raw
    with pytest.raises(InvalidTransaction, match="witness"):
        parse_transaction(raw[:4] + b"\x00\x01" + raw[4:-4] + b"\x00" + raw[-4:])


def test_amounts_beyond_all_bitcoin_are_refused() -> None:
    txin = TxIn(outpoint(1), b"", 0)
    with pytest.raises(InvalidTransaction, match="cannot exist"):
        build_transaction([txin], [TxOut(MAX_MONEY_SAT + 1, b"")], 0)
    with pytest.raises(InvalidTransaction, match="all bitcoin"):
        build_transaction([txin], [TxOut(MAX_MONEY_SAT, b""), TxOut(1, b"")], 0)


def test_evidence_with_a_witness_is_refused() -> None:
    signed = attach_witnesses(simple(), [(b"\x01",)])
    with pytest.raises(InvalidTransaction, match="without its witness"):
        parse_stripped(signed.raw)
    assert parse_stripped(strip_witness(signed.raw)) == simple()


def test_a_transaction_of_64_bytes_is_refused_as_evidence() -> None:
    small = build_transaction([TxIn(outpoint(1), b"", 0)], [TxOut(1, b"\x51\x51\x51\x51")], 0)
    assert len(small.raw) == 64
    assert parse_transaction(small.raw) == small
    with pytest.raises(InvalidTransaction, match="64 bytes"):
        parse_stripped(small.raw)


def test_bip143_transactions_parse() -> None:
    example = vectors("bip143/vectors.json")["p2sh_p2wsh_6_of_6"]
    transaction = parse_transaction(bytes.fromhex(example["unsigned_tx"]))
    assert [len(transaction.inputs), len(transaction.outputs)] == [1, 2]


def test_txids_are_written_in_reverse_and_read_back() -> None:
    txid = simple().txid
    assert txid_from_hex(txid_to_hex(txid)) == txid
    for text in ("", "00", txid.hex()[:-1] + "g", txid.hex() + "00", txid.hex() + " "):
        with pytest.raises(InvalidTransaction):
            txid_from_hex(text)
