"""A client for Bitcoin Core's JSON-RPC, versions 28 to 31: what we ask, typed.

Promises to the stages, the follower and the client's chain source:
- Python sees bytes in internal order and satoshi; hex in Core's display order stays in here.
- `RpcError` means that the node answered: no. `ChainUnavailable` means that nothing is known: the
  connection failed, the node refused the password, it is loading, or its answer is not what the
  documentation says. Neither ever shows the password.
- Reads are tried again after connection faults, a few times within the call's own deadline; what
  changes something (`sendrawtransaction`) is sent once, and the caller looks what became of it.
- Time and size of every answer are bounded.

Legacy answers and those of JSON-RPC 2.0 are understood. Written against the documents that
docs/reference/chain-rpc.md lists; nothing here is special to the devnet.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar

import stamina

from custodyd.chain.rpc_answers import (
    BlockchainInfo,
    BlockHeader,
    FeeEstimate,
    MempoolAcceptance,
    MempoolEntry,
    MempoolInfo,
    UnspentOutput,
    btc_text,
    display_hash,
    read_acceptances,
    read_blockchain_info,
    read_fee_estimate,
    read_hash,
    read_hashes,
    read_header,
    read_hex,
    read_mempool_entry,
    read_mempool_info,
    read_unspent,
    read_whole,
)
from custodyd.errors import CustodydError, ErrorId

MAX_ANSWER_BYTES: Final = 32_000_000
MAX_CREDENTIALS_BYTES: Final = 1024
MAX_MESSAGE: Final = 1000
CHUNK_BYTES: Final = 1 << 16
RETRY_ATTEMPTS: Final = 4
RETRY_FIRST_WAIT_S: Final = 0.05
RETRY_LONGEST_WAIT_S: Final = 1.0
_JSON_STATUSES = (
    HTTPStatus.OK,
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.INTERNAL_SERVER_ERROR,
)
_READS: Final = frozenset(
    {
        "estimatesmartfee",
        "getbestblockhash",
        "getblock",
        "getblockchaininfo",
        "getblockcount",
        "getblockhash",
        "getblockheader",
        "getmempoolentry",
        "getmempoolinfo",
        "getnetworkinfo",
        "getrawmempool",
        "getrawtransaction",
        "gettxout",
        "gettxoutproof",
        "testmempoolaccept",
    }
)

T = TypeVar("T")


class RpcCode(IntEnum):
    """Bitcoin Core's error codes (rpc/protocol.h), as far as we act on them."""

    UNKNOWN = 0
    MISC_ERROR = -1
    TYPE_ERROR = -3
    NOT_FOUND = -5  # also: an address or key that is not valid
    INVALID_PARAMETER = -8
    CLIENT_NOT_CONNECTED = -9
    CLIENT_IN_INITIAL_DOWNLOAD = -10
    DESERIALIZATION_ERROR = -22
    VERIFY_ERROR = -25  # sendrawtransaction: inputs missing or spent, or a fee limit of the call
    VERIFY_REJECTED = -26  # sendrawtransaction: a rule is broken
    ALREADY_IN_UTXO_SET = -27
    IN_WARMUP = -28
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    PARSE_ERROR = -32700


# The node answered, but not to the question: it cannot say now, and nothing is known.
_KNOWS_NOTHING = frozenset(
    {
        RpcCode.CLIENT_NOT_CONNECTED,
        RpcCode.CLIENT_IN_INITIAL_DOWNLOAD,
        RpcCode.IN_WARMUP,
        RpcCode.INTERNAL_ERROR,
    }
)


