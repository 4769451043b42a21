"""ChillDKG 0.3.0: EncPedPop with a certified equality check, recovery data and host keys.

A session has n participants, each with a host key, and a coordinator that only carries and sums.

    participant                          coordinator
    participant_step1      -- pmsg1 -->  coordinator_step1
    participant_step2      <-- cmsg1 --
                           -- pmsg2 -->  coordinator_finalize
    participant_finalize   <-- cmsg2 --
    participant_recovery_ack_sign  ...   participant_recovery_acks_verify

To a participant whose `participant_finalize` returned this module guarantees:

1. All n host keys signed the same transcript: no view was split, and every honest participant has,
   or recovers by `participant_recover`, the same outputs.
2. Fewer than t participants, with the coordinator, cannot sign under the threshold public key.
3. Host secret key and recovery data (the same for all, with secrets only encrypted) give the secret
   share again, so they are a backup.

An error of a participant after `participant_step2` never means that the session failed: another
may hold the certificate. So host keys are kept, and nothing is used before all acknowledged the
recovery data. Faults name who may be at fault (`faults`). Randomness is always given by the caller.

Source: the draft BIP "ChillDKG", version 0.3.0 of 2026-07-30.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from signer_node.kernel.curve import SCHNORR_BYTES, BadSignature
from signer_node.kernel.dkg import encpedpop, simplpedpop
from signer_node.kernel.dkg.encpedpop import DecryptionKey
from signer_node.kernel.dkg.faults import (
    BadHostSeckey,
    BadRandomness,
    BadRecoveryData,
    BadSessionParams,
    BadThresholdOrCount,
    DuplicateHostPubkey,
    FaultyCoordinator,
    FaultyParticipant,
    FaultyParticipantOrCoordinator,
    InvalidHostPubkey,
    InvalidRecoveryAck,
    MalformedMessage,
    UnknownFaultyParticipantOrCoordinator,
)
from signer_node.kernel.dkg.group import (
    POINT_BYTES,
    SCALAR_BYTES,
    BadPoint,
    BadScalar,
    add_scalars,
    check_secret,
    format_point,
    multiply_generator,
    parse_point,
    parse_public_scalar,
    sign,
    verify,
)
from signer_node.kernel.dkg.simplpedpop import DKGOutput
from signer_node.kernel.dkg.state import OneUse
from signer_node.kernel.dkg.vss import (
    BIP_TAG,
    AtInfinity,
    VSSCommitment,
    chunks,
    index_bytes,
    tagged_hash_bip_dkg,
)

MAX_PARTICIPANTS = 128
"""Far more than any quorum of ours; the draft allows 2^32 - 1."""
RANDOM_BYTES = 32
_THRESHOLD_BYTES = 4
_PARTICIPANT_RECOVERY_BYTES = POINT_BYTES + POINT_BYTES + SCALAR_BYTES + SCHNORR_BYTES
_PREFIX_BYTES = 33
"""BIP-340's advice for domain separation: a prefix as long as no other message's first part."""

# Host keys and session parameters


def hostpubkey_gen(hostseckey: bytes) -> bytes:
    """Return the host public key (33 bytes) of a host secret key; raises `BadHostSeckey`."""
    try:
        check_secret(hostseckey)
    except BadScalar as fault:
        raise BadHostSeckey(str(fault)) from None
    return format_point(multiply_generator(hostseckey))


@dataclass(frozen=True, slots=True)
class SessionParams:
    """What all parties of a session agree on beforehand: host public keys in order, threshold.

    Their authenticity is the caller's to ensure, by `params_hash` or otherwise.
    """

    hostpubkeys: tuple[bytes, ...]
    t: int

    @property
    def n(self) -> int:
        """The number of participants."""
        return len(self.hostpubkeys)


def params_validate(params: SessionParams) -> None:
    """Raise `BadThresholdOrCount`, `InvalidHostPubkey` or `DuplicateHostPubkey`."""
    if not 1 <= params.t <= params.n <= MAX_PARTICIPANTS:
        raise BadThresholdOrCount(f"no {params.t} of {params.n}: 1 <= t <= n <= {MAX_PARTICIPANTS}")
    for number, hostpubkey in enumerate(params.hostpubkeys):
        try:
            parse_point(hostpubkey)
        except BadPoint:
            raise InvalidHostPubkey(number) from None
    first: dict[bytes, int] = {}
    for number, hostpubkey in enumerate(params.hostpubkeys):
        if first.setdefault(hostpubkey, number) != number:
            raise DuplicateHostPubkey(first[hostpubkey], number)


def params_hash(params: SessionParams) -> bytes:
    """Return the hash (32 bytes) by which people compare session parameters out of band."""
    params_validate(params)
    return tagged_hash_bip_dkg("params_hash", index_bytes(params.t) + b"".join(params.hostpubkeys))


def _decryption_key(hostseckey: bytes, params: SessionParams) -> DecryptionKey:
    """Return the host key as EncPedPop's static key; raises `BadHostSeckey` for a stranger's."""
    hostpubkey = hostpubkey_gen(hostseckey)
    if hostpubkey not in params.hostpubkeys:
        raise BadHostSeckey("the host secret key is of no participant of this session")
    participant_id = params.hostpubkeys.index(hostpubkey)
    return DecryptionKey(hostseckey, participant_id, params.hostpubkeys)


def _require_random(random: bytes) -> None:
    if len(random) != RANDOM_BYTES:
        raise BadRandomness(f"the randomness has {RANDOM_BYTES} bytes")


# Equality check protocol CertEq, and signatures under host keys in general


def _message(purpose: str, participant_id: int, signed: bytes) -> bytes:
    prefix = (BIP_TAG + purpose).encode().ljust(_PREFIX_BYTES, b"\0")
    return prefix + index_bytes(participant_id) + signed


def certeq_message(eq_input: bytes, participant_id: int) -> bytes:
    """Return what participant i signs to say that it saw this transcript."""
    return _message("certeq message", participant_id, eq_input)


def recovery_ack_message(recovery_data: bytes, participant_id: int) -> bytes:
    """Return what participant i signs to say that it keeps this recovery data."""
    return _message("recovery acknowledgment", participant_id, recovery_data)


class _InvalidSignature(ValueError):
    """One of a list of signatures does not verify."""

    def __init__(self, participant_id: int) -> None:
        super().__init__(f"the signature of participant {participant_id} does not verify")
        self.participant_id = participant_id


def _verify_all(
    hostpubkeys: Sequence[bytes],
    message: Callable[[bytes, int], bytes],
    signed: bytes,
    signatures: Sequence[bytes],
) -> None:
    """Raise `_InvalidSignature` unless there is a signature of every participant, in order.

    The key's sign is dropped: messages contain all host public keys and the place among them.
    """
    pairs = zip(hostpubkeys, signatures, strict=True)
    for number, (hostpubkey, signature) in enumerate(pairs):
        try:
            verify(hostpubkey[1:], message(signed, number), signature)
        except BadSignature:
            raise _InvalidSignature(number) from None


def certeq_verify(hostpubkeys: Sequence[bytes], eq_input: bytes, cert: bytes) -> None:
    """Raise unless `cert` (64 n bytes) certifies that all participants saw this transcript."""
    _verify_all(hostpubkeys, certeq_message, eq_input, chunks(cert, SCHNORR_BYTES))


# Messages

Parsed = TypeVar("Parsed")


def _require_length(data: bytes, expected: int) -> None:
    if len(data) != expected:
        raise MalformedMessage(f"it has {len(data)} bytes instead of {expected}")


@dataclass(frozen=True, slots=True)
class CoordinatorMsg1:
    """EncPedPop's message, and all participants' encrypted shares, so that recovery data is one."""

    enc_cmsg: encpedpop.CoordinatorMsg
    enc_secshares: tuple[bytes, ...]

    @staticmethod
    def len_bytes(t: int, n: int) -> int:
        """Return the length of the message's bytes."""
        return encpedpop.CoordinatorMsg.len_bytes(t, n) + SCALAR_BYTES * n

    @staticmethod
    def from_bytes(data: bytes, t: int, n: int) -> "CoordinatorMsg1":
        """Parse; raises `MalformedMessage`."""
        _require_length(data, CoordinatorMsg1.len_bytes(t, n))
        shares = len(data) - SCALAR_BYTES * n
        try:
            enc_secshares = tuple(map(parse_public_scalar, chunks(data[shares:], SCALAR_BYTES)))
        except BadScalar as fault:
            raise MalformedMessage(f"an encrypted share is invalid: {fault}") from None
        return CoordinatorMsg1(encpedpop.CoordinatorMsg.from_bytes(data[:shares], n), enc_secshares)

    def to_bytes(self) -> bytes:
        """Return the message's bytes."""
        return self.enc_cmsg.to_bytes() + b"".join(self.enc_secshares)


