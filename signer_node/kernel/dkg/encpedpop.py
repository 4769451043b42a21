"""EncPedPop: SimplPedPop with the shares encrypted, over any channel.

Shares travel masked by pads, added modulo the group order, so that the coordinator can sum up the
ciphertexts for each participant. A pad comes from a key exchange between the sender's nonce and
the receiver's static key (multi-recipient hashed ElGamal), for oneself from the own key. To the
layer above this module guarantees what SimplPedPop does, and that

1. the coordinator and the network learn nothing about a share;
2. nonce and shares come from one seed of long-term secret, fresh randomness and context, so that
   no two sets of shares are ever encrypted with the same pads.

Source: ChillDKG 0.3.0, "DKG Protocol EncPedPop".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from signer_node.kernel.dkg import simplpedpop
from signer_node.kernel.dkg.faults import (
    FaultyCoordinator,
    FaultyParticipantOrCoordinator,
    MalformedMessage,
    UnknownFaultyParticipantOrCoordinator,
)
from signer_node.kernel.dkg.group import (
    POINT_BYTES,
    SCALAR_BYTES,
    BadPoint,
    BadScalar,
    add_scalars,
    ecdh,
    format_point,
    multiply_generator,
    negate_scalar,
    parse_point,
    parse_public_scalar,
    reduce_scalar,
    sum_public_scalars,
    sum_scalars,
)
from signer_node.kernel.dkg.simplpedpop import DKGOutput
from signer_node.kernel.dkg.state import Secret
from signer_node.kernel.dkg.vss import VSSCommitment, chunks, index_bytes, tagged_hash_bip_dkg

# Encryption


@dataclass(frozen=True, slots=True)
class DecryptionKey(Secret):
    """A participant's static key, with its place in the session's list of encryption keys."""

    deckey: bytes
    participant_id: int
    enckeys: tuple[bytes, ...]

    __repr__ = Secret.__repr__


def serialize_enc_context(t: int, enckeys: Sequence[bytes]) -> bytes:
    """Return what every pad is bound to: threshold and all encryption keys."""
    return index_bytes(t) + b"".join(enckeys)


def ecdh_pad(seckey: bytes, their_key: bytes, pubnonce_and_enckey: bytes, context: bytes) -> bytes:
    """Return the pad between a nonce and an encryption key; raises `BadPoint`.

    `seckey` is the secret of one of the two, `their_key` the other, and both ends put nonce and
    key into the hash in the same order.
    """
    shared = ecdh(seckey, parse_point(their_key))
    return reduce_scalar(
        tagged_hash_bip_dkg("encpedpop ecdh", shared + pubnonce_and_enckey + context)
    )


def self_pad(symkey: bytes, nonce: bytes, context: bytes) -> bytes:
    """Return the pad of a share for oneself: no key exchange is needed."""
    return reduce_scalar(tagged_hash_bip_dkg("encaps_multi self_pad", symkey + nonce + context))


def encaps_multi(
    secnonce: bytes, pubnonce: bytes, key: DecryptionKey, context: bytes
) -> list[bytes]:
    """Return this sender's pads, one for each recipient; the recipient's place is in the hash."""
    pads = []
    for number, enckey in enumerate(key.enckeys):
        bound = index_bytes(number) + context
        if number == key.participant_id:
            pads.append(self_pad(key.deckey, pubnonce, bound))
        else:
            pads.append(ecdh_pad(secnonce, enckey, pubnonce + enckey, bound))
    return pads


def decaps_multi(key: DecryptionKey, pubnonces: Sequence[bytes], context: bytes) -> list[bytes]:
    """Return this recipient's pads, one for each sender.

    Raises `FaultyParticipantOrCoordinator` for a nonce that is no point.
    """
    bound = index_bytes(key.participant_id) + context
    enckey = key.enckeys[key.participant_id]
    pads = []
    for number, pubnonce in enumerate(pubnonces):
        if number == key.participant_id:
            pads.append(self_pad(key.deckey, pubnonce, bound))
            continue
        try:
            pads.append(ecdh_pad(key.deckey, pubnonce, pubnonce + enckey, bound))
        except BadPoint:
            raise FaultyParticipantOrCoordinator(number, "the public nonce is no point") from None
    return pads


def decrypt(ciphertext: bytes, pads: Sequence[bytes]) -> bytes:
    """Return a sum of ciphertexts less the sum of its pads."""
    return add_scalars(negate_scalar(sum_scalars(pads)), ciphertext)


def _parse_ciphertexts(data: bytes) -> tuple[bytes, ...]:
    try:
        return tuple(map(parse_public_scalar, chunks(data, SCALAR_BYTES)))
    except BadScalar:
        raise MalformedMessage("an encrypted share is not below the group order") from None


# Messages


@dataclass(frozen=True, slots=True)
class ParticipantMsg:
    """SimplPedPop's message, the public nonce (a point), the n encrypted shares."""

    simpl_pmsg: simplpedpop.ParticipantMsg
    pubnonce: bytes
    enc_shares: tuple[bytes, ...]

    @staticmethod
    def len_bytes(t: int, n: int) -> int:
        """Return the length of the message's bytes."""
        return simplpedpop.ParticipantMsg.len_bytes(t) + POINT_BYTES + SCALAR_BYTES * n

    @staticmethod
    def from_bytes(data: bytes, n: int) -> "ParticipantMsg":
        """Parse bytes of the right length; raises `MalformedMessage`."""
        shares = len(data) - SCALAR_BYTES * n
        nonce = shares - POINT_BYTES
        pubnonce = data[nonce:shares]
        try:
            parse_point(pubnonce)
        except BadPoint:
            raise MalformedMessage("the public nonce is no point") from None
        simpl_pmsg = simplpedpop.ParticipantMsg.from_bytes(data[:nonce])
        return ParticipantMsg(simpl_pmsg, pubnonce, _parse_ciphertexts(data[shares:]))

    def to_bytes(self) -> bytes:
        """Return the message's bytes."""
        return self.simpl_pmsg.to_bytes() + self.pubnonce + b"".join(self.enc_shares)


