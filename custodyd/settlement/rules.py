"""What becomes of a signed transaction: pure.

SIGNED is a bearer instrument: its bytes are durable before the first broadcast. Only the chain says
what happened to it. A broadcast whose answer did not come, or was a refusal, is resolved by
looking: in our own follower's blocks, in the node's mempool. Nothing here ever pays again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from custodyd.batches.rules import BatchState

REBROADCAST_AFTER_S: Final = 60
"""A transaction that left the mempool unconfirmed is given to the node again, this often."""


class Next(Enum):
    """What settlement does with a batch now."""

    UNKNOWN = 0
    WAIT = 1
    BROADCAST = 2
    NOTE_SENT = 3
    NOTE_CONFIRMED = 4
    NOTE_FINAL = 5
    NOTE_REORG = 6


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a batch's transaction. `confirmations` 0: in no block of our follower."""

    confirmations: int
    in_mempool: bool
    since_sent_s: int


def next_step(state: BatchState, sight: Sight, final_depth: int) -> Next:
    """The step that state and sight ask for."""
    if sight.confirmations > 0:
        return _confirmed(state, sight.confirmations, final_depth)
    if state is BatchState.CONFIRMED:
        return Next.NOTE_REORG
    if state is BatchState.SIGNED:
        return Next.NOTE_SENT if sight.in_mempool else Next.BROADCAST
    if state is BatchState.BROADCAST:
        lost = not sight.in_mempool and sight.since_sent_s >= REBROADCAST_AFTER_S
        return Next.BROADCAST if lost else Next.WAIT
    return Next.WAIT


def _confirmed(state: BatchState, confirmations: int, final_depth: int) -> Next:
    if state is not BatchState.CONFIRMED:
        return Next.NOTE_CONFIRMED
    return Next.NOTE_FINAL if confirmations >= final_depth else Next.WAIT
