"""Where randomness comes from: the operating system, and nowhere else."""

from __future__ import annotations

import os

BOOT_BYTES = 16


def fresh(count: int) -> bytes:
    """Return `count` unpredictable bytes."""
    return os.urandom(count)


def boot_id() -> bytes:
    """Return the random id of this start; commitments and envelope sequences die with it."""
    return fresh(BOOT_BYTES)
