"""Hierarchical keys (BIP-32) and the multisig account path (BIP-48), by wallycore.

Seeds are given by the caller; nothing here draws entropy. Secret keys stay in wallycore's capsules
until a signature needs the scalar. Paths are tuples of integers, hardened steps carry bit 31; in
text hardened steps are written with `h` and the apostrophe is read too.
"""

from collections.abc import Sequence

from signer_node.kernel.bitcoin import wally
from signer_node.kernel.bitcoin.faults import InvalidKey
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.curve import POINT_BYTES

HARDENED = 1 << 31
SEED_BYTES = 32
FINGERPRINT_BYTES = 4
CHAIN_CODE_BYTES = 32
MAX_DEPTH = 255
_MAX_KEY_LENGTH = 112
_PARENT_AND_NUMBER = slice(5, 13)
"""Where parent fingerprint and child number stand in a serialised key (BIP-32)."""
_BIP48_PURPOSE = 48
_BIP48_P2WSH = 2

Path = tuple[int, ...]


def parse_path(text: str) -> Path:
    """Return the steps of a path like `m/48h/1h/0h/2h`; raises `InvalidKey`."""
    first, *steps = text.split("/")
    if first != "m" or len(steps) > MAX_DEPTH:
        raise InvalidKey(f"a path begins with m and has at most {MAX_DEPTH} steps")
    return tuple(map(_parse_step, steps))


def _parse_step(text: str) -> int:
    hardened = text[-1:] in ("h", "'")
    digits = text[:-1] if hardened else text
    shortest = digits.isascii() and digits.isdigit() and str(int(digits[:11])) == digits
    if not shortest or int(digits) >= HARDENED:
        raise InvalidKey(f"{text!r} is no step of a derivation path")
    return int(digits) + (HARDENED if hardened else 0)


def format_path(path: Sequence[int]) -> str:
    """Return the steps as text without the leading `m`, like `48h/1h/0h/2h`."""
    return "/".join(f"{step % HARDENED}h" if step >= HARDENED else str(step) for step in path)


def multisig_account_path(network: Network) -> Path:
    """Return m/48h/coinh/0h/2h, the account of P2WSH multisig (BIP-48)."""
    steps = (_BIP48_PURPOSE, network.parameters.coin_type, 0, _BIP48_P2WSH)
    return tuple(step + HARDENED for step in steps)


def _parse_extended(text: str) -> wally.ExtendedKey:
    """Parse an xpub or xprv; wallycore lets a master key have a parent, BIP-32 does not."""
    if len(text) > _MAX_KEY_LENGTH or not text.isascii():
        raise InvalidKey("no extended key in Base58Check (BIP-32)")
    key = wally.key_from_base58(text)
    is_master = wally.key_depth(key) == 0
    if is_master and wally.base58check_decode(text)[_PARENT_AND_NUMBER] != bytes(8):
        raise InvalidKey("a key of depth 0 has neither a parent nor a number (BIP-32)")
    return key


class PublicBranch:
    """A public extended key to derive children from, parsed once."""

    __slots__ = ("_key", "child_number", "depth", "point")

    def __init__(self, key: wally.ExtendedKey) -> None:
        self._key = key
        self.depth = wally.key_depth(key)
        self.child_number = wally.key_child_number(key)
        self.point = wally.public_key(key)

    def branch(self, step: int) -> "PublicBranch":
        """Return the child at an unhardened step, to derive further."""
        return PublicBranch(wally.derive_public(self._key, (step,)))

    def child_point(self, index: int) -> bytes:
        """Return the compressed public key (33 bytes) of the child at an unhardened index."""
        return wally.public_key(wally.derive_public(self._key, (index,)))

    def tweaked_child(self, index: int) -> tuple[bytes, bytes]:
        """Return the child's public key (33 bytes) and its tweak (32 bytes).

        The child's key is the key that was parsed plus the tweak times G: unhardened derivations
        add up, whatever lies between (BIP-32, "Public parent key to public child key").
        """
        child = wally.derive_public(self._key, (index,))
        return wally.public_key(child), wally.tweak_sum(child)

    def fingerprint(self) -> bytes:
        """Return the key's fingerprint, four bytes."""
        return wally.fingerprint(self._key)


