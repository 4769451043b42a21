"""What wallycore and coincurve do that our code works around.

Each test shows a trap as it is in the pinned version, so that an upgrade that changes one is
noticed, and the place in our code that closes it.
"""

from __future__ import annotations

import coincurve
import pytest
import wallycore

from signer_node.kernel.bitcoin import wally
from signer_node.kernel.bitcoin.bip32 import master_from_seed, parse_xprv
from signer_node.kernel.bitcoin.faults import InvalidKey, InvalidPsbt, InvalidTransaction
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.psbt import parse_psbt
from signer_node.kernel.bitcoin.transaction import parse_transaction
from signer_node.kernel.curve import BadKey, BadSignature, sign_ecdsa, verify_ecdsa
from signer_node.kernel.vault.interface import NotSigned
from signer_node.kernel.vault.registry import open_vault
from tests.kernel.bitcoin_samples import coins, payout, vault_description, vectors

VAULT = open_vault(vault_description())
SPENT = coins(VAULT, 2)
PSBT = payout(VAULT, SPENT, 2)
SECRET = bytes(31) + b"\x07"


def test_wallycore_reads_a_psbt_with_trailing_bytes_and_loses_them() -> None:
    longer = PSBT.raw + b"\x00"
    assert bytes(wallycore.psbt_to_bytes(wallycore.psbt_from_bytes(longer, 0), 0)) == PSBT.raw
    with pytest.raises(InvalidPsbt):
        parse_psbt(longer)


def test_wallycore_finalises_with_one_signature_of_two_and_says_nothing() -> None:
    """`verify_signed` counts and verifies; we do not finalise by wallycore."""
    psbt = wallycore.psbt_from_bytes(PSBT.raw, 0)
    point = PSBT.inputs[0].key_paths[0].point
    wallycore.psbt_add_input_signature(psbt, 0, point, sign_ecdsa(SECRET, bytes(32)) + b"\x01")
    wallycore.psbt_finalize(psbt)
    assert not wallycore.psbt_is_finalized(psbt)
    with pytest.raises(NotSigned):
        VAULT.verify_signed(SPENT, PSBT.transaction)


def test_wallycore_takes_a_signature_that_does_not_verify() -> None:
    psbt = wallycore.psbt_from_bytes(PSBT.raw, 0)
    forged = sign_ecdsa(SECRET, bytes(32)) + b"\x01"
    for at, fields in enumerate(PSBT.inputs):
        for key_path in fields.key_paths[:2]:
            wallycore.psbt_add_input_signature(psbt, at, key_path.point, forged)
    wallycore.psbt_finalize(psbt)
    assert wallycore.psbt_is_finalized(psbt)
    extracted = bytes(wallycore.tx_to_bytes(wallycore.psbt_extract(psbt), 1))
    with pytest.raises(NotSigned):
        VAULT.verify_signed(SPENT, parse_transaction(extracted))


def test_wallycore_says_nothing_about_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"^Invalid argument$"):
        wallycore.psbt_from_bytes(b"psbt\xff", 0)
    with pytest.raises(InvalidPsbt, match="wallycore"):
        wally.reserialize_psbt(b"psbt\xff")


def test_wallycore_lets_a_master_key_have_a_number() -> None:
    """BIP-32's invalid vectors; `parse_xprv` looks at the fields itself."""
    cases = vectors("bip32/bip32_vectors.json")["invalid_extended_keys"]
    taken = []
    for case in cases:
        try:
            wallycore.bip32_key_from_base58(case["key"])
        except ValueError:
            continue
        taken.append(case)
    assert {case["reason"] for case in taken} <= {
        "zero depth with non-zero index",
        "zero depth with non-zero parent fingerprint",
    }
    assert taken
    for case in taken:
        with pytest.raises(InvalidKey):
            parse_xprv(case["key"], Network.MAIN)


def test_wallycores_ecdsa_nonce_is_rfc6979s_and_not_ground() -> None:
    for number in range(64):
        digest = number.to_bytes(32, "big")
        assert wally.sign_ecdsa(SECRET, digest) == sign_ecdsa(SECRET, digest)


def test_wallycore_reads_a_transaction_with_long_compact_sizes() -> None:
    """Its hash would not be of the bytes that came; our reader refuses them."""
    raw = PSBT.transaction.raw
    longer = raw[:4] + b"\xfd\x02\x00" + raw[5:]
    assert raw[4] == 2
    assert bytes(wallycore.tx_to_bytes(wallycore.tx_from_bytes(longer, 0), 0)) == raw
    with pytest.raises(InvalidTransaction, match="shortest"):
        parse_transaction(longer)


def test_coincurve_pads_a_short_secret_silently() -> None:
    assert coincurve.PrivateKey(b"\x07").secret == SECRET
    with pytest.raises(BadKey):
        sign_ecdsa(b"\x07", bytes(32))


def test_coincurves_der_parser_takes_what_bip66_does_not() -> None:
    """A byte after the signature or a length in the long form; we compare with its own writing."""
    digest = bytes(32)
    der = sign_ecdsa(SECRET, digest)
    point = coincurve.PrivateKey(SECRET).public_key.format()
    for loose in (der + b"\x00", b"\x30\x81" + der[1:], b"\x30\x80" + der[2:] + b"\x00\x00", b""):
        with pytest.raises(BadSignature):
            verify_ecdsa(point, digest, loose)


def test_no_failure_of_wallycore_shows_its_argument() -> None:
    seed = b"\x5a" * 70
    with pytest.raises(InvalidKey) as caught:
        master_from_seed(seed, Network.REGTEST)
    shown = repr(caught.value) + repr(caught.value.__cause__) + str(caught.value)
    assert "5a5a" not in shown
    assert "ZZ" not in shown
