"""Backup and restore: one tar file with journal, sealed keys, sealed shares, transport files.

Secrets stay sealed in it under the passphrase of the moment. Restoring never overwrites a node, and
verifies the whole journal before anything is written. Of a backup's database only the signed
records are believed; everything that is made of them is made again.

A restored node is a copy: it must never run beside its original, nor sign before people made sure
that nothing was released since the backup was made (PROTOCOL.md G6).
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from signer_node.adapters.folder import FILE_MODE, Folder, flush_folder, read_file, write_file
from signer_node.adapters.journal import Journal, connect_copy, connect_read_only, reader
from signer_node.adapters.keystore import SUFFIX, Keystore, parse_sealed
from signer_node.adapters.shares import (
    MAX_SHARE_FILES,
    check_share_file,
    is_share_name,
    share_files,
)
from signer_node.kernel.errors import ErrorId, Refusal

VERSION: Final = 1
MAX_MEMBERS: Final = 32 + MAX_SHARE_FILES
MAX_ARCHIVE_BYTES: Final = 64 * 1024**3
_JOURNAL: Final = "journal.sqlite3"
_LABEL: Final = "backup.json"
_KEYS: Final = "keys/"
_SHARES: Final = "shares/"
_TRANSPORT: Final = (
    "transport/certificate.pem",
    "transport/authority.pem",
    "transport/coordinator",
)
_MAX_SMALL: Final = 1 << 20
_PAGES_A_STEP: Final = 4_096


def back_up(folder: Folder, target: Path, now_s: int) -> None:
    """Write a backup beside a running daemon or without one; never over an existing file."""
    keys = Keystore(folder.keys).files()
    label = json.dumps({"version": VERSION, "created_at_s": now_s}).encode()
    small = {_LABEL: label, **{_KEYS + name: content for name, content in keys.items()}}
    small |= {_SHARES + name: content for name, content in share_files(folder.shares).items()}
    small |= {
        name: read_file(folder.root / name) for name in _TRANSPORT if (folder.root / name).exists()
    }
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(target, flags, FILE_MODE)
        with open(descriptor, "wb") as file, tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / _JOURNAL
            _copy_journal(folder.journal, copy)
            _write_tar(file, small, copy)
            file.flush()
            os.fsync(file.fileno())
        flush_folder(target.absolute().parent)
    except OSError as fault:
        raise Refusal(ErrorId.FILE_UNREADABLE, f"{target}: {fault.strerror}") from None


def _copy_journal(source: Path, target: Path) -> None:
    """Copy a consistent state of the database into a single file without a WAL."""
    origin, copy = connect_read_only(source), sqlite3.connect(target)
    try:
        origin.backup(copy, pages=_PAGES_A_STEP)
        copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as fault:
        raise Refusal(ErrorId.JOURNAL_UNWRITABLE, str(fault)) from None
    finally:
        copy.close()
        origin.close()


def _write_tar(file: io.BufferedWriter, small: Mapping[str, bytes], journal: Path) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in small.items():
            archive.addfile(_member(name, len(content)), io.BytesIO(content))
        with open(journal, "rb") as content_of:
            archive.addfile(_member(_JOURNAL, journal.stat().st_size), content_of)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, FILE_MODE
    return member


def restore(source: Path, folder: Folder) -> int:
    """Make a node of a backup in an empty folder; return how many records it has."""
    if Keystore(folder.keys).exists() or folder.journal.exists():
        raise Refusal(ErrorId.ALREADY_INITIALISED, str(folder.root))
    try:
        with tarfile.open(source, "r:") as archive, tempfile.TemporaryDirectory() as scratch:
            small, journal = _read_tar(archive, Path(scratch))
            rebuilt = journal.with_name("rebuilt.sqlite3")
            count = _verify(small, journal, rebuilt)
            _install(small, rebuilt, folder)
    except (tarfile.TarError, EOFError) as fault:
        raise Refusal(ErrorId.FILE_UNREADABLE, f"{source}: no backup: {fault}") from None
    except OSError as fault:
        raise Refusal(ErrorId.FILE_UNREADABLE, f"{source}: {fault.strerror}") from None
    return count


def _read_tar(archive: tarfile.TarFile, scratch: Path) -> tuple[dict[str, bytes], Path]:
    """Read members of known names only, each once and bounded; paths are never taken from it."""
    small: dict[str, bytes] = {}
    journal = scratch / _JOURNAL
    for number, member in enumerate(archive):
        content = archive.extractfile(member) if member.isreg() else None
        if content is None or number >= MAX_MEMBERS or member.name in small:
            raise Refusal(ErrorId.FILE_UNREADABLE, "the backup holds what no backup holds")
        if member.name == _JOURNAL and member.size <= MAX_ARCHIVE_BYTES and not journal.exists():
            with open(journal, "wb") as file:
                while chunk := content.read(_MAX_SMALL):
                    file.write(chunk)
        elif _is_small_member(member):
            small[member.name] = content.read(_MAX_SMALL)
        else:
            raise Refusal(ErrorId.FILE_UNREADABLE, "the backup holds what no backup holds")
    return small, journal


def _is_small_member(member: tarfile.TarInfo) -> bool:
    stem = member.name.removeprefix(_KEYS).removesuffix(SUFFIX)
    is_key = member.name == f"{_KEYS}{stem}{SUFFIX}" and stem.replace("-", "").isalpha()
    is_share = member.name.startswith(_SHARES) and is_share_name(member.name[len(_SHARES) :])
    is_known = is_key or is_share or member.name in (_LABEL, *_TRANSPORT)
    return member.size <= _MAX_SMALL and is_known


def _verify(small: Mapping[str, bytes], journal: Path, rebuilt: Path) -> int:
    """Check that keys and journal belong together and its records are whole; rebuild it of them."""
    name = f"{_KEYS}identity{SUFFIX}"
    if _version(small) != VERSION or name not in small or not journal.exists():
        raise Refusal(ErrorId.FILE_UNREADABLE, "no complete backup of this version")
    for key_name in (one for one in small if one.startswith(_KEYS)):
        parse_sealed(small[key_name], key_name)
    for share_name in (one for one in small if one.startswith(_SHARES)):
        check_share_file(small[share_name], share_name[len(_SHARES) :])
    identity_key = parse_sealed(small[name], name).public
    source, target = connect_read_only(journal), connect_copy(rebuilt)
    try:
        return Journal(target, reader(identity_key)).take_records(source)
    except Refusal as refusal:
        if isinstance(refusal.__cause__, sqlite3.Error):
            raise Refusal(ErrorId.JOURNAL_BROKEN, refusal.detail) from None
        raise
    finally:
        source.close()
        target.close()


def _version(small: Mapping[str, bytes]) -> object:
    try:
        label = json.loads(small.get(_LABEL, b"{}"))
    except ValueError:
        return None
    return label.get("version") if isinstance(label, dict) else None


def _install(small: Mapping[str, bytes], journal: Path, folder: Folder) -> None:
    """The keys come last: a folder without keys is no node."""
    write_file_from(folder.journal, journal)
    for name in small:
        if name in _TRANSPORT or name.startswith(_SHARES):
            write_file(folder.root / name, small[name])
    keys = {
        name.removeprefix(_KEYS): content
        for name, content in small.items()
        if name.startswith(_KEYS)
    }
    Keystore(folder.keys).install(keys)


def write_file_from(target: Path, source: Path) -> None:
    """Copy a large file into its place, whole or not at all."""
    write_file(target.with_name(target.name + ".part"), b"")
    beside = target.with_name(target.name + ".part")
    with open(source, "rb") as origin, open(beside, "wb") as copy:
        while chunk := origin.read(_MAX_SMALL):
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    os.rename(beside, target)
    flush_folder(target.parent)
