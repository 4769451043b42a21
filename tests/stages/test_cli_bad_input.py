"""Bad input at the commands: one line what is wrong, one what to do, the catalogue's exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from custodyd.cli.main import COMMANDS, main
from custodyd.client.keys import make_keys, open_request_key
from custodyd.client.sealing import seal, unseal
from signer_node.kernel.errors import ErrorId, Refusal

PASSPHRASE = b"correct horse battery"
COST = 10


def run(*words: str, said: str = "") -> Result:
    return CliRunner().invoke(main, list(words), input=said)


def secret_file(tmp_path: Path, content: bytes = PASSPHRASE) -> str:
    path = tmp_path / "passphrase"
    path.write_bytes(content + b"\n")
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    done = run(
        *("backend", "init", "--home", str(tmp_path / "home"), "--person", "rita"),
        *("--scrypt-cost", str(COST), "--passphrase-file", secret_file(tmp_path)),
    )
    assert done.exit_code == 0, done.output
    return tmp_path / "home"


def test_an_error_is_one_line_what_is_wrong_and_one_what_to_do(tmp_path: Path) -> None:
    done = run("status", "--home", str(tmp_path / "none"))
    assert done.exit_code == 5
    wrong, to_do = done.stderr.splitlines()
    assert wrong.startswith("CLIENT_NOT_INITIALISED: ")
    assert to_do.startswith("  what to do: ")


def test_an_error_for_a_program_is_one_json_document(tmp_path: Path) -> None:
    done = run("balance", "--home", str(tmp_path / "none"), "--json")
    assert done.exit_code == 5
    assert done.stdout == ""
    assert set(json.loads(done.stderr)) == {"error", "detail", "to_do"}


def test_every_command_explains_itself() -> None:
    for word in [*COMMANDS, "version"]:
        done = run(word, "--help")
        assert done.exit_code == 0, word
        assert "Usage:" in done.output


def test_a_key_is_never_overwritten(home: Path, tmp_path: Path) -> None:
    key = (home / "request.key").read_bytes()
    done = run(
        *("backend", "init", "--home", str(home), "--person", "rita"),
        *("--scrypt-cost", str(COST), "--passphrase-file", secret_file(tmp_path)),
    )
    assert (done.exit_code, done.stderr.split(":")[0]) == (5, "CLIENT_ALREADY_INITIALISED")
    assert (home / "request.key").read_bytes() == key


def test_a_passphrase_must_come_in_privacy_and_not_be_short(tmp_path: Path) -> None:
    words = ("backend", "init", "--home", str(tmp_path / "home"), "--person", "rita")
    assert run(*words).exit_code == 3
    short = secret_file(tmp_path, b"short")
    assert run(*words, "--passphrase-file", short).exit_code == 3
    open_to_all = secret_file(tmp_path)
    Path(open_to_all).chmod(0o644)
    assert "FILE_UNREADABLE" in run(*words, "--passphrase-file", open_to_all).stderr
    assert not (tmp_path / "home" / "request.key").exists()


@pytest.mark.parametrize(
    "text",
    [
        "[coordinator]\nadress = 'x'\n",
        "[backend]\ncredit_depth = 0\n",
        "[backend]\npoll_s = 'often'\n",
        "[chain\n",
        "colour = 1\n",
    ],
)
def test_a_configuration_that_is_wrong_is_named_with_its_file(home: Path, text: str) -> None:
    (home / "client.toml").write_text(text)
    done = run("status", "--home", str(home))
    assert done.exit_code == 5
    assert done.stderr.startswith("CONFIG_INVALID: ")
    assert "client.toml" in done.stderr


def test_commands_before_their_time_say_what_comes_first(home: Path, tmp_path: Path) -> None:
    before_enrolment = run("status", "--home", str(home))
    assert (before_enrolment.exit_code, before_enrolment.stderr.split(":")[0]) == (
        5,
        "CLIENT_NOT_ENROLLED",
    )
    before_genesis = run("address", "new", "--home", str(home))
    assert before_genesis.stderr.startswith("GENESIS_NOT_PINNED: ")
    running = run("backend", "run", "--home", str(home), "--passphrase-file", secret_file(tmp_path))
    assert running.stderr.startswith("GENESIS_NOT_PINNED: ")


def test_a_token_of_another_form_opens_nothing(home: Path) -> None:
    for token in ("", "custodyd1.x.y", "custodyd1." + "A" * 32 + "." + "g" * 64):
        done = run(
            *("backend", "enroll", "--home", str(home), "--coordinator", "127.0.0.1:1"),
            said=token,
        )
        assert (done.exit_code, done.stderr.split(":")[0]) == (2, "TOKEN_MALFORMED")


def test_a_coordinator_that_does_not_answer_is_said_so(home: Path) -> None:
    token = "custodyd1." + "A" * 32 + "." + "0" * 64
    words = ("backend", "enroll", "--home", str(home), "--coordinator")
    done = run(*words, "127.0.0.1:1", said=token)
    assert (done.exit_code, done.stderr.split(":")[0]) == (4, "COORDINATOR_UNREACHABLE")
    done = run(*words, "nowhere", said=token)
    assert (done.exit_code, done.stderr.split(":")[0]) == (5, "CONFIG_INVALID")


def test_the_passphrase_opens_the_key_and_nothing_else_does(tmp_path: Path) -> None:
    identity = make_keys(tmp_path, ["rita"], PASSPHRASE, COST)
    assert open_request_key(tmp_path, PASSPHRASE).public == identity.key
    with pytest.raises(Refusal) as wrong:
        open_request_key(tmp_path, b"another one")
    assert wrong.value.error is ErrorId.PASSPHRASE_WRONG
    assert "secret" not in repr(open_request_key(tmp_path, PASSPHRASE))


def test_a_sealed_file_that_was_touched_does_not_open() -> None:
    raw = seal(b"s" * 32, "request-key", PASSPHRASE, COST)
    assert unseal(raw, "request-key", PASSPHRASE) == b"s" * 32
    record = json.loads(raw)
    for field, value in (
        ("kind", "other"),
        ("cost_log2", COST + 1),
        ("cost_log2", 40),
        ("ciphertext", record["ciphertext"][:-2] + "00"),
        ("nonce", "00"),
        ("form", "custodyd-sealed/2"),
        ("salt", "zz"),
    ):
        with pytest.raises(Refusal):
            unseal(json.dumps({**record, field: value}).encode(), "request-key", PASSPHRASE)
    for garbage in (b"", b"[]", b"{}", b"\xff"):
        with pytest.raises(Refusal):
            unseal(garbage, "request-key", PASSPHRASE)


def test_the_payments_to_make_are_given_in_one_way(home: Path) -> None:
    assert run("withdraw", "--home", str(home), "--dry-run").exit_code in (2, 5)
    assert run("withdraw", "--colour").exit_code == 2
