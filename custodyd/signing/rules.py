"""Rounds of signing, the coordinator's end, as a table and choices over values. Pure.

OPENED   t signers were asked for commitments
PACKAGED all commitments are there: the package is durable and out, shares are awaited
DONE     the transaction is signed
FAILED   somebody was silent, refused or sent a bad share: the next round goes on without them

Vault keys: PROPOSED -> DRAFTED (every cosigner's key is there) -> CERTIFIED (everybody signed).

An attempt at a key generation:
JOINING  every node's first message is awaited, each once its operator has confirmed
SHARED   their sum is out: each node checks its share and signs the transcript
SEALED   the certificate of the transcript is out: each node keeps its share and acknowledges
DONE     all acknowledged: the vault is drafted
FAILED   somebody restarted, was silent or was named: the next attempt begins after a pause
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from custodyd.chain.rules import VaultState


class RoundState(Enum):
    """Where a round stands."""

    UNKNOWN = 0
    OPENED = 1
    PACKAGED = 2
    DONE = 3
    FAILED = 4


ROUND_TRANSITIONS: Final[dict[str, tuple[RoundState | None, RoundState]]] = {
    "round.opened": (None, RoundState.OPENED),
    "round.packaged": (RoundState.OPENED, RoundState.PACKAGED),
    "round.done": (RoundState.PACKAGED, RoundState.DONE),
    "round.failed-opened": (RoundState.OPENED, RoundState.FAILED),
    "round.failed-packaged": (RoundState.PACKAGED, RoundState.FAILED),
    # Shares that come late still make the signature.
    "round.done-late": (RoundState.FAILED, RoundState.DONE),
}

VAULT_TRANSITIONS: Final[dict[str, tuple[VaultState | None, VaultState]]] = {
    "vault.proposed": (None, VaultState.PROPOSED),
    "vault.drafted": (VaultState.PROPOSED, VaultState.DRAFTED),
    "vault.certified": (VaultState.DRAFTED, VaultState.CERTIFIED),
}


class KeygenState(Enum):
    """Where an attempt at a key generation stands."""

    UNKNOWN = 0
    JOINING = 1
    SHARED = 2
    SEALED = 3
    DONE = 4
    FAILED = 5


KEYGEN_TRANSITIONS: Final[dict[str, tuple[KeygenState | None, KeygenState]]] = {
    "keygen.begun": (None, KeygenState.JOINING),
    "keygen.shared": (KeygenState.JOINING, KeygenState.SHARED),
    "keygen.sealed": (KeygenState.SHARED, KeygenState.SEALED),
    "keygen.done": (KeygenState.SEALED, KeygenState.DONE),
    "keygen.failed-joining": (KeygenState.JOINING, KeygenState.FAILED),
    "keygen.failed-shared": (KeygenState.SHARED, KeygenState.FAILED),
    "keygen.failed-sealed": (KeygenState.SEALED, KeygenState.FAILED),
    "keygen.again": (KeygenState.FAILED, KeygenState.JOINING),
}
KEYGEN_PAUSE_S: Final = 2
MAX_KEYGEN_PAUSE_S: Final = 60

OTHER_TRANSITIONS: Final = ("genesis.posted",)


def round_transition(before: RoundState | None, after: RoundState) -> str:
    """The name of an edge of the table; a change that is not in it is a programming error."""
    for name, edge in ROUND_TRANSITIONS.items():
        if edge == (before, after):
            return name
    raise ValueError(f"no round goes from {before} to {after}")


def keygen_transition(before: KeygenState | None, after: KeygenState) -> str:
    """As `round_transition`, for attempts at key generation."""
    for name, edge in KEYGEN_TRANSITIONS.items():
        if edge == (before, after):
            return name
    raise ValueError(f"no key generation goes from {before} to {after}")


def keygen_pause_s(attempt: int) -> int:
    """How long after its beginning a failed attempt is followed by the next: longer and longer."""
    return min(KEYGEN_PAUSE_S * attempt, MAX_KEYGEN_PAUSE_S)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A signer as choosing sees it; `failures` counts the rounds of this manifest it spoilt."""

    node: str
    online: bool
    refused: bool
    culprit: bool
    failures: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The signer set of the next round, or nobody and whom one waits for."""

    members: tuple[str, ...]
    waiting_for: tuple[str, ...]


def choose_signers(candidates: Sequence[Candidate], threshold: int) -> Choice:
    """The t signers that are online and spoilt the fewest rounds, in the order of the roster.

    Nobody who refused the manifest or sent a bad share for it is asked again.
    """
    willing = [one for one in candidates if not one.refused and not one.culprit]
    online = [one for one in willing if one.online]
    if len(online) < threshold:
        return Choice((), tuple(one.node for one in willing if not one.online))
    best = {one.node for one in sorted(online, key=lambda one: one.failures)[:threshold]}
    return Choice(tuple(one.node for one in candidates if one.node in best), ())


def missing_members(members: Sequence[str], answers: Mapping[str, object]) -> tuple[str, ...]:
    """Members whose answer is not there."""
    return tuple(node for node in members if node not in answers)
