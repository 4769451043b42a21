"""Threshold info: what key generation made, checked once; and the signers of one session.

Participants have identifiers 0 to n-1; the participant `i` holds the polynomial's value at i+1, the
threshold secret key is its value at 0, which in identifiers is -1 (BIP-445, "Key Material and
Setup"). The threshold public key is one that the caller keeps itself; it is never taken from the
public shares.

1. `validate_threshold_info` makes `KeyMaterial` of `ThresholdInfo`: every public share given lies
   on one polynomial of degree t-1 whose value at -1 is the threshold public key.
2. `select_signers` picks a session's signers from that without interpolating again: any t points
   of one polynomial give the same key.
3. `validate_session_params` is the BIP's check for a session whose threshold info is not at hand.

n is at most 128: FROST3's proof against adversaries that corrupt as they go needs it (BIP-445).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from coincurve import PublicKey

from signer_node.kernel.frost.faults import InvalidParameters
from signer_node.kernel.frost.points import ORDER, Point, add, cpoint, multiply

MAX_PARTICIPANTS = 128
_SECRET = -1
"""The identifier at which the polynomial's value is the threshold secret key."""
_COEFFICIENTS_KEPT = 1024


@dataclass(frozen=True, slots=True)
class ThresholdInfo:
    """Unchecked: t, the threshold public key (33 bytes) and the public share of each participant.

    A share that is not known is None; n is the length of `pubshares`.
    """

    t: int
    thresh_pk: bytes
    pubshares: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class KeyMaterial:
    """Checked threshold info, parsed. Made by `validate_threshold_info`."""

    t: int
    thresh_pk: PublicKey
    pubshares: tuple[PublicKey | None, ...]

    @property
    def n(self) -> int:
        """The number of participants."""
        return len(self.pubshares)


@dataclass(frozen=True, slots=True, eq=False)
class Signers:
    """Checked: the participants of one session with their public shares, if those are known.

    Made by `select_signers` or `validate_session_params`. `ids` keeps the caller's order, which is
    that of public nonces and partial signatures; nothing that is signed depends on it.
    """

    ids: tuple[int, ...]
    pubshares: tuple[PublicKey, ...] | None
    thresh_pk: PublicKey

    def index(self, signer_id: int) -> int:
        """Return a signer's place in the lists; raises `InvalidParameters` if it has none."""
        if signer_id not in self.ids:
            raise InvalidParameters("The signer's id is missing from the ids list.")
        return self.ids.index(signer_id)


# --- interpolation ---


@lru_cache(maxsize=_COEFFICIENTS_KEPT)
def derive_interpolating_value(ids: tuple[int, ...], signer_id: int, x: int = _SECRET) -> int:
    """Return the Lagrange coefficient of `signer_id`, one of the distinct `ids`, at `x`."""
    numerator, denominator = 1, 1
    for other in ids:
        if other != signer_id:
            numerator *= x - other
            denominator *= signer_id - other
    return numerator * pow(denominator, -1, ORDER) % ORDER


def derive_pubshare_at(ids: tuple[int, ...], pubshares: Sequence[PublicKey], x: int) -> Point:
    """Return the value at `x`, in the exponent, of the polynomial through these public shares."""
    return add(
        multiply(derive_interpolating_value(ids, signer_id, x), pubshare)
        for signer_id, pubshare in zip(ids, pubshares, strict=True)
    )


def derive_thresh_pubkey(ids: tuple[int, ...], pubshares: Sequence[PublicKey]) -> PublicKey:
    """Return the threshold public key of these public shares."""
    thresh_pk = derive_pubshare_at(ids, pubshares, _SECRET)
    if thresh_pk is None:
        raise InvalidParameters("The threshold public key must not be the point at infinity.")
    return thresh_pk


# --- checks ---


