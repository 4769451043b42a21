"""The one door to wallycore: typed functions over an untyped C library.

wallycore reports errors as bare ValueError, RuntimeError, TypeError or OverflowError without
detail, returns bytearrays and hands out opaque capsules. Here everything has a type, results are
bytes or str, and a failure is a `BitcoinFault` that says what was wrong. No message ever contains
an argument. `psbt_free` and its like are never called: Python frees capsules, and freeing one twice
would crash the process.

Nobody outside `kernel.bitcoin` imports this.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import NewType, ParamSpec, TypeVar

import wallycore

from signer_node.kernel.bitcoin.faults import (
    BitcoinFault,
    InvalidAddress,
    InvalidDescriptor,
    InvalidKey,
    InvalidPsbt,
    InvalidWords,
)

ExtendedKey = NewType("ExtendedKey", object)
"""An opaque BIP-32 key of wallycore's; it may hold a secret."""
Descriptor = NewType("Descriptor", object)
"""An opaque parsed descriptor of wallycore's."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_FAILURES = (ValueError, RuntimeError, TypeError, OverflowError)
_PRIVATE: int = wallycore.BIP32_FLAG_KEY_PRIVATE
_PUBLIC: int = wallycore.BIP32_FLAG_KEY_PUBLIC
_SKIP_HASH: int = wallycore.BIP32_FLAG_SKIP_HASH
_TWEAK_SUM: int = wallycore.BIP32_FLAG_KEY_TWEAK_SUM
_ECDSA: int = wallycore.EC_FLAG_ECDSA
_REQUIRE_CHECKSUM: int = wallycore.WALLY_MINISCRIPT_REQUIRE_CHECKSUM
_NETWORK_NONE: int = wallycore.WALLY_NETWORK_NONE
_ENGLISH: object = wallycore.bip39_get_wordlist("en")


def _refuses_with(
    fault: Callable[[str], BitcoinFault], claim: str
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Turn any failure of wallycore into `fault(claim)`, and keep its arguments out of it."""

    def decorate(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        @wraps(function)
        def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            try:
                return function(*args, **kwargs)
            except _FAILURES:
                raise fault(claim) from None

        return call

    return decorate


# --- addresses ---


@_refuses_with(InvalidAddress, "no segwit address of this network (BIP-173, BIP-350)")
def segwit_address_to_script(address: str, prefix: str) -> bytes:
    """Return the scriptPubKey of a Bech32 or Bech32m address with this human-readable part."""
    return bytes(wallycore.addr_segwit_to_bytes(address, prefix, 0))


@_refuses_with(InvalidAddress, "the script has no segwit address")
def script_to_segwit_address(script: bytes, prefix: str) -> str:
    """Return the Bech32 or Bech32m address of a witness program."""
    return str(wallycore.addr_segwit_from_bytes(script, prefix, 0))


@_refuses_with(InvalidAddress, "no Base58Check string with a right checksum")
def base58check_decode(text: str) -> bytes:
    """Return the payload of a Base58Check string, version byte first."""
    return bytes(wallycore.base58check_to_bytes(text))


@_refuses_with(InvalidAddress, "nothing to encode as Base58Check")
def base58check_encode(payload: bytes) -> str:
    """Return the Base58Check string of a payload, version byte first."""
    return str(wallycore.base58check_from_bytes(payload))


# --- BIP-32 ---


@_refuses_with(InvalidKey, "the seed gives no BIP-32 key")
def key_from_seed(seed: bytes, version: int) -> ExtendedKey:
    """Return the master key of a seed of 16, 32 or 64 bytes."""
    return ExtendedKey(wallycore.bip32_key_from_seed(seed, version, 0))


@_refuses_with(InvalidKey, "no extended key in Base58Check (BIP-32)")
def key_from_base58(text: str) -> ExtendedKey:
    """Return the extended key, public or secret, that the text serialises."""
    return ExtendedKey(wallycore.bip32_key_from_base58(text))


@_refuses_with(InvalidKey, "the extended key has no secret part to derive from")
def derive_secret(key: ExtendedKey, path: Sequence[int]) -> ExtendedKey:
    """Return the secret descendant at a path (hardened steps carry bit 31)."""
    return ExtendedKey(wallycore.bip32_key_from_parent_path(key, list(path), _PRIVATE))


@_refuses_with(InvalidKey, "the path cannot be derived from a public key")
def derive_public(key: ExtendedKey, path: Sequence[int]) -> ExtendedKey:
    """Return the public descendant at an unhardened path; its parent's hash is left out.

    It carries the sum of the tweaks from the key that was parsed: see `tweak_sum`.
    """
    flags = _PUBLIC | _SKIP_HASH | _TWEAK_SUM
    return ExtendedKey(wallycore.bip32_key_from_parent_path(key, list(path), flags))


@_refuses_with(InvalidKey, "the extended key was not derived from a public key")
def tweak_sum(key: ExtendedKey) -> bytes:
    """Return the scalar (32 bytes) by which a public descendant differs from the parsed key."""
    return bytes(wallycore.bip32_key_get_pub_key_tweak_sum(key))


@_refuses_with(InvalidKey, "the extended key cannot be serialised")
def key_to_base58(key: ExtendedKey, *, secret: bool) -> str:
    """Return an xprv or xpub string; `secret=False` drops the secret part."""
    return str(wallycore.bip32_key_to_base58(key, _PRIVATE if secret else _PUBLIC))


@_refuses_with(InvalidKey, "the extended key has no public key")
def public_key(key: ExtendedKey) -> bytes:
    """Return the compressed public key, 33 bytes."""
    return bytes(wallycore.bip32_key_get_pub_key(key))


@_refuses_with(InvalidKey, "the extended key has no secret part")
def secret_key(key: ExtendedKey) -> bytes:
    """Return the secret scalar, 32 bytes."""
    return bytes(wallycore.bip32_key_get_priv_key(key))


@_refuses_with(InvalidKey, "the extended key has no fingerprint")
def fingerprint(key: ExtendedKey) -> bytes:
    """Return the first four bytes of the HASH160 of the public key."""
    return bytes(wallycore.bip32_key_get_fingerprint(key))


def key_version(key: ExtendedKey) -> int:
    """Return the four version bytes as an integer."""
    return int(wallycore.bip32_key_get_version(key))


def key_depth(key: ExtendedKey) -> int:
    """Return how many derivations lie between the master key and this one."""
    return int(wallycore.bip32_key_get_depth(key))


def key_child_number(key: ExtendedKey) -> int:
    """Return the last step of the key's path, with bit 31 if hardened."""
    return int(wallycore.bip32_key_get_child_num(key))


@_refuses_with(InvalidKey, "the secret key signs nothing, or no digest of 32 bytes was given")
def sign_ecdsa(secret: bytes, digest: bytes) -> bytes:
    """Return a strict DER, low-S signature; the nonce is RFC 6979's."""
    return bytes(wallycore.ec_sig_to_der(wallycore.ec_sig_from_bytes(secret, digest, _ECDSA)))


# --- descriptors ---


@_refuses_with(InvalidDescriptor, "no output descriptor that wallycore can read (BIP-380)")
def parse_descriptor(text: str, *, checksum_required: bool) -> Descriptor:
    """Parse a descriptor; a wrong checksum is always refused, a missing one if required."""
    flags = _REQUIRE_CHECKSUM if checksum_required else 0
    return Descriptor(wallycore.descriptor_parse(text, None, _NETWORK_NONE, flags))


@_refuses_with(InvalidDescriptor, "the descriptor has no checksum")
def descriptor_checksum(descriptor: Descriptor) -> str:
    """Return the eight characters of a descriptor's checksum."""
    return str(wallycore.descriptor_get_checksum(descriptor, 0))


@_refuses_with(InvalidDescriptor, "the descriptor has no script there")
def descriptor_script(descriptor: Descriptor, chain: int, index: int) -> bytes:
    """Return the scriptPubKey at the chain-th of `<0;1>` and the index in place of `*`."""
    return bytes(wallycore.descriptor_to_script(descriptor, 0, 0, 0, chain, index, 0))


# --- PSBT ---


@_refuses_with(InvalidPsbt, "no PSBT that wallycore can read (BIP-174)")
def reserialize_psbt(raw: bytes) -> bytes:
    """Return what wallycore writes after it has read `raw`."""
    return bytes(wallycore.psbt_to_bytes(wallycore.psbt_from_bytes(raw, 0), 0))


# --- BIP-39 ---


@_refuses_with(InvalidWords, "not 32 bytes")
def words_from_entropy(entropy: bytes) -> str:
    """Return the English BIP-39 words of 32 bytes, separated by single spaces."""
    return str(wallycore.bip39_mnemonic_from_bytes(_ENGLISH, entropy))


@_refuses_with(InvalidWords, "not English BIP-39 words with a right checksum")
def entropy_from_words(words: str) -> bytes:
    """Return the bytes that BIP-39 words encode; their checksum is verified."""
    return bytes(wallycore.bip39_mnemonic_to_bytes(_ENGLISH, words))
