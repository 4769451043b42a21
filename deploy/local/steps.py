"""Steps of a script as a person follows them: what is done, its facts, how long it took.

On a terminal the step that runs is shown with a spinner; elsewhere there are plain lines only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console

_INDENT: Final = "    "


@dataclass(slots=True)
class Steps:
    """Runs steps and keeps their seconds by name."""

    seconds: dict[str, float] = field(default_factory=dict)
    _console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """One step; facts said inside stand under it."""
        number = len(self.seconds) + 1
        self._say(f"{number:2}. {text}")
        began = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(f"{text} ..."):
                yield
        else:
            yield
        took = time.monotonic() - began
        self.seconds[name] = round(took, 3)
        self._say(f"{_INDENT}done in {took:.1f} s")

    def fact(self, text: str) -> None:
        """A fact of the step that runs."""
        self._say(_INDENT + text)

    def say(self, text: str = "") -> None:
        """A line outside of steps."""
        self._say(text)

    def _say(self, text: str) -> None:
        if self._console.is_terminal:
            self._console.print(text, markup=False)
        else:
            print(text, flush=True)


def complain(text: str) -> None:
    """What went wrong, on standard error."""
    print(text, file=sys.stderr, flush=True)
