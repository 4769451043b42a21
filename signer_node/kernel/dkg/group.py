"""Scalars and points of secp256k1 as key generation needs them, by libsecp256k1 alone.

To the protocol layers this module guarantees:

1. Every operation on a secret scalar is a libsecp256k1 call whose time does not depend on it.
   Python sees scalars as 32 opaque bytes, below the group order; zero is legal, since a faulty
   participant can make it. Two exceptions, both told here: `reduce_scalar` reduces a hash by
   Python integers when it is not below the order, which happens once in 2^128 hashes; and
   `sign_tagged` XORs a secret with a hash bytewise, as BIP-340 asks.
2. A point is a parsed key, or None for the point at infinity, which sums of commitments may be: a
   participant could otherwise spoil every sum ("Infinity in VSS commitments", ChillDKG).
3. Nothing here draws entropy.

coincurve's classes make two public keys whenever they hold a secret, compare secrets as Python
integers and sign 32-byte messages only, so its binding of the C functions is called directly. They
read as many bytes as they expect wherever a pointer points: every length is checked before.
"""

from collections.abc import Sequence
from typing import Any

from coincurve import GLOBAL_CONTEXT, PublicKey
from coincurve._libsecp256k1 import ffi as _ffi  # type: ignore[import-not-found]
from coincurve._libsecp256k1 import lib as _lib

from signer_node.kernel.curve import (
    AUX_BYTES,
    KEY_BYTES,
    SCHNORR_BYTES,
    BadSignature,
    tagged_hash,
)

SCALAR_BYTES = 32
POINT_BYTES = 33
ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
ZERO = bytes(SCALAR_BYTES)
INFINITY_BYTES = bytes(POINT_BYTES)
"""The draft's encoding of the point at infinity."""

Point = PublicKey | None

ffi: Any = _ffi
lib: Any = _lib
CONTEXT: Any = GLOBAL_CONTEXT.ctx

_EVEN, _ODD = 2, 3
_COMPRESSED: int = lib.SECP256K1_EC_COMPRESSED
_EXTRAPARAMS_MAGIC = bytes.fromhex("da6fb38c")
"""SECP256K1_SCHNORRSIG_EXTRAPARAMS_MAGIC of libsecp256k1's header."""


class BadScalar(ValueError):
    """Bytes that are no scalar, or a scalar that may not be zero here."""


class BadPoint(ValueError):
    """Bytes that are no point."""


# Scalars


def is_zero(scalar: bytes) -> bool:
    """Say whether a scalar (below the order) is zero, without comparing it in Python."""
    return not lib.secp256k1_ec_seckey_verify(CONTEXT, scalar)


def check_secret(secret: bytes) -> None:
    """Raise `BadScalar` unless `secret` is a secret key: 32 bytes, from 1 to the order less 1."""
    if len(secret) != SCALAR_BYTES or is_zero(secret):
        raise BadScalar("a secret key is a scalar of 32 bytes, not zero, below the group order")


def parse_public_scalar(scalar: bytes) -> bytes:
    """Return a scalar that is no secret, 32 bytes below the order; raises `BadScalar`."""
    if len(scalar) != SCALAR_BYTES or int.from_bytes(scalar) >= ORDER:
        raise BadScalar("a scalar has 32 bytes and is below the group order")
    return scalar


def reduce_scalar(digest: bytes) -> bytes:
    """Return a 32-byte hash modulo the order."""
    if lib.secp256k1_ec_seckey_verify(CONTEXT, digest):
        return digest
    return (int.from_bytes(digest) % ORDER).to_bytes(SCALAR_BYTES)


def sum_public_scalars(scalars: Sequence[bytes]) -> bytes:
    """Return the sum of scalars that are no secrets (ciphertexts)."""
    return (sum(map(int.from_bytes, scalars)) % ORDER).to_bytes(SCALAR_BYTES)


def add_scalars(first: bytes, second: bytes) -> bytes:
    """Return the sum of two scalars, either of them secret."""
    if is_zero(first):
        return second
    total = ffi.new("unsigned char[32]", first)
    if not lib.secp256k1_ec_seckey_tweak_add(CONTEXT, total, second):
        return ZERO
    return bytes(ffi.buffer(total))


def sum_scalars(scalars: Sequence[bytes]) -> bytes:
    """Return the sum of secret scalars."""
    total = ZERO
    for scalar in scalars:
        total = add_scalars(total, scalar)
    return total


def negate_scalar(scalar: bytes) -> bytes:
    """Return the order less the scalar."""
    if is_zero(scalar):
        return ZERO
    negated = ffi.new("unsigned char[32]", scalar)
    lib.secp256k1_ec_seckey_negate(CONTEXT, negated)
    return bytes(ffi.buffer(negated))