class RpcError(CustodydError):
    """The node answered with an error: Core's `code` and `message`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(ErrorId.CHAIN_REFUSED, f"{message} ({code})")
        self.code = code
        self.message = message


class ChainUnavailable(CustodydError):
    """No usable answer came: nothing is known about what was asked."""

    def __init__(self, seen: str) -> None:
        super().__init__(ErrorId.CHAIN_UNREACHABLE, seen)


class _ConnectionFault(ChainUnavailable):
    """The transport failed or the node is busy: the one case where trying again can help."""


@dataclass(frozen=True, slots=True)
class RpcEndpoint:
    """Where the node listens, and the file with `user:password`: Core's cookie or one like it.

    The file is read for each connection, since Core writes a new cookie at each start. `timeout_s`
    bounds one attempt from connecting to the last byte.
    """

    host: str
    port: int
    credentials_file: Path
    timeout_s: float = 30.0


# --- the client ---------------------------------------------------------------------------------


class ChainRpc:
    """Calls one node. Threads may share it: every call has its own connection."""

    def __init__(self, endpoint: RpcEndpoint) -> None:
        self._endpoint = endpoint
        self._ids = itertools.count(1)

    def call(self, method: str, *params: object) -> Any:
        """The `result` of one RPC, numbers with a fraction as Decimal.

        Raises RpcError or ChainUnavailable. Reads are tried again after connection faults.
        """
        request = _Request(next(self._ids), method, params)
        if method not in _READS:
            return self._ask(request)
        for attempt in stamina.retry_context(
            on=_ConnectionFault,
            attempts=RETRY_ATTEMPTS,
            timeout=self._endpoint.timeout_s,
            wait_initial=RETRY_FIRST_WAIT_S,
            wait_max=RETRY_LONGEST_WAIT_S,
            wait_jitter=RETRY_FIRST_WAIT_S,
        ):
            with attempt:
                return self._ask(request)
        raise ChainUnavailable(f"{method}: no attempt was made")

    def _ask(self, request: _Request) -> Any:
        status, body = _exchange(self._endpoint, request.encode())
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise ChainUnavailable(
                f"the node refuses the user and password of {self._endpoint.credentials_file}"
            )
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise _ConnectionFault("the node has no worker free")
        if status not in _JSON_STATUSES:
            raise ChainUnavailable(f"the node answers with HTTP status {status}")
        return _read_answer(request, body)

    # Chain -----------------------------------------------------------------------------------

    def get_blockchain_info(self) -> BlockchainInfo:
        return _typed("getblockchaininfo", self.call("getblockchaininfo"), read_blockchain_info)

    def get_block_count(self) -> int:
        return _typed("getblockcount", self.call("getblockcount"), read_whole)

    def get_best_block_hash(self) -> bytes:
        return _typed("getbestblockhash", self.call("getbestblockhash"), read_hash)

    def get_block_hash(self, height: int) -> bytes:
        """The active chain's block; RpcError -8 above the tip."""
        return _typed("getblockhash", self.call("getblockhash", height), read_hash)

    def get_header_bytes(self, block_hash: bytes) -> bytes:
        """The header's 80 bytes; RpcError -5 for an unknown block."""
        answer = self.call("getblockheader", display_hash(block_hash), False)
        return _typed("getblockheader", answer, read_hex)

    def get_header(self, block_hash: bytes) -> BlockHeader:
        """The header with its place in the chain; RpcError -5 for an unknown block."""
        answer = self.call("getblockheader", display_hash(block_hash), True)
        return _typed("getblockheader", answer, read_header)

    def get_block(self, block_hash: bytes) -> bytes:
        """The whole block as on the wire; RpcError -5 for an unknown block, -1 for a pruned one."""
        return _typed("getblock", self.call("getblock", display_hash(block_hash), 0), read_hex)

    # Transactions ----------------------------------------------------------------------------

    def get_raw_transaction(self, txid: bytes, block_hash: bytes | None = None) -> bytes | None:
        """A transaction of this block, or of the mempool without one; None when it is not there.

        No transaction index is needed. An unknown block gives None as well.
        """
        where = () if block_hash is None else (display_hash(block_hash),)
        return self._found("getrawtransaction", (display_hash(txid), False, *where), read_hex)

    def send_raw_transaction(self, raw: bytes, max_fee_rate_sat_kvb: int = 0) -> bytes:
        """Broadcast once and return the txid; 0 sets no limit on the fee rate.

        RpcError -25, -26 and -27 say why not. After ChainUnavailable it may have been sent or not:
        look (`get_mempool_entry`, `get_tx_out`) before anything else.
        """
        answer = self.call("sendrawtransaction", raw.hex(), btc_text(max_fee_rate_sat_kvb))
        return _typed("sendrawtransaction", answer, read_hash)

    def test_mempool_accept(self, raws: Sequence[bytes]) -> tuple[MempoolAcceptance, ...]:
        """Would the mempool take these, parents before children? At most 25; nothing is sent."""
        answer = self.call("testmempoolaccept", [raw.hex() for raw in raws], btc_text(0))
        return _typed("testmempoolaccept", answer, read_acceptances)

    def get_mempool_entry(self, txid: bytes) -> MempoolEntry | None:
        """None when the mempool does not hold it."""
        return self._found("getmempoolentry", (display_hash(txid),), read_mempool_entry)

    def get_raw_mempool(self) -> tuple[bytes, ...]:
        """The txids of the mempool."""
        return _typed("getrawmempool", self.call("getrawmempool"), read_hashes)

    def get_mempool_info(self) -> MempoolInfo:
        return _typed("getmempoolinfo", self.call("getmempoolinfo"), read_mempool_info)

    def get_tx_out(
        self, txid: bytes, vout: int, *, include_mempool: bool = True
    ) -> UnspentOutput | None:
        """An unspent output; None when it is spent or unknown.

        With the mempool, its outputs count as unspent and those that it spends as spent.
        """
        answer = self.call("gettxout", display_hash(txid), vout, include_mempool)
        return None if answer is None else _typed("gettxout", answer, read_unspent)

    def estimate_smart_fee(self, target_blocks: int) -> FeeEstimate:
        answer = self.call("estimatesmartfee", target_blocks)
        return _typed("estimatesmartfee", answer, read_fee_estimate)

    def get_tx_out_proof(self, txids: Sequence[bytes], block_hash: bytes) -> bytes:
        """BIP-37's merkleblock for these transactions of the block; RpcError -5 if one is not."""
        shown = [display_hash(txid) for txid in txids]
        answer = self.call("gettxoutproof", shown, display_hash(block_hash))
        return _typed("gettxoutproof", answer, read_hex)

    def _found(self, method: str, params: tuple[object, ...], read: Callable[[Any], T]) -> T | None:
        try:
            answer = self.call(method, *params)
        except RpcError as refused:
            if refused.code != RpcCode.NOT_FOUND:
                raise
            return None
        return _typed(method, answer, read)


