"""Filters of list calls."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from custodyd.errors import CustodydError, ErrorId

StateT = TypeVar("StateT", bound=Enum)


def state_filter(states: type[StateT], number: int) -> StateT | None:
    """The state of a filter; None for UNKNOWN, which means any. Raises ARGUMENT_INVALID."""
    try:
        state = states(number)
    except ValueError:
        raise CustodydError(
            ErrorId.ARGUMENT_INVALID, f"no state has number {number}", field="state"
        ) from None
    return state if number else None
