"""Tells people that something waits for an operator: a command, a line in a file, or both.

A hook never holds up the node: it runs in a thread of its own, bounded in time and in number, and
what fails is logged. It is given the batch id and the digest, nothing else.
"""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from signer_node.kernel.documents.text import shown

MAX_WAITING: Final = 100
COMMAND_TIMEOUT_S: Final = 10
_FILE_MODE: Final = 0o640

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A manifest that waits at this node since `at_s`; or a key generation, as vault/NAME."""

    batch_id: str
    digest: bytes
    at_s: int


class Notifier:
    """`tell` never blocks; `run` works until `stop`."""

    def __init__(self, command: Sequence[str], file: Path | None) -> None:
        self._command = tuple(command)
        self._file = file
        self._queue: queue.Queue[Waiting | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is running and end."""
        try:
            self._queue.put(None, timeout=COMMAND_TIMEOUT_S)
            self._thread.join(COMMAND_TIMEOUT_S + 1)
        except queue.Full:
            _log.warning("notices left unsaid")

    def tell(self, waiting: Waiting) -> None:
        """Queue a notice; one too many is logged and dropped: the console lists everything."""
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            _log.warning("notice dropped", extra={"manifest": waiting.digest.hex()})

    def _run(self) -> None:
        while (waiting := self._queue.get()) is not None:
            try:
                self._append(waiting)
                self._call(waiting)
            except (OSError, subprocess.SubprocessError) as fault:
                _log.warning("notice failed", extra={"cause": type(fault).__name__})

    def _append(self, waiting: Waiting) -> None:
        if self._file is None:
            return
        line = f"{waiting.at_s} {waiting.digest.hex()} {shown(waiting.batch_id)}\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._file, flags, _FILE_MODE)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(line)

    def _call(self, waiting: Waiting) -> None:
        if not self._command:
            return
        # The coordinator chose this text: it is an argument and never an option.
        name = shown(waiting.batch_id)
        argv = [*self._command, "\\x2d" + name[1:] if name.startswith("-") else name]
        subprocess.run(
            argv,
            check=True,
            timeout=COMMAND_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
