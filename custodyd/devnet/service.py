"""The devnet as a process: start, serve, stop.

The port answers from the first moment (-28 while the journal is replayed). SIGTERM, SIGINT and
the RPC `stop` end it with exit code 0; a journal that cannot be written ends it with 1.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from custodyd.devnet.credentials import Credentials, CredentialsInvalid
from custodyd.devnet.dispatch import Dispatcher
from custodyd.devnet.http_server import LOOPBACK, RpcServer
from custodyd.devnet.journal import JournalError
from custodyd.devnet.node import Node, NodeHalted

log = logging.getLogger(__name__)

DEFAULT_PORT = 18543
MAX_PORT = 65535
POLL_S = 0.1
EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class DevnetConfig:
    """Where the devnet keeps its data, and how it is reached.

    `rpc_password_file` holds `user:password`; it is made with a random password when missing.
    Port 0 takes any free port.
    """

    data_dir: Path
    rpc_password_file: Path
    port: int = DEFAULT_PORT


class DevnetFailed(Exception):
    """The devnet cannot start or cannot go on; the message says what to do about it."""


class Devnet:
    """A running devnet: the port and the node behind it."""

    def __init__(self, config: DevnetConfig) -> None:
        self._config = config
        self._stop = threading.Event()
        self._dispatcher = Dispatcher(self._stop.set)
        try:
            credentials = Credentials.open(config.rpc_password_file)
            self._server = RpcServer(config.port, credentials, self._dispatcher)
        except CredentialsInvalid as error:
            raise DevnetFailed(str(error)) from error
        except OSError as error:
            raise DevnetFailed(
                f"cannot listen on {LOOPBACK}:{config.port} with the password of "
                f"{config.rpc_password_file}: {error.strerror}"
            ) from error
        self._thread = threading.Thread(target=self._serve, name="devnet-http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=POLL_S)

    def load(self) -> Node:
        """Replay the journal; from now on every method answers. Raises DevnetFailed."""
        try:
            node = Node(self._config.data_dir)
        except (JournalError, NodeHalted, OSError, ValueError) as error:
            raise DevnetFailed(f"cannot use {self._config.data_dir}: {error}") from error
        self._dispatcher.node = node
        return node

    def request_stop(self) -> None:
        """Ask the waiting `run` to end; safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Serve until `request_stop`; raises DevnetFailed when the node has halted."""
        node = self.load()
        log.info("devnet: height %d, rpc %s:%d", node.index.height, LOOPBACK, self.port)
        while not self._stop.wait(POLL_S):
            if node.halted.is_set():
                raise DevnetFailed(f"{node.halt_reason}; check the disk, then start again")

    def close(self) -> None:
        """Take no more requests, let the one that runs finish, let go of the files."""
        self._server.shutdown()
        self._server.drain()
        self._server.server_close()
        node = self._dispatcher.node
        if node is not None:
            node.close()


def serve(config: DevnetConfig) -> None:
    """Run a devnet until SIGTERM or SIGINT. Main thread only; raises DevnetFailed."""
    devnet = Devnet(config)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        devnet.request_stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        devnet.run()
    finally:
        devnet.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m custodyd.devnet", description="A regtest Bitcoin node for trying custodyd."
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of its data")
    parser.add_argument(
        "--rpc-password-file",
        type=Path,
        required=True,
        help="file with user:password; made with a random password when missing",
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="RPC port on loopback")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    given = _parser().parse_args(argv)
    if not 0 <= given.port <= MAX_PORT:
        sys.stderr.write(f"devnet: --port must be 0 to {MAX_PORT}\n")
        return EXIT_USAGE
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serve(DevnetConfig(given.data_dir, given.rpc_password_file, given.port))
    except DevnetFailed as error:
        sys.stderr.write(f"devnet: {error}\n")
        return EXIT_FAILED
    return EXIT_OK
