"""What a key generation costs, all parties one after the other, 2-of-3 and 7-of-10.

Baseline: the calls into libsecp256k1 that the protocol needs, made bare on the library's own
structures, with the hashes between them; no messages, parsing beyond points, checks or state.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from signer_node.kernel.dkg import chilldkg
from tests.bench.chilldkg_bare import bare_session
from tests.bench.measure import Direction, Measurement, best_of

ROUNDS = 15
SIZES = ((2, 3), (7, 10))
GOAL = 2.0


def secret(number: int) -> bytes:
    """A host secret key, or randomness, that needs no entropy."""
    return (number + 1).to_bytes(32, "big")


def session(t: int, n: int) -> None:
    """A whole session: n participants and the coordinator, from host keys to recovery data."""
    keys = [secret(number) for number in range(n)]
    params = chilldkg.SessionParams(tuple(map(chilldkg.hostpubkey_gen, keys)), t)
    first = [chilldkg.participant_step1(key, params, secret(99)) for key in keys]
    coordinator, cmsg1 = chilldkg.coordinator_step1([pmsg1 for _, pmsg1 in first], params)
    second = [
        chilldkg.participant_step2(key, state1, cmsg1, secret(98))
        for key, (state1, _) in zip(keys, first, strict=True)
    ]
    cmsg2, _, _ = chilldkg.coordinator_finalize(coordinator, [pmsg2 for _, pmsg2 in second])
    for state2, _ in second:
        chilldkg.participant_finalize(state2, cmsg2)


def run() -> list[Measurement]:
    """Time both sizes beside their bare calls."""
    measurements = []
    for t, n in SIZES:
        work: dict[str, Callable[[], object]] = {
            "session": partial(session, t, n),
            "bare": partial(bare_session, t, n),
        }
        times = best_of(work, ROUNDS)
        measurements.append(
            Measurement(
                f"ChillDKG {t}-of-{n}, all parties serial",
                times["session"] * 1e3,
                "ms",
                "bare libsecp256k1 calls and hashes",
                times["bare"] * 1e3,
                GOAL,
                Direction.LOWER,
            )
        )
    return measurements
