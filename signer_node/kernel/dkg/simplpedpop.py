"""SimplPedPop: Pedersen's key generation with proofs of possession, over private channels.

Each participant shares a secret of its own and proves that it knows it; the sum of all secrets is
the threshold secret, which nobody holds. To the layer above this module guarantees of an honest
participant that `participant_step2` returned to:

1. Its secret share is the one of the summed commitment, at its place.
2. Every other participant knew the secret behind its own commitment (no rogue key), for its own
   place (no copied proof).
3. The threshold public key has no script path (`VSSCommitment.invalid_taproot_commit`).

That all participants saw the same is left to an equality check of the returned `eq_input`.
Source: ChillDKG 0.3.0, "DKG Protocol SimplPedPop".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from signer_node.kernel.curve import SCHNORR_BYTES, BadSignature
from signer_node.kernel.dkg.faults import (
    FaultyCoordinator,
    FaultyParticipant,
    FaultyParticipantOrCoordinator,
    MalformedMessage,
    UnknownFaultyParticipantOrCoordinator,
)
from signer_node.kernel.dkg.group import (
    POINT_BYTES,
    BadPoint,
    Point,
    add_scalars,
    first_infinity,
    format_point,
    multiply_generator,
    parse_point_or_infinity,
    same_point,
    sign_tagged,
    sum_points,
    sum_scalars,
    verify_tagged,
)
from signer_node.kernel.dkg.state import Secret
from signer_node.kernel.dkg.vss import (
    BIP_TAG,
    VSS,
    AtInfinity,
    VSSCommitment,
    chunks,
    index_bytes,
)

# Proofs of possession (pops)

_POP_TAG = BIP_TAG + "pop message"


def pop_prove(seckey: bytes, participant_id: int, aux_rand: bytes) -> bytes:
    """Return the proof (64 bytes) that participant i knows `seckey`."""
    return sign_tagged(_POP_TAG, seckey, index_bytes(participant_id), aux_rand)


def pop_verify(pop: bytes, com_to_secret: Point, participant_id: int) -> None:
    """Raise `BadSignature` unless participant i proves that it knows the secret committed to."""
    if com_to_secret is None:
        raise BadSignature("the commitment to a secret is the point at infinity")
    verify_tagged(_POP_TAG, com_to_secret, index_bytes(participant_id), pop)


# Messages


@dataclass(frozen=True, slots=True)
class ParticipantMsg:
    """A participant's commitment (t points) and proof of possession."""

    com: VSSCommitment
    pop: bytes

    @staticmethod
    def len_bytes(t: int) -> int:
        """Return the length of the message's bytes."""
        return VSSCommitment.len_bytes(t) + SCHNORR_BYTES

    @staticmethod
    def from_bytes(data: bytes) -> "ParticipantMsg":
        """Parse bytes of the right length; raises `MalformedMessage`."""
        try:
            com = VSSCommitment.from_bytes(data[:-SCHNORR_BYTES])
        except BadPoint as fault:
            raise MalformedMessage(f"the commitment is invalid: {fault}") from None
        return ParticipantMsg(com, data[-SCHNORR_BYTES:])

    def to_bytes(self) -> bytes:
        """Return the message's bytes."""
        return self.com.to_bytes() + self.pop


@dataclass(frozen=True, slots=True)
class CoordinatorMsg:
    """Commitments to all n secrets, the sums of the t - 1 others, all proofs of possession."""

    coms_to_secrets: tuple[Point, ...]
    sum_coms_to_nonconst_terms: tuple[Point, ...]
    pops: tuple[bytes, ...]

    @staticmethod
    def len_bytes(t: int, n: int) -> int:
        """Return the length of the message's bytes."""
        return POINT_BYTES * (n + t - 1) + SCHNORR_BYTES * n

    @staticmethod
    def from_bytes(data: bytes, n: int) -> "CoordinatorMsg":
        """Parse bytes of the right length; raises `MalformedMessage`."""
        pops = len(data) - SCHNORR_BYTES * n
        try:
            points = tuple(map(parse_point_or_infinity, chunks(data[:pops], POINT_BYTES)))
        except BadPoint as fault:
            raise MalformedMessage(f"a commitment is invalid: {fault}") from None
        return CoordinatorMsg(points[:n], points[n:], tuple(chunks(data[pops:], SCHNORR_BYTES)))

    def to_bytes(self) -> bytes:
        """Return the message's bytes."""
        points = self.coms_to_secrets + self.sum_coms_to_nonconst_terms
        return b"".join(map(format_point, points)) + b"".join(self.pops)

    def sum_coms(self) -> VSSCommitment:
        """Return the commitment to the sum of all polynomials."""
        return VSSCommitment((sum_points(self.coms_to_secrets), *self.sum_coms_to_nonconst_terms))