def parse_xpub(xpub: str, network: Network) -> PublicBranch:
    """Return the public key that an xpub (tpub) string of this network serialises.

    Raises `InvalidKey` for a secret key, another network, or a string in another form than the one
    that BIP-32 writes.
    """
    key = _parse_extended(xpub)
    if wally.key_version(key) != network.parameters.xpub_version:
        raise InvalidKey("not an extended public key of this network")
    if wally.key_to_base58(key, secret=False) != xpub:
        raise InvalidKey("the extended key is not in its only form")
    return PublicBranch(key)


def synthetic_xpub(point: bytes, chain_code: bytes, network: Network) -> str:
    """Return the xpub (tpub) of a key that nobody derived: a master key with this chain code.

    `point` has 33 bytes, `chain_code` 32. What descends from it is derived without hardened steps
    only, there being no secret master key (as BIP-328 does for aggregate keys).
    """
    if len(point) != POINT_BYTES or len(chain_code) != CHAIN_CODE_BYTES:
        raise InvalidKey("an extended key has a point of 33 and a chain code of 32 bytes")
    version = network.parameters.xpub_version.to_bytes(4, "big")
    without_parent = bytes(1 + _PARENT_AND_NUMBER.stop - _PARENT_AND_NUMBER.start)
    xpub = wally.base58check_encode(version + without_parent + chain_code + point)
    parse_xpub(xpub, network)
    return xpub


class SecretBranch:
    """A secret extended key; it shows nothing of itself, and cannot be pickled."""

    __slots__ = ("_key",)

    def __init__(self, key: wally.ExtendedKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "SecretBranch(...)"

    def __reduce__(self) -> str:
        raise TypeError("a secret key is not pickled")

    def branch(self, path: Sequence[int]) -> "SecretBranch":
        """Return the descendant at a path."""
        return SecretBranch(wally.derive_secret(self._key, path)) if path else self

    def xpub(self) -> str:
        """Return the extended public key as text."""
        return wally.key_to_base58(self._key, secret=False)

    def xprv(self) -> str:
        """Return the extended secret key as text."""
        return wally.key_to_base58(self._key, secret=True)

    def point(self) -> bytes:
        """Return the compressed public key, 33 bytes."""
        return wally.public_key(self._key)

    def fingerprint(self) -> bytes:
        """Return the key's fingerprint, four bytes."""
        return wally.fingerprint(self._key)

    def secret(self) -> bytes:
        """Return the secret scalar, 32 bytes."""
        return wally.secret_key(self._key)

    def child_secret(self, index: int) -> bytes:
        """Return the secret scalar (32 bytes) of the child at an index."""
        return wally.secret_key(wally.derive_secret(self._key, (index,)))

    def sign_child(self, index: int, digest: bytes) -> bytes:
        """Return the ECDSA signature (strict DER, low S, RFC 6979) of the child at an index.

        The same as `curve.sign_ecdsa` with `child_secret`, in a third of the time: no public key is
        made on the way.
        """
        return wally.sign_ecdsa(self.child_secret(index), digest)


def master_from_seed(seed: bytes, network: Network) -> SecretBranch:
    """Return the master key of a seed (BIP-32: 16 to 64 bytes; ours have 32)."""
    return SecretBranch(wally.key_from_seed(seed, network.parameters.xprv_version))


def parse_xprv(xprv: str, network: Network) -> SecretBranch:
    """Return the secret key that an xprv (tprv) string of this network serialises."""
    key = _parse_extended(xprv)
    if wally.key_version(key) != network.parameters.xprv_version:
        raise InvalidKey("not an extended secret key of this network")
    return SecretBranch(key)
