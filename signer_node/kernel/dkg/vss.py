"""Feldman's verifiable secret sharing over secp256k1, the base of SimplPedPop.

A polynomial of degree t - 1 shares its value at 0; participant i holds its value at i + 1. The
commitment is the list of the coefficients times G; anyone evaluates the polynomial in it "in the
exponent". Infinity is legal in a commitment that is a sum of others'.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from signer_node.kernel.curve import tagged_hash
from signer_node.kernel.dkg.group import (
    POINT_BYTES,
    BadPoint,
    Point,
    add_generator,
    check_secret,
    evaluate,
    evaluate_in_exponent,
    format_point,
    multiply_generator,
    parse_point_or_infinity,
)
from signer_node.kernel.dkg.state import Secret

BIP_TAG = "BIP DKG/"


def tagged_hash_bip_dkg(tag: str, data: bytes) -> bytes:
    """Return the draft's tagged hash, 32 bytes."""
    return tagged_hash(BIP_TAG + tag, data)


def index_bytes(number: int) -> bytes:
    """Return an index or a threshold as the draft writes it, four bytes, big endian."""
    return number.to_bytes(4)


def chunks(data: bytes, size: int) -> list[bytes]:
    """Cut bytes whose length is a multiple of `size`."""
    return [data[start : start + size] for start in range(0, len(data), size)]


class AtInfinity(ValueError):
    """A threshold public key that is the point at infinity, before or after its tweak."""


@dataclass(frozen=True, slots=True)
class VSSCommitment:
    """The commitments to the coefficients, t points, that to the secret first."""

    points: tuple[Point, ...]

    @staticmethod
    def len_bytes(t: int) -> int:
        """Return the length of a commitment to t coefficients."""
        return POINT_BYTES * t

    @staticmethod
    def from_bytes(data: bytes) -> "VSSCommitment":
        """Parse as many points as there are; raises `BadPoint`."""
        if len(data) % POINT_BYTES:
            raise BadPoint("a commitment is a list of points")
        return VSSCommitment(tuple(map(parse_point_or_infinity, chunks(data, POINT_BYTES))))

    def to_bytes(self) -> bytes:
        """Return t times 33 bytes."""
        return b"".join(map(format_point, self.points))

    def commitment_to_secret(self) -> Point:
        """Return the first point."""
        return self.points[0]

    def commitment_to_nonconst_terms(self) -> tuple[Point, ...]:
        """Return the points after the first."""
        return self.points[1:]

    def pubshare(self, participant_id: int) -> Point:
        """Return the public share of participant i, the polynomial's value at i + 1 times G."""
        return evaluate_in_exponent(self.points, participant_id + 1)

    def pubshares(self, n: int) -> tuple[Point, ...]:
        """Return the public shares of all n participants."""
        return tuple(map(self.pubshare, range(n)))

    def invalid_taproot_commit(self) -> tuple["VSSCommitment", bytes]:
        """Return this commitment with an unspendable script path, and the tweak for every share.

        The tweak commits to an empty script tree, which BIP-341 recommends: otherwise a
        participant could hide a script path of its own in the sum and spend by it. Raises
        `AtInfinity`.
        """
        secret_point, *others = self.points
        if secret_point is None:
            raise AtInfinity("the commitments to the secrets sum up to infinity")
        tweak = tagged_hash("TapTweak", format_point(secret_point)[1:])
        tweaked = add_generator(secret_point, tweak)
        if tweaked is None:
            raise AtInfinity("the threshold public key is the point at infinity")
        return VSSCommitment((tweaked, *others)), tweak


class VSS(Secret):
    """A secret polynomial, made from a seed."""

    __slots__ = ("_coefficients",)

    def __init__(self, seed: bytes, t: int) -> None:
        """Derive t coefficients from 32 secret bytes."""
        self._coefficients: Sequence[bytes] = tuple(
            tagged_hash_bip_dkg("vss coeffs", seed + index_bytes(number)) for number in range(t)
        )
        for coefficient in self._coefficients:
            check_secret(coefficient)

    def secret(self) -> bytes:
        """Return the shared secret, the value at 0."""
        return self._coefficients[0]

    def secshare_for(self, participant_id: int) -> bytes:
        """Return the share of participant i, the value at i + 1."""
        return evaluate(self._coefficients, participant_id + 1)

    def commit(self) -> VSSCommitment:
        """Return the commitment."""
        return VSSCommitment(tuple(map(multiply_generator, self._coefficients)))
