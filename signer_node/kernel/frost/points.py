"""Points of secp256k1 with the point at infinity, in libsecp256k1, and public scalars.

Every scalar here is public and may be a Python integer; secret ones are `secret_scalars`' business.
libsecp256k1 has no value for infinity: it is `INFINITY` here, and no sum or multiple stumbles over
it. (coincurve aborts the process on an empty sum, and raises on infinity and on the scalar zero.)
"""

from collections.abc import Iterable

from coincurve import PublicKey

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The order of the group (SEC 2, 2.4.1)."""
SCALAR_BYTES = 32
POINT_BYTES = 33
_EVEN, _ODD = b"\x02", b"\x03"

Point = PublicKey | None
INFINITY: Point = None
INFINITY_ENCODED = bytes(POINT_BYTES)


def cpoint(encoded: bytes) -> PublicKey:
    """Parse 33 compressed bytes; raises `ValueError` for anything but a point of the curve."""
    if len(encoded) != POINT_BYTES:
        raise ValueError(f"a compressed point has {POINT_BYTES} bytes, not {len(encoded)}")
    return PublicKey(encoded)


def cpoint_ext(encoded: bytes) -> Point:
    """Parse like `cpoint`; 33 zero bytes are the point at infinity."""
    return INFINITY if encoded == INFINITY_ENCODED else cpoint(encoded)


def cbytes(point: PublicKey) -> bytes:
    """Return the 33 compressed bytes."""
    return point.format(compressed=True)


def cbytes_ext(point: Point) -> bytes:
    """Return the 33 compressed bytes; zeros for the point at infinity."""
    return INFINITY_ENCODED if point is None else cbytes(point)


def has_even_y(encoded: bytes) -> bool:
    """Tell the parity from the compressed bytes of a point that is not infinity."""
    return encoded[:1] == _EVEN


def negate(encoded: bytes) -> PublicKey:
    """Return the negative of a point, given by its compressed bytes."""
    return PublicKey((_ODD if has_even_y(encoded) else _EVEN) + encoded[1:])


def scalar_bytes(scalar: int) -> bytes:
    """Return 32 big-endian bytes of a reduced scalar."""
    return scalar.to_bytes(SCALAR_BYTES, "big")


def scalar_from_hash(digest: bytes) -> int:
    """Return the digest as a number modulo the order."""
    return int.from_bytes(digest, "big") % ORDER


def multiply(scalar: int, point: Point) -> Point:
    """Return scalar·point; the scalar is reduced (0 <= scalar < order)."""
    if scalar == 0 or point is None:
        return INFINITY
    return point.multiply(scalar_bytes(scalar))


def multiply_generator(scalar: int) -> Point:
    """Return scalar·G; the scalar is reduced."""
    return PublicKey.from_valid_secret(scalar_bytes(scalar)) if scalar else INFINITY


def add(points: Iterable[Point]) -> Point:
    """Return the sum of any number of points."""
    finite = [point for point in points if point is not None]
    if len(finite) < 2:  # coincurve aborts on none, and one is its own sum
        return finite[0] if finite else INFINITY
    try:
        return PublicKey.combine_keys(finite)
    except ValueError:  # valid points have only one sum that is not a key
        return INFINITY


GENERATOR = PublicKey.from_valid_secret(scalar_bytes(1))
