"""The data folder: which file is which, who may read it, and that one process holds it."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from custodyd.api.certificates import KeyPair
from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel import curve

MAX_FILE_BYTES: Final = 1024 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths under a coordinator's folder."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration, TOML."""
        return self.path / "custodyd.toml"

    @property
    def database(self) -> Path:
        """The database, unless the configuration names another."""
        return self.path / "coordinator.db"

    @property
    def sidecar(self) -> Path:
        """How far the database had come (store.incarnation)."""
        return self.path / "store-mark.json"

    @property
    def authority_certificate(self) -> Path:
        """The transport authority's certificate, PEM."""
        return self.path / "ca.crt"

    @property
    def authority_key(self) -> Path:
        """The transport authority's key, PEM."""
        return self.path / "ca.key"

    @property
    def envelope_key(self) -> Path:
        """The coordinator's envelope key, hex: it gives blame only, so it is not sealed."""
        return self.path / "envelope.key"

    @property
    def replica(self) -> Path:
        """Random name by which this folder's process holds leases."""
        return self.path / "replica-id"

    @property
    def lock(self) -> Path:
        """Locked by the process that runs."""
        return self.path / "lock"

    def authority(self) -> KeyPair:
        """The transport authority's files."""
        return KeyPair(read_private(self.authority_key), read_public(self.authority_certificate))

    def envelope_secret(self) -> bytes:
        """The envelope key's 32 bytes."""
        return read_secret_key(self.envelope_key)

    def require_initialised(self) -> None:
        """Raise NOT_INITIALISED unless `init` made this folder."""
        if not self.config.is_file() or not self.envelope_key.is_file():
            raise CustodydError(ErrorId.NOT_INITIALISED, str(self.path))

    def hold(self) -> IO[str]:
        """Lock the folder for this process; raises DAEMON_RUNNING. Close the file to let go."""
        file = self.lock.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise CustodydError(ErrorId.DAEMON_RUNNING, str(self.path)) from None
        return file


def write_private(path: Path, content: bytes) -> None:
    """A new file that only its owner reads (0600); durable; never overwrites."""
    _write_new(path, content, 0o600)


def write_public(path: Path, content: bytes) -> None:
    """A new file that everybody may read (0644); durable; never overwrites."""
    _write_new(path, content, 0o644)


def read_private(path: Path) -> bytes:
    """The content of a secret file; raises FILE_UNREADABLE when others may read it."""
    return _read(path, _OTHERS)


def read_public(path: Path) -> bytes:
    """The content of a file; raises FILE_UNREADABLE when others may write it."""
    return _read(path, _OTHERS_WRITE)


def read_secret_key(path: Path) -> bytes:
    """32 bytes from a hex file, a valid key of secp256k1."""
    try:
        secret = bytes.fromhex(read_private(path).decode("ascii").strip())
        curve.xonly_from_secret(secret)
    except ValueError:
        # Neither text nor cause is passed on: both could quote the key.
        raise CustodydError(ErrorId.FILE_UNREADABLE, f"{path} holds no key") from None
    return secret


def new_secret_key() -> bytes:
    """A fresh secret key of secp256k1."""
    while True:
        secret = secrets.token_bytes(curve.SECRET_BYTES)
        try:
            curve.xonly_from_secret(secret)
        except ValueError:
            continue
        return secret


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise CustodydError(ErrorId.ALREADY_INITIALISED, str(path)) from None
    except OSError as bad:
        raise CustodydError(ErrorId.FILE_UNREADABLE, f"{path}: {bad.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, forbidden: int) -> bytes:
    try:
        mode = path.stat().st_mode
        if mode & forbidden:
            raise CustodydError(
                ErrorId.FILE_UNREADABLE, f"{path} has mode {stat.S_IMODE(mode):o}: too open"
            )
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as bad:
        raise CustodydError(ErrorId.FILE_UNREADABLE, f"{path}: {bad.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise CustodydError(
            ErrorId.FILE_UNREADABLE, f"{path} is longer than {MAX_FILE_BYTES} bytes"
        )
    return content
