"""psbt: a manifest's PSBT has one form; everything else is refused."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import wallycore
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.kernel.bitcoin.faults import InvalidPsbt, UnknownPsbtField
from signer_node.kernel.bitcoin.psbt import (
    MAX_PSBT_BYTES,
    NewOutput,
    Psbt,
    PsbtInput,
    SpentCoin,
    build_psbt,
    parse_psbt,
)
from signer_node.kernel.bitcoin.serial import compact_size, with_length
from signer_node.kernel.bitcoin.transaction import (
    Outpoint,
    TxIn,
    TxOut,
    attach_witnesses,
    build_transaction,
)
from signer_node.kernel.vault.registry import open_vault
from tests.kernel.bitcoin_samples import (
    SEQUENCE,
    coins,
    outpoint,
    p2wpkh,
    payout,
    vault_description,
    vectors,
)

BIP174: dict[str, Any] = vectors("bip174/psbt_v0_vectors.json")
VAULT = open_vault(vault_description())
SAMPLE = payout(VAULT, coins(VAULT, 2), 2)
Pair = tuple[bytes, bytes]


def maps_of(psbt: Psbt) -> list[list[Pair]]:
    """Split a PSBT into its maps, for tests to change."""
    raw, at = psbt.raw, 5
    maps: list[list[Pair]] = []
    current: list[Pair] = []
    while at < len(raw):
        key, at = _chunk(raw, at)
        if not key:
            maps.append(current)
            current = []
            continue
        value, at = _chunk(raw, at)
        current.append((key, value))
    return maps


def _chunk(raw: bytes, at: int) -> tuple[bytes, int]:
    length, at = raw[at], at + 1
    if length == 0xFD:
        length, at = int.from_bytes(raw[at : at + 2], "little"), at + 2
    return raw[at : at + length], at + length


def write(maps: list[list[Pair]]) -> bytes:
    pairs = [[with_length(key) + with_length(value) for key, value in each] for each in maps]
    return b"psbt\xff" + b"".join(b"".join(each) + b"\x00" for each in pairs)


def changed(place: int, *pairs: Pair) -> bytes:
    """The sample with pairs added to one of its maps: 0 global, 1 and 2 inputs, 3 to 5 outputs."""
    maps = maps_of(SAMPLE)
    maps[place] = sorted([*maps[place], *pairs])
    return write(maps)


def test_what_is_built_reads_back() -> None:
    assert parse_psbt(SAMPLE.raw) == SAMPLE
    assert write(maps_of(SAMPLE)) == SAMPLE.raw
    assert [each.sighash for each in SAMPLE.inputs] == [1, 1]
    assert SAMPLE.outputs[0].key_paths == ()
    assert len(SAMPLE.outputs[-1].key_paths) == 3


@pytest.mark.parametrize("case", BIP174["invalid"], ids=lambda case: case["case"])
def test_every_invalid_psbt_of_bip174_is_refused(case: dict[str, str]) -> None:
    with pytest.raises(InvalidPsbt):
        parse_psbt(bytes.fromhex(case["hex"]))


@pytest.mark.parametrize("case", BIP174["valid"], ids=lambda case: case["case"])
def test_valid_psbts_of_bip174_that_are_no_manifests_are_refused(case: dict[str, str]) -> None:
    """They hold signatures, legacy inputs, unknown fields or nothing: none is a payout of ours.

    One lacks just the fields that make it so: a P2WSH input with its witness script and paths.
    """
    raw = bytes.fromhex(case["hex"])
    with pytest.raises(InvalidPsbt):
        parse_psbt(raw)


@pytest.mark.parametrize("case", BIP174["fails_signer_checks"], ids=lambda case: case["case"])
def test_psbts_that_fail_bip174s_signer_checks_are_refused(case: dict[str, str]) -> None:
    with pytest.raises(InvalidPsbt):
        parse_psbt(bytes.fromhex(case["hex"]))


@pytest.mark.parametrize("name", [name for name in BIP174["workflow_psbts"] if name != "creator"])
def test_signed_and_legacy_psbts_of_bip174s_workflow_are_refused(name: str) -> None:
    with pytest.raises(InvalidPsbt):
        parse_psbt(bytes.fromhex(BIP174["workflow_psbts"][name]["hex"]))


def test_bip174s_bare_psbt_is_read() -> None:
    psbt = parse_psbt(bytes.fromhex(BIP174["workflow_psbts"]["creator"]["hex"]))
    assert psbt.inputs == (PsbtInput(), PsbtInput())


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize(
    "key",
    [b"\xf0abc", b"\xfc\x05other\x00", b"\xfc\x08custodyd\x01", b"\x7f", b"\xfb"],
    ids=["unknown", "proprietary", "own proprietary", "unassigned", "version"],
)
def test_an_unknown_field_is_refused_in_every_map(place: int, key: bytes) -> None:
    raw = changed(place, (key, b"\x00\x00\x00\x00"))
    with pytest.raises(UnknownPsbtField):
        parse_psbt(raw)


def test_wallycore_alone_would_keep_a_global_unknown_field() -> None:
    raw = changed(0, (b"\xf0abc", b"value"))
    assert bytes(wallycore.psbt_to_bytes(wallycore.psbt_from_bytes(raw, 0), 0)) == raw


@pytest.mark.parametrize(
    "pair",
    [
        (b"\x02" + b"\x02" + bytes(31) + b"\x05", bytes(71)),
        (b"\x04", b"\x51"),
        (b"\x07", b"\x51"),
        (b"\x08", b"\x01\x00"),
        (b"\x13", bytes(64)),
        (b"\x18", bytes(31) + b"\x05"),
    ],
    ids=["signature", "redeem script", "final scriptSig", "final witness", "tap sig", "tap root"],
)
def test_signed_final_and_foreign_input_fields_are_refused(pair: Pair) -> None:
    with pytest.raises(UnknownPsbtField):
        parse_psbt(changed(1, pair))


def test_an_extended_key_in_the_global_map_is_refused() -> None:
    with pytest.raises(UnknownPsbtField):
        parse_psbt(changed(0, (b"\x01" + bytes(78), bytes(4))))


@pytest.mark.parametrize("place", range(6))
def test_a_key_given_twice_is_refused(place: int) -> None:
    maps = maps_of(SAMPLE)
    if maps[place]:
        maps[place].append(maps[place][-1])
        with pytest.raises(InvalidPsbt):
            parse_psbt(write(maps))


def test_fields_in_another_order_are_refused() -> None:
    maps = maps_of(SAMPLE)
    maps[1].reverse()
    with pytest.raises(InvalidPsbt, match="ascend"):
        parse_psbt(write(maps))


@given(st.binary(min_size=1, max_size=5))
def test_trailing_bytes_are_refused(more: bytes) -> None:
    with pytest.raises(InvalidPsbt):
        parse_psbt(SAMPLE.raw + more)


@given(st.integers(0, len(SAMPLE.raw) - 1))
def test_a_truncated_psbt_is_refused(length: int) -> None:
    with pytest.raises(InvalidPsbt):
        parse_psbt(SAMPLE.raw[:length])


@settings(max_examples=300)
@given(st.integers(0, len(SAMPLE.raw) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_is_seen(at: int, flip: int) -> None:
    raw = bytearray(SAMPLE.raw)
    raw[at] ^= flip
    with contextlib.suppress(InvalidPsbt):
        parsed = parse_psbt(bytes(raw))
        blind = (parsed.transaction, parsed.inputs, parsed.outputs)
        assert blind != (SAMPLE.transaction, SAMPLE.inputs, SAMPLE.outputs)


@given(st.binary(max_size=300))
def test_any_bytes_after_the_magic_are_refused(tail: bytes) -> None:
    with pytest.raises(InvalidPsbt):
        parse_psbt(b"psbt\xff" + tail)


def test_a_length_that_is_not_the_shortest_is_refused() -> None:
    raw = SAMPLE.raw
    assert raw[5:7] == b"\x01\x00"
    with pytest.raises(InvalidPsbt, match="shortest"):
        parse_psbt(raw[:5] + b"\xfd\x01\x00" + raw[6:])


def test_an_outpoint_spent_twice_is_refused() -> None:
    """wallycore accepts it."""
    coin = SpentCoin(outpoint(1), SEQUENCE, PsbtInput(witness_utxo=TxOut(1_000, p2wpkh(1))))
    output = NewOutput(TxOut(500, p2wpkh(2)))
    with pytest.raises(InvalidPsbt, match="twice"):
        build_psbt([coin, coin], [output], 0)
    parsed = build_psbt([coin], [output], 0)
    doubled = build_transaction([TxIn(outpoint(1), b"", SEQUENCE)] * 2, [TxOut(500, p2wpkh(2))], 0)
    maps = maps_of(parsed)
    raw = write([[(b"\x00", doubled.raw)], maps[1], maps[1], maps[2]])
    assert bytes(wallycore.psbt_to_bytes(wallycore.psbt_from_bytes(raw, 0), 0)) == raw
    with pytest.raises(InvalidPsbt, match="twice"):
        parse_psbt(raw)


def test_a_signed_transaction_inside_is_refused() -> None:
    maps = maps_of(SAMPLE)
    signed = attach_witnesses(SAMPLE.transaction, [(b"\x01",), (b"\x01",)])
    with pytest.raises(InvalidPsbt, match="unsigned"):
        parse_psbt(write([[(b"\x00", signed.raw)], *maps[1:]]))


@pytest.mark.parametrize(
    "value", [b"", b"\x01", b"\x01\x00\x00", b"\x01\x00\x00\x00\x00", b"\x00\x00\x00\x00"]
)
def test_a_malformed_sighash_type_is_refused(value: bytes) -> None:
    maps = maps_of(SAMPLE)
    maps[1] = [(key, value if key == b"\x03" else old) for key, old in maps[1]]
    with pytest.raises(InvalidPsbt):
        parse_psbt(write(maps))


def test_other_sighash_types_are_shown_for_the_rules_to_refuse() -> None:
    maps = maps_of(SAMPLE)
    maps[1] = [(key, b"\x83\x00\x00\x00" if key == b"\x03" else old) for key, old in maps[1]]
    assert parse_psbt(write(maps)).inputs[0].sighash == 0x83


def _previous(value_sat: int) -> tuple[bytes, Outpoint]:
    previous = build_transaction(
        [TxIn(outpoint(3), b"", SEQUENCE)], [TxOut(value_sat, p2wpkh(9))], 0
    )
    return previous.raw, Outpoint(previous.txid, 0)


def test_a_full_previous_transaction_must_be_the_one_spent() -> None:
    raw, spent = _previous(700)
    utxo = TxOut(700, p2wpkh(9))
    output = NewOutput(TxOut(500, p2wpkh(2)))

    def build(fields: PsbtInput, at: Outpoint) -> Callable[[], Psbt]:
        return lambda: build_psbt([SpentCoin(at, SEQUENCE, fields)], [output], 0)

    both = PsbtInput(witness_utxo=utxo, non_witness_utxo=raw)
    assert build(both, spent)().inputs[0] == both
    wrong = [
        build(both, outpoint(3)),
        build(both, Outpoint(spent.txid, 1)),
        build(dataclasses.replace(both, witness_utxo=TxOut(701, p2wpkh(9))), spent),
        build(dataclasses.replace(both, non_witness_utxo=raw + b"\x00"), spent),
    ]
    for attempt in wrong:
        with pytest.raises(InvalidPsbt):
            attempt()


def test_an_amount_that_cannot_exist_is_refused() -> None:
    maps = maps_of(SAMPLE)
    maps[1] = [
        (key, b"\xff" * 8 + value[8:] if key == b"\x01" else value) for key, value in maps[1]
    ]
    with pytest.raises(InvalidPsbt, match="cannot exist"):
        parse_psbt(write(maps))


def test_a_path_for_a_key_that_is_no_point_is_refused() -> None:
    """wallycore would accept a Taproot key off the curve; ours are all checked."""
    off_curve = b"\x06" + b"\x02" + bytes(31) + b"\x05"
    with pytest.raises(InvalidPsbt, match="curve"):
        parse_psbt(changed(1, (off_curve, bytes(8))))


@pytest.mark.parametrize("origin", [b"", bytes(3), bytes(7)])
def test_a_malformed_key_origin_is_refused(origin: bytes) -> None:
    point = SAMPLE.inputs[1].key_paths[0].point
    with pytest.raises(InvalidPsbt, match="origin"):
        parse_psbt(changed(1, (b"\x06" + point, origin)))


def test_bounds_hold_before_anything_is_read() -> None:
    with pytest.raises(InvalidPsbt, match="at most"):
        parse_psbt(bytes(MAX_PSBT_BYTES + 1))
    huge = b"psbt\xff\x01\x00" + compact_size(1 << 40)
    with pytest.raises(InvalidPsbt):
        parse_psbt(huge)