def _parse_pmsg1(data: bytes, t: int, n: int) -> encpedpop.ParticipantMsg:
    _require_length(data, encpedpop.ParticipantMsg.len_bytes(t, n))
    return encpedpop.ParticipantMsg.from_bytes(data, n)


def _parse_pmsgs1(pmsgs1: Sequence[bytes], params: SessionParams) -> list[encpedpop.ParticipantMsg]:
    """Parse the first message of each participant; a fault names its sender."""
    if len(pmsgs1) != params.n:
        raise ValueError(f"{len(pmsgs1)} messages of {params.n} participants")
    parsed = []
    for number, pmsg1 in enumerate(pmsgs1):
        try:
            parsed.append(_parse_pmsg1(pmsg1, params.t, params.n))
        except MalformedMessage as fault:
            raise FaultyParticipant(number, f"the first message is malformed: {fault}") from None
    return parsed


def _from_coordinator(parse: Callable[[], Parsed]) -> Parsed:
    """Parse a message of the coordinator's; a fault names it."""
    try:
        return parse()
    except MalformedMessage as fault:
        raise FaultyCoordinator(f"the message is malformed: {fault}") from None


# Participant


@dataclass(frozen=True, slots=True)
class _AfterStep1:
    params: SessionParams
    enc_state: encpedpop.ParticipantState


