"""Bad input at the command line, in files, in settings: said clearly, and nothing changed."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from signer_node.adapters.keystore import read_sealed, unseal
from signer_node.console.terminal import complain, say
from signer_node.daemon.config import Settings, load
from signer_node.daemon.log import JsonFormatter
from signer_node.daemon.main import main
from signer_node.daemon.metrics import Figures, render, write_metrics
from signer_node.daemon.passphrase import Source, read_passphrase
from signer_node.kernel.errors import ErrorId, Refusal

CHEAP = ("--kdf-log2-n", "10")


def pipe(text: str) -> int:
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    return reading


def run(*args: str | Path, passphrase: str | None = None) -> int:
    argv = [str(one) for one in args]
    if passphrase is not None:
        argv += ["--passphrase-fd", str(pipe(passphrase + "\n"))]
    return main(argv)


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.fixture
def node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "node"
    assert run("init", "--data-dir", folder, *CHEAP, passphrase="long enough") == 0
    capsys.readouterr()
    return folder


@pytest.mark.parametrize(
    ("args", "code", "error"),
    [
        (["init", *CHEAP], 5, "ALREADY_INITIALISED"),
        (["run"], 5, "NOT_ENROLLED"),
        (["renew"], 5, "NOT_ENROLLED"),
        (["status"], 4, "DAEMON_UNREACHABLE"),
        (["list"], 4, "DAEMON_UNREACHABLE"),
        (["show", "b1"], 4, "DAEMON_UNREACHABLE"),
        (["genesis", "show"], 4, "DAEMON_UNREACHABLE"),
        (["genesis", "confirm", "--words", "x"], 4, "DAEMON_UNREACHABLE"),
        (["export", "b1", "--psbt", "x"], 4, "DAEMON_UNREACHABLE"),
        (["verify", "/no/such/file"], 5, "FILE_UNREADABLE"),
        (["restore", "/no/such/file"], 5, "ALREADY_INITIALISED"),
        (["journal", "verify"], 5, "NOT_INITIALISED"),
        (["enroll", "--token", "x"], 5, "CONFIG_INVALID"),
        (["enroll", "--token", "x", "--coordinator", "h:1", "--operator", "/no"], 5, "FILE_UNREAD"),
        (["run", "--coordinator", "nonsense"], 5, "CONFIG_INVALID"),
        (["run", "--heartbeat-s", "0"], 5, "CONFIG_INVALID"),
        (["run", "--log-level", "loud"], 5, "CONFIG_INVALID"),
        (["run", "--config", "/no/such/file"], 5, "FILE_UNREADABLE"),
    ],
)
def test_what_is_wrong_and_what_to_do_are_said_and_nothing_changes(
    node: Path, capsys: pytest.CaptureFixture[str], args: Sequence[str], code: int, error: str
) -> None:
    before = listing(node)
    assert run(*args, "--data-dir", node) == code
    captured = capsys.readouterr()
    first, second = captured.err.splitlines()
    assert first.startswith(error)
    assert second.startswith("  to do: ")
    assert captured.out == ""
    assert listing(node) == before


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["no-such-command"],
        ["init", "--passphrase", "on the command line"],
        ["approve", "b1"],
        ["reject", "b1", "--key", "k", "--reason", "because"],
        ["reject", "b1", "--key", "k"],
        ["enroll"],
        ["init", "--kdf-log2-n", "3"],
        ["run", "--coord", "h:1"],
    ],
)
def test_a_wrong_command_line_is_refused_by_the_parser(args: Sequence[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(list(args))
    assert caught.value.code == 2


@pytest.mark.parametrize("passphrase", ["", "sh0rt", "x" * 2_000])
def test_a_passphrase_of_the_wrong_length_makes_no_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], passphrase: str
) -> None:
    assert run("init", "--data-dir", tmp_path / "n", *CHEAP, passphrase=passphrase) == 6
    assert not (tmp_path / "n").exists()
    assert passphrase not in capsys.readouterr().err or passphrase == ""


def test_without_a_terminal_a_passphrase_must_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(Refusal) as caught:
        read_passphrase(Source(None, "", "passphrase", "passphrase"))
    assert caught.value.error is ErrorId.PASSPHRASE_UNUSABLE
    with pytest.raises(Refusal) as caught:
        read_passphrase(Source(None, str(tmp_path), "passphrase", "passphrase"))
    assert caught.value.error is ErrorId.FILE_UNREADABLE
    with pytest.raises(Refusal) as caught:
        read_passphrase(Source(999_999, "", "passphrase", "passphrase"))
    assert caught.value.error is ErrorId.FILE_UNREADABLE


def test_the_first_line_alone_is_the_passphrase(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_bytes(b"the first line\r\nthe second\n")
    source = Source(None, str(tmp_path), "passphrase", "passphrase")
    assert read_passphrase(source) == b"the first line"
    by_descriptor = Source(pipe("from a pipe, no newline"), "", "passphrase", "passphrase")
    assert read_passphrase(by_descriptor) == b"from a pipe, no newline"


def test_an_operators_key_opens_with_its_passphrase_and_its_card_holds_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "keys" / "alice"
    who = ("--person", "alice", "--role", "treasury")
    create = ("operator", "create", *who, "--out", out, "--json", *CHEAP)
    assert run(*create, passphrase="alice's own") == 0
    report = json.loads(capsys.readouterr().out)
    opened = unseal(read_sealed(out), b"alice's own")
    assert opened.public.hex() == report["key"]
    card = (tmp_path / "keys" / "alice.pub").read_text()
    assert json.loads(card) == {"person": "alice", "role": "treasury", "key": report["key"]}
    assert opened.value.hex() not in card
    assert run(*create, passphrase="alice's own") == 5
    for bad in ("Alice", "a" * 33, "al/ice", ""):
        args = ("operator", "create", "--person", bad, "--role", "r", "--out", tmp_path / "b")
        assert run(*args, *CHEAP, passphrase="long enough") == 5
    assert not (tmp_path / "b").exists()


# --- configuration ---


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('coordinator = "c:1"\nheartbeat_s = 7.0\nnotice_command = ["true"]\n')
    file.chmod(0o600)
    found = load(str(file), {"heartbeat_s": 9.0, "data_dir": None})
    assert (found.settings.coordinator, found.settings.heartbeat_s) == ("c:1", 9.0)
    assert found.origins["heartbeat_s"] == "flag"
    assert found.origins["coordinator"] == f"file {file}"
    assert found.origins["data_dir"] == "default"


@pytest.mark.parametrize(
    "content",
    [
        "unknown = 1",
        "heartbeat_s = 'often'",
        "heartbeat_s = 1000",
        "data_dir = 5",
        "notice_command = 'sh -c'",
        "= broken",
        "coordinator = 'http://h'",
        "[section]\nx = 1",
    ],
)
def test_a_configuration_that_is_wrong_is_refused_with_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    file = tmp_path / "node.toml"
    file.write_text(content)
    file.chmod(0o600)
    assert run("run", "--config", file, "--check-config") == 5
    assert "CONFIG_INVALID" in capsys.readouterr().err


def test_a_configuration_that_others_may_write_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "node.toml"
    file.write_text("heartbeat_s = 7.0")
    file.chmod(0o622)
    assert run("config", "show", "--config", file) == 5
    assert "FILE_UNREADABLE" in capsys.readouterr().err
    file.chmod(0o644)
    assert run("config", "show", "--config", file, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert set(shown) == set(Settings.__struct_fields__)
    assert shown["heartbeat_s"] == {"value": 7.0, "origin": f"file {file}"}
    assert run("run", "--config", file, "--check-config") == 0


def test_no_environment_variable_changes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.__struct_fields__:
        monkeypatch.setenv(f"SIGNER_NODE_{name.upper()}", "1")
        monkeypatch.setenv(name.upper(), "1")
    assert load(None, {}).settings == Settings()


# --- what is printed ---


def test_foreign_text_is_escaped_before_a_person_reads_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("fine\nred \x1b[31m and \u202ereversed")
    complain(Refusal(ErrorId.FIELD_INVALID, "\x1b[2J\u202e"))
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert all(one.isprintable() or one == "\n" for one in text)
        assert text.isascii()


def test_a_log_line_holds_allowed_keys_only_and_of_an_exception_only_its_place() -> None:
    import logging
    import sys

    try:
        raise ValueError("the passphrase is hunter2")
    except ValueError:
        record = logging.LogRecord("x", 40, "f", 1, "message", (), sys.exc_info())
    record.secret = "hunter2"
    record.error = "E" * 1_000
    line = json.loads(JsonFormatter().format(record))
    assert "hunter2" not in json.dumps(line)
    assert line["cause"].startswith("ValueError at tests.")
    assert len(line["error"]) == 300


def _figures(**changes: Any) -> Figures:
    values: dict[str, Any] = {
        "version": "1",
        "journal_sequence": 7,
        "tip_height": 8,
        "last_contact_s": 9,
        "certificate_expires_s": 10,
        "unsent": 0,
        "waiting": 1,
        "halted": False,
        "refusals": {"REQUEST_TWICE": 3},
    }
    return Figures(**{**values, **changes})


def test_metrics_are_what_prometheus_reads(tmp_path: Path) -> None:
    path = tmp_path / "node.prom"
    write_metrics(path, _figures())
    text = path.read_text()
    assert "custodyd_signer_journal_sequence 7\n" in text
    assert 'custodyd_signer_refusals_total{error="REQUEST_TWICE"} 3\n' in text
    assert 'custodyd_signer_refusals_total{error="INTERNAL"} 0\n' in text
    assert text == render(_figures())
    promtool = shutil.which("promtool")
    if promtool is not None:
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_setting_has_a_plain_type() -> None:
    assert msgspec.json.decode(msgspec.json.encode(Settings()), type=Settings) == Settings()
