"""The wall clock, held against a clock that cannot be set (PROTOCOL.md G8: a jump stops signing).

Expiries and windows are judged by the wall clock, so whoever can set it could revive what has
expired. Once it went back or jumped by more than `MAX_STEP_S`, or stands before the journal's last
record, the clock stays unsound until a person restarts the node.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from signer_node.kernel.errors import ErrorId, Refusal

MAX_STEP_S = 30
"""How far wall clock and boot clock may part: what NTP corrects, and no more."""


def _since_boot_s() -> float:
    """Seconds since boot, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class Clock:
    """Unix seconds. `not_before_s` is the time of the last journal record."""

    not_before_s: int = 0
    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = _since_boot_s
    fault: str = ""
    _offset_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._offset_s = self.wall() - self.steady()

    def now_s(self) -> int:
        """The wall clock's time; notes a fault, never raises."""
        wall_s = self.wall()
        step_s = wall_s - self.steady() - self._offset_s
        if abs(step_s) > MAX_STEP_S:
            self.fault = self.fault or f"the clock moved by {step_s:+.0f} s at once"
        if wall_s < self.not_before_s - MAX_STEP_S:
            self.fault = self.fault or "the clock stands before the journal's last record"
        return int(wall_s)

    def sound_s(self) -> int:
        """The time to sign by; raises Refusal(CLOCK_UNSOUND) after any fault."""
        now_s = self.now_s()
        if self.fault:
            raise Refusal(ErrorId.CLOCK_UNSOUND, self.fault)
        return now_s
