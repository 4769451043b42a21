"""A real signer node process over mutual TLS: its whole life, kill -9 and lost stores included."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from signer_node.adapters.keystore import Keystore
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.manifest import Approval, Decision, RejectReason
from signer_node.kernel.documents.signing import CommitmentSet, RoundOpening, ShareSet
from signer_node.wire import decode, encode, open_signed
from tests.signer.process import ALICE, CHEAP, PASSPHRASE, NodeProcess, ProcessWorld, command
from tests.world.payouts import approval, draft, open_round, package, session_of, verdict_of

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessWorld]:
    made = ProcessWorld(tmp_path)
    try:
        yield made
    finally:
        made.close()


def wait_for(find: Callable[[], list[Envelope]], timeout_s: float = 15) -> Envelope:
    deadline = time.monotonic() + timeout_s
    while not (found := find()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
    return found[-1]


def sent(world: ProcessWorld, kind: PayloadType) -> list[Envelope]:
    return [one for one in world.sent() if one.type is kind]


def last_group(address: str) -> str:
    return address[-(len(address) % 4 or 4) :]


def test_a_batch_is_reviewed_approved_and_signed_through_kill_9(world: ProcessWorld) -> None:
    world.begin()
    node = world.process
    batch = draft(world)
    assert verdict_of(world.send("s1", PayloadType.MANIFEST_PROPOSAL, batch.proposal())) is None
    node.kill()
    node.start()

    (row,) = node.must("list", "--waiting")
    assert (row["digest"], row["state"]) == (batch.digest.hex(), "waiting")
    shown = node.must("show", batch.digest.hex()[:12])
    assert shown["digest"] == batch.digest.hex()
    last, digest = last_group(shown["largest"]["address"]), batch.digest.hex()
    for wrong in ("nope", "", last[:-1]):
        ended = node.run(
            "approve", digest, "--key", world.alice, "--confirm", wrong, passphrase=ALICE
        )
        assert (ended.code, "DECISION_NOT_CONFIRMED" in ended.err) == (3, True)
    ended = node.run(
        "approve", digest, "--key", world.alice, "--confirm", last, passphrase="not alice's one"
    )
    assert (ended.code, "PASSPHRASE_WRONG" in ended.err) == (6, True)
    assert not sent(world, PayloadType.APPROVAL)

    for short in ("b1", digest[:12], digest[:-1]):
        ended = node.run(
            "approve", short, "--key", world.alice, "--confirm", last, passphrase=ALICE
        )
        assert (ended.code, "named by its digest" in ended.err) == (3, True)
    assert not sent(world, PayloadType.APPROVAL)

    node.must("approve", digest, "--key", world.alice, "--confirm", last, passphrase=ALICE)
    found = wait_for(lambda: sent(world, PayloadType.APPROVAL))
    by_alice = open_signed(Approval, found.payload)
    assert by_alice.document.manifest == batch.digest
    assert by_alice.document.decision is Decision.APPROVE
    assert node.must("list")[0]["decisions"] == ["alice approved"]

    opening = encode(RoundOpening(batch.digest, 1))
    world.post(PayloadType.ROUND_OPENING, opening)
    mine = decode(CommitmentSet, wait_for(lambda: sent(world, PayloadType.COMMITMENT_SET)).payload)
    world.send("s2", PayloadType.MANIFEST_PROPOSAL, batch.proposal())
    theirs = open_round(world, batch.digest, ["s2"])
    approvals = (found.payload, approval(world, batch.digest, "bob"))
    built = package(world, batch.digest, {"s1": mine, **theirs}, approvals=approvals)
    world.post(PayloadType.SIGNING_PACKAGE, encode(built))
    shares = decode(ShareSet, wait_for(lambda: sent(world, PayloadType.SHARE_SET)).payload)
    session = session_of(world, batch, built)
    world.vault.kind.verify_share(session, "s1", shares.shares)

    assert node.must("list")[0]["state"] == "released"
    assert node.terminate() == 0
    assert node.must("journal", "verify")["records"] >= 8
    _look_for_secrets(world)


def _look_for_secrets(world: ProcessWorld) -> None:
    """Neither the folder nor the log nor the operator's files hold a secret in clear."""
    keystore = Keystore(world.process.folder / "keys")
    secrets = [
        keystore.open(one, PASSPHRASE.encode()) for one in ("identity", "host", "vault-root")
    ]
    needles = [PASSPHRASE.encode(), ALICE.encode(), b"PRIVATE KEY"]
    for secret in secrets:
        needles += [secret.value, secret.value.hex().encode()]
    for path in [*world.folder.rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert not [needle for needle in needles if needle in content], path


def test_the_screen_says_what_the_money_does_and_where_it_knows_it_from(
    world: ProcessWorld, tmp_path: Path
) -> None:
    world.begin()
    node = world.process
    batch = draft(world)
    world.send("s1", PayloadType.MANIFEST_PROPOSAL, batch.proposal())
    screen = node.run("show", "b1").out
    for line in screen.splitlines():
        if line.strip() and not line.startswith("      "):
            assert "[bytes]" in line or "[node]" in line or "[claimed]" in line or "#" not in line
    assert "2 people at more than 1 nodes" in screen
    assert "0.020 000 00 BTC to 2" in screen
    assert "ours: internal chain /1/0, derived here" in screen

    manifest, psbt = tmp_path / "b1.manifest", tmp_path / "b1.psbt"
    node.must("export", "b1", "--manifest", manifest, "--psbt", psbt)
    digest = batch.digest.hex()
    assert node.must("verify", manifest)["digest"] == digest
    assert node.must("verify", psbt)["manifests"] == [digest]
    elsewhere = command(
        "verify", manifest, "--network", "regtest", "--json", "--data-dir", tmp_path / "nothing"
    )
    assert elsewhere.json["digest"] == digest
    assert [one["amount_sat"] for one in elsewhere.json["outputs"]][:2] == [1_000_000, 1_000_000]
    again = node.run("export", "b1", "--psbt", psbt)
    assert (again.code, "FILE_UNREADABLE" in again.err) == (5, True)

    rejected = node.run(
        "reject", "b1", "--key", world.alice, "--reason", "suspected-fraud", "--text", "who?",
        "--outputs", "1", passphrase=ALICE,
    )  # fmt: skip
    assert rejected.code == 0, rejected.err
    found = wait_for(lambda: sent(world, PayloadType.APPROVAL))
    said = open_signed(Approval, found.payload).document
    assert (said.decision, said.reason) == (Decision.REJECT, RejectReason.SUSPECTED_FRAUD)
    assert (said.text, said.outputs) == ("who?", (1,))
    assert node.must("list")[0]["state"] == "rejected"
    shown = node.must("show", "b1")
    group, digest = last_group(shown["largest"]["address"]), shown["digest"]
    late = node.run("approve", digest, "--key", world.alice, "--confirm", group, passphrase=ALICE)
    assert (late.code, "MANIFEST_REJECTED" in late.err) == (3, True)


def test_a_node_outlives_its_coordinator_and_takes_a_new_store_from_the_beginning(
    world: ProcessWorld,
) -> None:
    world.begin()
    mail = world.mail
    mail.stop()
    world.posting_only = True
    batch = draft(world)
    world.send("s1", PayloadType.MANIFEST_PROPOSAL, batch.proposal())
    time.sleep(0.5)
    mail.start()
    wait_for(lambda: verdicts(world, batch.digest))
    mail.wait_taken(len(mail.inbox))

    mail.lose_store()
    again = draft(world, "n-1", change_index=1)
    world.tell_headers(["s1"])
    mail.fail_next = 3
    world.send("s1", PayloadType.MANIFEST_PROPOSAL, again.proposal())
    wait_for(lambda: verdicts(world, again.digest))
    mail.wait_taken(len(mail.inbox))
    assert world.process.must("status")["halted"] == ""


def verdicts(world: ProcessWorld, digest: bytes) -> list[Envelope]:
    """Acceptances of a manifest that the node sent."""
    return [
        one
        for one in sent(world, PayloadType.VERDICT)
        if digest in one.payload and verdict_of([one]) is None
    ]


def test_keys_are_kept_safe_by_commands(world: ProcessWorld, tmp_path: Path) -> None:
    world.begin()
    node = world.process
    second = node.run("run", passphrase=PASSPHRASE)
    assert (second.code, "DAEMON_RUNNING" in second.err) == (7, True)
    renewed = node.must("renew", passphrase=PASSPHRASE)
    assert renewed["expires_s"] > time.time()

    backup = tmp_path / "backup.tar"
    node.must("backup", backup)
    assert backup.stat().st_mode & 0o777 == 0o600
    assert node.run("backup", backup).code == 5
    assert node.run("restore", backup).code in (5, 7)

    sequence = node.must("status")["journal_sequence"]
    copy = NodeProcess(tmp_path / "copy")
    restored = copy.run("restore", backup)
    assert restored.code == 0, restored.err
    assert "never run beside its original" in restored.out
    assert copy.must("journal", "verify")["records"] == sequence
    assert copy.run("restore", backup).code == 5
    copy_key = Keystore(copy.folder / "keys").open("identity", PASSPHRASE.encode())
    assert copy_key.public == node.identity_key
    _damaged_backups_restore_nothing(backup, tmp_path)

    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "passphrase").write_text(PASSPHRASE + "\n")
    (credentials / "new-passphrase").write_text("another passphrase\n")
    node.must("passphrase", "--credentials-dir", credentials, *CHEAP)
    opened = Keystore(node.folder / "keys").open("identity", b"another passphrase")
    assert opened.value == copy_key.value
    assert node.terminate() == 0
    assert node.run("run", passphrase=PASSPHRASE).code == 6


