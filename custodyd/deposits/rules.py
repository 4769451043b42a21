"""When a deposit may be credited, and what becomes of it: pure.

 1. Only outputs to the external chain are deposits; the internal chain is never credited.
 2. A deposit is CREDITABLE at a depth that grows with its amount.
 3. What the chain takes back is REORGED, and SEEN or CONFIRMING again when it comes back.

The states and their numbers are those of custodyd.rpc.v1. QUARANTINED belongs to screening, which
does not exist yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final


class DepositState(Enum):
    """Where a deposit stands."""

    UNKNOWN = 0
    SEEN = 1
    CONFIRMING = 2
    CREDITABLE = 3
    QUARANTINED = 4
    REORGED = 5


@dataclass(frozen=True, slots=True)
class Tier:
    """Deposits below `below_sat` are creditable at `confirmations`."""

    below_sat: int
    confirmations: int


TRANSITIONS: Final = {
    "deposit.seen": (None, DepositState.SEEN),
    "deposit.found": (None, DepositState.CONFIRMING),
    "deposit.found-deep": (None, DepositState.CREDITABLE),
    "deposit.confirming": (DepositState.SEEN, DepositState.CONFIRMING),
    "deposit.confirmed-deep": (DepositState.SEEN, DepositState.CREDITABLE),
    "deposit.creditable": (DepositState.CONFIRMING, DepositState.CREDITABLE),
    "deposit.vanished": (DepositState.SEEN, DepositState.REORGED),
    "deposit.reorged": (DepositState.CONFIRMING, DepositState.REORGED),
    "deposit.reorged-late": (DepositState.CREDITABLE, DepositState.REORGED),
    "deposit.shallow-again": (DepositState.CREDITABLE, DepositState.CONFIRMING),
    "deposit.seen-again": (DepositState.REORGED, DepositState.SEEN),
    "deposit.back": (DepositState.REORGED, DepositState.CONFIRMING),
    "deposit.back-deep": (DepositState.REORGED, DepositState.CREDITABLE),
}

DEFAULT_TIERS: Final = (
    Tier(below_sat=10_000_000, confirmations=1),
    Tier(below_sat=1_000_000_000, confirmations=3),
)
DEEPEST_CONFIRMATIONS: Final = 6
"""What an amount above every tier needs."""


def confirmations_needed(amount_sat: int, tiers: Sequence[Tier] = DEFAULT_TIERS) -> int:
    """The depth at which a deposit of this amount is creditable."""
    fitting = [tier.confirmations for tier in tiers if amount_sat < tier.below_sat]
    return fitting[0] if fitting else DEEPEST_CONFIRMATIONS


def state_on_chain(amount_sat: int, confirmations: int, tiers: Sequence[Tier]) -> DepositState:
    """The state of a deposit that is in a block (at least one confirmation)."""
    if confirmations >= confirmations_needed(amount_sat, tiers):
        return DepositState.CREDITABLE
    return DepositState.CONFIRMING


def transition_name(before: DepositState | None, after: DepositState) -> str:
    """The name of an edge of the table; a change that is not in it is a programming error."""
    for name, edge in TRANSITIONS.items():
        if edge == (before, after):
            return name
    raise ValueError(f"no deposit goes from {before} to {after}")
