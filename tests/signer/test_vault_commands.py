"""Key generation at the console of a real node process: looked at, confirmed, kept, recovered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.rules.keygen import ceremony_fingerprint
from tests.signer.process import PASSPHRASE, NodeProcess, ProcessWorld
from tests.world.keygen import Keygen, confirm

pytestmark = pytest.mark.slow

COLD = "cold"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessWorld]:
    made = ProcessWorld(tmp_path)
    try:
        made.begin()
        yield made
    finally:
        made.close()


def fingerprint(world: ProcessWorld, keygen: Keygen) -> str:
    return ceremony_fingerprint(world.genesis.document, keygen.proposal).hex()


def heard(world: ProcessWorld, kind: PayloadType, least: int = 1) -> list[Envelope]:
    """What the process sent of a type, once it sent so many."""
    deadline = time.monotonic() + 15
    while len(found := [one for one in world.sent() if one.type is kind]) < least:
        assert time.monotonic() < deadline, f"no {kind.name}"
        time.sleep(0.02)
    return found


def confirmed_by_all(world: ProcessWorld) -> Keygen:
    """The operator at the process by its command, the others by theirs."""
    keygen = Keygen(world, COLD)
    keygen.propose()
    typed = fingerprint(world, keygen)
    world.process.must("vault", "confirm", COLD, "--yes", typed, passphrase=PASSPHRASE)
    keygen.hear("s1", heard(world, PayloadType.KEYGEN_STEP1))
    for name in ("s2", "s3"):
        keygen.hear(name, confirm(world, name, COLD))
    return keygen


def certified(world: ProcessWorld) -> Keygen:
    keygen = confirmed_by_all(world)
    keygen.carry_on()
    world.certify(keygen.draft())
    return keygen


def state(node: NodeProcess) -> str:
    rows = {row["vault"]: row["state"] for row in node.must("vault", "list")}
    return str(rows[COLD])


def test_an_operator_sees_who_takes_part_and_types_the_fingerprint(world: ProcessWorld) -> None:
    node, keygen = world.process, Keygen(world, COLD)
    assert "no vault" not in node.run("vault", "list").out
    keygen.propose()
    assert state(node) == "waiting"
    screen = node.run("vault", "show", COLD).out
    for seat in world.genesis.document.signers:
        assert seat.name in screen
        assert seat.host_key.hex().upper() in screen.replace(" ", "")
    assert "any 2 of these 3" in screen
    assert "f_theft = 1, f_once = 0, f_live = 1" in screen
    shown = node.must("vault", "show", COLD)
    assert shown["fingerprint"].replace(" ", "").lower() == fingerprint(world, keygen)
    for wrong in ("", "0" * 16, shown["fingerprint"][-4:]):
        ended = node.run("vault", "confirm", COLD, "--yes", wrong, passphrase=PASSPHRASE)
        assert (ended.code, "CEREMONY_NOT_CONFIRMED" in ended.err) == (3, True)
    ended = node.run("vault", "confirm", COLD, passphrase=PASSPHRASE, typed="0000\n")
    assert (ended.code, "CEREMONY_NOT_CONFIRMED" in ended.err) == (3, True)
    wrong_passphrase = node.run(
        "vault", "confirm", COLD, "--yes", shown["fingerprint"], passphrase="not the right one"
    )
    assert (wrong_passphrase.code, state(node)) == (6, "waiting")
    assert node.run("vault", "show", "nothing").code == 3

    dice = node.run(
        "vault", "confirm", COLD, "--dice", passphrase=PASSPHRASE,
        typed=f"{shown['fingerprint'][-4:]}\n6 1 3 3 2 5 4 4 1\n",
    )  # fmt: skip
    assert dice.code == 0, dice.err
    assert state(node) == "confirmed"
    assert heard(world, PayloadType.KEYGEN_STEP1)


def test_short_entropy_is_refused(world: ProcessWorld, tmp_path: Path) -> None:
    keygen = Keygen(world, COLD)
    keygen.propose()
    short = tmp_path / "short"
    short.write_text("6 1 2")
    ended = world.process.run(
        "vault", "confirm", COLD, "--yes", fingerprint(world, keygen), "--entropy-file", short,
        passphrase=PASSPHRASE,
    )  # fmt: skip
    assert (ended.code, "CONFIG_INVALID" in ended.err) == (5, True)


def test_a_process_that_was_killed_waits_for_its_operator_again(world: ProcessWorld) -> None:
    keygen = confirmed_by_all(world)
    node = world.process
    node.kill()
    node.start()
    assert state(node) == "interrupted"
    again = keygen.again()
    again.propose()
    typed = fingerprint(world, again)
    node.must("vault", "confirm", COLD, "--yes", typed, passphrase=PASSPHRASE)
    again.hear("s1", heard(world, PayloadType.KEYGEN_STEP1, 2)[-1:])
    again.carry_on()
    assert state(node) == "kept"
    world.certify(again.draft())
    assert state(node) == "certified"


def test_a_share_survives_kill_9_backup_and_a_new_passphrase(
    world: ProcessWorld, tmp_path: Path
) -> None:
    certified(world)
    node = world.process
    backup = tmp_path / "backup.tar"
    node.must("backup", backup)
    node.kill()
    copy = NodeProcess(tmp_path / "copy")
    assert copy.run("restore", backup).code == 0
    names = sorted(path.name for path in (node.folder / "shares").iterdir())
    assert len(names) == 2
    assert names == sorted(path.name for path in (copy.folder / "shares").iterdir())
    out = tmp_path / "recovery"
    copy.must("vault", "recovery", COLD, "--out", out, passphrase=PASSPHRASE)
    assert len(out.read_bytes()) > 500


def test_a_lost_node_recovers_its_share_and_is_quarantined(
    world: ProcessWorld, tmp_path: Path
) -> None:
    early = tmp_path / "early.tar"
    world.process.must("backup", early)
    keygen = certified(world)
    node = world.process
    certificate, data, other = (tmp_path / name for name in ("certificate", "data", "other"))
    certificate.write_bytes(world.certificate)
    data.write_bytes(keygen.recovery_data)
    other.write_bytes(keygen.recovery_data[:-1] + bytes([keygen.recovery_data[-1] ^ 1]))
    assert node.terminate() == 0
    (share,) = (node.folder / "shares").glob("*.share")

    back = NodeProcess(tmp_path / "back")
    assert back.run("restore", early).code == 0
    assert not (back.folder / "shares").exists()
    words = ("recover", "--certificate", certificate)
    bad = back.run(*words, other, passphrase=PASSPHRASE)
    assert (bad.code, "RECOVERY_DATA_INVALID" in bad.err) == (3, True)
    back.must(*words, data, passphrase=PASSPHRASE)
    assert [path.name for path in (back.folder / "shares").glob("*.share")] == [share.name]
    assert back.must("journal", "verify")["records"] > 0


def test_a_node_without_its_journal_recovers_by_words_and_certificate(
    world: ProcessWorld, tmp_path: Path
) -> None:
    keygen = certified(world)
    node = world.process
    assert node.terminate() == 0
    for path in node.folder.glob("journal.sqlite3*"):
        path.unlink()
    for path in (node.folder / "shares").iterdir():
        path.unlink()
    files = {"certificate": world.certificate, "data": keygen.recovery_data}
    for name, content in {**files, "genesis": world.genesis.raw}.items():
        (tmp_path / name).write_bytes(content)
    words = ("recover", "--certificate", tmp_path / "certificate", tmp_path / "data")
    assert "GENESIS_NOT_CONFIRMED" in node.run(*words, passphrase=PASSPHRASE).err
    genesis = ("--genesis", tmp_path / "genesis")
    typed = " ".join(words_from_digest(world.genesis.digest))
    wrong = " ".join(words_from_digest(bytes(32)))
    assert (
        "GENESIS_WORDS_DIFFER"
        in node.run(*words, *genesis, "--words", wrong, passphrase=PASSPHRASE).err
    )
    node.must(*words, *genesis, "--words", typed, passphrase=PASSPHRASE)
    assert node.must("journal", "verify")["records"] == 3