@dataclass(frozen=True, slots=True)
class _AfterStep2:
    params: SessionParams
    eq_input: bytes
    output: DKGOutput


class ParticipantState1(OneUse[_AfterStep1]):
    """A participant's state until `participant_step2`, which uses it up."""

    __slots__ = ()


class ParticipantState2(OneUse[_AfterStep2]):
    """A participant's state until `participant_finalize`, which uses it up; holds the share."""

    __slots__ = ()


def participant_step1(
    hostseckey: bytes, params: SessionParams, random: bytes
) -> tuple[ParticipantState1, bytes]:
    """Return the state and the first message (33 t + 32 n + 97 bytes).

    `random` is 32 fresh bytes; used twice with the same parameters it gives the same secrets.
    Raises `BadHostSeckey`, `BadSessionParams`, `BadRandomness`.
    """
    params_validate(params)
    key = _decryption_key(hostseckey, params)
    _require_random(random)
    if not any(random):
        raise BadRandomness("the randomness is all zero")
    # EncPedPop hashes its seed, so the host key serves as seed and as decryption key; it signs
    # too, which is safe together (the draft's note on joint security).
    enc_state, enc_pmsg = encpedpop.participant_step1(hostseckey, key, params.t, random)
    return ParticipantState1(_AfterStep1(params, enc_state)), enc_pmsg.to_bytes()


