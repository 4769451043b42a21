"""ChillDKG sessions for the tests: keys from numbers, a session run with someone cheating in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from signer_node.kernel.dkg import chilldkg
from signer_node.kernel.dkg.simplpedpop import DKGOutput

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

Alter = Callable[[bytes], bytes]


def number_hash(label: str, number: int) -> bytes:
    """32 bytes that stand for a secret or for randomness."""
    return hashlib.sha256(f"{label} {number}".encode()).digest()


def hostseckeys(n: int) -> list[bytes]:
    return [number_hash("host key", number) for number in range(n)]


def session_params(t: int, n: int) -> chilldkg.SessionParams:
    return chilldkg.SessionParams(tuple(map(chilldkg.hostpubkey_gen, hostseckeys(n))), t)


@dataclass
class Run:
    """A session up to where it has come; every party's part lies open."""

    params: chilldkg.SessionParams
    states1: list[chilldkg.ParticipantState1]
    pmsgs1: list[bytes]

    @property
    def seckeys(self) -> list[bytes]:
        return hostseckeys(self.params.n)

    def sum_up(self) -> tuple[chilldkg.CoordinatorState, bytes]:
        return chilldkg.coordinator_step1(self.pmsgs1, self.params)

    def step2(self, number: int, cmsg1: bytes) -> tuple[chilldkg.ParticipantState2, bytes]:
        aux_rand = number_hash("aux", number)
        return chilldkg.participant_step2(
            self.seckeys[number], self.states1[number], cmsg1, aux_rand
        )


def begin(t: int, n: int, session: int = 0) -> Run:
    """All participants have made their first step."""
    params = session_params(t, n)
    first = [
        chilldkg.participant_step1(key, params, number_hash(f"random {session}", number))
        for number, key in enumerate(hostseckeys(n))
    ]
    return Run(params, [state for state, _ in first], [pmsg1 for _, pmsg1 in first])


@dataclass(frozen=True)
class Finished:
    """What a successful session leaves everywhere."""

    params: chilldkg.SessionParams
    outputs: list[DKGOutput]
    coordinator: DKGOutput
    recovery_data: list[bytes]


def finish(t: int, n: int, session: int = 0) -> Finished:
    """Run an honest session to its end."""
    run = begin(t, n, session)
    coordinator, cmsg1 = run.sum_up()
    second = [run.step2(number, cmsg1) for number in range(n)]
    cmsg2, output, kept = chilldkg.coordinator_finalize(coordinator, [pmsg2 for _, pmsg2 in second])
    ends = [chilldkg.participant_finalize(state2, cmsg2) for state2, _ in second]
    return Finished(
        run.params, [one for one, _ in ends], output, [kept, *(data for _, data in ends)]
    )


def splice(data: bytes, start: int, piece: bytes) -> bytes:
    """The bytes with a piece of them replaced."""
    return data[:start] + piece + data[start + len(piece) :]


def add_to_scalar(data: bytes, start: int, addend: int) -> bytes:
    """The bytes with the scalar at `start` made larger by `addend`, modulo the order."""
    value = (int.from_bytes(data[start : start + 32], "big") + addend) % ORDER
    return splice(data, start, value.to_bytes(32, "big"))


def enc_share_at(t: int, recipient: int) -> int:
    """Where in a participant's first message the encrypted share for `recipient` stands."""
    return 33 * t + 64 + 33 + 32 * recipient


def interpolate(shares: dict[int, bytes]) -> bytes:
    """The value at 0 of the polynomial through participants' secret shares. Only for tests."""
    total = 0
    for number, share in shares.items():
        numerator = denominator = 1
        for other in shares:
            if other != number:
                numerator = numerator * (other + 1) % ORDER
                denominator = denominator * (other - number) % ORDER
        total += int.from_bytes(share, "big") * numerator * pow(denominator, -1, ORDER)
    return (total % ORDER).to_bytes(32, "big")


def secret_of(finished: Finished, members: Sequence[int]) -> bytes:
    shares = {number: finished.outputs[number].secshare or b"" for number in members}
    return interpolate(shares)