def _damaged_backups_restore_nothing(backup: Path, tmp_path: Path) -> None:
    content = backup.read_bytes()
    at = content.index(b"SQLite format 3")
    for number, bad in enumerate(
        (
            b"",
            content[: len(content) // 2],
            content[:at] + b"x" * 40 + content[at + 40 :],
            content.replace(b"keys/identity.sealed", b"keys/../../etc/passwd"[:20]),
        )
    ):
        source = tmp_path / f"bad{number}.tar"
        source.write_bytes(bad)
        target = tmp_path / f"target{number}"
        ended = command("restore", source, "--data-dir", target)
        assert ended.code in (5, 7), (number, ended.err)
        assert not (target / "keys" / "current").exists()


def test_a_tampered_journal_does_not_start(world: ProcessWorld) -> None:
    world.begin()
    node = world.process
    assert node.terminate() == 0
    connection = sqlite3.connect(node.folder / "journal.sqlite3")
    connection.execute("UPDATE record SET digest = zeroblob(32) WHERE sequence = 2")
    connection.commit()
    connection.close()
    ended = node.run("run", passphrase=PASSPHRASE)
    assert (ended.code, "JOURNAL_BROKEN" in ended.err) == (7, True)
    assert node.run("journal", "verify").code == 7


def test_logs_are_json_with_nothing_but_known_keys(world: ProcessWorld) -> None:
    world.begin()
    world.mail.post(b"garbage")
    world.process.terminate()
    lines = [json.loads(line) for line in world.process.log.read_text().splitlines()]
    assert {"started", "stopped"} <= {line["message"] for line in lines}
    allowed = {"time", "level", "logger", "message", "error", "detail", "version", "boot", "cause"}
    assert not {key for line in lines for key in line} - allowed - {"grpc_code"}


def test_an_enrolment_is_refused_by_a_wrong_token_and_a_wrong_authority(
    tmp_path: Path, world: ProcessWorld
) -> None:
    node = NodeProcess(tmp_path / "new")
    node.must("init", *CHEAP, passphrase=PASSPHRASE)
    mail = world.mail
    fingerprint = mail.authority.fingerprint
    for token, error, code in (
        (f"custodyd1.{'A' * 32}.{fingerprint}", "ENROLMENT_REFUSED", 3),
        (f"custodyd1.{mail.token_secret}.{'0' * 64}", "ENROLMENT_REFUSED", 3),
        ("nonsense", "ENROLMENT_REFUSED", 3),
    ):
        ended = node.run(
            "enroll", "--token", token, "--coordinator", mail.enrolment_address,
            passphrase=PASSPHRASE,
        )  # fmt: skip
        assert (ended.code, error in ended.err) == (code, True), ended.err
    gone = node.run(
        "enroll", "--token", mail.token, "--coordinator", "127.0.0.1:1", passphrase=PASSPHRASE
    )
    assert (gone.code, "COORDINATOR_UNREACHABLE" in gone.err) == (4, True)
    assert not (node.folder / "transport").exists()
