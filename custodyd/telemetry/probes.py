"""A small HTTP server on loopback: /metrics, /healthz (alive), /readyz (able to work)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from custodyd.telemetry.metrics import REGISTRY

REQUEST_TIMEOUT_S: Final = 10
_TEXT: Final = "text/plain; charset=utf-8"


class Probes:
    """Serves until `close`. `refresh` sets gauges before a scrape, `missing` names what is not
    ready (empty: ready)."""

    def __init__(
        self, address: tuple[str, int], refresh: Callable[[], None], missing: Callable[[], str]
    ) -> None:
        self._server = ThreadingHTTPServer(address, _handler(refresh, missing))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="probes", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(
    refresh: Callable[[], None], missing: Callable[[], str]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_S
        server_version = "custodyd"
        sys_version = ""

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    refresh()
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
                case "/healthz":
                    self._answer(200, _TEXT, b"alive\n")
                case "/readyz":
                    lacks = missing()
                    code, text = (503, lacks) if lacks else (200, "ready")
                    self._answer(code, _TEXT, f"{text}\n".encode())
                case _:
                    self._answer(404, _TEXT, b"not found\n")

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            return

    return Handler