@dataclass(frozen=True, slots=True)
class CoordinatorMsg:
    """SimplPedPop's message and all public nonces, 33 bytes each, not looked at yet."""

    simpl_cmsg: simplpedpop.CoordinatorMsg
    pubnonces: tuple[bytes, ...]

    @staticmethod
    def len_bytes(t: int, n: int) -> int:
        """Return the length of the message's bytes."""
        return simplpedpop.CoordinatorMsg.len_bytes(t, n) + POINT_BYTES * n

    @staticmethod
    def from_bytes(data: bytes, n: int) -> "CoordinatorMsg":
        """Parse bytes of the right length; raises `MalformedMessage`."""
        nonces = len(data) - POINT_BYTES * n
        simpl_cmsg = simplpedpop.CoordinatorMsg.from_bytes(data[:nonces], n)
        return CoordinatorMsg(simpl_cmsg, tuple(chunks(data[nonces:], POINT_BYTES)))

    def to_bytes(self) -> bytes:
        """Return the message's bytes."""
        return self.simpl_cmsg.to_bytes() + b"".join(self.pubnonces)


@dataclass(frozen=True, slots=True)
class CoordinatorInvestigationMsg:
    """The n encrypted partial shares for one participant, and SimplPedPop's message."""

    enc_partial_secshares: tuple[bytes, ...]
    simpl_cinv: simplpedpop.CoordinatorInvestigationMsg

    @staticmethod
    def len_bytes(n: int) -> int:
        """Return the length of the message's bytes."""
        return SCALAR_BYTES * n + simplpedpop.CoordinatorInvestigationMsg.len_bytes(n)

    @staticmethod
    def from_bytes(data: bytes, n: int) -> "CoordinatorInvestigationMsg":
        """Parse bytes of the right length; raises `MalformedMessage`."""
        shares = SCALAR_BYTES * n
        simpl_cinv = simplpedpop.CoordinatorInvestigationMsg.from_bytes(data[shares:])
        return CoordinatorInvestigationMsg(_parse_ciphertexts(data[:shares]), simpl_cinv)

    def to_bytes(self) -> bytes:
        """Return the message's bytes."""
        return b"".join(self.enc_partial_secshares) + self.simpl_cinv.to_bytes()


# State


@dataclass(frozen=True, slots=True)
class ParticipantState:
    """What a participant remembers between its steps; nothing of it is secret."""

    simpl_state: simplpedpop.ParticipantState
    pubnonce: bytes


@dataclass(frozen=True, slots=True)
class ParticipantInvestigationData(Secret):
    """What an investigation needs: SimplPedPop's data and the pad of every sender."""

    simpl_data: simplpedpop.ParticipantInvestigationData
    pads: tuple[bytes, ...]

    __repr__ = Secret.__repr__


# Participant