def validate_threshold_info(info: ThresholdInfo) -> KeyMaterial:
    """Return the parsed key material; raises `InvalidParameters` if its parts disagree.

    What passes can be signed with. It says nothing about how the key was generated.
    """
    _check_threshold(info.t, len(info.pubshares))
    thresh_pk = _parse_thresh_pk(info.thresh_pk)
    pubshares = tuple(
        None if encoded is None else _parse_pubshare(at, encoded)
        for at, encoded in enumerate(info.pubshares)
    )
    known = {at: pubshare for at, pubshare in enumerate(pubshares) if pubshare is not None}
    if len(known) < info.t:
        raise InvalidParameters("At least t pubshares must be present.")
    _check_one_polynomial(info.t, known)
    base = tuple(known)[: info.t]
    _check_thresh_pk(base, [known[at] for at in base], thresh_pk)
    return KeyMaterial(info.t, thresh_pk, pubshares)


def select_signers(material: KeyMaterial, ids: Sequence[int]) -> Signers:
    """Return the signers of a session of checked key material; all their shares must be known."""
    chosen = _check_ids(ids, material.t, material.n)
    pubshares = tuple(material.pubshares[signer_id] for signer_id in chosen)
    known = tuple(pubshare for pubshare in pubshares if pubshare is not None)
    if len(known) != len(chosen):
        raise InvalidParameters("The pubshares of all signers must be present.")
    return Signers(chosen, known, material.thresh_pk)


def validate_session_params(
    n: int, t: int, ids: Sequence[int], pubshares: Sequence[bytes] | None, thresh_pk: bytes
) -> Signers:
    """Return the signers of a session from its parameters alone, all checks made.

    Without public shares one can sign, but neither verify others nor name culprits.
    """
    _check_threshold(t, n)
    _check_count(len(ids), t, n)
    if pubshares is None:
        return Signers(_check_ids(ids, t, n), None, _parse_thresh_pk(thresh_pk))
    if len(pubshares) != len(ids):
        raise InvalidParameters("The pubshares and ids lists must have the same length.")
    parsed = tuple(_parse_pubshare(at, encoded) for at, encoded in enumerate(pubshares))
    chosen = _check_ids(ids, t, n)
    key = _parse_thresh_pk(thresh_pk)
    _check_thresh_pk(chosen, parsed, key)
    return Signers(chosen, parsed, key)


def _check_threshold(t: int, n: int) -> None:
    if not 1 <= t <= n:
        raise InvalidParameters("The threshold must be 1 <= t <= n.")
    if n > MAX_PARTICIPANTS:
        raise InvalidParameters(f"The number of participants must be n <= {MAX_PARTICIPANTS}.")


def _check_count(u: int, t: int, n: int) -> None:
    if not t <= u <= n:
        raise InvalidParameters("The number of signers must satisfy t <= u <= n.")


def _check_ids(ids: Sequence[int], t: int, n: int) -> tuple[int, ...]:
    _check_count(len(ids), t, n)
    for at, signer_id in enumerate(ids):
        if not 0 <= signer_id < n:
            raise InvalidParameters(f"The id at index {at} must satisfy 0 <= id <= n - 1.")
    if len(set(ids)) != len(ids):
        raise InvalidParameters("The ids list contains duplicate elements.")
    return tuple(ids)


def _check_one_polynomial(t: int, known: dict[int, PublicKey]) -> None:
    """The first t fix the polynomial, so each further one is held against it by itself."""
    base = tuple(known)[:t]
    shares = [known[at] for at in base]
    for at in tuple(known)[t:]:
        if derive_pubshare_at(base, shares, at) != known[at]:
            raise InvalidParameters(
                "The provided key material is incorrect: "
                "the public shares do not lie on a single polynomial."
            )


def _check_thresh_pk(
    ids: tuple[int, ...], pubshares: Sequence[PublicKey], thresh_pk: PublicKey
) -> None:
    if derive_thresh_pubkey(ids, pubshares) != thresh_pk:
        raise InvalidParameters(
            "The provided key material is incorrect: "
            "the public shares do not match the threshold public key."
        )


def _parse_thresh_pk(encoded: bytes) -> PublicKey:
    try:
        return cpoint(encoded)
    except ValueError:
        raise InvalidParameters("The thresh_pk is not a valid point.") from None


def _parse_pubshare(at: int, encoded: bytes) -> PublicKey:
    try:
        return cpoint(encoded)
    except ValueError:
        raise InvalidParameters(f"The pubshare at index {at} is not a valid point.") from None
