"""Shares of vault keys and the recovery data of their making: sealed files, one for each.

1. A share is sealed under a key that follows from the vault root, so a running node seals and
   opens shares while nobody's passphrase is kept, and a new passphrase leaves these files alone:
       tagged_hash("custodyd/share-sealing/v1", vault root)
2. A file is  MAGIC | version 1 | nonce 12 | len, purpose | len, public | ciphertext | tag 16 |
   SHA-256 of all before; AES-256-GCM, everything before the ciphertext is associated data.
3. The name says of which key generation a share is, by vault, epoch and recovery data's digest:
   a later attempt never overwrites an earlier one, and a share that a certificate does not name is
   never taken for the one that it names. A file without a record in the journal means nothing.
4. The recovery data is durable before the share, both before `keep` returns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol

from signer_node.adapters.entropy import fresh
from signer_node.adapters.folder import read_file, write_file
from signer_node.kernel.curve import point_from_secret, tagged_hash
from signer_node.kernel.errors import ErrorId, Refusal

if TYPE_CHECKING:
    from Crypto.Cipher._mode_gcm import GcmMode

MAGIC: Final = b"custodyd share\n\n"
VERSION: Final = 1
SUFFIX: Final = ".share"
RECOVERY_SUFFIX: Final = ".recovery"
MAX_SHARE_FILE: Final = 64 * 1024
MAX_SHARE_FILES: Final = 512
_DIGEST_DIGITS: Final = 16
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_CHECKSUM_BYTES: Final = 32
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}-[0-9]{1,10}-[0-9a-f]{16}\.(share|recovery)")
_FIXED: Final = Struct(f"<{len(MAGIC)}sB{_NONCE_BYTES}s")


@dataclass(frozen=True, slots=True)
class ShareName:
    """One key generation's results at this node; `recovery` is the digest of its data."""

    vault: str
    epoch: int
    recovery: bytes

    @property
    def text(self) -> str:
        """As files are called: vault, epoch, the digest's first digits."""
        return f"{self.vault}-{self.epoch}-{self.recovery.hex()[:_DIGEST_DIGITS]}"


class Shares(Protocol):
    """Where a node keeps its shares."""

    def keep(self, name: ShareName, secshare: bytes, recovery_data: bytes) -> None:
        """Make both durable; raises Refusal(JOURNAL_UNWRITABLE)."""

    def secshare(self, name: ShareName) -> bytes:
        """A share (32 bytes); raises Refusal(SHARE_MISSING)."""

    def recovery_data(self, name: ShareName) -> bytes:
        """The recovery data of its making; raises Refusal(SHARE_MISSING)."""


class NoShares:
    """For whoever takes part in no key generation."""

    def keep(self, name: ShareName, secshare: bytes, recovery_data: bytes) -> None:
        """Refuses."""
        del secshare, recovery_data
        raise Refusal(ErrorId.SHARE_MISSING, f"{name.text}: no place for shares here")

    def secshare(self, name: ShareName) -> bytes:
        """Refuses."""
        raise Refusal(ErrorId.SHARE_MISSING, name.text)

    def recovery_data(self, name: ShareName) -> bytes:
        """Refuses."""
        raise Refusal(ErrorId.SHARE_MISSING, name.text)


def share_sealing_key(vault_root: bytes) -> bytes:
    """Rule 1: the key (32 bytes) under which a node seals its shares."""
    return tagged_hash("custodyd/share-sealing/v1", vault_root)


