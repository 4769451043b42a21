"""Commands and daemons of the local quorum: started, ended, and nothing else touched.

Only processes that were started here are ended, by their process id. Secrets go to a child by a
pipe of its own, never by argument or environment; what a child prints goes into its log file.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

COMMAND_TIMEOUT_S: Final = 120.0
STOP_TIMEOUT_S: Final = 15.0
READY_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.05
LOOPBACK: Final = "127.0.0.1"
_TAIL_BYTES: Final = 4_000
# Fields of /proc/PID/stat behind the name: state is 0, user and system time are 11 and 12.
_USER_TICKS: Final = 11


class CommandFailed(Exception):
    """A command ended with another exit code than 0; the message holds what it said."""

    def __init__(self, argv: Sequence[str], code: int, said: str) -> None:
        super().__init__(f"{' '.join(argv)}\nended with {code}:\n{said.strip()}")
        self.code = code
        self.said = said


class NotReady(Exception):
    """Something did not come about in time; the message says what."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a local quorum, all on loopback."""

    chain: int = 18543
    coordinator: int = 18550
    enrolment: int = 18551
    metrics: int = 18552

    @classmethod
    def free(cls) -> Ports:
        """Ports that nobody listens on now, for tests."""
        sockets = [socket.socket() for _ in range(4)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        numbers = [int(one.getsockname()[1]) for one in sockets]
        for one in sockets:
            one.close()
        return cls(*numbers)

    def taken(self) -> list[int]:
        """Those on which somebody listens already."""
        numbers = (self.chain, self.coordinator, self.enrolment, self.metrics)
        return [number for number in numbers if is_listening(number)]


def is_listening(port: int) -> bool:
    """Whether a connection to a loopback port is taken."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def program(name: str) -> list[str]:
    """A command of ours, as it is installed beside this interpreter."""
    installed = Path(sys.executable).parent / name
    if installed.exists():
        return [str(installed)]
    modules = {"custodyd": "custodyd.cli.main", "signer-node": "signer_node.daemon.main"}
    return [sys.executable, "-m", modules[name]]


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret for a child: the option that names its descriptor, and the bytes."""

    option: str
    value: bytes = field(repr=False)


def _pipe(secret: bytes) -> int:
    """The reading end of a pipe that holds the secret (which fits into the pipe's buffer)."""
    reading, writing = os.pipe()
    os.write(writing, secret + b"\n")
    os.close(writing)
    return reading


def _with_secrets(
    argv: Sequence[str], secrets: Sequence[Secret]
) -> tuple[list[str], tuple[int, ...]]:
    descriptors = tuple(_pipe(secret.value) for secret in secrets)
    options = [
        text
        for secret, descriptor in zip(secrets, descriptors, strict=True)
        for text in (secret.option, str(descriptor))
    ]
    return [*argv, *options], descriptors


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said."""

    out: str
    err: str

    def json(self) -> Any:
        """The answer of a command called with --json."""
        return json.loads(self.out)


def run(argv: Sequence[str], *secrets: Secret, said: str = "", cwd: Path | None = None) -> Answer:
    """Run a command to its end; `said` is its standard input. Raises `CommandFailed`."""
    full, descriptors = _with_secrets(argv, secrets)
    try:
        done = subprocess.run(
            full,
            input=said,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            pass_fds=descriptors,
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired as fault:
        raise CommandFailed(argv, -1, f"no end after {fault.timeout} s") from None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    if done.returncode != 0:
        raise CommandFailed(argv, done.returncode, done.stdout + done.stderr)
    return Answer(done.stdout, done.stderr)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process took so far: processor seconds, and peak resident memory in kilobytes."""

    cpu_s: float
    peak_rss_kb: int


class Daemon:
    """One long-running process of the quorum. It can be started again after it ended."""

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, secrets: Sequence[Secret] = ()
    ) -> None:
        self.name = name
        self.log = log
        self._argv = list(argv)
        self._secrets = tuple(secrets)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it was started here, else None."""
        return None if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; its output is appended to its log."""
        if self.is_running:
            return
        full, descriptors = _with_secrets(self._argv, self._secrets)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("ab") as output:
                self._process = subprocess.Popen(
                    full,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=descriptors,
                    # A terminal's ctrl-C is ours to handle: children end in their order.
                    start_new_session=True,
                )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def stop(self) -> int | None:
        """End it by SIGTERM, by SIGKILL only if it does not end in time; its exit code."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait(STOP_TIMEOUT_S)
        self._process = None
        return code

    def kill(self) -> None:
        """kill -9, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end; the exit code, or None when it lives on."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def usage(self) -> Usage | None:
        """What the running process took (from /proc), or None."""
        if not self.is_running:
            return None
        folder = Path("/proc") / str(self.pid)
        try:
            times = folder.joinpath("stat").read_text().rpartition(")")[2].split()
            status = folder.joinpath("status").read_text()
        except OSError:
            return None
        ticks = sum(map(int, times[_USER_TICKS : _USER_TICKS + 2]))
        peak = status.partition("VmHWM:")[2].split()
        return Usage(ticks / os.sysconf("SC_CLK_TCK"), int(peak[0]) if peak else 0)

    def require_running(self) -> None:
        """Raise `NotReady` with the end of its log when it is dead."""
        if self._process is not None and not self.is_running:
            raise NotReady(f"{self.name} ended with {self._process.returncode}:\n{self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        try:
            return self.log.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")
        except OSError:
            return "(no log)"


def until(
    claim: str,
    holds: Callable[[], Any],
    timeout_s: float = READY_TIMEOUT_S,
    daemons: Sequence[Daemon] = (),
    poll_s: float = POLL_S,
) -> Any:
    """Wait until `holds()` is truthy and return it; raises `NotReady` naming the claim."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = holds()
        if found:
            return found
        for daemon in daemons:
            daemon.require_running()
        if time.monotonic() > deadline:
            raise NotReady(f"not after {timeout_s:.0f} s: {claim}")
        time.sleep(poll_s)


def call_rpc(port: int, credentials: Path, method: str, *params: object) -> Any:
    """One JSON-RPC call to the chain node, as any user of it would make it."""
    authorization = base64.b64encode(credentials.read_bytes().strip()).decode()
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{port}/",
        data=body,
        headers={"Authorization": f"Basic {authorization}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as response:
            answer: Mapping[str, Any] = json.loads(response.read(), parse_float=Decimal)
    except urllib.error.HTTPError as refused:
        answer = json.loads(refused.read())
    if answer.get("error"):
        raise RpcRefused(f"{method}: {answer['error']}")
    return answer["result"]


class RpcRefused(Exception):
    """The chain node answered with an error."""
