"""The devnet's HTTP port: loopback, POST, basic authentication, everything bounded.

Workers, body size and the time a connection may stay silent have limits; what is over a limit is
answered (503, 413) and closed. The port knows nothing of Bitcoin.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socket import socket
from socketserver import ThreadingMixIn
from typing import Any

from custodyd.devnet.credentials import Credentials
from custodyd.devnet.dispatch import Dispatcher, Reply

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
MAX_WORKERS = 32
MAX_BODY = 9_000_000  # a block of 4,000,000 bytes is 8,000,000 hex digits
IDLE_TIMEOUT_S = 30
DRAIN_S = 5
WRONG_PASSWORD_DELAY_S = 0.25  # as Bitcoin Core, against guessing
SERVICE_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 25\r\nConnection: close\r\n\r\nWork queue depth exceeded"
)


class RpcServer(ThreadingMixIn, HTTPServer):
    """One thread for each connection, up to MAX_WORKERS."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = MAX_WORKERS

    def __init__(self, port: int, credentials: Credentials, dispatcher: Dispatcher) -> None:
        self.credentials = credentials
        self.dispatcher = dispatcher
        self._workers = threading.BoundedSemaphore(MAX_WORKERS)
        self._answering = threading.Condition()
        self._answers_open = 0
        super().__init__((LOOPBACK, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection to a worker, or say that none is free."""
        if not self._workers.acquire(blocking=False):
            _refuse(request)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """A worker's whole life."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._workers.release()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A request that was read and is not answered yet."""
        with self._answering:
            self._answers_open += 1
        try:
            yield
        finally:
            with self._answering:
                self._answers_open -= 1
                self._answering.notify_all()

    def drain(self) -> None:
        """Let answers that are due leave, the one to `stop` among them; waits at most DRAIN_S."""
        with self._answering:
            self._answering.wait_for(lambda: self._answers_open == 0, DRAIN_S)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is the client's business; the node goes on."""
        log.debug("devnet: connection ended early", exc_info=True)


def _refuse(connection: socket) -> None:
    try:
        connection.settimeout(1)
        connection.sendall(SERVICE_FULL)
    except OSError:
        log.debug("devnet: refused connection was gone already")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT_S
    server: RpcServer
    server_version = "custodyd-devnet"
    sys_version = ""

    def do_POST(self) -> None:
        """Authenticate, read, dispatch, answer."""
        length = self._body_length()
        if length is None:
            return
        if not self.server.credentials.admit(self.headers.get("Authorization")):
            time.sleep(WRONG_PASSWORD_DELAY_S)
            self._refuse(HTTPStatus.UNAUTHORIZED)
            return
        body = self.rfile.read(length)
        if len(body) != length:
            self.close_connection = True
            return
        with self.server.answering():
            self._send(self.server.dispatcher.handle(body))

    def _other(self) -> None:
        self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, b"JSONRPC server handles only POST requests")

    do_GET = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = _other  # noqa: N815

    def _body_length(self) -> int | None:
        """The announced size, or None after refusing it."""
        text = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") is not None or not text:
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
        elif not (text.isascii() and text.isdigit()):
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif len(text) > len(str(MAX_BODY)) or int(text) > MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            return int(text)
        return None

    def _refuse(self, status: HTTPStatus, body: bytes = b"") -> None:
        """Answer without having read the body: the connection cannot be used again."""
        self.close_connection = True
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="jsonrpc"')
        self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        if reply.body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """One line for each request, at debug level: headers never reach the log."""
        log.debug("devnet: %s", format % args)