class ShareFiles:
    """Shares as sealed files in a folder."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._key = key

    def __repr__(self) -> str:
        return f"ShareFiles({self._folder})"

    def keep(self, name: ShareName, secshare: bytes, recovery_data: bytes) -> None:
        """Rule 4; raises Refusal(JOURNAL_UNWRITABLE)."""
        public = point_from_secret(secshare)
        try:
            self._write(name, RECOVERY_SUFFIX, public, recovery_data)
            self._write(name, SUFFIX, public, secshare)
        except OSError as fault:
            raise Refusal(ErrorId.JOURNAL_UNWRITABLE, f"{name.text}: {fault.strerror}") from None

    def secshare(self, name: ShareName) -> bytes:
        """A share; raises Refusal(SHARE_MISSING, KEY_FILE_INVALID, PASSPHRASE_WRONG)."""
        return self._read(name, SUFFIX)

    def recovery_data(self, name: ShareName) -> bytes:
        """The recovery data of its making; raises likewise."""
        return self._read(name, RECOVERY_SUFFIX)

    def _path(self, name: ShareName, suffix: str) -> Path:
        return self._folder / (name.text + suffix)

    def _write(self, name: ShareName, suffix: str, public: bytes, value: bytes) -> None:
        purpose = (name.text + suffix).encode()
        write_file(self._path(name, suffix), seal_share(self._key, purpose, public, value))

    def _read(self, name: ShareName, suffix: str) -> bytes:
        path = self._path(name, suffix)
        if not path.exists():
            raise Refusal(ErrorId.SHARE_MISSING, path.name)
        return open_share(self._key, read_file(path, MAX_SHARE_FILE), path.name)


def share_files(folder: Path) -> dict[str, bytes]:
    """Name and content of every sealed file of a folder, for a backup."""
    if not folder.exists():
        return {}
    paths = sorted(path for path in folder.iterdir() if is_share_name(path.name))
    return {path.name: read_file(path, MAX_SHARE_FILE) for path in paths[:MAX_SHARE_FILES]}


def is_share_name(name: str) -> bool:
    """Whether a file could be a sealed share or recovery data, by its name alone."""
    return _NAME.fullmatch(name) is not None


def seal_share(key: bytes, purpose: bytes, public: bytes, value: bytes) -> bytes:
    """Rule 2: the bytes of a sealed file."""
    nonce = fresh(_NONCE_BYTES)
    header = _FIXED.pack(MAGIC, VERSION, nonce) + _with_length(purpose) + _with_length(public)
    ciphertext, tag = _cipher(key, nonce, header).encrypt_and_digest(value)
    content = header + ciphertext + tag
    return content + sha256(content).digest()


def open_share(key: bytes, content: bytes, name: str) -> bytes:
    """Open a sealed file of this name.

    Raises Refusal: KEY_FILE_INVALID for a damaged file or another's content, PASSPHRASE_WRONG for
    a file of another node.
    """
    header, sealed, nonce, purpose = _parse(content, name)
    if purpose != name:
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"{name} is {purpose}")
    cipher = _cipher(key, nonce, header)
    try:
        return cipher.decrypt_and_verify(sealed[:-_TAG_BYTES], sealed[-_TAG_BYTES:])
    except ValueError:
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"{name}: sealed by another node") from None


def check_share_file(content: bytes, name: str) -> None:
    """Raise Refusal(KEY_FILE_INVALID) unless this is the undamaged sealed file of its name."""
    if _parse(content, name)[3] != name:
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"{name} is another file")


def _parse(content: bytes, name: str) -> tuple[bytes, bytes, bytes, str]:
    """Header, sealed part, nonce and purpose; the checksum held."""
    body, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if sha256(body).digest() != checksum or len(body) < _FIXED.size + 2 + _TAG_BYTES:
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"{name}: damaged or no sealed share")
    magic, version, nonce = _FIXED.unpack_from(body)
    if magic != MAGIC or version != VERSION:
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"{name}: no sealed share of version {VERSION}")
    start = _FIXED.size + 1
    end = start + body[_FIXED.size]
    header = end + 1 + body[end] if end < len(body) else len(body)
    if header > len(body) - _TAG_BYTES:
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"{name}: header does not parse")
    purpose = body[start:end].decode("ascii", "replace")
    return body[:header], body[header:], nonce, purpose


def _with_length(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _cipher(key: bytes, nonce: bytes, header: bytes) -> GcmMode:
    # Imported here: commands that open no key start in half the time.
    from Crypto.Cipher import AES

    cipher: GcmMode = AES.new(key, AES.MODE_GCM, nonce=nonce)
    cipher.update(header)
    return cipher