def evaluate(coefficients: Sequence[bytes], x: int) -> bytes:
    """Return c[0] + c[1] x + ... for secret coefficients and a public x from 1, by Horner's rule.

    The highest coefficient must not be zero (a hash is not, but once in 2^256).
    """
    factor = x.to_bytes(SCALAR_BYTES)
    *lower, highest = coefficients
    value = ffi.new("unsigned char[32]", highest)
    for coefficient in reversed(lower):
        done = lib.secp256k1_ec_seckey_tweak_mul(CONTEXT, value, factor)
        if not (done and lib.secp256k1_ec_seckey_tweak_add(CONTEXT, value, coefficient)):
            raise BadScalar("the polynomial of these coefficients has a root that it must not have")
    return bytes(ffi.buffer(value))


# Points


def parse_point(data: bytes) -> PublicKey:
    """Return the point of a compressed encoding, 33 bytes; raises `BadPoint`, also for infinity."""
    if len(data) != POINT_BYTES or data[0] not in (_EVEN, _ODD):
        raise BadPoint(f"a compressed point has {POINT_BYTES} bytes and begins with 02 or 03")
    key = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ec_pubkey_parse(CONTEXT, key, data, POINT_BYTES):
        raise BadPoint("the point is not on the curve")
    return PublicKey(key)


def parse_point_or_infinity(data: bytes) -> Point:
    """Return the point of 33 bytes, of which 33 zeros are the point at infinity."""
    return None if data == INFINITY_BYTES else parse_point(data)


def format_point(point: Point) -> bytes:
    """Return the compressed encoding, 33 bytes; infinity is 33 zeros."""
    if point is None:
        return INFINITY_BYTES
    data, length = ffi.new("unsigned char[33]"), ffi.new("size_t *", POINT_BYTES)
    lib.secp256k1_ec_pubkey_serialize(CONTEXT, data, length, point.public_key, _COMPRESSED)
    return bytes(ffi.buffer(data))


def same_point(left: Point, right: Point) -> bool:
    """Say whether two points are equal."""
    if left is None or right is None:
        return left is right
    return bool(lib.secp256k1_ec_pubkey_cmp(CONTEXT, left.public_key, right.public_key) == 0)


def first_infinity(points: Sequence[Point]) -> int | None:
    """Return where the first point at infinity stands; None if there is none."""
    return next((number for number, point in enumerate(points) if point is None), None)


def multiply_generator(scalar: bytes) -> Point:
    """Return scalar * G for a secret scalar."""
    key = ffi.new("secp256k1_pubkey *")
    return PublicKey(key) if lib.secp256k1_ec_pubkey_create(CONTEXT, key, scalar) else None


def add_generator(point: Point, scalar: bytes) -> Point:
    """Return point + scalar * G for a scalar that is no secret (its time tells of it)."""
    if point is None:
        return multiply_generator(scalar)
    key = _copy(point.public_key)
    return PublicKey(key) if lib.secp256k1_ec_pubkey_tweak_add(CONTEXT, key, scalar) else None


def sum_points(points: Sequence[Point]) -> Point:
    """Return the sum of the points."""
    keys = [point.public_key for point in points if point is not None]
    if len(keys) < 2:
        return PublicKey(keys[0]) if keys else None
    total = _combine(keys)
    return None if total is None else PublicKey(total)


def evaluate_in_exponent(points: Sequence[Point], x: int) -> Point:
    """Return P[0] + x P[1] + x^2 P[2] + ... for a public x from 1, by Horner's rule."""
    factor = x.to_bytes(SCALAR_BYTES)
    value = None
    for point in reversed(points):
        if value is not None and x != 1:
            lib.secp256k1_ec_pubkey_tweak_mul(CONTEXT, value, factor)
        if point is not None:
            key = point.public_key
            value = _copy(key) if value is None else _combine([value, key])
    return None if value is None else PublicKey(value)


def _copy(key: Any) -> Any:
    return ffi.new("secp256k1_pubkey *", key[0])


def _combine(keys: list[Any]) -> Any:
    """Return the sum of one key or more; None is infinity. (No key at all aborts the process.)"""
    total = ffi.new("secp256k1_pubkey *")
    return total if lib.secp256k1_ec_pubkey_combine(CONTEXT, total, keys, len(keys)) else None


def ecdh(secret: bytes, point: PublicKey) -> bytes:
    """Return SHA-256 of the compressed point secret * point, 32 bytes, as libsecp256k1 does."""
    shared = ffi.new("unsigned char[32]")
    if not lib.secp256k1_ecdh(CONTEXT, shared, point.public_key, secret, ffi.NULL, ffi.NULL):
        raise BadScalar("the secret key of a key exchange is zero")
    return bytes(ffi.buffer(shared))


# Signatures


