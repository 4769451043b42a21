"""The coordinator, killed (-9, by itself) right after each kind of transition became durable, once.

`python -m tests.e2e.crashing_coordinator --crashed FILE --data-dir DIR`: FILE holds the transitions
that have had their crash; whoever started this starts it again.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from pathlib import Path

from custodyd.daemon.run import run


class Crash:
    """Told each durable transition; the first of each kind is the last thing that it hears."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def __call__(self, transition: str) -> None:
        with self._lock:
            known = self._file.read_text().split("\n") if self._file.exists() else []
            if transition in known:
                return
            with self._file.open("a") as file:
                file.write(f"{transition}\n")
                file.flush()
                os.fsync(file.fileno())
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--crashed", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    given = parser.parse_args()
    run(given.data_dir, {}, Crash(given.crashed))
