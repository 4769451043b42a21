"""What a measurement is, and how two pieces of work are timed beside each other.

Timings on shared machines are noisy, so a figure counts only as a ratio: both sides run
alternately in one process, and each side's best round is taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum


class Direction(Enum):
    """Which way is better."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure beside its baseline; `goal` bounds the ratio value / baseline_value."""

    name: str
    value: float
    unit: str
    baseline: str
    baseline_value: float | None
    goal: float | None
    direction: Direction
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Value in units of the baseline."""
        return None if not self.baseline_value else self.value / self.baseline_value

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.goal is None or self.ratio is None:
            return None
        if self.direction is Direction.LOWER:
            return self.ratio <= self.goal
        return self.ratio >= self.goal

    def as_row(self) -> dict[str, object]:
        """As it stands in build/bench.json."""
        return {
            "name": self.name,
            "value": round(self.value, 6),
            "unit": self.unit,
            "baseline": self.baseline,
            "baseline_value": _rounded(self.baseline_value),
            "ratio": _rounded(self.ratio),
            "goal": self.goal,
            "direction": self.direction.value,
            "met": self.met,
            "note": self.note,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def best_of(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each piece of work, the best of `rounds` rounds in which all take their turn."""
    best = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, run in work.items():
            began = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - began)
    return best