@dataclass(frozen=True, slots=True)
class CoordinatorInvestigationMsg:
    """What each participant's commitment says about the share for the one that investigates."""

    partial_pubshares: tuple[Point, ...]

    @staticmethod
    def len_bytes(n: int) -> int:
        """Return the length of the message's bytes."""
        return POINT_BYTES * n

    @staticmethod
    def from_bytes(data: bytes) -> "CoordinatorInvestigationMsg":
        """Parse bytes of the right length; raises `MalformedMessage`."""
        try:
            points = tuple(map(parse_point_or_infinity, chunks(data, POINT_BYTES)))
        except BadPoint as fault:
            raise MalformedMessage(f"a partial public share is invalid: {fault}") from None
        return CoordinatorInvestigationMsg(points)

    def to_bytes(self) -> bytes:
        """Return the message's bytes."""
        return b"".join(map(format_point, self.partial_pubshares))


# Outputs and state


@dataclass(frozen=True, slots=True)
class DKGOutput(Secret):
    """What a key generation gives: points are compressed, 33 bytes, never infinity.

    The secret share (32 bytes) is the participant's own; the coordinator has None.
    """

    secshare: bytes | None = field(repr=False)
    thresh_pk: bytes
    pubshares: tuple[bytes, ...]

    __repr__ = Secret.__repr__


@dataclass(frozen=True, slots=True)
class ParticipantState:
    """What a participant remembers between its steps; nothing of it is secret."""

    t: int
    n: int
    participant_id: int
    com_to_secret: Point


@dataclass(frozen=True, slots=True)
class ParticipantInvestigationData(Secret):
    """What a participant with a wrong secret share needs to find out whose fault it is."""

    participant_id: int
    secshare: bytes
    pubshare: Point

    __repr__ = Secret.__repr__


class SecshareSumMismatch(ValueError):
    """The partial secret shares do not sum up to the secret share."""


# Participant


def participant_step1(
    seed: bytes, t: int, n: int, participant_id: int, aux_rand: bytes
) -> tuple[ParticipantState, ParticipantMsg, tuple[bytes, ...]]:
    """Return the state, the message, and the n secret shares, one to hand to each in private."""
    vss = VSS(seed, t)
    partial_secshares = tuple(map(vss.secshare_for, range(n)))
    com = vss.commit()
    pop = pop_prove(vss.secret(), participant_id, aux_rand)
    state = ParticipantState(t, n, participant_id, com.commitment_to_secret())
    return state, ParticipantMsg(com, pop), partial_secshares


def participant_step2(
    state: ParticipantState, cmsg: CoordinatorMsg, secshare: bytes
) -> tuple[DKGOutput, bytes]:
    """Return the output and the transcript to compare; `secshare` is the sum of the private shares.

    Raises `FaultyCoordinator`, `FaultyParticipantOrCoordinator`, or, for a share that is wrong,
    `UnknownFaultyParticipantOrCoordinator` with what an investigation needs.
    """
    _check_contributions(state, cmsg)
    sum_coms = cmsg.sum_coms()
    try:
        tweaked, tweak = sum_coms.invalid_taproot_commit()
    except AtInfinity as fault:
        raise FaultyCoordinator(str(fault)) from None
    secshare_tweaked = add_scalars(secshare, tweak)
    pubshare = tweaked.pubshare(state.participant_id)
    if pubshare is None or not same_point(multiply_generator(secshare_tweaked), pubshare):
        data = ParticipantInvestigationData(
            state.participant_id, secshare, sum_coms.pubshare(state.participant_id)
        )
        raise UnknownFaultyParticipantOrCoordinator("the secret share is wrong", data)
    pubshares = _others_pubshares(state, tweaked, pubshare)
    thresh_pk = format_point(tweaked.commitment_to_secret())
    return DKGOutput(secshare_tweaked, thresh_pk, pubshares), eq_input(sum_coms)


def _check_contributions(state: ParticipantState, cmsg: CoordinatorMsg) -> None:
    """Check that the own commitment arrived and that the others know what they commit to."""
    if not same_point(cmsg.coms_to_secrets[state.participant_id], state.com_to_secret):
        raise FaultyCoordinator("it returned another commitment than this participant's")
    for number, (com, pop) in enumerate(zip(cmsg.coms_to_secrets, cmsg.pops, strict=True)):
        if number == state.participant_id:
            continue
        if com is None:
            raise FaultyParticipantOrCoordinator(number, "the commitment is invalid")
        try:
            pop_verify(pop, com, number)
        except BadSignature:
            raise FaultyParticipantOrCoordinator(
                number, "the proof of possession is invalid"
            ) from None


