"""Figures of the stages, as values: also for rules, which know no database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DepositTier:
    """Deposits of at least `from_sat` are creditable at `depth` confirmations."""

    from_sat: int
    depth: int


@dataclass(frozen=True, slots=True)
class StageSettings:
    """Figures of the stages; defaults suit a main chain, the daemon's configuration sets them."""

    batch_max_withdrawals: int = 200
    # A batch is formed when so many wait, or when the oldest waited so long.
    batch_enough_withdrawals: int = 100
    batch_max_age_s: int = 60
    manifest_lifetime_s: int = 7_200
    # Fee rate: the node's estimate between floor and cap, the fallback when it has none.
    fee_target_blocks: int = 6
    fee_floor_sat_vb: int = 1
    fee_cap_sat_vb: int = 200
    fee_fallback_sat_vb: int = 2
    # Greatest `from_sat` that is not above the amount decides; sorted ascending.
    deposit_tiers: tuple[DepositTier, ...] = (
        DepositTier(0, 2),
        DepositTier(100_000_000, 3),
        DepositTier(1_000_000_000, 6),
    )
    final_depth: int = 6
    round_timeout_s: int = 30
    # For each step of a key generation that needs no person.
    keygen_timeout_s: int = 60
    signer_offline_after_s: int = 30
    envelope_lifetime_s: int = 86_400