def sign(secret: bytes, message: bytes, aux_rand: bytes) -> bytes:
    """Return the BIP-340 signature, 64 bytes, over a message of any length; it is verified too."""
    check_secret(secret)
    keypair, signature = ffi.new("secp256k1_keypair *"), ffi.new("unsigned char[64]")
    lib.secp256k1_keypair_create(CONTEXT, keypair, secret)
    aux = ffi.from_buffer("unsigned char[32]", _require_aux(aux_rand))
    extra = ffi.new(
        "secp256k1_schnorrsig_extraparams *",
        (_EXTRAPARAMS_MAGIC, ffi.NULL, ffi.cast("void *", aux)),
    )
    signed = lib.secp256k1_schnorrsig_sign_custom(
        CONTEXT, signature, message, len(message), keypair, extra
    )
    if not signed:
        raise BadSignature("libsecp256k1 did not sign")
    key = ffi.new("secp256k1_xonly_pubkey *")
    lib.secp256k1_keypair_xonly_pub(CONTEXT, key, ffi.NULL, keypair)
    return _require_verified(key, message, bytes(ffi.buffer(signature)))


def verify(xonly: bytes, message: bytes, signature: bytes) -> None:
    """Raise `BadSignature` unless it is a BIP-340 signature over a message of any length."""
    key = ffi.new("secp256k1_xonly_pubkey *")
    if len(xonly) != KEY_BYTES or not lib.secp256k1_xonly_pubkey_parse(CONTEXT, key, xonly):
        raise BadSignature("the x-only key is not the x coordinate of a curve point")
    _require_verified(key, message, signature)


def _require_verified(key: Any, message: bytes, signature: bytes) -> bytes:
    if len(signature) != SCHNORR_BYTES or not lib.secp256k1_schnorrsig_verify(
        CONTEXT, signature, message, len(message), key
    ):
        raise BadSignature("the Schnorr signature does not verify")
    return signature


def _require_aux(aux_rand: bytes) -> bytes:
    if len(aux_rand) != AUX_BYTES:
        raise ValueError(f"the auxiliary randomness has {AUX_BYTES} bytes")
    return aux_rand


def sign_tagged(tag: str, secret: bytes, message: bytes, aux_rand: bytes) -> bytes:
    """Return a signature like BIP-340's with `tag` in place of "BIP0340" in all three hashes.

    libsecp256k1 has BIP-340's tags built in, so the signing equation is put together here, from
    its calls. Messages are public and of any length.
    """
    check_secret(secret)
    even_secret, key = _even(secret)
    mask = tagged_hash(f"{tag}/aux", _require_aux(aux_rand))
    masked = bytes(left ^ right for left, right in zip(even_secret, mask, strict=True))
    nonce = reduce_scalar(tagged_hash(f"{tag}/nonce", masked + key[1:] + message))
    even_nonce, commitment = _even(nonce)
    challenge = _challenge(tag, commitment[1:], key[1:], message)
    response = ffi.new("unsigned char[32]", even_secret)
    done = lib.secp256k1_ec_seckey_tweak_mul(CONTEXT, response, challenge)
    if not (done and lib.secp256k1_ec_seckey_tweak_add(CONTEXT, response, even_nonce)):
        raise BadSignature("this nonce makes no signature")
    signature = commitment[1:] + bytes(ffi.buffer(response))
    verify_tagged(tag, parse_point(key), message, signature)
    return signature


def verify_tagged(tag: str, point: PublicKey, message: bytes, signature: bytes) -> None:
    """Raise `BadSignature` unless `sign_tagged` made it, by the secret key of +-`point`."""
    if len(signature) != SCHNORR_BYTES:
        raise BadSignature(f"a Schnorr signature has {SCHNORR_BYTES} bytes")
    encoded = format_point(point)
    key = _copy(point.public_key)
    challenge = _challenge(tag, signature[:SCALAR_BYTES], encoded[1:], message)
    if not lib.secp256k1_ec_pubkey_tweak_mul(CONTEXT, key, challenge):
        raise BadSignature("the challenge is zero")
    if encoded[0] == _EVEN:
        lib.secp256k1_ec_pubkey_negate(CONTEXT, key)
    # Now s G - e P, where P has an even y; an s that is not below the order is refused here.
    if not lib.secp256k1_ec_pubkey_tweak_add(CONTEXT, key, signature[SCALAR_BYTES:]):
        raise BadSignature("the signature has no commitment")
    if format_point(PublicKey(key)) != bytes([_EVEN]) + signature[:SCALAR_BYTES]:
        raise BadSignature("the signature does not verify")


def _even(secret: bytes) -> tuple[bytes, bytes]:
    """Return the secret or its negation, whichever has a point with even y, and that point."""
    encoded = format_point(multiply_generator(secret))
    if encoded[0] == _EVEN:
        return secret, encoded
    return negate_scalar(secret), bytes([_EVEN]) + encoded[1:]


def _challenge(tag: str, commitment: bytes, key: bytes, message: bytes) -> bytes:
    """Return the challenge, which everybody can compute."""
    digest = tagged_hash(f"{tag}/challenge", commitment + key + message)
    return (int.from_bytes(digest) % ORDER).to_bytes(SCALAR_BYTES)
