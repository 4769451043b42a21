"""address: five kinds of script, each with one address in each network."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer_node.kernel.bitcoin.address import (
    ScriptType,
    address_from_script,
    dust_threshold_sat,
    is_dust,
    script_from_address,
    script_type,
)
from signer_node.kernel.bitcoin.faults import InvalidAddress
from signer_node.kernel.bitcoin.network import Network, network_from_name
from signer_node.kernel.bitcoin.transaction import TxOut
from signer_node.kernel.curve import xonly_from_secret
from tests.kernel.bitcoin_samples import vectors

NETWORKS = [Network.MAIN, Network.SIGNET, Network.REGTEST]
ON_CURVE = xonly_from_secret(bytes(31) + b"\x05")
hashes20 = st.binary(min_size=20, max_size=20)
hashes32 = st.binary(min_size=32, max_size=32)
payable = st.one_of(
    hashes20.map(lambda hash_: b"\x76\xa9\x14" + hash_ + b"\x88\xac"),
    hashes20.map(lambda hash_: b"\xa9\x14" + hash_ + b"\x87"),
    hashes20.map(lambda hash_: b"\x00\x14" + hash_),
    hashes32.map(lambda hash_: b"\x00\x20" + hash_),
    st.just(b"\x51\x20" + ON_CURVE),
)


def _bip350(name: str) -> list[dict[str, str]]:
    cases: list[dict[str, str]] = vectors("bip350/vectors.json")[name]
    return cases


@pytest.mark.parametrize("case", _bip350("valid_addresses"), ids=lambda case: case["address"])
def test_bip350_valid_addresses(case: dict[str, str]) -> None:
    """Those of BIP-141's versions that have rules are read; the others are refused knowingly."""
    prefix = case["address"].lower().split("1")[0]
    network = Network.MAIN if prefix == "bc" else Network.SIGNET
    script = bytes.fromhex(case["script_pubkey"])
    if script_type(script) is ScriptType.UNKNOWN:
        with pytest.raises(InvalidAddress, match="none of"):
            script_from_address(case["address"], network)
        return
    assert script_from_address(case["address"], network) == script
    assert address_from_script(script, network) == case["address"].lower()


@pytest.mark.parametrize("case", _bip350("invalid_addresses"), ids=lambda case: case["reason"])
@pytest.mark.parametrize("network", NETWORKS)
def test_bip350_invalid_addresses(case: dict[str, str], network: Network) -> None:
    with pytest.raises(InvalidAddress):
        script_from_address(case["address"], network)


@pytest.mark.parametrize(
    "text",
    [entry["string"] for entry in _bip350("invalid_bech32m")]
    + vectors("bip350/vectors.json")["valid_bech32m"],
)
def test_bech32m_strings_that_are_no_address_are_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        script_from_address(text, Network.MAIN)


@given(payable, st.sampled_from(NETWORKS))
def test_script_and_address_belong_to_each_other(script: bytes, network: Network) -> None:
    address = address_from_script(script, network)
    assert script_from_address(address, network) == script


@given(payable, st.sampled_from(NETWORKS), st.sampled_from(NETWORKS))
def test_an_address_of_another_network_is_refused(
    script: bytes, network: Network, other: Network
) -> None:
    """Base58 addresses of signet and regtest are the same strings: nothing tells them apart."""
    address = address_from_script(script, network)
    if address_from_script(script, other) != address:
        with pytest.raises(InvalidAddress):
            script_from_address(address, other)


@given(payable, st.data())
def test_an_address_with_one_wrong_character_is_refused(script: bytes, data: st.DataObject) -> None:
    address = address_from_script(script, Network.MAIN)
    at = data.draw(st.integers(0, len(address) - 1))
    letter = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    changed = address[:at] + letter + address[at + 1 :]
    if changed != address and changed.lower() != address:
        with pytest.raises(InvalidAddress):
            script_from_address(changed, Network.MAIN)


@given(st.text(max_size=100))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidAddress):
        script_from_address(text, Network.MAIN)


@given(st.binary(max_size=45))
def test_any_other_script_has_no_address(script: bytes) -> None:
    if script_type(script) is ScriptType.UNKNOWN:
        with pytest.raises(InvalidAddress):
            address_from_script(script, Network.MAIN)


def test_a_taproot_output_that_nobody_can_spend_is_refused() -> None:
    off_curve = b"\x51\x20" + bytes(31) + b"\x05"
    with pytest.raises(InvalidAddress, match="no point"):
        address_from_script(off_curve, Network.MAIN)


@pytest.mark.parametrize(
    ("script", "threshold_sat"),
    [
        (b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", 546),
        (b"\xa9\x14" + bytes(20) + b"\x87", 540),
        (b"\x00\x14" + bytes(20), 294),
        (b"\x00\x20" + bytes(32), 330),
        (b"\x51\x20" + ON_CURVE, 330),
        (b"\x6a\x01\x00", 0),
    ],
)
def test_dust_is_what_bitcoin_core_says(script: bytes, threshold_sat: int) -> None:
    assert dust_threshold_sat(script) == threshold_sat
    assert not is_dust(TxOut(threshold_sat, script))
    assert threshold_sat == 0 or is_dust(TxOut(threshold_sat - 1, script))


def test_networks_have_names_and_unknown_has_no_parameters() -> None:
    for network in NETWORKS:
        assert network_from_name(network.parameters.name) is network
    with pytest.raises(ValueError, match="none of"):
        network_from_name("testnet")
    with pytest.raises(ValueError, match="unknown"):
        _ = Network.UNKNOWN.parameters
