"""sighash: BIP-143's hashes, checked by its vectors and by wallycore."""

from __future__ import annotations

from typing import Any

import pytest
import wallycore
from hypothesis import given
from hypothesis import strategies as st

from signer_node.kernel.bitcoin.faults import InvalidTransaction
from signer_node.kernel.bitcoin.serial import sha256d
from signer_node.kernel.bitcoin.sighash import (
    SighashType,
    segwit_midstates,
    segwit_v0_sighash,
)
from signer_node.kernel.bitcoin.transaction import Transaction, parse_transaction
from signer_node.kernel.curve import verify_ecdsa
from tests.kernel.bitcoin_samples import vectors
from tests.kernel.test_bitcoin_transaction import transactions

EXAMPLE: dict[str, Any] = vectors("bip143/vectors.json")["p2sh_p2wsh_6_of_6"]


@pytest.mark.parametrize("case", EXAMPLE["cases"], ids=lambda case: case["sighash_type"])
def test_bip143_p2wsh_multisig_with_every_sighash_type(case: dict[str, str]) -> None:
    transaction = parse_transaction(bytes.fromhex(EXAMPLE["unsigned_tx"]))
    kind = SighashType[case["sighash_type"].replace("|", "_")]
    script = bytes.fromhex(EXAMPLE["witness_script"])
    digest = segwit_v0_sighash(
        transaction, EXAMPLE["input_index"], script, EXAMPLE["amount_sat"], kind
    )
    assert digest.hex() == case["sighash"]
    signature = bytes.fromhex(case["signature"])
    if signature[-1] == kind and len(signature) > 70:
        signature = signature[:-1]
    verify_ecdsa(bytes.fromhex(case["public_key"]), digest, signature)


@pytest.mark.parametrize(
    "case",
    vectors("bip143/vectors.json")["native_p2wsh_preimages"],
    ids=lambda case: case["sighash"],
)
def test_bip143_native_preimages_hash_to_the_stated_digest(case: dict[str, str]) -> None:
    assert sha256d(bytes.fromhex(case["preimage"])).hex() == case["sighash"]


@given(
    transactions(),
    st.sampled_from(SighashType),
    st.binary(min_size=1, max_size=300),
    st.integers(0, 21 * 10**14),
    st.data(),
)
def test_our_hash_is_wallycores(
    transaction: Transaction, kind: SighashType, script: bytes, value_sat: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(transaction.inputs) - 1))
    if kind is SighashType.DEFAULT:
        kind = SighashType.ALL
    parsed = wallycore.tx_from_bytes(transaction.raw, wallycore.WALLY_TX_FLAG_USE_WITNESS)
    expected = wallycore.tx_get_btc_signature_hash(
        parsed, index, script, value_sat, int(kind), wallycore.WALLY_TX_FLAG_USE_WITNESS
    )
    assert segwit_v0_sighash(transaction, index, script, value_sat, kind) == bytes(expected)
    shared = segwit_midstates(transaction)
    assert segwit_v0_sighash(shared, index, script, value_sat, kind) == bytes(expected)


def test_an_input_that_is_not_there_has_no_hash() -> None:
    transaction = parse_transaction(bytes.fromhex(EXAMPLE["unsigned_tx"]))
    for index in (-1, 1):
        with pytest.raises(InvalidTransaction):
            segwit_v0_sighash(transaction, index, b"\x51", 1)
