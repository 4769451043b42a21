"""The console's socket: in the data folder, mode 0600, and the peer's uid is asked of the kernel.

A connection carries one request and one answer, each a bounded line, within a time limit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from signer_node.console.messages import (
    MAX_REQUEST_BYTES,
    MAX_RESPONSE_BYTES,
    REQUESTS,
    RESPONSES,
    Failed,
    Request,
    Response,
)
from signer_node.kernel.errors import ErrorId, Refusal

IDLE_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 60.0
MAX_CONNECTIONS: Final = 8
_BACKLOG: Final = 16
_PEER_CREDENTIALS: Final = struct.Struct("iII")

_log = logging.getLogger(__name__)

Answer = Callable[[Request], Response]


class ConsoleServer:
    """Listens from construction on; `run` serves until `stop`."""

    def __init__(self, path: Path, answer: Answer, allowed_uid: int) -> None:
        self._path = path
        self._answer = answer
        self._allowed_uid = allowed_uid
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old_mask = os.umask(0o177)
        try:
            with _short(path) as name:
                self._listener.bind(name)
        finally:
            os.umask(old_mask)
        self._listener.listen(_BACKLOG)

    def run(self) -> None:
        """Serve connections, a bounded number at a time."""
        slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        with ThreadPoolExecutor(MAX_CONNECTIONS, "console") as pool:
            while slots.acquire():
                try:
                    connection, _address = self._listener.accept()
                except OSError:
                    return
                if self._stopping.is_set():
                    connection.close()
                    return
                self._open.add(connection)
                served = pool.submit(self._serve, connection)
                served.add_done_callback(lambda _served: slots.release())

    def stop(self) -> None:
        """End `run`: answers that are being written are finished, silent peers are let go."""
        self._stopping.set()
        with contextlib.suppress(OSError, Refusal):
            _connected(self._path).close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(IDLE_TIMEOUT_S)
            try:
                self._check_peer(connection)
                response = self._respond(_read_line(connection, MAX_REQUEST_BYTES))
                connection.sendall(msgspec.json.encode(response) + b"\n")
            except OSError as fault:
                _log.info("console connection ended", extra={"cause": type(fault).__name__})
            except Refusal as refusal:
                _log.warning("console refused", extra={"error": refusal.error.name})
                failed = Failed(refusal.error.name, refusal.detail)
                with contextlib.suppress(OSError):
                    connection.sendall(msgspec.json.encode(failed) + b"\n")
            except Exception:  # noqa: BLE001 - one bad request must not end the console
                _log.error("internal error", exc_info=True)
            finally:
                self._open.discard(connection)

    def _check_peer(self, connection: socket.socket) -> None:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
        _pid, uid, _gid = _PEER_CREDENTIALS.unpack(raw)
        if uid != self._allowed_uid:
            raise Refusal(ErrorId.CONSOLE_PEER_FORBIDDEN, f"uid {uid}, not {self._allowed_uid}")

    def _respond(self, line: bytes) -> Response:
        try:
            request = REQUESTS.decode(line)
        except msgspec.MsgspecError as fault:
            raise Refusal(ErrorId.FIELD_INVALID, f"console request: {fault}") from None
        return self._answer(request)


def ask(path: Path, request: Request) -> Response:
    """Ask a running daemon; raises its refusal, or Refusal(DAEMON_UNREACHABLE)."""
    try:
        with _connected(path) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            response = RESPONSES.decode(_read_line(connection, MAX_RESPONSE_BYTES))
    except OSError as fault:
        raise Refusal(ErrorId.DAEMON_UNREACHABLE, f"{path}: {fault.strerror}") from None
    except msgspec.MsgspecError:
        raise Refusal(ErrorId.DAEMON_UNREACHABLE, f"{path}: no answer of this version") from None
    if isinstance(response, Failed):
        raise _refusal(response)
    return response


def _refusal(failed: Failed) -> Refusal:
    if failed.error not in ErrorId.__members__:
        return Refusal(ErrorId.DAEMON_UNREACHABLE, f"of another version: {failed.error}")
    return Refusal(ErrorId[failed.error], failed.detail)


def _read_line(connection: socket.socket, most: int) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = connection.recv(65_536)
        if not chunk:
            raise ConnectionResetError("the peer left in the middle of a line")
        line += chunk
        if len(line) > most:
            raise Refusal(ErrorId.BYTES_TOO_LONG, f"console line of more than {most} bytes")
    return bytes(line)


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(IDLE_TIMEOUT_S)
    try:
        with _short(path) as name:
            connection.connect(name)
    except OSError:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name for a socket of any path length: the kernel takes only 108 bytes."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
