"""Round one: the public nonces of the signers, and their aggregate.

A public nonce is two points. Each half is summed for itself; a half of the aggregate may be the
point at infinity and is then 33 zero bytes, because a signer that spoils the sum must not be able
to stop the session unnoticed: its partial signature will name it (BIP-445, "Nonce Aggregation").
A single signer's half is never infinity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coincurve import PublicKey

from signer_node.kernel.frost.faults import Contribution, InvalidContribution
from signer_node.kernel.frost.points import POINT_BYTES, Point, add, cbytes_ext, cpoint, cpoint_ext

NONCE_BYTES = 2 * POINT_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class PubNonce:
    """One signer's commitment, parsed."""

    R_1: PublicKey
    R_2: PublicKey

    @property
    def encoded(self) -> bytes:
        """The 66 bytes that are sent."""
        return cbytes_ext(self.R_1) + cbytes_ext(self.R_2)


@dataclass(frozen=True, slots=True, eq=False)
class AggNonce:
    """The sum of all signers' public nonces; `encoded` are its 66 bytes."""

    R_1: Point
    R_2: Point
    encoded: bytes


def parse_pubnonce(index: int, encoded: bytes) -> PubNonce:
    """Parse 66 bytes; `InvalidContribution` names the signer at `index` of the list."""
    try:
        if len(encoded) != NONCE_BYTES:
            raise ValueError(f"a public nonce has {NONCE_BYTES} bytes")
        return PubNonce(cpoint(encoded[:POINT_BYTES]), cpoint(encoded[POINT_BYTES:]))
    except ValueError:
        raise InvalidContribution(index, Contribution.PUBNONCE) from None


def parse_pubnonces(encoded: Sequence[bytes]) -> tuple[PubNonce, ...]:
    """Parse the public nonces of a session, in the order of its signers."""
    return tuple(parse_pubnonce(index, one) for index, one in enumerate(encoded))


def nonce_agg(pubnonces: Sequence[PubNonce]) -> AggNonce:
    """Return the aggregate nonce."""
    halves = add(one.R_1 for one in pubnonces), add(one.R_2 for one in pubnonces)
    return AggNonce(*halves, b"".join(map(cbytes_ext, halves)))


def parse_aggnonce(encoded: bytes) -> AggNonce:
    """Parse an aggregate that another party made; `InvalidContribution` blames the aggregator."""
    try:
        if len(encoded) != NONCE_BYTES:
            raise ValueError(f"an aggregate nonce has {NONCE_BYTES} bytes")
        halves = cpoint_ext(encoded[:POINT_BYTES]), cpoint_ext(encoded[POINT_BYTES:])
    except ValueError:
        raise InvalidContribution(None, Contribution.AGGNONCE) from None
    return AggNonce(*halves, encoded)
