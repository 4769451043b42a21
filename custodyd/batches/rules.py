"""Batches: the table of their states, and what a stage decides about one. Pure.

What binds: from APPROVED on, the payer may have confirmed the manifest and a package may be out, so
its withdrawals can be paid only by it or by a replacement that pays the same from all its inputs
(PROTOCOL.md G4). Such a batch, and every replacement of it, is never abandoned: it ends FINAL,
REPLACED or, until somebody releases its withdrawals, REJECTED; its coins stay reserved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from custodyd.store.settings import StageSettings


class BatchState(Enum):
    """Where a batch stands; numbers are those of the API."""

    UNKNOWN = 0
    PROPOSED = 1
    APPROVED = 2
    COMMITTED = 3
    SIGNED = 4
    BROADCAST = 5
    CONFIRMED = 6
    FINAL = 7
    REJECTED = 8
    ABANDONED = 9
    REPLACED = 10


_S = BatchState

# Name -> (from, to). The diagram in docs/ is drawn from this table; tests enumerate it.
TRANSITIONS: Final[dict[str, tuple[BatchState | None, BatchState]]] = {
    "batch.proposed": (None, _S.PROPOSED),
    "batch.approved": (_S.PROPOSED, _S.APPROVED),
    "batch.rejected": (_S.PROPOSED, _S.REJECTED),
    "batch.abandoned": (_S.PROPOSED, _S.ABANDONED),
    "batch.rejected-approved": (_S.APPROVED, _S.REJECTED),
    "batch.rejected-committed": (_S.COMMITTED, _S.REJECTED),
    "batch.replaced-proposed": (_S.PROPOSED, _S.REPLACED),
    "batch.replaced-approved": (_S.APPROVED, _S.REPLACED),
    "batch.replaced-committed": (_S.COMMITTED, _S.REPLACED),
    "batch.replaced-rejected": (_S.REJECTED, _S.REPLACED),
    "batch.committed": (_S.APPROVED, _S.COMMITTED),
    "batch.signed": (_S.COMMITTED, _S.SIGNED),
    "batch.broadcast": (_S.SIGNED, _S.BROADCAST),
    "batch.confirmed": (_S.BROADCAST, _S.CONFIRMED),
    # Shares left, and the transaction came into a block by somebody else.
    "batch.found-approved": (_S.APPROVED, _S.CONFIRMED),
    "batch.found-committed": (_S.COMMITTED, _S.CONFIRMED),
    "batch.found-signed": (_S.SIGNED, _S.CONFIRMED),
    "batch.found-rejected": (_S.REJECTED, _S.CONFIRMED),
    "batch.found-proposed": (_S.PROPOSED, _S.CONFIRMED),
    "batch.reorged": (_S.CONFIRMED, _S.BROADCAST),
    "batch.final": (_S.CONFIRMED, _S.FINAL),
}


def transition_name(before: BatchState | None, after: BatchState) -> str:
    """The name of an edge of the table; a change that is not in it is a programming error."""
    for name, edge in TRANSITIONS.items():
        if edge == (before, after):
            return name
    raise ValueError(f"no batch goes from {before} to {after}")


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in a queue: how many, and since when the oldest does."""

    count: int
    oldest_since_s: int


def is_due(waiting: Waiting, settings: StageSettings, now_s: int) -> bool:
    """Whether a batch is formed now: by number, or by age of the oldest."""
    if waiting.count == 0:
        return False
    return (
        waiting.count >= settings.batch_enough_withdrawals
        or now_s - waiting.oldest_since_s >= settings.batch_max_age_s
    )


def fee_rate(estimate_sat_vb: int | None, settings: StageSettings, ceiling_sat_vb: int) -> int:
    """The rate to pay: the node's estimate, else the fallback, between floor, cap and genesis."""
    wanted = settings.fee_fallback_sat_vb if estimate_sat_vb is None else estimate_sat_vb
    return min(max(wanted, settings.fee_floor_sat_vb), settings.fee_cap_sat_vb, ceiling_sat_vb)


@dataclass(frozen=True, slots=True)
class Payable:
    """A queued withdrawal, as far as choosing asks."""

    external_id: str
    amount_sat: int
    valid_until_s: int


def latest_expiry_s(chosen: Sequence[Payable], now_s: int, lifetime_s: int) -> int:
    """When a manifest over these ends: after its lifetime, or when the first request does."""
    return min([now_s + lifetime_s, *(one.valid_until_s for one in chosen)])


def affordable(queued: Sequence[Payable], available_sat: int) -> Sequence[Payable]:
    """The oldest that fit: those in order that the sum still reaches, fees aside."""
    chosen = []
    rest_sat = available_sat
    for one in queued:
        if one.amount_sat <= rest_sat:
            chosen.append(one)
            rest_sat -= one.amount_sat
    return chosen
