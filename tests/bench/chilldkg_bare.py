"""The calls into libsecp256k1 that one ChillDKG session needs, and nothing around them.

The results are not put together into messages; every call works on the right kind of value, so
that it takes its real time. Hashes are counted in, since the protocol needs them as well.
"""

from __future__ import annotations

from typing import Any

from coincurve import GLOBAL_CONTEXT
from coincurve._libsecp256k1 import ffi, lib  # type: ignore[import-not-found]

from signer_node.kernel.curve import tagged_hash

CONTEXT: Any = GLOBAL_CONTEXT.ctx
SCALAR = tagged_hash("bench", b"a scalar")
OTHER = tagged_hash("bench", b"another scalar")
PUBKEY, BYTES32, BYTES33, BYTES64 = (
    ffi.typeof(name)
    for name in (
        "secp256k1_pubkey *",
        "unsigned char[32]",
        "unsigned char[33]",
        "unsigned char[64]",
    )
)


def multiply_generator() -> Any:
    key = ffi.new(PUBKEY)
    lib.secp256k1_ec_pubkey_create(CONTEXT, key, SCALAR)
    return key


def serialize(key: Any) -> bytes:
    data, length = ffi.new(BYTES33), ffi.new("size_t *", 33)
    lib.secp256k1_ec_pubkey_serialize(CONTEXT, data, length, key, lib.SECP256K1_EC_COMPRESSED)
    return bytes(ffi.buffer(data))


KEY = multiply_generator()
POINT = serialize(KEY)
KEYPAIR, XONLY = ffi.new("secp256k1_keypair *"), ffi.new("secp256k1_xonly_pubkey *")
lib.secp256k1_keypair_create(CONTEXT, KEYPAIR, SCALAR)
lib.secp256k1_keypair_xonly_pub(CONTEXT, XONLY, ffi.NULL, KEYPAIR)


def parse() -> Any:
    key = ffi.new(PUBKEY)
    lib.secp256k1_ec_pubkey_parse(CONTEXT, key, POINT, 33)
    return key


def pad(context: bytes) -> bytes:
    shared = ffi.new(BYTES32)
    lib.secp256k1_ecdh(CONTEXT, shared, parse(), OTHER, ffi.NULL, ffi.NULL)
    return tagged_hash("bench", bytes(ffi.buffer(shared)) + POINT + POINT + context)


def add(scalar: Any, other: bytes = OTHER) -> None:
    lib.secp256k1_ec_seckey_tweak_add(CONTEXT, scalar, other)


def share(t: int, x: int) -> Any:
    factor, value = x.to_bytes(32, "big"), ffi.new(BYTES32, SCALAR)
    for _ in range(t - 1):
        lib.secp256k1_ec_seckey_tweak_mul(CONTEXT, value, factor)
        add(value)
    return value


def combine(keys: list[Any]) -> Any:
    total = ffi.new(PUBKEY)
    lib.secp256k1_ec_pubkey_combine(CONTEXT, total, keys, len(keys))
    return total


def pubshare(t: int, x: int) -> bytes:
    factor, value = x.to_bytes(32, "big"), ffi.new(PUBKEY, KEY[0])
    for _ in range(t - 1):
        if x > 1:
            lib.secp256k1_ec_pubkey_tweak_mul(CONTEXT, value, factor)
        value = combine([value, KEY])
    return serialize(value)


def pubshares(t: int, n: int) -> None:
    """The summed commitment, its Taproot tweak, the public shares."""
    combine([KEY] * n)
    tweaked = ffi.new(PUBKEY, KEY[0])
    lib.secp256k1_ec_pubkey_tweak_add(CONTEXT, tweaked, OTHER)
    for number in range(n):
        pubshare(t, number + 1)


def prove() -> None:
    """A signature under another tag than BIP-340's: key, nonce, equation."""
    serialize(multiply_generator())
    serialize(multiply_generator())
    for tag in ("aux", "nonce", "challenge"):
        tagged_hash(tag, POINT + POINT)
    response = ffi.new(BYTES32, SCALAR)
    lib.secp256k1_ec_seckey_tweak_mul(CONTEXT, response, OTHER)
    add(response)


def check_proof() -> None:
    tagged_hash("challenge", POINT + POINT)
    key = ffi.new(PUBKEY, KEY[0])
    lib.secp256k1_ec_pubkey_tweak_mul(CONTEXT, key, OTHER)
    lib.secp256k1_ec_pubkey_tweak_add(CONTEXT, key, SCALAR)
    serialize(key)


def certify(transcript: bytes) -> bytes:
    keypair, signature = ffi.new("secp256k1_keypair *"), ffi.new(BYTES64)
    lib.secp256k1_keypair_create(CONTEXT, keypair, SCALAR)
    lib.secp256k1_schnorrsig_sign_custom(
        CONTEXT, signature, transcript, len(transcript), keypair, ffi.NULL
    )
    return bytes(ffi.buffer(signature))


def check_certificate(signature: bytes, transcript: bytes, n: int) -> None:
    for _ in range(n):
        key = ffi.new("secp256k1_xonly_pubkey *")
        lib.secp256k1_xonly_pubkey_parse(CONTEXT, key, POINT[1:])
        lib.secp256k1_schnorrsig_verify(CONTEXT, signature, transcript, len(transcript), key)


def participant_step1(t: int, n: int, context: bytes) -> None:
    multiply_generator()  # the host key
    for _ in range(n):
        parse()  # the others' host keys
    for _ in range(t):
        tagged_hash("coefficient", bytes(36))
        serialize(multiply_generator())
    serialize(multiply_generator())  # the nonce
    prove()
    check_proof()
    for number in range(n):
        add(share(t, number + 1), pad(context) if number else OTHER)


def participant_step2(t: int, n: int, context: bytes) -> None:
    multiply_generator()  # the host key
    for _ in range(n + t - 1):
        parse()
    total = ffi.new(BYTES32, SCALAR)
    for number in range(n):
        add(total, pad(context) if number else OTHER)
    for _ in range(n - 1):
        check_proof()
    multiply_generator()  # the share
    pubshares(t, n)


def coordinator_step1(t: int, n: int) -> None:
    for _ in range(n):
        parse()
    for _ in range(n * (t + 1)):
        parse()
    for _ in range(t - 1):
        serialize(combine([KEY] * n))


def bare_session(t: int, n: int) -> None:
    """All calls of n participants and the coordinator."""
    context = bytes(4 + 33 * n)
    transcript = bytes(41 + 33 * t + 98 * n)
    for _ in range(n):
        multiply_generator()  # the host public keys
        participant_step1(t, n, context)
    coordinator_step1(t, n)
    signature = b""
    for _ in range(n):
        participant_step2(t, n, context)
        signature = certify(transcript)
        lib.secp256k1_keypair_xonly_pub(CONTEXT, XONLY, ffi.NULL, KEYPAIR)
        lib.secp256k1_schnorrsig_verify(CONTEXT, signature, transcript, len(transcript), XONLY)
    for _ in range(n + 1):
        check_certificate(signature, transcript, n)
    pubshares(t, n)
