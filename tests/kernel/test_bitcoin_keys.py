"""bip32, descriptor, words: keys and what people read of them."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer_node.kernel.bitcoin import bip32, wally
from signer_node.kernel.bitcoin.descriptor import (
    MAX_COSIGNERS,
    KeyOrigin,
    descriptor_script,
    wsh_sortedmulti_descriptor,
)
from signer_node.kernel.bitcoin.faults import InvalidDescriptor, InvalidKey, InvalidWords
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.words import digest_from_words, words_from_digest
from signer_node.kernel.curve import point_from_secret, sign_ecdsa
from signer_node.kernel.vault.wsh_sortedmulti import multisig_script
from tests.kernel.bitcoin_samples import cosigners, vectors

BIP32: dict[str, Any] = vectors("bip32/bip32_vectors.json")
PATH = bip32.multisig_account_path(Network.REGTEST)
seeds = st.binary(min_size=32, max_size=32)
unhardened = st.integers(0, bip32.HARDENED - 1)


def _chains() -> list[tuple[str, dict[str, str]]]:
    return [(vector["seed"], chain) for vector in BIP32["vectors"] for chain in vector["chains"]]


@pytest.mark.parametrize(("seed", "chain"), _chains())
def test_bip32_vectors(seed: str, chain: dict[str, str]) -> None:
    master = bip32.master_from_seed(bytes.fromhex(seed), Network.MAIN)
    derived = master.branch(bip32.parse_path(chain["path"]))
    assert derived.xpub() == chain["xpub"]
    assert derived.xprv() == chain["xprv"]
    assert bip32.parse_xpub(chain["xpub"], Network.MAIN).point == derived.point()
    assert bip32.parse_xprv(chain["xprv"], Network.MAIN).secret() == derived.secret()


@pytest.mark.parametrize("case", BIP32["invalid_extended_keys"], ids=lambda case: case["reason"])
def test_bip32_invalid_extended_keys(case: dict[str, str]) -> None:
    for parse in (bip32.parse_xpub, bip32.parse_xprv):
        with pytest.raises(InvalidKey):
            parse(case["key"], Network.MAIN)


@given(seeds, unhardened, unhardened)
def test_public_and_secret_derivation_agree(seed: bytes, chain: int, index: int) -> None:
    account = bip32.master_from_seed(seed, Network.REGTEST).branch(PATH)
    public = bip32.parse_xpub(account.xpub(), Network.REGTEST)
    secret = account.branch((chain,)).child_secret(index)
    assert public.branch(chain).child_point(index) == point_from_secret(secret)


@given(seeds, unhardened, st.binary(min_size=32, max_size=32))
def test_a_child_signs_as_its_secret_would(seed: bytes, index: int, digest: bytes) -> None:
    master = bip32.master_from_seed(seed, Network.REGTEST)
    assert master.sign_child(index, digest) == sign_ecdsa(master.child_secret(index), digest)


@given(st.lists(st.integers(0, (1 << 32) - 1), max_size=10))
def test_paths_are_written_and_read(steps: list[int]) -> None:
    text = "/".join(["m", *filter(None, [bip32.format_path(steps)])])
    assert bip32.parse_path(text) == tuple(steps)
    assert bip32.parse_path(text.replace("h", "'")) == tuple(steps)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0/1",
        "m/",
        "m//1",
        "m/x",
        "m/-1",
        "m/+1",
        "m/1H",
        "m/2147483648",
        "m/01",
        "m/1hh",
        "m/٣",
    ],
)
def test_other_texts_are_no_path(text: str) -> None:
    with pytest.raises(InvalidKey):
        bip32.parse_path(text)


def test_an_extended_key_of_another_network_or_kind_is_refused() -> None:
    account = bip32.master_from_seed(bytes(32), Network.MAIN).branch(PATH)
    for wrong in (account.xprv(), account.xpub() + "1", " " + account.xpub(), "", "x" * 200):
        with pytest.raises(InvalidKey):
            bip32.parse_xpub(wrong, Network.MAIN)
    with pytest.raises(InvalidKey, match="network"):
        bip32.parse_xpub(account.xpub(), Network.REGTEST)
    with pytest.raises(InvalidKey):
        bip32.parse_xprv(account.xpub(), Network.MAIN)


def test_a_hardened_step_is_not_derived_from_a_public_key() -> None:
    account = bip32.parse_xpub(cosigners()[0].xpub, Network.REGTEST)
    with pytest.raises(InvalidKey):
        account.child_point(bip32.HARDENED)


def test_a_secret_key_shows_nothing_and_is_not_pickled() -> None:
    master = bip32.master_from_seed(b"\x07" * 32, Network.REGTEST)
    assert repr(master) == "SecretBranch(...)"
    with pytest.raises(TypeError):
        pickle.dumps(master)


def test_a_seed_of_another_length_is_refused_without_being_shown() -> None:
    with pytest.raises(InvalidKey) as caught:
        bip32.master_from_seed(b"\x07" * 5, Network.REGTEST)
    assert "07" not in str(caught.value)


# --- descriptors ---


def origins() -> list[KeyOrigin]:
    return [KeyOrigin(each.fingerprint, PATH, each.xpub) for each in cosigners()]


@pytest.mark.parametrize(
    "case", vectors("bip67/vectors.json"), ids=lambda case: case["p2sh_address"]
)
def test_bip67_scripts(case: dict[str, Any]) -> None:
    points = [bytes.fromhex(point) for point in case["list"]]
    assert multisig_script(case["threshold"], points).hex() == case["script"]


@pytest.mark.parametrize("case", vectors("bip383/vectors.json")["valid"])
def test_bip383_descriptors_give_the_stated_scripts(case: dict[str, Any]) -> None:
    """wallycore reads up to 15 keys, which is why our vaults have no more."""
    keys = case["descriptor"].count(",")
    parsed = wally.parse_descriptor(case["descriptor"], checksum_required=False)
    if keys > MAX_COSIGNERS:
        with pytest.raises(InvalidDescriptor):
            wally.descriptor_script(parsed, 0, 0)
        return
    scripts = [wally.descriptor_script(parsed, 0, at).hex() for at in range(len(case["scripts"]))]
    assert scripts == case["scripts"]


@pytest.mark.parametrize(
    "case", vectors("bip383/vectors.json")["invalid"], ids=lambda case: case["reason"]
)
def test_bip383_invalid_descriptors(case: dict[str, str]) -> None:
    with pytest.raises(InvalidDescriptor):
        descriptor_script(case["descriptor"], 0, 0)


def test_a_descriptor_needs_its_right_checksum() -> None:
    text = wsh_sortedmulti_descriptor(2, origins(), Network.REGTEST)
    assert descriptor_script(text, 0, 0) != descriptor_script(text, 1, 0)
    body, checksum = text.split("#")
    for wrong in (body, body + "#", f"{body}#{checksum[::-1]}", text.replace("2,", "1,", 1)):
        with pytest.raises(InvalidDescriptor):
            descriptor_script(wrong, 0, 0)


def test_the_same_key_twice_is_refused() -> None:
    """wallycore accepts it; one cosigner would then count as two."""
    first, second, _third = origins()
    twice = f"wsh(sortedmulti(2,{first.xpub}/<0;1>/*,{first.xpub}/<0;1>/*))"
    assert wally.parse_descriptor(twice, checksum_required=False) is not None
    with pytest.raises(InvalidDescriptor, match="same key twice"):
        wsh_sortedmulti_descriptor(2, [first, second, first], Network.REGTEST)


@pytest.mark.parametrize("threshold", [0, -1, 4])
def test_a_threshold_outside_of_its_keys_is_refused(threshold: int) -> None:
    with pytest.raises(InvalidDescriptor):
        wsh_sortedmulti_descriptor(threshold, origins(), Network.REGTEST)


# --- words ---


@given(st.binary(min_size=32, max_size=32))
def test_a_digest_is_24_words_and_back(digest: bytes) -> None:
    words = words_from_digest(digest)
    assert len(words) == 24
    assert digest_from_words(" ".join(words)) == digest
    assert digest_from_words("\n  ".join(words).upper() + "\n") == digest


@given(st.binary(min_size=32, max_size=32), st.integers(0, 23), st.integers(0, 22))
def test_exchanged_or_missing_words_are_noticed_or_are_another_digest(
    digest: bytes, first: int, second: int
) -> None:
    words = list(words_from_digest(digest))
    with pytest.raises(InvalidWords):
        digest_from_words(" ".join(words[:first] + words[first + 1 :]))
    words[first], words[second] = words[second], words[first]
    with contextlib.suppress(InvalidWords):
        changed = digest_from_words(" ".join(words))
        assert (changed == digest) == (words == list(words_from_digest(digest)))


def test_the_known_bip39_words_of_zero() -> None:
    assert words_from_digest(bytes(32)) == ("abandon",) * 23 + ("art",)


@pytest.mark.parametrize("digest", [b"", bytes(16), bytes(31), bytes(33)])
def test_only_a_whole_digest_has_words(digest: bytes) -> None:
    with pytest.raises(InvalidWords):
        words_from_digest(digest)


@pytest.mark.parametrize(
    "text", ["", "abandon", " ".join(["abandon"] * 24), " ".join(["notaword"] * 24), "art " * 4000]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InvalidWords):
        digest_from_words(text)
