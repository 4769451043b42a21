"""Sealed keys: nothing opens without the passphrase, and every crash leaves one whole set."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.adapters.folder import locked, read_file, require_private, write_file
from signer_node.adapters.keystore import Cost, Keystore, Secret, parse_sealed, seal, unseal
from signer_node.kernel.errors import ErrorId, Refusal

CHEAP = Cost(log2_n=4)
OLD = b"the old passphrase"
NEW = b"the new passphrase"
SECRETS = (Secret("identity", b"\x01" * 32, b"\xaa" * 32), Secret("tls", b"", b"\xbb" * 200))


class Crash(BaseException):
    """The process dies here."""


def refused(call: Callable[[], Any]) -> ErrorId:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.error


@pytest.fixture
def store(tmp_path: Path) -> Keystore:
    made = Keystore(tmp_path / "keys")
    made.seal_all(SECRETS, OLD, CHEAP)
    return made


def test_files_and_folders_are_the_owners_alone(store: Keystore) -> None:
    for path in [store.folder, *store.folder.rglob("*")]:
        if not path.is_symlink():
            wanted = 0o700 if path.is_dir() else 0o600
            assert path.stat().st_mode & 0o777 == wanted, path


def test_no_secret_and_no_passphrase_lies_in_a_file(store: Keystore) -> None:
    content = b"".join(store.files().values())
    for one in SECRETS:
        assert one.value[:16] not in content
        assert one.value.hex()[:16] not in repr(one)
    assert OLD not in content


def test_a_wrong_passphrase_is_told_from_damage(store: Keystore) -> None:
    assert store.open("identity", OLD).value == SECRETS[0].value
    assert refused(lambda: store.open("identity", NEW)) is ErrorId.PASSPHRASE_WRONG


@settings(max_examples=200, deadline=None)
@given(at=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_damage_at_any_byte_is_found(at: int, flip: int) -> None:
    content = bytearray(seal(SECRETS[0], OLD, bytes(16), CHEAP))
    content[at % len(content)] ^= flip
    assert refused(lambda: parse_sealed(bytes(content), "x")) is ErrorId.KEY_FILE_INVALID


@settings(max_examples=50, deadline=None)
@given(length=st.integers(min_value=0, max_value=160))
def test_a_truncated_file_is_found(length: int) -> None:
    content = seal(SECRETS[0], OLD, bytes(16), CHEAP)[:length]
    assert refused(lambda: parse_sealed(content, "x")) is ErrorId.KEY_FILE_INVALID


def test_a_header_changed_with_its_checksum_does_not_open() -> None:
    from hashlib import sha256

    content = bytearray(seal(SECRETS[0], OLD, bytes(16), CHEAP)[:-32])
    at = content.index(b"\x01" * 32)
    content[at] ^= 1
    forged = bytes(content) + sha256(content).digest()
    assert refused(lambda: unseal(parse_sealed(forged, "x"), OLD)) is ErrorId.PASSPHRASE_WRONG


def test_a_file_under_another_name_is_refused(store: Keystore) -> None:
    current = store.folder / "current"
    os.rename(current / "tls.sealed", current / "identity.sealed")
    assert refused(lambda: store.open("identity", OLD)) is ErrorId.KEY_FILE_INVALID


def test_scrypt_costs_that_would_exhaust_the_host_are_refused() -> None:
    from hashlib import sha256

    content = bytearray(seal(SECRETS[0], OLD, bytes(16), CHEAP)[:-32])
    content[17] = 40
    forged = bytes(content) + sha256(content).digest()
    assert refused(lambda: parse_sealed(forged, "x")) is ErrorId.KEY_FILE_INVALID


def test_a_new_passphrase_opens_everything_and_the_old_one_nothing(store: Keystore) -> None:
    store.change_passphrase(OLD, NEW, CHEAP)
    for one in SECRETS:
        assert store.open(one.purpose, NEW).value == one.value
        assert refused(partial(store.open, one.purpose, OLD)) is ErrorId.PASSPHRASE_WRONG
    assert len([path for path in store.folder.iterdir() if path.is_dir()]) == 2  # with the link


def test_a_wrong_old_passphrase_changes_nothing(store: Keystore) -> None:
    before = store.files()
    refused(lambda: store.change_passphrase(NEW, NEW, CHEAP))
    assert store.files() == before


def test_kill_anywhere_in_a_passphrase_change_leaves_one_whole_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every system call that changes the disk is the last one, once."""
    calls = _count_calls(tmp_path / "count", monkeypatch, die_at=None)
    assert calls > 10
    opened = set()
    for die_at in range(calls):
        store = Keystore(tmp_path / f"{die_at}")
        store.seal_all(SECRETS, OLD, CHEAP)
        _count_calls(store.folder, monkeypatch, die_at)
        passphrase = _passphrase_of(store)
        opened.add(passphrase)
        assert {one.purpose: store.open(one.purpose, passphrase).value for one in SECRETS} == {
            one.purpose: one.value for one in SECRETS
        }
        store.change_passphrase(passphrase, b"a third passphrase", CHEAP)
    assert opened == {OLD, NEW}


def _passphrase_of(store: Keystore) -> bytes:
    try:
        store.open("identity", NEW)
    except Refusal:
        return OLD
    return NEW


def _count_calls(folder: Path, monkeypatch: pytest.MonkeyPatch, die_at: int | None) -> int:
    """Change the passphrase; die before the die_at-th change of the disk."""
    store = Keystore(folder)
    if not store.exists():
        store.seal_all(SECRETS, OLD, CHEAP)
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            if count == die_at:
                raise Crash
            count += 1
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("open", "fsync", "rename", "symlink"):
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
        if die_at is None:
            store.change_passphrase(OLD, NEW, CHEAP)
        else:
            with pytest.raises(Crash):
                store.change_passphrase(OLD, NEW, CHEAP)
    return count


def test_a_folder_is_held_by_one_process(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert refused(lambda: locked(tmp_path).__enter__()) is ErrorId.DAEMON_RUNNING
    with locked(tmp_path):
        pass


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_file(path, b"x")
    require_private(path)
    path.chmod(0o640)
    assert refused(lambda: require_private(path)) is ErrorId.FILE_UNREADABLE


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_file(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file(path, b"new")
    assert read_file(path) == b"old"
    assert refused(lambda: read_file(path, 2)) is ErrorId.FILE_UNREADABLE