def participant_step2(
    hostseckey: bytes, state1: ParticipantState1, cmsg1: bytes, aux_rand: bytes
) -> tuple[ParticipantState2, bytes]:
    """Return the state and the second message (64 bytes), a signature over the transcript.

    `cmsg1` has 162 n + 33 (t - 1) bytes, `aux_rand` is 32 bytes as for BIP-340. Once the message
    has left, the session can succeed for others: the host key must be kept. Raises `StateUsed`,
    `BadHostSeckey`, `BadRandomness`, `FaultyCoordinator`, `FaultyParticipantOrCoordinator`,
    `UnknownFaultyParticipantOrCoordinator` (then see `participant_investigate`).
    """
    state = state1.take()
    params, participant_id = state.params, state.enc_state.simpl_state.participant_id
    _require_random(aux_rand)
    if hostpubkey_gen(hostseckey) != params.hostpubkeys[participant_id]:
        raise BadHostSeckey("the host secret key is not that of the first step")
    message = _from_coordinator(lambda: CoordinatorMsg1.from_bytes(cmsg1, params.t, params.n))
    key = DecryptionKey(hostseckey, participant_id, params.hostpubkeys)
    output, enc_eq_input = encpedpop.participant_step2(
        state.enc_state, key, message.enc_cmsg, message.enc_secshares[participant_id]
    )
    eq_input = enc_eq_input + b"".join(message.enc_secshares)
    signature = sign(hostseckey, certeq_message(eq_input, participant_id), aux_rand)
    return ParticipantState2(_AfterStep2(params, eq_input, output)), signature


def participant_finalize(state2: ParticipantState2, cmsg2: bytes) -> tuple[DKGOutput, bytes]:
    """Return the output and the recovery data; `cmsg2` is the certificate, 64 n bytes.

    Raises `StateUsed`, `FaultyCoordinator` (it verifies signatures before it passes them on).
    """
    state = state2.take()
    _from_coordinator(lambda: _require_length(cmsg2, SCHNORR_BYTES * state.params.n))
    try:
        certeq_verify(state.params.hostpubkeys, state.eq_input, cmsg2)
    except _InvalidSignature as fault:
        raise FaultyCoordinator(f"the certificate is invalid: {fault}") from None
    return state.output, state.eq_input + cmsg2


def participant_investigate(fault: UnknownFaultyParticipantOrCoordinator, cinv: bytes) -> NoReturn:
    """Raise who gave this participant a wrong share.

    `fault` comes from `participant_step2`, `cinv` (65 n bytes) from `coordinator_investigate` for
    this participant. Raises `FaultyParticipantOrCoordinator`, `FaultyCoordinator`, or a plain
    `ValueError` when the fault has nothing to investigate.
    """
    data = fault.investigation
    if not isinstance(data, encpedpop.ParticipantInvestigationData):
        raise ValueError("this fault has nothing to investigate")
    n = len(data.pads)

    def parse() -> encpedpop.CoordinatorInvestigationMsg:
        _require_length(cinv, encpedpop.CoordinatorInvestigationMsg.len_bytes(n))
        return encpedpop.CoordinatorInvestigationMsg.from_bytes(cinv, n)

    encpedpop.participant_investigate(data, _from_coordinator(parse))


# Coordinator


@dataclass(frozen=True, slots=True)
class _Summed:
    params: SessionParams
    eq_input: bytes
    sum_coms: VSSCommitment


class CoordinatorState(OneUse[_Summed]):
    """The coordinator's state until `coordinator_finalize`, which uses it up; nothing is secret."""

    __slots__ = ()


