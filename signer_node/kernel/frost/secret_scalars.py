"""Secret scalars: they live in memory of libsecp256k1's kind and are touched by libsecp256k1 only.

No secret ever becomes a Python integer, whose arithmetic takes a time that depends on the value.
coincurve's `PrivateKey` is not used: it makes two public keys at each step, which costs a hundred
times the arithmetic. What its functions call is called here, on a buffer that is wiped afterwards.

A `SecretScalar` is not copied, pickled, compared or printed.
"""

from typing import Any, NoReturn

from coincurve import GLOBAL_CONTEXT, PublicKey
from coincurve._libsecp256k1 import ffi as _ffi  # type: ignore[import-not-found]
from coincurve._libsecp256k1 import lib as _lib

from signer_node.kernel.frost.points import SCALAR_BYTES, scalar_bytes

ffi: Any = _ffi
lib: Any = _lib
_CTX: Any = GLOBAL_CONTEXT.ctx


class SecretScalar:
    """A scalar from 1 to the order less one; the operations change it in place."""

    __slots__ = ("_cell",)

    def __init__(self, secret: bytes) -> None:
        """Take 32 big-endian bytes; raises `ValueError` if they are out of range."""
        if len(secret) != SCALAR_BYTES:
            raise ValueError(f"a secret scalar has {SCALAR_BYTES} bytes")
        self._cell = ffi.new("unsigned char[32]", secret)
        if not lib.secp256k1_ec_seckey_verify(_CTX, self._cell):
            self.wipe()
            raise ValueError("a secret scalar is zero or not below the group order")

    def multiply(self, factor: int) -> None:
        """Multiply by a public scalar that is not zero."""
        _require(lib.secp256k1_ec_seckey_tweak_mul(_CTX, self._cell, scalar_bytes(factor)))

    def add(self, summand: "SecretScalar") -> None:
        """Add another secret; raises `ValueError` in the impossible case that the sum is zero."""
        _require(lib.secp256k1_ec_seckey_tweak_add(_CTX, self._cell, summand._cell))

    def negate(self) -> None:
        """Replace by the order less this scalar."""
        _require(lib.secp256k1_ec_seckey_negate(_CTX, self._cell))

    def multiply_generator(self) -> PublicKey:
        """Return this scalar times G."""
        point = ffi.new("secp256k1_pubkey *")
        _require(lib.secp256k1_ec_pubkey_create(_CTX, point, self._cell))
        return PublicKey(point)

    def reveal(self) -> bytes:
        """Return the 32 bytes: for results that leave, like a partial signature."""
        return bytes(ffi.buffer(self._cell))

    def wipe(self) -> None:
        """Overwrite the scalar with zeros, which no operation takes."""
        ffi.memmove(self._cell, bytes(SCALAR_BYTES), SCALAR_BYTES)

    def __repr__(self) -> str:
        return "SecretScalar(...)"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a secret scalar is neither copied nor pickled")


def _require(done: int) -> None:
    if not done:
        raise ValueError("a secret scalar or its factor is zero or not below the group order")