def _others_pubshares(
    state: ParticipantState, tweaked: VSSCommitment, own: Point
) -> tuple[bytes, ...]:
    """Return all public shares; the own one has been computed.

    One at infinity belongs to a participant with a zero share: it saw the others' shares for it
    and chose its polynomial last, or somebody else, or the coordinator, bent the sum at its place.
    BIP-445 signs with no such share (the reference stops at an assertion), and nothing in the
    transcript tells who did it.
    """
    pubshares = tuple(
        own if number == state.participant_id else tweaked.pubshare(number)
        for number in range(state.n)
    )
    at = first_infinity(pubshares)
    if at is not None:
        raise UnknownFaultyParticipantOrCoordinator(
            f"the public share of participant {at} is the point at infinity", None
        )
    return tuple(map(format_point, pubshares))


def participant_investigate(
    data: ParticipantInvestigationData,
    cinv: CoordinatorInvestigationMsg,
    partial_secshares: Sequence[bytes],
) -> NoReturn:
    """Raise who gave this participant a wrong share.

    Raises `FaultyCoordinator`, `FaultyParticipantOrCoordinator`, or `SecshareSumMismatch`, which
    the caller, who knows where the shares came from, turns into one of these.
    """
    if not same_point(sum_points(cinv.partial_pubshares), data.pubshare):
        raise FaultyCoordinator("the partial public shares do not sum up to the public share")
    if not same_point(
        multiply_generator(sum_scalars(partial_secshares)), multiply_generator(data.secshare)
    ):
        raise SecshareSumMismatch("the partial secret shares do not sum up to the secret share")
    pairs = zip(partial_secshares, cinv.partial_pubshares, strict=True)
    for number, (secshare, pubshare) in enumerate(pairs):
        if same_point(multiply_generator(secshare), pubshare):
            continue
        if number == data.participant_id:
            raise FaultyCoordinator("it altered the share from this participant to itself")
        raise FaultyParticipantOrCoordinator(number, "the partial secret share is wrong")
    # All partial shares fit, so their sum fits, and there was nothing to investigate.
    raise RuntimeError("an investigation of a secret share that is right")


# Coordinator


def eq_input(sum_coms: VSSCommitment) -> bytes:
    """Return the transcript: the threshold, t in four bytes, and the summed commitment."""
    return index_bytes(len(sum_coms.points)) + sum_coms.to_bytes()


def coordinator_step(
    pmsgs: Sequence[ParticipantMsg], t: int
) -> tuple[CoordinatorMsg, VSSCommitment]:
    """Return the message to all and the summed commitment, whose threshold key is not infinity.

    The commitments to the secrets are not summed: each has its proof of possession. Proofs are the
    participants' to check; they are checked here only to name whose key cancels the others'.
    """
    cmsg = CoordinatorMsg(
        tuple(pmsg.com.commitment_to_secret() for pmsg in pmsgs),
        tuple(
            sum_points([pmsg.com.commitment_to_nonconst_terms()[degree] for pmsg in pmsgs])
            for degree in range(t - 1)
        ),
        tuple(pmsg.pop for pmsg in pmsgs),
    )
    sum_coms = cmsg.sum_coms()
    try:
        sum_coms.invalid_taproot_commit()
    except AtInfinity:
        _blame_for_infinity(pmsgs)
    return cmsg, sum_coms


def _blame_for_infinity(pmsgs: Sequence[ParticipantMsg]) -> NoReturn:
    for number, pmsg in enumerate(pmsgs):
        try:
            pop_verify(pmsg.pop, pmsg.com.commitment_to_secret(), number)
        except BadSignature:
            raise FaultyParticipant(number, "the proof of possession is invalid") from None
    # Everybody knows a secret and they cancel: no secret was honest, so anyone may be named.
    raise FaultyParticipant(0, "the secrets of all participants cancel each other")


def public_output(sum_coms: VSSCommitment, n: int) -> DKGOutput:
    """Return the output without a secret share; raises `AtInfinity` for a point at infinity."""
    tweaked, _ = sum_coms.invalid_taproot_commit()
    pubshares = tweaked.pubshares(n)
    at = first_infinity(pubshares)
    if at is not None:
        raise AtInfinity(f"public share {at} is the point at infinity")
    thresh_pk = format_point(tweaked.commitment_to_secret())
    return DKGOutput(None, thresh_pk, tuple(map(format_point, pubshares)))


def coordinator_investigate(
    pmsgs: Sequence[ParticipantMsg],
) -> tuple[CoordinatorInvestigationMsg, ...]:
    """Return the investigation message for each participant; none is secret."""
    return tuple(
        CoordinatorInvestigationMsg(tuple(pmsg.com.pubshare(number) for pmsg in pmsgs))
        for number in range(len(pmsgs))
    )