def coordinator_step1(
    pmsgs1: Sequence[bytes], params: SessionParams
) -> tuple[CoordinatorState, bytes]:
    """Return the state and the first message to all participants (162 n + 33 (t - 1) bytes).

    `pmsgs1` are in the participants' order. Raises `BadSessionParams`, `FaultyParticipant`,
    `ValueError` for another number of messages than participants.
    """
    params_validate(params)
    enc_cmsg, sum_coms, enc_eq_input, enc_secshares = encpedpop.coordinator_step(
        _parse_pmsgs1(pmsgs1, params), params.t, params.hostpubkeys
    )
    eq_input = enc_eq_input + b"".join(enc_secshares)
    state = CoordinatorState(_Summed(params, eq_input, sum_coms))
    return state, CoordinatorMsg1(enc_cmsg, enc_secshares).to_bytes()


def coordinator_finalize(
    state: CoordinatorState, pmsgs2: Sequence[bytes]
) -> tuple[bytes, DKGOutput, bytes]:
    """Return the second message to all (64 n bytes), the public output, the recovery data.

    `pmsgs2` are in the participants' order. Raises `StateUsed`, `FaultyParticipant`, `ValueError`
    for another number of messages than participants.
    """
    summed = state.take()
    if len(pmsgs2) != summed.params.n:
        raise ValueError(f"{len(pmsgs2)} messages of {summed.params.n} participants")
    try:
        _verify_all(summed.params.hostpubkeys, certeq_message, summed.eq_input, pmsgs2)
    except _InvalidSignature as fault:
        raise FaultyParticipant(
            fault.participant_id, "the signature for the certificate is invalid"
        ) from None
    try:
        output = simplpedpop.public_output(summed.sum_coms, summed.params.n)
    except AtInfinity as fault:
        # An honest participant signs no such transcript, and all have signed.
        raise FaultyParticipant(0, f"it signed a transcript where {fault}") from None
    cert = b"".join(pmsgs2)
    return cert, output, summed.eq_input + cert


def coordinator_investigate(pmsgs1: Sequence[bytes], params: SessionParams) -> tuple[bytes, ...]:
    """Return the investigation message (65 n bytes) for each participant; none is secret.

    Raises `FaultyParticipant`, `ValueError`.
    """
    cinvs = encpedpop.coordinator_investigate(_parse_pmsgs1(pmsgs1, params))
    return tuple(cinv.to_bytes() for cinv in cinvs)


# Recovery


@dataclass(frozen=True, slots=True)
class _Recovery:
    """Recovery data, taken apart: t, summed commitment, then n of each."""

    params: SessionParams
    sum_coms: VSSCommitment
    pubnonces: tuple[bytes, ...]
    enc_secshares: tuple[bytes, ...]
    cert: bytes


def _deserialize_recovery_data(data: bytes) -> _Recovery:
    """Take recovery data apart; raises `BadRecoveryData`."""
    t = int.from_bytes(data[:_THRESHOLD_BYTES])
    n, remainder = divmod(
        len(data) - _THRESHOLD_BYTES - VSSCommitment.len_bytes(t), _PARTICIPANT_RECOVERY_BYTES
    )
    if n < 0 or remainder:
        raise BadRecoveryData("recovery data of no possible length")
    fields, start = [], _THRESHOLD_BYTES
    for size in (VSSCommitment.len_bytes(t), n * POINT_BYTES, n * POINT_BYTES, n * SCALAR_BYTES):
        fields.append(data[start : start + size])
        start += size
    coms, hostpubkeys, pubnonces, shares = fields
    try:
        sum_coms = VSSCommitment.from_bytes(coms)
        enc_secshares = tuple(map(parse_public_scalar, chunks(shares, SCALAR_BYTES)))
    except (BadPoint, BadScalar) as fault:
        raise BadRecoveryData(f"recovery data with an invalid field: {fault}") from None
    params = SessionParams(tuple(chunks(hostpubkeys, POINT_BYTES)), t)
    nonces = tuple(chunks(pubnonces, POINT_BYTES))
    return _Recovery(params, sum_coms, nonces, enc_secshares, data[start:])


