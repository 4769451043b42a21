"""The gate before every method: deadline, size, identity, role; then one mapping of errors.

Rules:
1. A call without a deadline is refused (DEADLINE_REQUIRED), whoever calls.
2. A request longer than its method allows is refused (MESSAGE_TOO_LARGE).
3. On the port with client certificates the role table decides, and what it does not name is closed.
4. A refusal of a catalogue leaves as its Status; anything else is a defect: INTERNAL, no detail.
5. Each call is counted and timed under the names that dashboards for gRPC expect.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import grpc
import structlog
from grpc_status import rpc_status

from custodyd.api.errors import code_of, status_of
from custodyd.api.identity import caller_of, require_open, require_role
from custodyd.errors import CustodydError, ErrorId
from custodyd.telemetry.metrics import GRPC_HANDLED, GRPC_SECONDS
from signer_node.kernel.errors import Refusal

MAX_REQUEST_BYTES: Final = 1024 * 1024
# Longer deadlines than this are none: nobody waits for a year.
_NO_DEADLINE_S: Final = 366 * 86_400.0
# Methods whose requests are envelopes.
LARGER: Final = {"/signer_node.mailbox.v1.MailboxService/Sync": 16 * 1024 * 1024}
MAX_MESSAGE_BYTES: Final = max(LARGER.values()) + 64 * 1024

_LOG = structlog.get_logger("api")


class Gate(grpc.ServerInterceptor):
    """Wraps every handler of a server; `is_open` is the enrolment port, which knows no callers."""

    def __init__(self, *, is_open: bool = False) -> None:
        self._is_open = is_open

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """See `grpc.ServerInterceptor`."""
        handler = continuation(details)
        if handler is None:
            return None
        kind = "server_stream" if handler.response_streaming else "unary"
        passage = _Passage(details.method, kind, self._is_open)
        if handler.response_streaming:
            return _streaming(handler, passage)
        return grpc.unary_unary_rpc_method_handler(
            passage.unary(handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _streaming(
    handler: grpc.RpcMethodHandler[Any, Any], passage: _Passage
) -> grpc.RpcMethodHandler[Any, Any]:
    coding = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    if handler.request_streaming:
        # Reflection only: its requests are an iterator without a size.
        return grpc.stream_stream_rpc_method_handler(
            passage.streaming(handler.stream_stream), **coding
        )
    return grpc.unary_stream_rpc_method_handler(passage.streaming(handler.unary_stream), **coding)


@dataclass(frozen=True, slots=True)
class _Passage:
    """One method's way through the gate."""

    method: str
    kind: str
    is_open: bool

    def unary(self, behaviour: Any) -> Callable[[Any, grpc.ServicerContext], Any]:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            started = time.monotonic()
            try:
                self._admit(request, context)
                answer = behaviour(request, context)
            except Exception as bad:  # noqa: BLE001 - the one place where errors become statuses
                self._fail(bad, context, started)
            self._count(grpc.StatusCode.OK, started)
            return answer

        return call

    def streaming(self, behaviour: Any) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
        def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            started = time.monotonic()
            try:
                self._admit(request, context)
                yield from behaviour(request, context)
            except Exception as bad:  # noqa: BLE001 - the one place where errors become statuses
                self._fail(bad, context, started)
            self._count(grpc.StatusCode.OK, started)

        return call

    def _admit(self, request: Any, context: grpc.ServicerContext) -> None:
        remaining_s = context.time_remaining()
        if remaining_s is None or remaining_s > _NO_DEADLINE_S:
            raise CustodydError(ErrorId.DEADLINE_REQUIRED)
        size = request.ByteSize() if hasattr(request, "ByteSize") else 0
        most = LARGER.get(self.method, MAX_REQUEST_BYTES)
        if size > most:
            raise CustodydError(ErrorId.MESSAGE_TOO_LARGE, f"{size} bytes, at most {most}")
        if self.is_open:
            require_open(self.method)
        else:
            require_role(self.method, caller_of(context))

    def _fail(self, bad: Exception, context: grpc.ServicerContext, started: float) -> NoReturn:
        if isinstance(bad, CustodydError | Refusal):
            status = status_of(bad)
        elif context.code() is not None:  # type: ignore[attr-defined]
            # A library's own servicer (health, reflection) aborted with a code of its own.
            raise bad
        else:
            _LOG.error("defect", method=self.method, fault=type(bad).__name__, exc_info=bad)
            status = status_of(CustodydError(ErrorId.INTERNAL))
        self._count(code_of(status), started)
        context.abort_with_status(rpc_status.to_status(status))

    def _count(self, code: grpc.StatusCode, started: float) -> None:
        _, service, method = self.method.split("/")
        GRPC_HANDLED.labels(self.kind, service, method, code.name).inc()
        GRPC_SECONDS.labels(self.kind, service, method).observe(time.monotonic() - started)
