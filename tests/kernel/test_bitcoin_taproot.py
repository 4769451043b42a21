"""Taproot as our vaults use it: BIP-341's key path, BIP-86, BIP-328, BIP-371, by their vectors."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
import wallycore
from hypothesis import given
from hypothesis import strategies as st

from signer_node.kernel.bitcoin import bip32
from signer_node.kernel.bitcoin.address import address_from_script
from signer_node.kernel.bitcoin.descriptor import descriptor_script, tr_descriptor
from signer_node.kernel.bitcoin.faults import (
    InvalidKey,
    InvalidPsbt,
    InvalidTransaction,
    UnknownPsbtField,
)
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.psbt import PsbtInput, PsbtOutput, parse_psbt
from signer_node.kernel.bitcoin.sighash import (
    SighashType,
    TaprootMidstates,
    taproot_key_sighash,
    taproot_midstates,
)
from signer_node.kernel.bitcoin.transaction import Transaction, TxOut, parse_transaction
from signer_node.kernel.curve import (
    point_from_secret,
    sign_schnorr,
    tagged_hash,
    verify_schnorr,
    xonly_from_secret,
)
from signer_node.kernel.frost.points import ORDER, cpoint
from signer_node.kernel.frost.tweaking import TweakContext, apply_tweak, tweak_ctx_init
from tests.kernel.bitcoin_samples import vectors
from tests.kernel.test_bitcoin_transaction import transactions

BIP341: dict[str, Any] = vectors("bip341/wallet-test-vectors.json")
BIP371: dict[str, Any] = vectors("bip371/psbt_taproot_vectors.json")
BIP86: dict[str, Any] = vectors("bip86/bip86_vectors.json")
BIP328: list[dict[str, Any]] = vectors("bip328/vectors.json")
BIP328_CHAIN_CODE = bytes.fromhex(
    "868087ca02a6f974c4598924c36b57762d32cb45717167e300622c7167e38965"
)
SPENDING = BIP341["keyPathSpending"][0]
KEY_ONLY = "P2TR key only"


def tweaked(internal_key: bytes, merkle_root: bytes = b"") -> TweakContext:
    tweak = tagged_hash("TapTweak", internal_key + merkle_root)
    return apply_tweak(tweak_ctx_init(cpoint(b"\x02" + internal_key)), tweak, is_xonly=True)


# --- BIP-341 ---


@pytest.mark.parametrize("case", BIP341["scriptPubKey"])
def test_bip341_output_keys_and_addresses(case: dict[str, Any]) -> None:
    root = bytes.fromhex(case["intermediary"]["merkleRoot"] or "")
    output = tweaked(bytes.fromhex(case["given"]["internalPubkey"]), root)
    script = b"\x51\x20" + output.xonly_pk
    assert output.xonly_pk.hex() == case["intermediary"]["tweakedPubkey"]
    assert script.hex() == case["expected"]["scriptPubKey"]
    assert address_from_script(script, Network.MAIN) == case["expected"]["bip350Address"]


def midstates() -> TaprootMidstates:
    transaction = parse_transaction(bytes.fromhex(SPENDING["given"]["rawUnsignedTx"]))
    spent = [
        TxOut(coin["amountSats"], bytes.fromhex(coin["scriptPubKey"]))
        for coin in SPENDING["given"]["utxosSpent"]
    ]
    return taproot_midstates(transaction, spent)


def test_bip341_hashes_that_inputs_share() -> None:
    shared, expected = midstates(), SPENDING["intermediary"]
    assert shared.amounts.hex() == expected["hashAmounts"]
    assert shared.outputs.hex() == expected["hashOutputs"]
    assert shared.prevouts.hex() == expected["hashPrevouts"]
    assert shared.scripts.hex() == expected["hashScriptPubkeys"]
    assert shared.sequences.hex() == expected["hashSequences"]


@pytest.mark.parametrize(
    "case", SPENDING["inputSpending"], ids=lambda case: f"input {case['given']['txinIndex']}"
)
def test_bip341_signature_hashes_and_witnesses(case: dict[str, Any]) -> None:
    given, found = case["given"], case["intermediary"]
    digest = taproot_key_sighash(midstates(), given["txinIndex"], given["hashType"])
    assert digest.hex() == found["sigHash"]
    assert tagged_hash("TapSighash", bytes.fromhex(found["sigMsg"])) == digest
    secret = bytes.fromhex(found["tweakedPrivkey"])
    assert (
        xonly_from_secret(bytes.fromhex(given["internalPrivkey"])).hex()
        == (found["internalPubkey"])
    )
    witness = bytes.fromhex(case["expected"]["witness"][0])
    assert sign_schnorr(secret, digest, bytes(32)) == witness[:64]
    suffix = bytes((given["hashType"],)) if given["hashType"] else b""
    assert witness[64:] == suffix
    root = bytes.fromhex(given["merkleRoot"] or "")
    output = tweaked(bytes.fromhex(found["internalPubkey"]), root)
    verify_schnorr(output.xonly_pk, digest, witness[:64])


def test_a_sighash_is_refused_where_bip341_has_none() -> None:
    shared = midstates()
    with pytest.raises(InvalidTransaction, match="no input"):
        taproot_key_sighash(shared, 9)
    for kind in (4, 0x80, 0x84, 256, -1):
        with pytest.raises(InvalidTransaction, match="sighash type"):
            taproot_key_sighash(shared, 0, kind)
    with pytest.raises(InvalidTransaction, match="SINGLE"):
        taproot_key_sighash(shared, 8, SighashType.SINGLE)
    with pytest.raises(InvalidTransaction, match="spent outputs"):
        taproot_midstates(shared.transaction, shared.spent[1:])


@given(transactions(), st.sampled_from(SighashType), st.data())
def test_our_taproot_hash_is_wallycores(
    transaction: Transaction, kind: SighashType, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(transaction.inputs) - 1))
    if kind & 3 == SighashType.SINGLE and at >= len(transaction.outputs):
        return
    scripts = st.binary(min_size=32, max_size=32).map(lambda key: b"\x51\x20" + key)
    amounts = st.integers(0, 21 * 10**14)
    spent = [TxOut(data.draw(amounts), data.draw(scripts)) for _ in transaction.inputs]
    theirs = wallycore.tx_from_bytes(transaction.raw, 0)
    held = wallycore.map_init(len(spent), None)
    for number, coin in enumerate(spent):
        wallycore.map_add_integer(held, number, coin.script)
    digest = wallycore.tx_get_btc_taproot_signature_hash(
        theirs, at, held, [coin.value_sat for coin in spent], None, 0, 0xFFFFFFFF, None, kind, 0
    )
    assert taproot_key_sighash(taproot_midstates(transaction, spent), at, kind) == bytes(digest)


def test_every_spent_coin_is_signed_by_every_input() -> None:
    """What BIP-143 has not: one input's amount or script changes every input's hash."""
    shared = midstates()
    first = shared.spent[0]
    for other in (TxOut(first.value_sat + 1, first.script), TxOut(first.value_sat, b"\x51")):
        changed = taproot_midstates(shared.transaction, [other, *shared.spent[1:]])
        for at in range(len(shared.spent)):
            assert taproot_key_sighash(changed, at) != taproot_key_sighash(shared, at)


# --- BIP-86, BIP-328, derivation ---


def test_bip86_derivation_keys_and_addresses() -> None:
    account = BIP86["derivations"][0]
    root = bip32.parse_xprv(BIP86["rootpriv"], Network.MAIN)
    assert root.xpub() == BIP86["rootpub"]
    public = bip32.parse_xpub(account["xpub"], Network.MAIN)
    for case in BIP86["derivations"]:
        derived = root.branch(bip32.parse_path(case["path"]))
        assert (derived.xprv(), derived.xpub()) == (case["xprv"], case["xpub"])
        if "address" in case:
            chain, index = bip32.parse_path(case["path"])[-2:]
            point, _tweak = public.branch(chain).tweaked_child(index)
            assert point[1:].hex() == case["internal_key"]
            output = tweaked(point[1:])
            script = b"\x51\x20" + output.xonly_pk
            assert output.xonly_pk.hex() == case["output_key"]
            assert script.hex() == case["scriptPubKey"]
            assert address_from_script(script, Network.MAIN) == case["address"]


@pytest.mark.parametrize("case", BIP328)
def test_bip328_synthetic_xpubs(case: dict[str, Any]) -> None:
    point = bytes.fromhex(case["aggregate_pubkey"])
    assert bip32.synthetic_xpub(point, BIP328_CHAIN_CODE, Network.MAIN) == case["xpub"]


@given(
    st.integers(1, ORDER - 1),
    st.binary(min_size=32, max_size=32).filter(any),
    st.integers(0, 1),
    st.integers(0, bip32.HARDENED - 1),
)
def test_a_childs_tweak_is_the_sum_of_bip32s(
    secret: int, chain_code: bytes, chain: int, index: int
) -> None:
    point = point_from_secret(secret.to_bytes(32, "big"))
    root = bip32.parse_xpub(
        bip32.synthetic_xpub(point, chain_code, Network.REGTEST), Network.REGTEST
    )
    found, tweak = root.branch(chain).tweaked_child(index)
    expected, key, code = 0, point, chain_code
    for step in (chain, index):
        mac = hmac.new(code, key + step.to_bytes(4, "big"), hashlib.sha512).digest()
        expected += int.from_bytes(mac[:32], "big")
        key, code = cpoint(key).add(mac[:32]).format(), mac[32:]
    assert (found, int.from_bytes(tweak, "big")) == (key, expected % ORDER)
    child = apply_tweak(tweak_ctx_init(cpoint(point)), tweak, is_xonly=False)
    assert child.plain_pk == found


def test_no_xpub_of_what_is_no_key() -> None:
    point = point_from_secret(b"\x05" * 32)
    for key, code in (
        (point[1:], bytes(32)),
        (point, bytes(31)),
        (b"\x02" + b"\xff" * 32, bytes(32)),
    ):
        with pytest.raises(InvalidKey):
            bip32.synthetic_xpub(key, code, Network.REGTEST)


def test_a_descriptor_of_one_key_is_read_by_wallycore() -> None:
    point = point_from_secret(b"\x05" * 32)
    xpub = bip32.synthetic_xpub(point, b"\x07" * 32, Network.REGTEST)
    descriptor = tr_descriptor(xpub, Network.REGTEST)
    assert descriptor.startswith(f"tr([9d695474]{xpub}/<0;1>/*)#")
    child, _tweak = bip32.parse_xpub(xpub, Network.REGTEST).branch(1).tweaked_child(5)
    assert descriptor_script(descriptor, 1, 5) == b"\x51\x20" + tweaked(child[1:]).xonly_pk
    with pytest.raises(InvalidKey):
        tr_descriptor(xpub, Network.MAIN)


# --- BIP-371 ---


@pytest.mark.parametrize("case", BIP371["valid"], ids=lambda case: case["case"])
def test_bip371_valid_psbts_are_read_as_far_as_custody_goes(case: dict[str, str]) -> None:
    """Key path fields are read; scripts, trees and signatures have no place in a manifest."""
    raw = bytes.fromhex(case["hex"])
    ours = KEY_ONLY in case["case"] and "signature" not in case["case"]
    if not ours:
        with pytest.raises(UnknownPsbtField):
            parse_psbt(raw)
        return
    psbt = parse_psbt(raw)
    told: list[PsbtInput | PsbtOutput] = [*psbt.inputs, *psbt.outputs]
    found = [one for one in told if one.tap_internal_key]
    assert len(found) == (2 if "output" in case["case"] else 1)
    for one in found:
        assert [path.key for path in one.tap_key_paths] == [one.tap_internal_key]
    paths = [path.path for one in found for path in one.tap_key_paths]
    at = len(bip32.parse_path("m/86h/1h/0h"))
    assert {path[:at] for path in paths} == {bip32.parse_path("m/86h/1h/0h")}


@pytest.mark.parametrize("case", BIP371["invalid"], ids=lambda case: case["case"])
def test_bip371_invalid_psbts_are_refused(case: dict[str, str]) -> None:
    with pytest.raises(InvalidPsbt):
        parse_psbt(bytes.fromhex(case["hex"]))
