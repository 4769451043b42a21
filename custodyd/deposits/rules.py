"""When a deposit may be credited, and what becomes of it: pure.

 1. Only outputs to the external chain are deposits; the internal chain is never credited.
 2. A deposit is CREDITABLE at a depth that grows with its amount.
 3. What the chain takes back is REORGED, and SEEN or CONFIRMING again when it comes back.

The states and their numbers are those of custodyd.rpc.v1. QUARANTINED belongs to screening, which
does not exist yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from custodyd.store.settings import DepositTier


class DepositState(Enum):
    """Where a deposit stands."""

    UNKNOWN = 0
    SEEN = 1
    CONFIRMING = 2
    CREDITABLE = 3
    QUARANTINED = 4
    REORGED = 5


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


def depth_needed(amount_sat: int, tiers: Sequence[DepositTier]) -> int:
    """The depth at which a deposit of this amount is creditable: the greatest tier decides."""
    fitting = [tier.depth for tier in tiers if tier.from_sat <= amount_sat]
    return fitting[-1] if fitting else 1


def state_on_chain(
    amount_sat: int, confirmations: int, tiers: Sequence[DepositTier]
) -> DepositState:
    """The state of a deposit that is in a block (at least one confirmation)."""
    if confirmations >= depth_needed(amount_sat, tiers):
        return DepositState.CREDITABLE
    return DepositState.CONFIRMING


def transition_name(before: DepositState | None, after: DepositState) -> str:
    """The name of an edge of the table; a change that is not in it is a programming error."""
    for name, edge in TRANSITIONS.items():
        if edge == (before, after):
            return name
    raise ValueError(f"no deposit goes from {before} to {after}")
