"""Sealed key files: scrypt and AES-256-GCM, each secret by itself.

To whoever holds the disk without the passphrase, a file tells purpose and public key, no more.

A file is  MAGIC | version 1 | log2 N | r | p | salt 16 | nonce 12 | len, purpose | len, public key
           | ciphertext | tag 16 | SHA-256 of all before.
The header (everything before the ciphertext) is associated data. Each file has a nonce of its own
and a key of its own: tagged_hash("custodyd/sealed-file/v1", scrypt(passphrase, salt) || purpose).
The checksum tells damage (KEY_FILE_INVALID) from a wrong passphrase (PASSPHRASE_WRONG).

Files of one node that are opened together form a generation: `keys/<n>/`, and the link
`keys/current` names the valid one. A new passphrase writes a new generation beside the old one and
then renames the link, so that kill -9 anywhere leaves one complete set.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Final

from signer_node.adapters.entropy import fresh
from signer_node.adapters.folder import flush_folder, make_folder, read_file, write_file
from signer_node.kernel.curve import tagged_hash
from signer_node.kernel.errors import ErrorId, Refusal

if TYPE_CHECKING:
    from Crypto.Cipher._mode_gcm import GcmMode

MAGIC: Final = b"custodyd sealed\n"
VERSION: Final = 1
SUFFIX: Final = ".sealed"
IDENTITY: Final = "identity"
HOST: Final = "host"
VAULT_ROOT: Final = "vault-root"
TLS: Final = "tls"
OPERATOR: Final = "operator"
MIN_PASSPHRASE: Final = 8
MAX_PASSPHRASE: Final = 1_024
MAX_SEALED: Final = 16_384
_MAX_LOG2_N: Final = 20
_MAX_R: Final = 32
_MAX_P: Final = 16
_KEY_BYTES: Final = 32
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_CHECKSUM_BYTES: Final = 32
_FIXED: Final = Struct(f"<{len(MAGIC)}sBBBB{_SALT_BYTES}s{_NONCE_BYTES}s")


@dataclass(frozen=True, slots=True)
class Cost:
    """scrypt's parameters: 2**log2_n blocks of 128 r bytes, p times (RFC 7914)."""

    log2_n: int = 17
    r: int = 8
    p: int = 1


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret in memory; it never shows itself."""

    purpose: str
    public: bytes
    value: bytes

    def __repr__(self) -> str:
        return f"Secret({self.purpose})"


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A sealed file taken apart; the checksum held, nothing is opened."""

    cost: Cost
    salt: bytes
    nonce: bytes
    purpose: str
    public: bytes
    header: bytes
    sealed: bytes


def seal(secret: Secret, passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    """Return the bytes of a sealed file. Files of one generation share their salt."""
    _check_passphrase(passphrase)
    nonce = fresh(_NONCE_BYTES)
    purpose = secret.purpose.encode()
    fixed = _FIXED.pack(MAGIC, VERSION, cost.log2_n, cost.r, cost.p, salt, nonce)
    header = fixed + _with_length(purpose) + _with_length(secret.public)
    cipher = _cipher(_file_key(passphrase, salt, cost, purpose), nonce, header)
    ciphertext, tag = cipher.encrypt_and_digest(secret.value)
    content = header + ciphertext + tag
    return content + sha256(content).digest()


def parse_sealed(content: bytes, name: str) -> SealedFile:
    """Take a sealed file apart; raises Refusal(KEY_FILE_INVALID) naming it when it is damaged."""
    body, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if sha256(body).digest() != checksum or len(body) < _FIXED.size + 2 + _TAG_BYTES:
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"{name}: damaged or no sealed file")
    magic, version, log2_n, r, p, salt, nonce = _FIXED.unpack_from(body)
    if magic != MAGIC or version != VERSION:
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"{name}: no sealed file of version {VERSION}")
    if not (1 <= log2_n <= _MAX_LOG2_N and 1 <= r <= _MAX_R and 1 <= p <= _MAX_P):
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"{name}: scrypt parameters out of bounds")
    try:
        purpose, at = _read_length(body, _FIXED.size)
        public, at = _read_length(body, at)
        text = purpose.decode("ascii")
    except (ValueError, IndexError):
        raise Refusal(ErrorId.KEY_FILE_INVALID, f"{name}: header does not parse") from None
    return SealedFile(Cost(log2_n, r, p), salt, nonce, text, public, body[:at], body[at:])


def unseal(file: SealedFile, passphrase: bytes) -> Secret:
    """Open a sealed file; raises Refusal(PASSPHRASE_WRONG)."""
    key = _file_key(passphrase, file.salt, file.cost, file.purpose.encode())
    cipher = _cipher(key, file.nonce, file.header)
    try:
        value = cipher.decrypt_and_verify(file.sealed[:-_TAG_BYTES], file.sealed[-_TAG_BYTES:])
    except ValueError:
        raise Refusal(ErrorId.PASSPHRASE_WRONG, f"for {file.purpose}") from None
    return Secret(file.purpose, file.public, value)


