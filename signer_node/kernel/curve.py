"""secp256k1 as custodyd uses it: BIP-340 Schnorr signatures, ECDSA for multisig, tagged hashes.

To every caller this module guarantees:

1. Verification raises `BadSignature`; nothing here returns a bool.
2. No entropy is drawn: `sign_schnorr` is given its 32 auxiliary bytes, `sign_ecdsa` follows
   RFC 6979. (coincurve draws its own entropy when none is given, so it is always given.)
3. ECDSA signatures are strict DER (BIP-66) with low S (BIP-146), made and accepted alike.
4. Secret scalars go straight into libsecp256k1; no arithmetic on them happens in Python.

Keys of documents are BIP-340 x-only public keys, 32 bytes. Points are compressed, 33 bytes.
"""

from functools import lru_cache
from hashlib import sha256
from typing import Protocol

from coincurve import PrivateKey, PublicKey, PublicKeyXOnly
from coincurve.ecdsa import cdata_to_der, der_to_cdata

KEY_BYTES = 32
POINT_BYTES = 33
SECRET_BYTES = 32
DIGEST_BYTES = 32
AUX_BYTES = 32
SCHNORR_BYTES = 64
MAX_DER_BYTES = 72
"""A DER signature of two 256-bit integers; with low S it has at most 71."""

_TAGS_KEPT = 256
_X_ONLY_KEYS_KEPT = 1024


class BadSignature(ValueError):
    """A signature that does not verify, or is not in its only encoding."""


class BadKey(ValueError):
    """Bytes that are not a public key or a secret key of secp256k1."""


class _Hash(Protocol):
    """The part of a hashlib object that a tagged hash needs."""

    def copy(self) -> "_Hash": ...
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


@lru_cache(maxsize=_TAGS_KEPT)
def _tag_midstate(tag: str) -> _Hash:
    """Return SHA-256 after the tag's 64-byte prefix, computed once for each tag."""
    tag_digest = sha256(tag.encode()).digest()
    return sha256(tag_digest + tag_digest)


def tagged_hash(tag: str, data: bytes) -> bytes:
    """Return SHA-256(SHA-256(tag) || SHA-256(tag) || data), 32 bytes (BIP-340, "Tagged Hashes")."""
    state = _tag_midstate(tag).copy()
    state.update(data)
    return state.digest()


@lru_cache(maxsize=_X_ONLY_KEYS_KEPT)
def _parse_xonly(key: bytes) -> PublicKeyXOnly:
    """Lift an x-only key; the few keys of a quorum come again and again, so they are kept."""
    if len(key) != KEY_BYTES:
        raise BadKey(f"an x-only key has {KEY_BYTES} bytes, not {len(key)}")
    try:
        return PublicKeyXOnly(key)
    except ValueError:
        raise BadKey("the x-only key is not the x coordinate of a curve point") from None


def check_xonly(key: bytes) -> None:
    """Raise `BadKey` unless `key` is a BIP-340 public key: 32 bytes that lift to a point."""
    _parse_xonly(key)


def _parse_point(point: bytes) -> PublicKey:
    if len(point) != POINT_BYTES or point[0] not in (2, 3):
        raise BadKey(f"a compressed point has {POINT_BYTES} bytes and begins with 02 or 03")
    try:
        return PublicKey(point)
    except ValueError:
        raise BadKey("the point is not on the curve") from None


def check_point(point: bytes) -> None:
    """Raise `BadKey` unless `point` is a compressed curve point of 33 bytes."""
    _parse_point(point)


def _load_secret(secret: bytes) -> PrivateKey:
    """Load a secret key; coincurve pads short scalars silently, so the length is checked."""
    if len(secret) != SECRET_BYTES:
        raise BadKey(f"a secret key has {SECRET_BYTES} bytes")
    try:
        return PrivateKey(secret)
    except ValueError:
        raise BadKey("the secret key is zero or not below the group order") from None


def xonly_from_secret(secret: bytes) -> bytes:
    """Return the 32-byte x-only public key of a 32-byte secret key."""
    return _load_secret(secret).public_key_xonly.format()


def point_from_secret(secret: bytes) -> bytes:
    """Return the 33-byte compressed public key of a 32-byte secret key."""
    return _load_secret(secret).public_key.format(compressed=True)


def verify_schnorr(key: bytes, digest: bytes, signature: bytes) -> None:
    """Raise `BadSignature` unless `signature` (64 bytes) is `key`'s over `digest` (BIP-340).

    BIP-340 allows messages of any length; our documents sign 32-byte digests only.
    """
    if len(signature) != SCHNORR_BYTES:
        raise BadSignature(f"a Schnorr signature has {SCHNORR_BYTES} bytes, not {len(signature)}")
    _require_digest(digest)
    try:
        verified = _parse_xonly(key).verify(signature, digest)
    except BadKey as fault:
        raise BadSignature(str(fault)) from None
    if not verified:
        raise BadSignature("the Schnorr signature does not verify")


def sign_schnorr(secret: bytes, digest: bytes, aux: bytes) -> bytes:
    """Return the 64-byte BIP-340 signature over a 32-byte digest with 32 auxiliary bytes."""
    _require_digest(digest)
    if len(aux) != AUX_BYTES:
        raise ValueError(f"the auxiliary randomness has {AUX_BYTES} bytes")
    return _load_secret(secret).sign_schnorr(digest, aux)


def verify_ecdsa(point: bytes, digest: bytes, der: bytes) -> None:
    """Raise `BadSignature` unless `der` is a strict DER, low-S signature of `point` on `digest`.

    libsecp256k1 refuses high S itself; its DER parser takes some encodings that BIP-66 does not,
    so the signature must also be what libsecp256k1 would have written.
    """
    _require_digest(digest)
    if len(der) > MAX_DER_BYTES:
        raise BadSignature("the signature is longer than any DER signature")
    try:
        if cdata_to_der(der_to_cdata(der)) != der:
            raise BadSignature("the signature is not strict DER")
        verified = _parse_point(point).verify(der, digest, hasher=None)
    except BadSignature:
        raise
    except ValueError as fault:
        raise BadSignature(str(fault)) from None
    if not verified:
        raise BadSignature("the ECDSA signature does not verify")


def sign_ecdsa(secret: bytes, digest: bytes) -> bytes:
    """Return a strict DER, low-S signature over a 32-byte digest, nonce by RFC 6979."""
    _require_digest(digest)
    return _load_secret(secret).sign(digest, hasher=None)


def _require_digest(digest: bytes) -> None:
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"a digest has {DIGEST_BYTES} bytes, not {len(digest)}")