def participant_step1(
    seed: bytes, key: DecryptionKey, t: int, random: bytes
) -> tuple[ParticipantState, ParticipantMsg]:
    """Return state and message; `seed` is long-term secret, `random` fresh, 32 bytes each."""
    n = len(key.enckeys)
    enc_context = serialize_enc_context(t, key.enckeys)
    # The nonce is derived from what the shares are derived from: other shares, other pads.
    simpl_seed = tagged_hash_bip_dkg("encpedpop seed", seed + random + enc_context)
    simpl_aux_rand = tagged_hash_bip_dkg("simplpedpop aux", simpl_seed)
    secnonce = tagged_hash_bip_dkg("encpedpop secnonce", simpl_seed)
    pubnonce = format_point(multiply_generator(secnonce))
    simpl_state, simpl_pmsg, shares = simplpedpop.participant_step1(
        simpl_seed, t, n, key.participant_id, simpl_aux_rand
    )
    pads = encaps_multi(secnonce, pubnonce, key, enc_context)
    enc_shares = tuple(map(add_scalars, shares, pads))
    return (
        ParticipantState(simpl_state, pubnonce),
        ParticipantMsg(simpl_pmsg, pubnonce, enc_shares),
    )


def participant_step2(
    state: ParticipantState, key: DecryptionKey, cmsg: CoordinatorMsg, enc_secshare: bytes
) -> tuple[DKGOutput, bytes]:
    """Return the output and the transcript to compare; faults as in SimplPedPop."""
    if cmsg.pubnonces[key.participant_id] != state.pubnonce:
        raise FaultyCoordinator("it returned another public nonce than this participant's")
    enc_context = serialize_enc_context(state.simpl_state.t, key.enckeys)
    pads = decaps_multi(key, cmsg.pubnonces, enc_context)
    secshare = decrypt(enc_secshare, pads)
    try:
        output, eq_input = simplpedpop.participant_step2(
            state.simpl_state, cmsg.simpl_cmsg, secshare
        )
    except UnknownFaultyParticipantOrCoordinator as fault:
        simpl_data = fault.investigation
        if isinstance(simpl_data, simplpedpop.ParticipantInvestigationData):
            fault.investigation = ParticipantInvestigationData(simpl_data, tuple(pads))
        raise
    return output, eq_input + b"".join(key.enckeys) + b"".join(cmsg.pubnonces)


def participant_investigate(
    data: ParticipantInvestigationData, cinv: CoordinatorInvestigationMsg
) -> NoReturn:
    """Raise who gave this participant a wrong share, like SimplPedPop."""
    partial_secshares = [
        decrypt(ciphertext, [pad])
        for ciphertext, pad in zip(cinv.enc_partial_secshares, data.pads, strict=True)
    ]
    try:
        simplpedpop.participant_investigate(data.simpl_data, cinv.simpl_cinv, partial_secshares)
    except simplpedpop.SecshareSumMismatch:
        # The pads are the same, so the ciphertexts do not sum up to what the coordinator sent.
        raise FaultyCoordinator(
            "the encrypted partial shares do not sum up to the encrypted share"
        ) from None


# Coordinator


def coordinator_step(
    pmsgs: Sequence[ParticipantMsg], t: int, enckeys: Sequence[bytes]
) -> tuple[CoordinatorMsg, VSSCommitment, bytes, tuple[bytes, ...]]:
    """Return the message to all, the summed commitment, the transcript, the n encrypted shares.

    Who gets which encrypted shares is for the layer above to say.
    """
    simpl_cmsg, sum_coms = simplpedpop.coordinator_step([pmsg.simpl_pmsg for pmsg in pmsgs], t)
    pubnonces = tuple(pmsg.pubnonce for pmsg in pmsgs)
    enc_secshares = tuple(
        map(sum_public_scalars, zip(*(pmsg.enc_shares for pmsg in pmsgs), strict=True))
    )
    eq_input = simplpedpop.eq_input(sum_coms) + b"".join(enckeys) + b"".join(pubnonces)
    return CoordinatorMsg(simpl_cmsg, pubnonces), sum_coms, eq_input, enc_secshares


def coordinator_investigate(
    pmsgs: Sequence[ParticipantMsg],
) -> tuple[CoordinatorInvestigationMsg, ...]:
    """Return the investigation message for each participant; none is secret."""
    simpl_cinvs = simplpedpop.coordinator_investigate([pmsg.simpl_pmsg for pmsg in pmsgs])
    return tuple(
        CoordinatorInvestigationMsg(tuple(pmsg.enc_shares[number] for pmsg in pmsgs), simpl_cinv)
        for number, simpl_cinv in enumerate(simpl_cinvs)
    )
