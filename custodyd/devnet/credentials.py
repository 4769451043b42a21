"""Basic authentication for the RPC port: a file with `user:password`, made when it is missing.

The format is that of Bitcoin Core's cookie, so a client reads either in the same way.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from pathlib import Path

COOKIE_USER = "__cookie__"
PASSWORD_BYTES = 32
MAX_FILE_SIZE = 1024
PRIVATE_MODE = 0o600


class CredentialsInvalid(ValueError):
    """The file is no `user:password`; the message does not quote it."""


class Credentials:
    """Compares in constant time; never shows the password."""

    def __init__(self, user_and_password: bytes) -> None:
        self._expected = user_and_password

    def __repr__(self) -> str:
        return "Credentials(...)"

    @classmethod
    def open(cls, path: Path) -> Credentials:
        """Read the file, or make one with a random password that only its owner can read."""
        if not path.exists():
            _create(path)
        with path.open("rb") as file:
            text = file.read(MAX_FILE_SIZE + 1).strip()
        user, colon, password = text.partition(b":")
        if len(text) > MAX_FILE_SIZE or not (user and colon and password) or b"\n" in text:
            raise CredentialsInvalid(f"{path} must hold one line: user:password")
        return cls(text)

    def admit(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries the expected user and password."""
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, self._expected)


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = f"{COOKIE_USER}:{secrets.token_hex(PASSWORD_BYTES)}".encode()
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)
    try:
        os.write(fd, text)
        os.fsync(fd)
    finally:
        os.close(fd)
    fresh.replace(path)