# --- transport ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Request:
    id: int
    method: str
    params: tuple[object, ...]

    def encode(self) -> bytes:
        envelope = {
            "jsonrpc": "2.0",
            "id": self.id,
            "method": self.method,
            "params": self.params,
        }
        return json.dumps(envelope, separators=(",", ":")).encode()


def _authorization(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CREDENTIALS_BYTES + 1).strip()
    except OSError as error:
        raise ChainUnavailable(f"{path} cannot be read: {error.strerror}") from None
    user, colon, password = text.partition(b":")
    if len(text) > MAX_CREDENTIALS_BYTES or not (user and colon and password) or b"\n" in text:
        raise ChainUnavailable(f"{path} must hold one line: user:password")
    return "Basic " + base64.b64encode(text).decode("ascii")


def _exchange(endpoint: RpcEndpoint, body: bytes) -> tuple[int, bytes]:
    """One POST: (status, body). Raises ChainUnavailable."""
    deadline = time.monotonic() + endpoint.timeout_s
    headers = {
        "Authorization": _authorization(endpoint.credentials_file),
        "Content-Type": "application/json",
        "Connection": "close",
    }
    connection = http.client.HTTPConnection(
        endpoint.host, endpoint.port, timeout=endpoint.timeout_s
    )
    try:
        connection.connect()
        peer = connection.sock  # the connection forgets it when the answer is the last one
        connection.request("POST", "/", body, headers)
        peer.settimeout(_left_s(deadline))
        response = connection.getresponse()
        return response.status, _read_bounded(peer, response, deadline)
    except (OSError, http.client.HTTPException) as error:
        seen = str(error) or type(error).__name__
        raise _ConnectionFault(f"{endpoint.host}:{endpoint.port}: {seen}") from None
    finally:
        connection.close()


def _left_s(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the answer took too long")
    return left_s


def _read_bounded(
    peer: socket.socket, response: http.client.HTTPResponse, deadline: float
) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        peer.settimeout(_left_s(deadline))
        chunk = response.read1(CHUNK_BYTES)
        if not chunk:
            break
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise ChainUnavailable(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        chunks.append(chunk)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(chunks)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _read_answer(request: _Request, body: bytes) -> Any:
    """The result out of either answer style; raises RpcError or ChainUnavailable."""
    try:
        answer = json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ChainUnavailable(f"{request.method}: the answer is not JSON") from None
    if not isinstance(answer, dict):
        raise ChainUnavailable(f"{request.method}: the answer is not an object")
    error = answer.get("error")
    if error is not None:
        raise _read_error(request, error)
    if answer.get("id") != request.id or "result" not in answer:
        raise ChainUnavailable(f"{request.method}: the answer is not to this request")
    return answer["result"]


def _read_error(request: _Request, error: Any) -> CustodydError:
    try:
        code, message = read_whole(error["code"]), str(error["message"])[:MAX_MESSAGE]
    except (KeyError, TypeError, ValueError):
        return ChainUnavailable(f"{request.method}: the error is not an error object")
    if code == RpcCode.IN_WARMUP:
        return _ConnectionFault(f"the node is starting: {message}")
    if code in _KNOWS_NOTHING:
        return ChainUnavailable(f"{request.method}: {message} ({code})")
    return RpcError(code, message)


def _typed(method: str, answer: Any, read: Callable[[Any], T]) -> T:
    try:
        return read(answer)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        raise ChainUnavailable(f"{method} answered what is not documented") from None
