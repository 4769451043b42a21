"""Sealed shares: only their node opens them, damage is seen, no attempt overwrites another's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from signer_node.adapters.shares import (
    NoShares,
    ShareFiles,
    ShareName,
    check_share_file,
    is_share_name,
    share_files,
    share_sealing_key,
)
from signer_node.kernel.errors import ErrorId, Refusal

NAME = ShareName("hot", 0, bytes(range(32)))
SHARE, DATA = b"\x05" * 32, b"recovery data" * 20


def refused(call: Callable[[], Any]) -> ErrorId:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.error


@pytest.fixture
def shares(tmp_path: Path) -> ShareFiles:
    made = ShareFiles(tmp_path / "shares", share_sealing_key(b"\x01" * 32))
    made.keep(NAME, SHARE, DATA)
    return made


def test_a_share_and_its_recovery_data_come_back(shares: ShareFiles) -> None:
    assert shares.secshare(NAME) == SHARE
    assert shares.recovery_data(NAME) == DATA


def test_the_files_are_the_owners_alone_and_hold_nothing_in_clear(
    shares: ShareFiles, tmp_path: Path
) -> None:
    files = list((tmp_path / "shares").iterdir())
    assert sorted(path.name for path in files) == [
        "hot-0-0001020304050607.recovery",
        "hot-0-0001020304050607.share",
    ]
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o600
        assert SHARE not in path.read_bytes()
        assert DATA[:13] not in path.read_bytes()


def test_another_nodes_root_opens_nothing(shares: ShareFiles, tmp_path: Path) -> None:
    other = ShareFiles(tmp_path / "shares", share_sealing_key(b"\x02" * 32))
    assert refused(lambda: other.secshare(NAME)) is ErrorId.KEY_FILE_INVALID
    assert shares.secshare(NAME) == SHARE


def test_each_byte_counts(shares: ShareFiles, tmp_path: Path) -> None:
    path = tmp_path / "shares" / f"{NAME.text}.share"
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert refused(lambda: shares.secshare(NAME)) is ErrorId.KEY_FILE_INVALID
    for length in (0, 1, 40, len(content) - 1):
        path.write_bytes(content[:length])
        assert refused(lambda: shares.secshare(NAME)) is ErrorId.KEY_FILE_INVALID


def test_a_file_under_another_name_is_not_taken(shares: ShareFiles, tmp_path: Path) -> None:
    other = ShareName("hot", 1, NAME.recovery)
    folder = tmp_path / "shares"
    os.rename(folder / f"{NAME.text}.share", folder / f"{other.text}.share")
    assert refused(lambda: shares.secshare(other)) is ErrorId.KEY_FILE_INVALID
    assert refused(lambda: shares.secshare(NAME)) is ErrorId.SHARE_MISSING


def test_a_later_key_generation_leaves_the_earlier_one_alone(shares: ShareFiles) -> None:
    later = ShareName("hot", 0, b"\xff" * 32)
    shares.keep(later, b"\x06" * 32, b"other")
    assert shares.secshare(NAME) == SHARE
    assert shares.secshare(later) == b"\x06" * 32


def test_a_full_disk_is_said(shares: ShareFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_what: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("signer_node.adapters.shares.write_file", full)
    assert refused(lambda: shares.keep(NAME, SHARE, DATA)) is ErrorId.JOURNAL_UNWRITABLE


def test_a_backup_finds_the_files_by_name(shares: ShareFiles, tmp_path: Path) -> None:
    folder = tmp_path / "shares"
    (folder / "something.else").write_bytes(b"")
    found = share_files(folder)
    assert set(found) == {f"{NAME.text}.share", f"{NAME.text}.recovery"}
    for name, content in found.items():
        check_share_file(content, name)
        assert refused(lambda: check_share_file(content, "x")) is ErrorId.KEY_FILE_INVALID  # noqa: B023
    assert share_files(tmp_path / "none") == {}
    assert not any(is_share_name(bad) for bad in ("../x.share", "hot-0-00.share", "hot.share", ""))


def test_who_takes_part_in_nothing_keeps_nothing() -> None:
    nothing = NoShares()
    assert refused(lambda: nothing.keep(NAME, SHARE, DATA)) is ErrorId.SHARE_MISSING
    assert refused(lambda: nothing.secshare(NAME)) is ErrorId.SHARE_MISSING
    assert refused(lambda: nothing.recovery_data(NAME)) is ErrorId.SHARE_MISSING
    assert repr(ShareFiles(Path("x"), b"\x01" * 32)) == "ShareFiles(x)"
