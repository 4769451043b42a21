"""A secret at rest: scrypt over a passphrase, then AES-256-GCM, as one small JSON file.

Guarantees to the backend: the file has mode 0600 and appears whole or not at all; its kind and
KDF parameters are authenticated, so neither can be swapped; a wrong passphrase and a damaged file
are refusals, and no message holds secret bytes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from custodyd.errors import CustodydError
from custodyd.errors import ErrorId as OwnErrorId
from signer_node.kernel.errors import ErrorId, Refusal

FORM: Final = "custodyd-sealed/1"
COST_LOG2: Final = 17
"""scrypt N = 2^17, r = 8, p = 1: 128 MiB and some tenths of a second."""
LEAST_COST_LOG2: Final = 10
MOST_COST_LOG2: Final = 22
_BLOCK: Final = 8
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_MAX_FILE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Sealed:
    """What stands in a sealed file."""

    kind: str
    cost_log2: int
    salt: bytes
    nonce: bytes
    ciphertext: bytes


def seal(secret: bytes, kind: str, passphrase: bytes, cost_log2: int = COST_LOG2) -> bytes:
    """Return the file's bytes for a secret of this kind; draws salt and nonce."""
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    key = _key(passphrase, salt, cost_log2)
    ciphertext = AESGCM(key).encrypt(nonce, secret, _bound(kind, cost_log2))
    record = {
        "form": FORM,
        "kind": kind,
        "cost_log2": cost_log2,
        "salt": salt.hex(),
        "nonce": nonce.hex(),
        "ciphertext": ciphertext.hex(),
    }
    return (json.dumps(record, indent=1) + "\n").encode()


def unseal(raw: bytes, kind: str, passphrase: bytes) -> bytes:
    """Return the secret; raises KEY_FILE_INVALID or PASSPHRASE_WRONG."""
    sealed = _read(raw)
    if sealed.kind != kind:
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"a file of kind {kind!r} is wanted")
    key = _key(passphrase, sealed.salt, sealed.cost_log2)
    try:
        return AESGCM(key).decrypt(sealed.nonce, sealed.ciphertext, _bound(kind, sealed.cost_log2))
    except InvalidTag:
        raise Refusal(ErrorId.PASSPHRASE_WRONG) from None


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 durably: whole, or not at all. An existing one is kept."""
    if path.exists():
        raise CustodydError(OwnErrorId.CLIENT_ALREADY_INITIALISED, f"{path} exists")
    replace_private(path, content)


def replace_private(path: Path, content: bytes) -> None:
    """As `write_private`, but in place of what is there."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_private(path: Path) -> bytes:
    """Return a private file's bytes; raises FILE_UNREADABLE when others may read it."""
    try:
        if path.stat().st_mode & 0o077:
            raise Refusal(ErrorId.FILE_UNREADABLE, f"{path} is open to others: chmod 600")
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES)
    except OSError as fault:
        raise Refusal(ErrorId.FILE_UNREADABLE, f"{path}: {fault.strerror}") from None


def _read(raw: bytes) -> Sealed:
    try:
        record = json.loads(raw)
        sealed = Sealed(
            kind=record["kind"],
            cost_log2=record["cost_log2"],
            salt=bytes.fromhex(record["salt"]),
            nonce=bytes.fromhex(record["nonce"]),
            ciphertext=bytes.fromhex(record["ciphertext"]),
        )
        form = record["form"]
    except (ValueError, KeyError, TypeError):
        raise Refusal(ErrorId.KEY_FILE_INVALID, "not a sealed file") from None
    lengths_right = len(sealed.nonce) == _NONCE_BYTES and len(sealed.salt) == _SALT_BYTES
    cost_right = isinstance(sealed.cost_log2, int)
    if form != FORM or not lengths_right or not cost_right:
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"not of form {FORM}")
    return sealed


def _key(passphrase: bytes, salt: bytes, cost_log2: int) -> bytes:
    if not LEAST_COST_LOG2 <= cost_log2 <= MOST_COST_LOG2:
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"scrypt cost 2^{cost_log2} is out of range")
    return Scrypt(salt=salt, length=32, n=1 << cost_log2, r=_BLOCK, p=1).derive(passphrase)


def _bound(kind: str, cost_log2: int) -> bytes:
    return f"{FORM} {kind} {cost_log2}".encode()
