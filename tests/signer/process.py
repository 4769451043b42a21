"""A signer node as a process, driven by its command line; the rest of its quorum is simulated."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from signer_node import wire
from signer_node.adapters.keystore import Keystore
from signer_node.console.messages import GenesisRequest, Request, StatusRequest
from signer_node.console.server import ask
from signer_node.core import node as core
from signer_node.daemon.main import main
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.manifest import Headers
from signer_node.kernel.errors import Refusal
from tests.signer.coordinator import Coordinator
from tests.world.quorum import Messenger, SimNode, World, secret

MAIN = "import sys; from signer_node.daemon.main import main; sys.exit(main())"
PASSPHRASE = "correct horse battery staple"
ALICE = "alice's own passphrase"
CHEAP = ("--kdf-log2-n", "10")
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def pass_pipe(passphrase: str) -> int:
    """A descriptor from which a passphrase can be read once."""
    reading, writing = os.pipe()
    os.write(writing, passphrase.encode() + b"\n")
    os.close(writing)
    return reading


def command(*args: str | Path, passphrase: str | None = None, typed: str = "") -> Ended:
    """Run one command of signer-node to its end: here, but `run` as a process of its own."""
    argv = [str(one) for one in args]
    descriptors: tuple[int, ...] = ()
    if passphrase is not None:
        descriptors = (pass_pipe(passphrase),)
        argv += ["--passphrase-fd", str(descriptors[0])]
    if argv[0] != "run":
        return _in_process(argv, typed)  # which closes the descriptor when it reads it
    try:
        return _as_process(argv, descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _in_process(argv: list[str], typed: str) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.object(sys, "stdin", io.StringIO(typed)):
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(argv)
    return Ended(code, out.getvalue(), err.getvalue())


def _as_process(argv: list[str], descriptors: tuple[int, ...]) -> Ended:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        pass_fds=descriptors,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass(slots=True)
class NodeProcess:
    """A node in a folder; `start` runs the daemon."""

    folder: Path
    name: str = "s1"
    process: subprocess.Popen[str] | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder.with_name(self.folder.name + ".log")

    def run(self, *args: str | Path, passphrase: str | None = None, typed: str = "") -> Ended:
        return command(*args, "--data-dir", self.folder, passphrase=passphrase, typed=typed)

    def must(self, *args: str | Path, passphrase: str | None = None) -> Any:
        """A command that must succeed, with --json."""
        ended = self.run(*args, "--json", passphrase=passphrase)
        if ended.code != 0:
            raise AssertionError(f"{args}: {ended.code}: {ended.err}")
        return ended.json

    def start(self, *flags: str) -> None:
        descriptor = pass_pipe(PASSPHRASE)
        argv = [sys.executable, "-c", MAIN, "run", "--data-dir", str(self.folder)]
        argv += ["--passphrase-fd", str(descriptor), "--heartbeat-s", "0.2", *flags]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                argv, stderr=log, stdout=log, text=True, pass_fds=(descriptor,)
            )
        os.close(descriptor)
        deadline = time.monotonic() + TIMEOUT_S
        while not self.answers(StatusRequest()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the daemon did not start: {self.log.read_text()}")

    def answers(self, request: Request) -> bool:
        """Whether the daemon answers a request of the console's."""
        try:
            ask(self.folder / "console.sock", request)
        except (Refusal, FileNotFoundError):
            return False
        return True

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        if self.process is None:
            raise AssertionError("not running")
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(TIMEOUT_S)
        self.process = None
        return code

    @property
    def identity_key(self) -> bytes:
        return Keystore(self.folder / "keys").sealed("identity").public

    @property
    def host_key(self) -> bytes:
        return Keystore(self.folder / "keys").sealed("host").public


class ProcessWorld(World):
    """A world whose node s1 is a process behind a mailbox; alice sits there with a sealed key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.posting_only = False
        self.process = NodeProcess(folder / "s1")
        self.mail = Coordinator()
        super().__init__(now_s=int(time.time()))

    def __post_init__(self) -> None:
        process, mail = self.process, self.mail
        process.must("init", *CHEAP, passphrase=PASSPHRASE)
        self.alice = self.folder / "alice"
        card = process.must(
            "operator", "create", "--person", "alice", "--role", "treasury", "--out", self.alice,
            *CHEAP, passphrase=ALICE,
        )  # fmt: skip
        process.must(
            "enroll", "--token", mail.token, "--coordinator", mail.enrolment_address,
            "--operator", f"{self.alice}.pub", passphrase=PASSPHRASE,
        )  # fmt: skip
        real: Any = process
        self.nodes = {"s1": real, "s2": SimNode("s2"), "s3": SimNode("s3")}
        raw = self._with_alice(wire.encode(self._genesis()), bytes.fromhex(card["key"]))
        self.genesis = wire.decode_body(Genesis, raw)
        self.coordinator = Messenger(secret("coordinator"), self.genesis.digest)

    def _with_alice(self, raw: bytes, key: bytes) -> bytes:
        genesis = wire.decode(Genesis, raw)
        seats = tuple(
            replace(seat, key=key) if seat.person == "alice" else seat for seat in genesis.operators
        )
        return wire.encode(replace(genesis, operators=seats))

    def begin(self) -> None:
        """Start the daemon, confirm the genesis everywhere, make the vault."""
        self.process.start()
        self.post(PayloadType.GENESIS, self.genesis.raw)
        words = " ".join(words_from_digest(self.genesis.digest))
        self.wait_genesis()
        self.process.must("genesis", "confirm", "--words", words)
        for name in ("s2", "s3"):
            sim = self.nodes[name]
            sim.commit(core.confirm_genesis(sim.node, self.genesis.raw, words), self.now_s)
        self.vault = self._make_vault()

    def wait_genesis(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not self.process.answers(GenesisRequest()):
            if time.monotonic() > deadline:
                raise AssertionError("the genesis did not arrive")

    def post(self, kind: PayloadType, payload: bytes) -> int:
        key = self.process.identity_key
        return self.mail.post(self.coordinator.envelope(key, kind, payload, self.now_s + 3_600))

    def deliver(self, name: str, raw: bytes) -> list[Envelope]:
        """For the process: post, wait until it took it, and what it sent since."""
        if name != "s1":
            return super().deliver(name, raw)
        if self.posting_only:
            self.mail.post(raw)
            return []
        before = len(self.sent())
        self.mail.wait_taken(self.mail.post(raw))
        return self.sent()[before:]

    def sent(self) -> list[Envelope]:
        """What the process sent, heartbeats left out."""
        envelopes = [wire.open_envelope(raw).document for raw in list(self.mail.received)]
        return [one for one in envelopes if one.type is not PayloadType.HEARTBEAT]

    def tell_headers(self, names: Any = None) -> None:
        headers = self.chain.headers(0)
        for name in names or self.nodes:
            if headers:
                self.send(name, PayloadType.HEADERS, wire.encode(Headers(headers)))

    def close(self) -> None:
        self.process.kill()
        self.mail.close()