def read_sealed(path: Path) -> SealedFile:
    """Read and take apart a sealed file on disk."""
    return parse_sealed(read_file(path, MAX_SEALED), path.name)


def write_sealed(path: Path, secret: Secret, passphrase: bytes, cost: Cost) -> None:
    """Seal a secret into a file of its own, with a salt of its own."""
    write_file(path, seal(secret, passphrase, fresh(_SALT_BYTES), cost))


def _cipher(key: bytes, nonce: bytes, header: bytes) -> GcmMode:
    # Imported here: commands that open no key start in half the time.
    from Crypto.Cipher import AES

    cipher: GcmMode = AES.new(key, AES.MODE_GCM, nonce=nonce)
    cipher.update(header)
    return cipher


def _file_key(passphrase: bytes, salt: bytes, cost: Cost, purpose: bytes) -> bytes:
    return tagged_hash("custodyd/sealed-file/v1", _stretch(passphrase, salt, cost) + purpose)


@lru_cache(maxsize=1)
def _stretch(passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    """One generation is opened at once, so the last result is kept until `forget`."""
    from Crypto.Protocol.KDF import scrypt

    key = scrypt(
        passphrase,
        salt,
        _KEY_BYTES,
        N=1 << cost.log2_n,
        r=cost.r,
        p=cost.p,
    )
    return key if isinstance(key, bytes) else key[0]


def forget() -> None:
    """Drop the stretched passphrase that is kept while a generation is opened or written."""
    _stretch.cache_clear()


def _check_passphrase(passphrase: bytes) -> None:
    if not MIN_PASSPHRASE <= len(passphrase) <= MAX_PASSPHRASE:
        detail = f"a passphrase has {MIN_PASSPHRASE} to {MAX_PASSPHRASE} bytes"
        raise Refusal(ErrorId.PASSPHRASE_UNUSABLE, detail)


def _with_length(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _read_length(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 1 + data[at]
    if end > len(data) - _TAG_BYTES:
        raise ValueError("a length points beyond the file")
    return data[at + 1 : end], end


# --- a node's generation of files ---


@dataclass(frozen=True, slots=True)
class Keystore:
    """The sealed keys of a node, in `folder`."""

    folder: Path

    def exists(self) -> bool:
        """Whether a complete generation is there."""
        return (self.folder / "current").exists()

    def files(self) -> dict[str, bytes]:
        """Name and content of every sealed file of the valid generation, for a backup."""
        self._require()
        return {path.name: read_file(path, MAX_SEALED) for path in sorted(self._paths())}

    def sealed(self, purpose: str) -> SealedFile:
        """One file, not opened; raises Refusal(KEY_FILE_INVALID) if it says another purpose."""
        self._require()
        file = read_sealed(self.folder / "current" / f"{purpose}{SUFFIX}")
        if file.purpose != purpose:
            raise Refusal(ErrorId.KEY_FILE_INVALID, f"{purpose}{SUFFIX} is {file.purpose}")
        return file

    def open(self, purpose: str, passphrase: bytes) -> Secret:
        """Open one secret of the node."""
        return unseal(self.sealed(purpose), passphrase)

    def seal_all(self, secrets: tuple[Secret, ...], passphrase: bytes, cost: Cost) -> None:
        """Make a new generation of all secrets valid, in one step, and remove the old one."""
        salt = fresh(_SALT_BYTES)
        contents = {f"{one.purpose}{SUFFIX}": seal(one, passphrase, salt, cost) for one in secrets}
        forget()
        self.install(contents)

    def install(self, contents: Mapping[str, bytes]) -> None:
        """Write sealed files as a new generation, then point `current` at it."""
        make_folder(self.folder)
        name = fresh(8).hex()
        for file_name, content in contents.items():
            write_file(self.folder / name / file_name, content)
        flush_folder(self.folder)
        pointer = self.folder / "current.new"
        pointer.unlink(missing_ok=True)
        os.symlink(name, pointer)
        os.rename(pointer, self.folder / "current")
        flush_folder(self.folder)
        self.sweep()

    def sweep(self) -> None:
        """Remove generations that are not valid: a crash left them, or their passphrase is old."""
        valid = os.readlink(self.folder / "current")
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink() and path.name != valid:
                shutil.rmtree(path)
        flush_folder(self.folder)

    def change_passphrase(self, old: bytes, new: bytes, cost: Cost) -> None:
        """Seal every secret again; raises Refusal(PASSPHRASE_WRONG) and changes nothing."""
        self._require()
        secrets = tuple(unseal(read_sealed(path), old) for path in sorted(self._paths()))
        self.seal_all(secrets, new, cost)

    def _paths(self) -> list[Path]:
        return list((self.folder / "current").glob(f"*{SUFFIX}"))

    def _require(self) -> None:
        if not self.exists():
            raise Refusal(ErrorId.NOT_INITIALISED, str(self.folder.parent))
