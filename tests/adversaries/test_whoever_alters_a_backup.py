"""Somebody who can write where backups lie, without a passphrase: the records are signed, so what
they say is restored, and nothing that only stands beside them (PROTOCOL.md G6, G11)."""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from signer_node.adapters.archive import back_up, restore
from signer_node.adapters.folder import Folder
from signer_node.adapters.journal import Journal, connect_read_only, reader
from signer_node.adapters.keystore import Cost, Keystore, Secret
from signer_node.daemon.main import main
from signer_node.kernel.errors import ErrorId, Refusal
from tests.world.payouts import draft, propose, sign
from tests.world.quorum import World, secret


@pytest.fixture
def world() -> World:
    """w-1 is paid: s1 released its share."""
    made = World()
    one = draft(made, "w-1")
    propose(made, one)
    sign(made, one, ["s1", "s2"])
    return made


def backup_of(world: World, tmp_path: Path) -> Path:
    sim = world.nodes["s1"]
    folder = Folder(tmp_path / "node")
    identity = Secret("identity", sim.identity_key, secret("s1 identity"))
    Keystore(folder.keys).seal_all((identity,), b"a passphrase", Cost(4))
    folder.journal.write_bytes(sim.disk())
    target = tmp_path / "backup.tar"
    back_up(folder, target, world.now_s)
    return target


def altered(backup: Path, tmp_path: Path, change: str) -> Path:
    """The backup with a change made in its database."""
    inside = tmp_path / "inside"
    with tarfile.open(backup) as archive:
        archive.extractall(inside, filter="data")
    connection = sqlite3.connect(inside / "journal.sqlite3")
    connection.executescript(change)
    connection.close()
    target = tmp_path / "altered.tar"
    with tarfile.open(target, "w") as archive:
        for path in sorted(inside.rglob("*")):
            if path.is_file():
                archive.add(path, str(path.relative_to(inside)))
    return target


def restored(source: Path, tmp_path: Path, key: bytes) -> Journal:
    folder = Folder(tmp_path / "copy")
    restore(source, folder)
    return Journal(connect_read_only(folder.journal), reader(key))


CHANGES = {
    "released": "UPDATE manifest SET released = 0; DELETE FROM payment",
    "another genesis": "UPDATE genesis SET body = x'00', digest = zeroblob(32)",
    "a trigger": "CREATE TRIGGER forget AFTER UPDATE OF released ON manifest"
    " BEGIN UPDATE manifest SET released = 0; END",
    "other schema": "DROP TABLE decision; PRAGMA user_version = 1",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_what_stands_beside_the_records_is_made_again(
    world: World, tmp_path: Path, change: str
) -> None:
    source = altered(backup_of(world, tmp_path), tmp_path, change)
    sim = world.nodes["s1"]
    journal = restored(source, tmp_path, sim.identity_key)
    assert journal.genesis() == world.genesis
    (paid,) = journal.released_for(["w-1"])
    assert paid.withdrawal_ids == {"w-1"}
    triggers = journal._connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'"
    )
    assert triggers.fetchone()[0] == 0
    assert journal.head().digest == sim.journal.head().digest


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM record WHERE sequence = 3",
        "UPDATE record SET raw = zeroblob(40) WHERE sequence = 3",
        "UPDATE record SET digest = zeroblob(32) WHERE sequence = 3",
        "UPDATE record SET sequence = sequence + 1000 WHERE sequence > 3",
        "DROP TABLE record",
    ],
)
def test_a_record_that_is_missing_or_another_restores_nothing(
    world: World, tmp_path: Path, change: str
) -> None:
    source = altered(backup_of(world, tmp_path), tmp_path, change)
    with pytest.raises(Refusal) as refused:
        restore(source, Folder(tmp_path / "copy"))
    assert refused.value.error is ErrorId.JOURNAL_BROKEN
    assert not Folder(tmp_path / "copy").journal.exists()


def _no_label(inside: Path) -> None:
    (inside / "backup.json").write_bytes(b"[1")


def _a_list(inside: Path) -> None:
    (inside / "backup.json").write_bytes(b"[1]")


@pytest.mark.parametrize("spoil", [_no_label, _a_list])
def test_a_label_of_rubbish_is_an_error_of_the_catalogue(
    world: World, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    backup = backup_of(world, tmp_path)
    inside = tmp_path / "inside"
    inside.mkdir()
    with tarfile.open(backup) as archive:
        archive.extractall(inside, filter="data")
    spoil(inside)
    bad = tmp_path / "bad.tar"
    with tarfile.open(bad, "w") as archive:
        for path in sorted(inside.rglob("*")):
            if path.is_file():
                archive.add(path, str(path.relative_to(inside)))
    with pytest.raises(Refusal) as refused:
        restore(bad, Folder(tmp_path / "copy"))
    assert refused.value.error is ErrorId.FILE_UNREADABLE


@pytest.mark.parametrize(
    "change",
    [CHANGES["released"], CHANGES["a trigger"] + "; UPDATE manifest SET released = 1"],
)
def test_a_journal_altered_in_its_place_is_found_by_verifying(
    world: World, tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trigger would make the replay forget what the table has forgotten."""
    backup_of(world, tmp_path)
    folder = tmp_path / "node"
    command = ["journal", "verify", "--data-dir", str(folder)]
    assert main(command) == 0
    connection = sqlite3.connect(folder / "journal.sqlite3")
    connection.executescript(change)
    connection.close()
    assert main(command) != 0
    assert "JOURNAL_BROKEN" in capsys.readouterr().err
