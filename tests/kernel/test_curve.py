"""curve: BIP-340 and ECDSA signatures are accepted in their only encoding, and made so."""

from __future__ import annotations

import csv
import hashlib

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer_node.kernel import curve
from tests.kernel.bitcoin_samples import VECTORS, vectors

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SECRET = bytes(31) + b"\x07"
DIGEST = hashlib.sha256(b"digest").digest()
secrets = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32)


def _bip340() -> list[dict[str, str]]:
    with (VECTORS / "bip340" / "test-vectors.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", _bip340(), ids=lambda row: row["index"])
def test_bip340_vectors(row: dict[str, str]) -> None:
    key, message = bytes.fromhex(row["public key"]), bytes.fromhex(row["message"])
    signature = bytes.fromhex(row["signature"])
    valid = row["verification result"] == "TRUE"
    if len(message) != 32:
        # Our documents sign digests only; coincurve itself agrees with BIP-340 on these.
        assert coincurve.PublicKeyXOnly(key).verify(signature, message) is valid
        with pytest.raises(ValueError, match="digest"):
            curve.verify_schnorr(key, message, signature)
        return
    if row["secret key"]:
        secret, aux = bytes.fromhex(row["secret key"]), bytes.fromhex(row["aux_rand"])
        assert curve.xonly_from_secret(secret) == key
        assert curve.sign_schnorr(secret, message, aux) == signature
    if valid:
        curve.verify_schnorr(key, message, signature)
    else:
        with pytest.raises(curve.BadSignature):
            curve.verify_schnorr(key, message, signature)


def _wycheproof() -> list[tuple[bytes, dict[str, str]]]:
    groups = vectors("wycheproof/ecdsa_secp256k1_sha256_bitcoin_test.json")["testGroups"]
    return [
        (bytes.fromhex(group["publicKey"]["uncompressed"]), case)
        for group in groups
        for case in group["tests"]
    ]


def test_wycheproof_ecdsa_vectors_all_agree() -> None:
    cases = _wycheproof()
    assert len(cases) == 463
    wrong = []
    for uncompressed, case in cases:
        point = coincurve.PublicKey(uncompressed).format(compressed=True)
        digest = hashlib.sha256(bytes.fromhex(case["msg"])).digest()
        try:
            curve.verify_ecdsa(point, digest, bytes.fromhex(case["sig"]))
            accepted = True
        except curve.BadSignature:
            accepted = False
        if accepted != (case["result"] == "valid"):
            wrong.append((case["tcId"], case["comment"], case["result"]))
    assert wrong == []


@given(secrets, digests)
def test_an_ecdsa_signature_is_low_s_strict_der_and_verifies(secret: bytes, digest: bytes) -> None:
    der = curve.sign_ecdsa(secret, digest)
    assert len(der) <= 71
    curve.verify_ecdsa(curve.point_from_secret(secret), digest, der)
    assert curve.sign_ecdsa(secret, digest) == der


@given(secrets, digests)
def test_a_high_s_twin_is_refused(secret: bytes, digest: bytes) -> None:
    der = curve.sign_ecdsa(secret, digest)
    r_length = der[3]
    r = der[4 : 4 + r_length]
    s = int.from_bytes(der[6 + r_length :], "big")
    high = (ORDER - s).to_bytes(33, "big")
    high = high if high[1] & 0x80 else high[1:]
    body = b"\x02" + bytes((len(r),)) + r + b"\x02" + bytes((len(high),)) + high
    with pytest.raises(curve.BadSignature):
        curve.verify_ecdsa(
            curve.point_from_secret(secret), digest, b"\x30" + bytes((len(body),)) + body
        )


@given(secrets, digests, st.integers(0, 511))
def test_a_schnorr_signature_with_any_bit_flipped_is_refused(
    secret: bytes, digest: bytes, bit: int
) -> None:
    signature = bytearray(curve.sign_schnorr(secret, digest, bytes(32)))
    curve.verify_schnorr(curve.xonly_from_secret(secret), digest, bytes(signature))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(curve.BadSignature):
        curve.verify_schnorr(curve.xonly_from_secret(secret), digest, bytes(signature))


@pytest.mark.parametrize(
    "secret", [bytes(32), ORDER.to_bytes(32, "big"), b"\x01", b"", b"\x01" * 33]
)
def test_no_number_outside_the_group_is_a_secret_key(secret: bytes) -> None:
    with pytest.raises(curve.BadKey) as caught:
        curve.xonly_from_secret(secret)
    assert not secret.hex() or secret.hex() not in str(caught.value)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32), b"\xff" * 32, bytes(33)])
def test_no_other_bytes_are_an_xonly_key(key: bytes) -> None:
    with pytest.raises(curve.BadKey):
        curve.check_xonly(key)


@pytest.mark.parametrize("prefix", [b"\x00", b"\x04", b"\x05", b"\x06", b"\x07"])
def test_only_compressed_points_are_points(prefix: bytes) -> None:
    point = curve.point_from_secret(SECRET)
    curve.check_point(point)
    with pytest.raises(curve.BadKey):
        curve.check_point(prefix + point[1:])
    with pytest.raises(curve.BadKey):
        curve.check_point(coincurve.PublicKey(point).format(compressed=False))


def test_a_schnorr_signature_needs_its_auxiliary_bytes() -> None:
    """coincurve draws its own when it is given none: a kernel that decides must not."""
    with pytest.raises(ValueError, match="auxiliary"):
        curve.sign_schnorr(SECRET, DIGEST, b"")


def test_a_tagged_hash_is_bip340s() -> None:
    tag = hashlib.sha256(b"custodyd/request/v1").digest()
    expected = hashlib.sha256(tag + tag + b"data").digest()
    assert curve.tagged_hash("custodyd/request/v1", b"data") == expected
    assert curve.tagged_hash("custodyd/request/v1", b"data") == expected
