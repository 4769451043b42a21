"""JSON-RPC as Bitcoin Core 28 speaks it: legacy and 2.0, single and batch.

Legacy requests get `result`, `error` and `id`, with HTTP status 400, 404 or 500 for errors.
Requests with `"jsonrpc": "2.0"` get either `result` or `error`, with status 200; without an id
they are notifications and get 204. Nothing here knows HTTP beyond the status number.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn

from custodyd.devnet import rpc_chain, rpc_mempool, rpc_mining
from custodyd.devnet.acceptance import INCREMENTAL_RELAY_SAT_KVB, MIN_RELAY_SAT_KVB
from custodyd.devnet.node import Node, NodeHalted
from custodyd.devnet.rpc_arguments import Arguments, Json, Kind, Method, Param, btc
from custodyd.devnet.rpc_faults import RpcCode, RpcFault

log = logging.getLogger(__name__)

MAX_BATCH = 1000
OK, NO_CONTENT, BAD_REQUEST, NOT_FOUND, SERVER_ERROR = 200, 204, 400, 404, 500
STATUS_OF_CODE = {RpcCode.INVALID_REQUEST: BAD_REQUEST, RpcCode.METHOD_NOT_FOUND: NOT_FOUND}
VERSION = 280000  # answers as Bitcoin Core 28 does
SUBVERSION = "/custodyd-devnet:0.1.0/"


@dataclass(frozen=True, slots=True)
class Reply:
    """HTTP status and JSON text; no text for notifications."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as far as it could be read."""

    method: str
    params: Json
    id: Json
    is_v2: bool
    is_notification: bool


