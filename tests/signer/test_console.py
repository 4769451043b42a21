"""The console's socket: the node's own user, one bounded line each way, and nobody is held up."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from signer_node.console import server as server_module
from signer_node.console.messages import (
    MAX_REQUEST_BYTES,
    DeliverRequest,
    Done,
    ListRequest,
    Request,
    Response,
    StatusRequest,
)
from signer_node.console.server import ConsoleServer, ask
from signer_node.kernel.errors import ErrorId, Refusal


def refused(call: Callable[[], Any]) -> ErrorId:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.error


@contextmanager
def serving(
    folder: Path, answer: Callable[[Request], Response], uid: int | None = None
) -> Iterator[Path]:
    path = folder / "console.sock"
    server = ConsoleServer(path, answer, os.geteuid() if uid is None else uid)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield path
    finally:
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


def done(_request: Request) -> Response:
    return Done()


def test_a_request_is_answered_and_bytes_arrive_as_they_were(tmp_path: Path) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Response:
        seen.append(request)
        return Done()

    envelope = bytes(range(256)) * 100
    with serving(tmp_path, answer) as path:
        assert ask(path, DeliverRequest(envelope)) == Done()
    assert seen == [DeliverRequest(envelope)]


def test_the_socket_is_the_owners_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    with serving(tmp_path, done) as path:
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()
    assert refused(lambda: ask(path, StatusRequest())) is ErrorId.DAEMON_UNREACHABLE


def test_another_user_is_refused_by_what_the_kernel_says(tmp_path: Path) -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Response:
        asked.append(request)
        return Done()

    with serving(tmp_path, answer, uid=os.geteuid() + 1) as path:
        assert refused(lambda: ask(path, StatusRequest())) is ErrorId.CONSOLE_PEER_FORBIDDEN
    assert not asked


def test_a_path_longer_than_a_socket_name_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 80) / ("e" * 80)
    deep.mkdir(parents=True)
    with serving(deep, done) as path:
        assert len(str(path)) > 108
        assert ask(path, StatusRequest()) == Done()


def _raw(path: Path, content: bytes, end: bool = True) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        with contextlib.suppress(BrokenPipeError):  # refused before everything was read
            connection.sendall(content + (b"\n" if end else b""))
        answer: dict[str, Any] = json.loads(connection.makefile().readline())
        return answer


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"type": "Approve"}',
        b'{"type": "StatusRequest", "more": 1}',
        b'{"type": "ShowRequest"}',
        b'{"type": "DeliverRequest", "envelope": "not base64!"}',
        b'{"type": "DeliverRequest", "envelope": 5}',
        b"[" * 100_000,
    ],
)
def test_a_malformed_request_is_refused_and_the_next_one_served(
    tmp_path: Path, line: bytes
) -> None:
    with serving(tmp_path, done) as path:
        assert _raw(path, line)["error"] == "FIELD_INVALID"
        assert ask(path, StatusRequest()) == Done()


def test_an_oversized_request_is_refused_before_it_is_held(tmp_path: Path) -> None:
    with serving(tmp_path, done) as path:
        answer = _raw(path, b"x" * (MAX_REQUEST_BYTES + 100_000), end=False)
        assert answer["error"] == "BYTES_TOO_LONG"
        assert ask(path, StatusRequest()) == Done()


def test_silent_peers_hold_up_nobody_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "IDLE_TIMEOUT_S", 0.3)
    with serving(tmp_path, done) as path:
        silent = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _n in range(12)]
        for one in silent:
            one.connect(str(path))
        began = time.monotonic()
        assert ask(path, ListRequest()) == Done()
        assert time.monotonic() - began < 5
        for one in silent:
            one.close()


def test_silent_peers_do_not_hold_up_the_end(tmp_path: Path) -> None:
    began = time.monotonic()
    with serving(tmp_path, done) as path, socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        time.sleep(0.1)
    assert time.monotonic() - began < 5


def test_an_answer_of_another_version_is_no_crash(tmp_path: Path) -> None:
    class Other(msgspec.Struct, tag="Failed"):
        error: str = "AN_ERROR_OF_TOMORROW"
        detail: str = ""

    tomorrow: Any = Other()
    with serving(tmp_path, lambda _request: tomorrow) as path:
        assert refused(lambda: ask(path, StatusRequest())) is ErrorId.DAEMON_UNREACHABLE