def _open_recovery_data(data: bytes) -> tuple[_Recovery, DKGOutput]:
    """Return certified recovery data and the public output; raises `BadRecoveryData`."""
    recovery = _deserialize_recovery_data(data)
    try:
        params_validate(recovery.params)
        certeq_verify(recovery.params.hostpubkeys, data[: -len(recovery.cert)], recovery.cert)
        return recovery, simplpedpop.public_output(recovery.sum_coms, recovery.params.n)
    except BadSessionParams as fault:
        raise BadRecoveryData(f"recovery data with invalid parameters: {fault}") from None
    except _InvalidSignature as fault:
        raise BadRecoveryData(f"recovery data with an invalid certificate: {fault}") from None
    except AtInfinity as fault:
        raise BadRecoveryData(f"recovery data of no honest session: {fault}") from None


def participant_recover(hostseckey: bytes, recovery_data: bytes) -> tuple[DKGOutput, SessionParams]:
    """Return a participant's output again, and the parameters of its session.

    For a participant that missed the certificate, and for a new device. Raises `BadHostSeckey`
    (also when the recovery data is of another session) and `BadRecoveryData`.
    """
    recovery, output = _open_recovery_data(recovery_data)
    params = recovery.params
    key = _decryption_key(hostseckey, params)
    context = encpedpop.serialize_enc_context(params.t, params.hostpubkeys)
    try:
        pads = encpedpop.decaps_multi(key, recovery.pubnonces, context)
    except FaultyParticipantOrCoordinator as fault:
        raise BadRecoveryData(f"recovery data of no honest session: {fault}") from None
    _, tweak = recovery.sum_coms.invalid_taproot_commit()
    enc_secshare = recovery.enc_secshares[key.participant_id]
    secshare = add_scalars(encpedpop.decrypt(enc_secshare, pads), tweak)
    if format_point(multiply_generator(secshare)) != output.pubshares[key.participant_id]:
        raise BadRecoveryData("recovery data of no honest session: the secret share is wrong")
    return DKGOutput(secshare, output.thresh_pk, output.pubshares), params


def coordinator_recover(recovery_data: bytes) -> tuple[DKGOutput, SessionParams]:
    """Return the public output again, and the parameters; raises `BadRecoveryData`."""
    recovery, output = _open_recovery_data(recovery_data)
    return output, recovery.params


def _require_recovery_of(recovery_data: bytes, params: SessionParams) -> None:
    params_validate(params)
    if _deserialize_recovery_data(recovery_data).params != params:
        raise BadRecoveryData("recovery data of a session with other parameters")


def participant_recovery_ack_sign(
    hostseckey: bytes, recovery_data: bytes, params: SessionParams, aux_rand: bytes
) -> bytes:
    """Return this participant's acknowledgment (64 bytes) that it keeps the recovery data.

    For recovery data that this participant's `participant_finalize` or `participant_recover` has
    seen. Raises `BadHostSeckey`, `BadSessionParams`, `BadRandomness`, `BadRecoveryData`.
    """
    params_validate(params)
    key = _decryption_key(hostseckey, params)
    _require_random(aux_rand)
    _require_recovery_of(recovery_data, params)
    return sign(hostseckey, recovery_ack_message(recovery_data, key.participant_id), aux_rand)


def participant_recovery_acks_verify(
    recovery_data: bytes, params: SessionParams, ack_sigs: Sequence[bytes]
) -> None:
    """Raise `InvalidRecoveryAck` unless every participant acknowledged the recovery data.

    `ack_sigs` are in the participants' order. Raises also `BadSessionParams`, `BadRecoveryData`,
    `ValueError` for another number of acknowledgments than participants.
    """
    _require_recovery_of(recovery_data, params)
    if len(ack_sigs) != params.n:
        raise ValueError(f"{len(ack_sigs)} acknowledgments of {params.n} participants")
    try:
        _verify_all(params.hostpubkeys, recovery_ack_message, recovery_data, ack_sigs)
    except _InvalidSignature as fault:
        raise InvalidRecoveryAck(fault.participant_id) from None
