"""The data folder: what lies where, who may read it, one daemon at a time, whole files or none.

Everything in it is the node's own: folders 0700, files 0600. A file is written beside its place,
flushed, renamed and its folder flushed, so that a crash leaves the old content or the new.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from signer_node.kernel.errors import ErrorId, Refusal

FOLDER_MODE = 0o700
FILE_MODE = 0o600
MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths of a node's data folder."""

    root: Path

    @property
    def keys(self) -> Path:
        """Folder of sealed key files, one subfolder for each generation."""
        return self.root / "keys"

    @property
    def shares(self) -> Path:
        """Folder of sealed shares and recovery data."""
        return self.root / "shares"

    @property
    def journal(self) -> Path:
        """The journal's database."""
        return self.root / "journal.sqlite3"

    @property
    def socket(self) -> Path:
        """The console's socket."""
        return self.root / "console.sock"

    @property
    def certificate(self) -> Path:
        """Transport certificate, PEM."""
        return self.root / "transport" / "certificate.pem"

    @property
    def authority(self) -> Path:
        """The coordinator's certificate authority, PEM."""
        return self.root / "transport" / "authority.pem"

    @property
    def coordinator(self) -> Path:
        """host:port of the coordinator, as the enrolment answered."""
        return self.root / "transport" / "coordinator"


def make_folder(path: Path) -> None:
    """Create a folder, and what is above it, for the owner alone; keep one that is there."""
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    os.chmod(path, FOLDER_MODE)


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, durably, mode 0600."""
    make_folder(path.parent)
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, FILE_MODE)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.rename(beside, path)
    flush_folder(path.parent)


def flush_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """Read a file of at most `most` bytes; raises Refusal(FILE_UNREADABLE)."""
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except OSError as fault:
        raise Refusal(ErrorId.FILE_UNREADABLE, f"{path}: {fault.strerror}") from None
    if len(content) > most:
        raise Refusal(ErrorId.FILE_UNREADABLE, f"{path}: longer than {most} bytes")
    return content


def require_private(path: Path) -> None:
    """Raise Refusal(FILE_UNREADABLE) if anybody but the owner could read or write a file."""
    try:
        status = path.stat()
    except OSError as fault:
        raise Refusal(ErrorId.FILE_UNREADABLE, f"{path}: {fault.strerror}") from None
    if status.st_mode & 0o077 or status.st_uid != os.geteuid():
        detail = f"{path}: mode {status.st_mode & 0o777:04o}, must be the owner's alone (0600)"
        raise Refusal(ErrorId.FILE_UNREADABLE, detail)


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the data folder; raises Refusal(DAEMON_RUNNING) if another process does.

    The kernel releases the lock when the process dies, however it dies.
    """
    make_folder(root)
    path = root / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refusal(ErrorId.DAEMON_RUNNING, str(root)) from None
        yield
    finally:
        os.close(descriptor)