def _refuse_constant(_text: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _encode(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _answer(call: Call, result: Json, fault: RpcFault | None) -> Json:
    error = None if fault is None else {"code": int(fault.code), "message": fault.message}
    if not call.is_v2:
        return {"result": result, "error": error, "id": call.id}
    head: dict[str, Json] = {"jsonrpc": "2.0"}
    return {**head, **({"result": result} if error is None else {"error": error}), "id": call.id}


def _read_call(request: Json) -> Call:
    """Check the envelope of one request; RpcFault -32600 (its id is then given by `_bare`)."""
    if not isinstance(request, dict):
        raise RpcFault(RpcCode.INVALID_REQUEST, "Invalid Request object")
    version = request.get("jsonrpc")
    if version not in (None, "1.0", "1.1", "2.0"):
        raise RpcFault(RpcCode.INVALID_REQUEST, "JSON-RPC version not supported")
    method = request.get("method")
    if method is None:
        raise RpcFault(RpcCode.INVALID_REQUEST, "Missing method")
    if not isinstance(method, str):
        raise RpcFault(RpcCode.INVALID_REQUEST, "Method must be a string")
    params = request.get("params")
    if not isinstance(params, list | dict | None):
        raise RpcFault(RpcCode.INVALID_REQUEST, "Params must be an array or object")
    bare = _bare(request)
    return Call(method, params or [], bare.id, bare.is_v2, bare.is_v2 and "id" not in request)


def _bare(request: Json) -> Call:
    """What an answer needs of a request that may be malformed."""
    if not isinstance(request, dict):
        return Call("", [], None, False, False)
    identity = request.get("id")
    if isinstance(identity, Decimal):
        identity = float(identity)
    echo = identity if isinstance(identity, str | int | float | None) else None
    return Call("", [], echo, request.get("jsonrpc") == "2.0", False)


class Dispatcher:
    """From a request's bytes to the answer's, against a node that may still be starting."""

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self.node: Node | None = None
        own = (
            Method("help", (Param("command", Kind.TEXT, None),), self._help),
            Method("uptime", (), lambda node, _: node.uptime_s()),
            Method("getnetworkinfo", (), _network_info),
            Method("getindexinfo", (), lambda _node, _: {}),
            Method("stop", (), lambda _node, _: self._stop(on_stop)),
        )
        tables = (*rpc_chain.METHODS, *rpc_mempool.METHODS, *rpc_mining.METHODS, *own)
        self._methods = {method.name: method for method in tables}

    def handle(self, body: bytes) -> Reply:
        """Answer one HTTP body; never raises."""
        try:
            request = json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return self._envelope_fault(None, RpcFault(RpcCode.PARSE_ERROR, "Parse error"))
        if isinstance(request, list):
            return self._batch(request)
        if not isinstance(request, dict):
            fault = RpcFault(RpcCode.PARSE_ERROR, "Top-level object parse error")
            return self._envelope_fault(None, fault)
        return self._single(request)

    def _envelope_fault(self, request: Json, fault: RpcFault) -> Reply:
        call = _bare(request)
        status = OK if call.is_v2 else STATUS_OF_CODE.get(fault.code, SERVER_ERROR)
        return Reply(status, _encode(_answer(call, None, fault)))

    def _single(self, request: Json) -> Reply:
        try:
            call = _read_call(request)
        except RpcFault as fault:
            return self._envelope_fault(request, fault)
        result, refusal = self._run(call)
        if call.is_notification:
            return Reply(NO_CONTENT, b"")
        status = OK
        if refusal is not None and not call.is_v2:
            status = STATUS_OF_CODE.get(refusal.code, SERVER_ERROR)
        return Reply(status, _encode(_answer(call, result, refusal)))

    def _batch(self, requests: list[Json]) -> Reply:
        if len(requests) > MAX_BATCH:
            fault = RpcFault(RpcCode.INVALID_REQUEST, f"more than {MAX_BATCH} requests in a batch")
            return self._envelope_fault(None, fault)
        answers = [answer for answer in map(self._batch_one, requests) if answer is not None]
        if requests and not answers:
            return Reply(NO_CONTENT, b"")
        return Reply(OK, _encode(answers))

    def _batch_one(self, request: Json) -> Json:
        try:
            call = _read_call(request)
        except RpcFault as fault:
            return _answer(_bare(request), None, fault)
        result, refusal = self._run(call)
        return None if call.is_notification else _answer(call, result, refusal)

    def _run(self, call: Call) -> tuple[Json, RpcFault | None]:
        try:
            return self._execute(call), None
        except RpcFault as fault:
            return None, fault
        except NodeHalted as error:
            return None, RpcFault(RpcCode.INTERNAL_ERROR, f"the devnet has halted: {error}")
        except Exception:  # the border: a caller gets a code, the log the cause
            log.exception("devnet: %s failed", call.method)
            return None, RpcFault(RpcCode.INTERNAL_ERROR, "Internal error; see the devnet's log")

    def _execute(self, call: Call) -> Json:
        method = self._methods.get(call.method)
        node = self.node
        if node is None:
            raise RpcFault(RpcCode.IN_WARMUP, "Loading block index…")
        if method is None:
            raise RpcFault(RpcCode.METHOD_NOT_FOUND, "Method not found")
        arguments = Arguments.bind(method, call.params)
        with node.lock:
            if node.halted.is_set():
                raise NodeHalted(node.halt_reason)
            return method.run(node, arguments)

    def _help(self, _node: Node, given: Arguments) -> Json:
        if not given.has("command"):
            return "\n".join(sorted(method.usage for method in self._methods.values()))
        method = self._methods.get(given.text("command"))
        if method is None:
            return f"help: unknown command: {given.text('command')}"
        return f"{method.usage}\n{method.about}".rstrip()

    def _stop(self, on_stop: Callable[[], None]) -> Json:
        on_stop()
        return "custodyd devnet stopping"


def _network_info(_node: Node, _: Arguments) -> Json:
    return {
        "version": VERSION,
        "subversion": SUBVERSION,
        "protocolversion": 70016,
        "localservices": "0000000000000000",
        "localrelay": True,
        "timeoffset": 0,
        "networkactive": False,
        "connections": 0,
        "relayfee": btc(MIN_RELAY_SAT_KVB),
        "incrementalfee": btc(INCREMENTAL_RELAY_SAT_KVB),
        "warnings": [],
    }
