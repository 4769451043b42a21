"""The RPC client: against a devnet, and against Bitcoin Core's answer styles word by word."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from custodyd.chain.rpc import (
    MAX_ANSWER_BYTES,
    RETRY_ATTEMPTS,
    ChainRpc,
    ChainUnavailable,
    RpcCode,
    RpcEndpoint,
    RpcError,
)
from custodyd.chain.rpc_answers import FeeEstimate
from custodyd.devnet import Devnet, DevnetConfig
from custodyd.devnet.node import Node
from custodyd.errors import ErrorId
from tests.stages.devnet_process import ANYONE, COIN_SAT, Money, fund, output_of, pass_on
from tests.stages.test_devnet_chain import read_proof

UNKNOWN_HASH = b"\x07" * 32


# --- against a devnet ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, RpcEndpoint]]:
    folder = tmp_path_factory.mktemp("devnet")
    running = Devnet(DevnetConfig(folder / "data", folder / "password", port=0))
    node = running.load()
    yield node, RpcEndpoint("127.0.0.1", running.port, folder / "password", timeout_s=10)
    running.close()


@pytest.fixture
def node(devnet: tuple[Node, RpcEndpoint]) -> Node:
    return devnet[0]


@pytest.fixture
def rpc(devnet: tuple[Node, RpcEndpoint]) -> ChainRpc:
    return ChainRpc(devnet[1])


def test_chain_and_headers(node: Node, rpc: ChainRpc) -> None:
    info = rpc.get_blockchain_info()
    assert (info.chain, info.blocks, info.pruned) == ("regtest", node.index.height, False)
    assert info.best_block_hash == node.index.tip.hash == rpc.get_best_block_hash()
    assert rpc.get_block_count() == info.headers == info.blocks
    assert rpc.get_block_hash(info.blocks) == info.best_block_hash
    header = rpc.get_header(info.best_block_hash)
    assert header.previous == rpc.get_block_hash(info.blocks - 1)
    assert (header.next, header.confirmations, header.bits) == (None, 1, 0x207FFFFF)
    raw = rpc.get_header_bytes(info.best_block_hash)
    assert raw == rpc.get_block(info.best_block_hash)[:80] == node.index.tip.block.raw[:80]
    with pytest.raises(RpcError) as above:
        rpc.get_block_hash(info.blocks + 1)
    assert above.value.code == RpcCode.INVALID_PARAMETER
    with pytest.raises(RpcError) as unknown:
        rpc.get_header(UNKNOWN_HASH)
    assert unknown.value.code == RpcCode.NOT_FOUND
    assert unknown.value.error is ErrorId.CHAIN_REFUSED


def test_a_transaction_from_broadcast_to_proof(node: Node, rpc: ChainRpc) -> None:
    coin = fund(node)[0]
    tx = pass_on(coin, fee_sat=1234)
    assert rpc.get_mempool_entry(tx.txid) is None
    assert rpc.get_raw_transaction(tx.txid) is None
    [verdict] = rpc.test_mempool_accept([tx.raw])
    assert (verdict.allowed, verdict.fee_sat, verdict.vsize) == (True, 1234, tx.vsize)
    assert rpc.send_raw_transaction(tx.raw) == tx.txid
    entry = rpc.get_mempool_entry(tx.txid)
    assert entry is not None
    assert (entry.fee_sat, entry.vsize, entry.ancestors) == (1234, tx.vsize, 1)
    assert rpc.get_raw_transaction(tx.txid) == tx.raw
    assert rpc.get_mempool_info().transactions == 1
    assert rpc.get_raw_mempool() == (tx.txid,)
    unconfirmed = rpc.get_tx_out(tx.txid, 0)
    assert unconfirmed is not None
    assert (unconfirmed.confirmations, unconfirmed.amount_sat) == (0, COIN_SAT - 1234)
    assert rpc.get_tx_out(tx.txid, 0, include_mempool=False) is None
    assert rpc.get_tx_out(*coin.outpoint) is None
    [block_hash] = node.generate(1, ANYONE)
    confirmed = rpc.get_tx_out(tx.txid, 0)
    assert confirmed is not None
    assert (confirmed.confirmations, confirmed.script) == (1, ANYONE)
    assert rpc.get_raw_transaction(tx.txid) is None, "there is no transaction index"
    assert rpc.get_raw_transaction(tx.txid, block_hash) == tx.raw
    root, proved = read_proof(rpc.get_tx_out_proof([tx.txid], block_hash))
    assert (root, proved) == (rpc.get_header(block_hash).merkle_root, {tx.txid})
    with pytest.raises(RpcError) as elsewhere:
        rpc.get_tx_out_proof([tx.txid], node.index.at(1).hash)
    assert elsewhere.value.code == RpcCode.NOT_FOUND


def test_refusals_keep_cores_code_and_words(node: Node, rpc: ChainRpc) -> None:
    coin = fund(node)[0]
    confirmed = pass_on(coin)
    rpc.send_raw_transaction(confirmed.raw)
    node.generate(1, ANYONE)
    cheap = pass_on(output_of(confirmed), fee_sat=1)
    missing = pass_on(Money((UNKNOWN_HASH, 0), COIN_SAT))
    costly = pass_on(output_of(confirmed), fee_sat=COIN_SAT // 2)
    for raw, limit, code, words in (
        (cheap.raw, 0, RpcCode.VERIFY_REJECTED, "min relay fee not met"),
        (missing.raw, 0, RpcCode.VERIFY_ERROR, "bad-txns-inputs-missingorspent"),
        (costly.raw, 100_000, RpcCode.VERIFY_ERROR, "maxfeerate"),
        (confirmed.raw, 0, RpcCode.ALREADY_IN_UTXO_SET, "already in utxo set"),
        (b"\x00", 0, RpcCode.DESERIALIZATION_ERROR, "TX decode failed"),
    ):
        with pytest.raises(RpcError, match=words) as caught:
            rpc.send_raw_transaction(raw, max_fee_rate_sat_kvb=limit)
        assert caught.value.code == code
    [seen] = rpc.test_mempool_accept([missing.raw])
    assert (seen.allowed, seen.reject_reason, seen.fee_sat) == (False, "missing-inputs", None)


def test_fee_estimates(node: Node, rpc: ChainRpc) -> None:
    assert rpc.estimate_smart_fee(6) == FeeEstimate(None, 6)
    node.fee_rate_sat_kvb = 12_345
    assert rpc.estimate_smart_fee(6) == FeeEstimate(12_345, 6)
    node.fee_rate_sat_kvb = None


def test_a_wrong_or_missing_password_file_is_said_without_quoting_it(
    devnet: tuple[Node, RpcEndpoint], tmp_path: Path
) -> None:
    path = tmp_path / "password"
    endpoint = replace(devnet[1], credentials_file=path)
    with pytest.raises(ChainUnavailable, match="cannot be read"):
        ChainRpc(endpoint).get_block_count()
    for text in ("secretword", "user:secretword\nmore", ":secretword"):
        path.write_text(text)
        with pytest.raises(ChainUnavailable, match="user:password") as caught:
            ChainRpc(endpoint).get_block_count()
        assert "secretword" not in str(caught.value)
    path.write_text("user:secretword\n")
    with pytest.raises(ChainUnavailable, match="refuses") as refused:
        ChainRpc(endpoint).get_block_count()
    assert "secretword" not in str(refused.value)
    assert refused.value.error is ErrorId.CHAIN_UNREACHABLE


def test_a_new_cookie_is_taken_up_without_a_restart(
    devnet: tuple[Node, RpcEndpoint], tmp_path: Path
) -> None:
    path = tmp_path / "cookie"
    path.write_text("__cookie__:old")
    rpc = ChainRpc(replace(devnet[1], credentials_file=path))
    with pytest.raises(ChainUnavailable):
        rpc.get_block_count()
    path.write_bytes(devnet[1].credentials_file.read_bytes())
    assert rpc.get_block_count() == devnet[0].index.height


# --- against scripted answers -------------------------------------------------------------------

Reply = tuple[int, bytes]


@contextmanager
def scripted(
    tmp_path: Path, answer: Callable[[dict[str, Any], int], Reply | None]
) -> Iterator[tuple[ChainRpc, list[dict[str, Any]]]]:
    """A server that answers what `answer(request, number)` says; None drops the connection."""
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({**request, "auth": self.headers["Authorization"]})
            reply = answer(request, len(seen))
            if reply is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(reply[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply[1])))
            self.end_headers()
            self.wfile.write(reply[1])

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
            pass

    class Server(HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    password = tmp_path / "password"
    password.write_text("user:word")
    port = int(server.server_address[1])
    try:
        yield ChainRpc(RpcEndpoint("127.0.0.1", port, password, timeout_s=3)), seen
    finally:
        server.shutdown()
        server.server_close()


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


STYLES = {
    "legacy": lambda request, result: body(result=result, error=None, id=request["id"]),
    "2.0": lambda request, result: body(jsonrpc="2.0", result=result, id=request["id"]),
}


@pytest.mark.parametrize("style", STYLES)
def test_results_of_both_answer_styles_are_read(tmp_path: Path, style: str) -> None:
    with scripted(tmp_path, lambda request, _: (200, STYLES[style](request, 812))) as (rpc, seen):
        assert rpc.get_block_count() == 812
        assert seen[0]["method"] == "getblockcount"
        assert seen[0]["auth"] == "Basic dXNlcjp3b3Jk"


@pytest.mark.parametrize(
    ("status", "envelope"),
    [
        (500, {"result": None}),
        (404, {"result": None}),
        (400, {"result": None}),
        (200, {"jsonrpc": "2.0"}),
    ],
)
def test_errors_of_both_answer_styles_are_read(
    tmp_path: Path, status: int, envelope: dict[str, object]
) -> None:
    def answer(request: dict[str, Any], _: int) -> Reply:
        error = {"code": -8, "message": "Block height out of range"}
        return status, body(**envelope, error=error, id=request["id"])

    with scripted(tmp_path, answer) as (rpc, seen):
        with pytest.raises(RpcError, match="out of range") as caught:
            rpc.get_block_hash(99)
        assert caught.value.code == -8
        assert len(seen) == 1, "an answer is an answer: it is not asked again"


def test_amounts_are_exact(tmp_path: Path) -> None:
    text = b'{"bestblock":"%s","confirmations":1,"value":20999999.97690001,' % (b"00" * 32)
    text += b'"scriptPubKey":{"hex":"51"},"coinbase":false}'

    def answer(request: dict[str, Any], _: int) -> Reply:
        return 200, b'{"result":%s,"error":null,"id":%d}' % (text, request["id"])

    with scripted(tmp_path, answer) as (rpc, _):
        found = rpc.get_tx_out(UNKNOWN_HASH, 0)
        assert found is not None
        assert found.amount_sat == 2_099_999_997_690_001


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        ({"feerate": 0.00001, "blocks": 2}, FeeEstimate(1000, 2)),
        ({"feerate": 0.00001001, "blocks": 2}, FeeEstimate(1001, 2)),
        ({"feerate": 1, "blocks": 2}, FeeEstimate(100_000_000, 2)),
        ({"feerate": -1, "blocks": 2}, FeeEstimate(None, 2)),
        ({"errors": ["Insufficient data or no feerate found"], "blocks": 2}, FeeEstimate(None, 2)),
    ],
)
def test_fee_rates_as_core_words_them(
    tmp_path: Path, answered: dict[str, object], expected: FeeEstimate
) -> None:
    with scripted(tmp_path, lambda r, _: (200, STYLES["2.0"](r, answered))) as (rpc, _):
        assert rpc.estimate_smart_fee(2) == expected


@pytest.mark.parametrize(
    "reply",
    [
        (200, b""),
        (200, b"{"),
        (200, b"[]"),
        (200, b"[" * 100_000),
        (200, b'{"result":NaN,"error":null,"id":1}'),
        (200, b'{"result":5,"error":null,"id":99}'),
        (200, b'{"error":null,"id":1}'),
        (200, b'{"result":1e999999999,"error":null,"id":1}'),
        (200, b'{"result":true,"error":null,"id":1}'),
        (200, b'{"result":"5","error":null,"id":1}'),
        (200, b'{"result":5.0,"error":null,"id":1}'),
        (500, b'{"result":null,"error":"text","id":1}'),
        (500, b'{"result":null,"error":{"code":"x"},"id":1}'),
        (500, b'{"result":null,"error":{"code":-32603,"message":"disk"},"id":1}'),
        (502, b"<html>"),
        (301, b""),
        (403, b""),
        (200, b" " * (MAX_ANSWER_BYTES + 1)),
    ],
)
def test_what_is_not_documented_is_never_taken_for_an_answer(tmp_path: Path, reply: Reply) -> None:
    with scripted(tmp_path, lambda _request, _number: reply) as (rpc, seen):
        with pytest.raises(ChainUnavailable):
            rpc.get_block_count()
        assert len(seen) == 1


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_read_is_tried_again_after_connection_faults(tmp_path: Path, number: int) -> None:
    def answer(request: dict[str, Any], attempt: int) -> Reply | None:
        return None if attempt <= number else (200, STYLES["legacy"](request, 7))

    with scripted(tmp_path, answer) as (rpc, seen):
        assert rpc.get_block_count() == 7
        assert len(seen) == number + 1


@pytest.mark.parametrize(
    "reply",
    [
        None,
        (503, b"Work queue depth exceeded"),
        (500, b'{"result":null,"error":{"code":-28,"message":"Loading"},"id":1}'),
        (200, b'{"jsonrpc":"2.0","error":{"code":-28,"message":"Loading"},"id":1}'),
    ],
)
def test_reads_give_up_and_a_broadcast_is_sent_only_once(
    tmp_path: Path, reply: Reply | None
) -> None:
    with scripted(tmp_path, lambda _request, _number: reply) as (rpc, seen):
        with pytest.raises(ChainUnavailable):
            rpc.get_mempool_entry(UNKNOWN_HASH)
        assert len(seen) == RETRY_ATTEMPTS
        with pytest.raises(ChainUnavailable):
            rpc.send_raw_transaction(b"\x00")
        assert len(seen) == RETRY_ATTEMPTS + 1


def test_nobody_listening(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    path = tmp_path / "password"
    path.write_text("user:word")
    with pytest.raises(ChainUnavailable, match=str(port)) as caught:
        ChainRpc(RpcEndpoint("127.0.0.1", port, path, timeout_s=2)).get_block_count()
    assert caught.value.error is ErrorId.CHAIN_UNREACHABLE


def drip(server: socket.socket, stop: threading.Event) -> None:
    """Accept and send one byte of an endless answer now and then."""
    peer, _ = server.accept()
    with peer:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not stop.wait(0.05):
            try:
                peer.sendall(b" ")
            except OSError:
                return


def test_a_node_that_drips_its_answer_is_left_at_the_deadline(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("user:word")
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server, stop), daemon=True)
        thread.start()
        rpc = ChainRpc(RpcEndpoint("127.0.0.1", server.getsockname()[1], path, timeout_s=0.5))
        began = time.monotonic()
        with pytest.raises(ChainUnavailable):
            rpc.send_raw_transaction(b"\x00")
        assert time.monotonic() - began < 3
        stop.set()
        thread.join(5)


def test_an_answer_cut_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("user:word")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cut() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"result":"ab"')

        threading.Thread(target=cut, daemon=True).start()
        rpc = ChainRpc(RpcEndpoint("127.0.0.1", server.getsockname()[1], path, timeout_s=2))
        with pytest.raises(ChainUnavailable):
            rpc.send_raw_transaction(b"\x00")


def test_numbers_with_a_fraction_are_decimals(tmp_path: Path) -> None:
    with scripted(tmp_path, lambda r, _: (200, STYLES["2.0"](r, {"x": 0.1}))) as (rpc, _):
        assert rpc.call("getnetworkinfo") == {"x": Decimal("0.1")}
