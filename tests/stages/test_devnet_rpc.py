"""The devnet as a process: its RPC in Bitcoin Core's forms, bad input, and kill -9."""

from __future__ import annotations

import base64
import json
import resource
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from custodyd.devnet.http_server import MAX_BODY, MAX_WORKERS
from custodyd.devnet.transactions import Transaction, parse_transaction
from tests.stages.devnet_process import (
    ANYONE_ADDRESS,
    COIN_SAT,
    DevnetProcess,
    Money,
    RpcRefusal,
    output_of,
    pass_on,
    spend,
)

ADDRESSES = {
    "pubkeyhash": "mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8",
    "scripthash": "2MsFDzHRUAMpjHxKyoEHU3aMCMsVtMqs1PV",
    "witness_v0_keyhash": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    "witness_v0_scripthash": ANYONE_ADDRESS,
}


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    process = DevnetProcess(tmp_path_factory.mktemp("devnet")).start()
    yield process
    assert process.stop() == 0


@pytest.fixture
def own(tmp_path: Path) -> Iterator[DevnetProcess]:
    """A devnet of this test's own, to be killed."""
    process = DevnetProcess(tmp_path).start()
    yield process
    if process.running:
        process.kill()


def faucet(devnet: DevnetProcess, amount: str = "1") -> Money:
    """An unconfirmed coin that anybody can spend."""
    txid = devnet.rpc("devnet_faucet", ANYONE_ADDRESS, amount)
    tx = parse_transaction(bytes.fromhex(devnet.rpc("getrawtransaction", txid)))
    vout = next(n for n, o in enumerate(tx.outputs) if o.amount_sat == COIN_SAT)
    return output_of(tx, vout)


def send(devnet: DevnetProcess, tx: Transaction) -> str:
    return str(devnet.rpc("sendrawtransaction", tx.raw.hex()))


def shown(txid: bytes) -> str:
    return txid[::-1].hex()


def facts(devnet: DevnetProcess) -> tuple[Any, ...]:
    info = devnet.rpc("getblockchaininfo")
    spendable = devnet.rpc("devnet_info")["faucet_spendable_sat"]
    return info["blocks"], info["bestblockhash"], sorted(devnet.rpc("getrawmempool")), spendable


# --- money --------------------------------------------------------------------------------------


def test_faucet_send_mine_confirm(devnet: DevnetProcess) -> None:
    coin = faucet(devnet)
    tx = pass_on(coin)
    assert send(devnet, tx) == shown(tx.txid)
    assert send(devnet, tx) == shown(tx.txid), "sending again is no error"
    entry = devnet.rpc("getmempoolentry", shown(tx.txid))
    assert (entry["ancestorcount"], entry["vsize"]) == (2, tx.vsize)
    assert entry["depends"] == [shown(coin.outpoint[0])]
    assert entry["fees"]["base"] == 0.00001
    waiting = devnet.rpc("gettxout", shown(tx.txid), 0)
    assert (waiting["confirmations"], waiting["coinbase"]) == (0, False)
    assert devnet.rpc("gettxout", shown(tx.txid), 0, False) is None
    [block] = devnet.rpc("generatetoaddress", 1, ADDRESSES["witness_v0_keyhash"])
    assert shown(tx.txid) in devnet.rpc("getblock", block)["tx"]
    found = devnet.rpc("gettxout", shown(tx.txid), 0)
    assert (found["confirmations"], found["value"]) == (1, 0.99999)
    assert found["scriptPubKey"]["address"] == ANYONE_ADDRESS
    in_block = devnet.rpc("getrawtransaction", shown(tx.txid), True, block)
    assert (in_block["confirmations"], in_block["in_active_chain"]) == (1, True)
    with pytest.raises(RpcRefusal, match=r"txindex.*\(-5\)"):
        devnet.rpc("getrawtransaction", shown(tx.txid))
    with pytest.raises(RpcRefusal, match=r"\(-27\)"):
        send(devnet, tx)


@pytest.mark.parametrize("kind", ADDRESSES)
def test_every_kind_of_address_is_paid(devnet: DevnetProcess, kind: str) -> None:
    txid = devnet.rpc("devnet_faucet", ADDRESSES[kind], 0.25)
    outputs = devnet.rpc("getrawtransaction", txid, True)["vout"]
    [paid] = [o for o in outputs if o["value"] == 0.25]
    assert paid["scriptPubKey"]["type"] == kind
    assert paid["scriptPubKey"]["address"] == ADDRESSES[kind]


def test_refusals_of_sendrawtransaction_have_cores_codes(devnet: DevnetProcess) -> None:
    coin = faucet(devnet)
    refused = {
        -22: ["00", "zz", "", "0200000000"],
        -25: [pass_on(Money((b"\x12" * 32, 0), COIN_SAT)).raw.hex()],
        -26: [
            pass_on(coin, fee_sat=1).raw.hex(),
            pass_on(coin, version=3).raw.hex(),
            pass_on(coin, witness=(b"\x52",)).raw.hex(),
            pass_on(coin, fee_sat=COIN_SAT - 1).raw.hex(),
        ],
    }
    for code, texts in refused.items():
        for text in texts:
            with pytest.raises(RpcRefusal) as caught:
                devnet.rpc("sendrawtransaction", text)
            assert caught.value.code == code, text
    with pytest.raises(RpcRefusal, match="maxfeerate") as caught:
        devnet.rpc("sendrawtransaction", pass_on(coin, fee_sat=COIN_SAT // 2).raw.hex())
    assert caught.value.code == -25


def test_testmempoolaccept_changes_nothing(devnet: DevnetProcess) -> None:
    coin = faucet(devnet)
    parent = pass_on(coin)
    child = pass_on(output_of(parent))
    before = facts(devnet)
    raws = [parent.raw.hex(), child.raw.hex()]
    for answer, tx in zip(devnet.rpc("testmempoolaccept", raws), (parent, child), strict=True):
        assert answer["txid"] == shown(tx.txid)
        assert (answer["allowed"], answer["vsize"]) == (True, tx.vsize)
        assert answer["fees"]["base"] == 0.00001
    [alone] = devnet.rpc("testmempoolaccept", [child.raw.hex()])
    assert (alone["allowed"], alone["reject-reason"]) == (False, "missing-inputs")
    [cheap] = devnet.rpc("testmempoolaccept", [pass_on(coin, fee_sat=1).raw.hex()])
    assert cheap["reject-reason"] == "min relay fee not met"
    assert facts(devnet) == before


def test_an_estimate_is_there_only_when_the_devnet_was_told_one(devnet: DevnetProcess) -> None:
    none = devnet.rpc("estimatesmartfee", 6)
    assert none == {"errors": ["Insufficient data or no feerate found"], "blocks": 6}
    devnet.rpc("devnet_setfeerate", 12)
    assert devnet.rpc("estimatesmartfee", 6)["feerate"] == 0.00012
    devnet.rpc("devnet_setfeerate", 0)
    assert "feerate" not in devnet.rpc("estimatesmartfee", 6)


def test_blocks_on_demand_with_chosen_transactions(devnet: DevnetProcess) -> None:
    devnet.rpc("devnet_mine", 1)
    coin, other = faucet(devnet), faucet(devnet)
    devnet.rpc("devnet_mine", 1)
    inside, outside = pass_on(coin), pass_on(other)
    send(devnet, inside)
    send(devnet, outside)
    made = devnet.rpc("generateblock", ANYONE_ADDRESS, [shown(inside.txid)])
    assert devnet.rpc("getblock", made["hash"])["nTx"] == 2
    assert devnet.rpc("getrawmempool") == [shown(outside.txid)]
    kept = devnet.rpc("generateblock", ANYONE_ADDRESS, [outside.raw.hex()], False)
    assert devnet.rpc("getrawmempool") == [shown(outside.txid)]
    assert devnet.rpc("submitblock", kept["hex"]) is None
    assert devnet.rpc("getbestblockhash") == kept["hash"]
    assert devnet.rpc("submitblock", kept["hex"]) == "duplicate"
    with pytest.raises(RpcRefusal, match=r"TestBlockValidity failed.*\(-25\)"):
        devnet.rpc("generateblock", ANYONE_ADDRESS, [pass_on(coin, fee_sat=5000).raw.hex()])


def test_a_fork_by_rpc(devnet: DevnetProcess) -> None:
    coin = faucet(devnet)
    devnet.rpc("devnet_mine", 1)
    tx = pass_on(coin)
    send(devnet, tx)
    [lost] = devnet.rpc("devnet_mine", 1)
    made = devnet.rpc("devnet_fork", 1, 2)
    assert made["disconnected"] == [lost]
    assert shown(tx.txid) in devnet.rpc("getrawmempool")
    assert devnet.rpc("getblockheader", lost)["confirmations"] == -1
    assert devnet.rpc("getrawtransaction", shown(tx.txid), True, lost)["in_active_chain"] is False
    devnet.rpc("devnet_fork", 1, 2, [shown(tx.txid)])
    assert shown(tx.txid) not in devnet.rpc("getrawmempool")


def test_headers_agree_with_each_other(devnet: DevnetProcess) -> None:
    tip = devnet.rpc("getblockchaininfo")
    assert tip["chain"] == "regtest"
    header = devnet.rpc("getblockheader", tip["bestblockhash"])
    assert header["height"] == tip["blocks"] == devnet.rpc("getblockcount")
    assert header["confirmations"] == 1
    assert "nextblockhash" not in header
    previous = devnet.rpc("getblockheader", header["previousblockhash"])
    assert (previous["nextblockhash"], previous["confirmations"]) == (header["hash"], 2)
    raw = bytes.fromhex(devnet.rpc("getblockheader", header["hash"], False))
    assert len(raw) == 80
    assert raw[4:36][::-1].hex() == previous["hash"]
    assert bytes.fromhex(devnet.rpc("getblock", header["hash"], 0))[:80] == raw
    genesis = devnet.rpc("getblockheader", devnet.rpc("getblockhash", 0))
    assert genesis["hash"].startswith("0f9188f13cb7b2c71f2a335e3a4fc328bf5beb43")
    assert genesis["chainwork"].endswith("02")


# --- kill -9 ------------------------------------------------------------------------------------


def test_nothing_that_was_answered_is_lost_by_kill_9(own: DevnetProcess) -> None:
    coin = faucet(own)
    own.rpc("devnet_mine", 1)
    first, second = pass_on(coin), pass_on(coin, fee_sat=5000)
    send(own, first)
    own.kill()
    own.start()
    assert shown(first.txid) in own.rpc("getrawmempool")
    send(own, second)
    own.rpc("devnet_mine", 2)
    before = facts(own)
    own.kill()
    own.start()
    assert facts(own) == before
    child = pass_on(output_of(second))
    send(own, child)
    own.rpc("devnet_mine", 1)
    own.rpc("devnet_fork", 2, 3)
    before = facts(own)
    assert before[2] == [shown(child.txid)]
    own.kill()
    own.start()
    assert facts(own) == before
    assert own.stop() == 0


def test_it_starts_and_mines_in_less_than_two_seconds_each(tmp_path: Path) -> None:
    """Seconds of its processor time: what a busy machine adds is not the devnet's."""
    process = DevnetProcess(tmp_path).start()
    started_s = process.cpu_s()
    assert len(process.rpc("generatetoaddress", 101, ANYONE_ADDRESS)) == 101
    mined_s = process.cpu_s() - started_s
    assert process.stop() == 0
    assert started_s < 2
    assert mined_s < 2


def test_the_rpc_stop_ends_it_with_0(own: DevnetProcess) -> None:
    assert "stopping" in own.rpc("stop")
    assert own._process is not None
    assert own._process.wait(10) == 0


def test_what_is_wrong_at_start_is_said_in_one_line(own: DevnetProcess, tmp_path: Path) -> None:
    def run(*changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "custodyd.devnet", *changes]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    password = ("--rpc-password-file", str(own.password_file))
    data = ("--data-dir", str(tmp_path / "other"))
    busy = run(*data, *password, "--port", str(own.port))
    assert (busy.returncode, "cannot listen" in busy.stderr) == (1, True)
    locked = run("--data-dir", str(own.folder / "data"), *password, "--port", "0")
    assert (locked.returncode, "another process" in locked.stderr) == (1, True)
    empty = tmp_path / "empty"
    empty.write_text("nocolon\n")
    wrong = run(*data, "--rpc-password-file", str(empty), "--port", "0")
    assert (wrong.returncode, "user:password" in wrong.stderr) == (1, True)
    assert "nocolon" not in wrong.stderr
    assert run(*data, *password, "--port", "70000").returncode == 2
    for outcome in (busy, locked, wrong):
        assert "Traceback" not in outcome.stderr


# --- the port -----------------------------------------------------------------------------------


def test_files_are_for_their_owner_only(devnet: DevnetProcess) -> None:
    data = devnet.folder / "data"
    for path in (devnet.password_file, data / "faucet-key", data / "journal"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


@pytest.mark.parametrize("given", [b"__cookie__:wrong", b"other:x", b":", b"\xff\xfe"])
def test_a_wrong_password_is_401(devnet: DevnetProcess, given: bytes) -> None:
    status, body = devnet.post(b'{"method":"getblockcount","id":1}', given)
    assert (status, body) == (401, b"")


def raw_http(devnet: DevnetProcess, request: bytes) -> bytes:
    """Send bytes, read to the end of the connection."""
    with socket.create_connection(("127.0.0.1", devnet.port), timeout=5) as peer:
        peer.sendall(request)
        answer = b""
        while chunk := peer.recv(65536):
            answer += chunk
        return answer


def authorization(devnet: DevnetProcess) -> bytes:
    return b"Authorization: Basic " + base64.b64encode(devnet.password_file.read_bytes())


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", b"401"),
        (b"POST / HTTP/1.1\r\nAuthorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}", b"401"),
        (b"POST / HTTP/1.1\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1), b"413"),
        (b"POST / HTTP/1.1\r\nContent-Length: 9" + b"9" * 5000 + b"\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\n\r\n", b"405"),
        (b"NONSENSE / HTTP/1.1\r\n\r\n", b"501"),
    ],
)
def test_http_that_is_not_served(devnet: DevnetProcess, head: bytes, status: bytes) -> None:
    assert raw_http(devnet, head).split(b"\r\n")[0].split(b" ")[1] == status
    assert devnet.rpc("getblockcount") > 0


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 500, -32700),
        (b"", 500, -32700),
        (b"\xff\xfe", 500, -32700),
        (b"[" * 100_000, 500, -32700),
        (b"null", 500, -32700),
        (b'"text"', 500, -32700),
        (b'{"method":"getblockcount","params":[NaN]}', 500, -32700),
        (b"{}", 400, -32600),
        (b'{"method":5}', 400, -32600),
        (b'{"method":"getblockcount","params":5}', 400, -32600),
        (b'{"method":"getblockcount","jsonrpc":"3.0"}', 400, -32600),
        (b'{"method":"nosuch","id":1}', 404, -32601),
        (b'{"method":"invalidateblock","params":["00"],"id":1}', 404, -32601),
        (b'{"method":"getblockhash","params":[],"id":1}', 500, -1),
        (b'{"method":"getblockhash","params":[1,2],"id":1}', 500, -1),
        (b'{"method":"getblockhash","params":["1"],"id":1}', 500, -3),
        (b'{"method":"getblockhash","params":[true],"id":1}', 500, -3),
        (b'{"method":"getblockhash","params":[1000000],"id":1}', 500, -8),
        (b'{"method":"getblockhash","params":[-1],"id":1}', 500, -8),
        (b'{"method":"getblockhash","params":[1e400],"id":1}', 500, -1),
        (b'{"method":"getblockhash","params":{"wrong":1},"id":1}', 500, -8),
        (b'{"method":"getblockheader","params":["ab"],"id":1}', 500, -8),
        (b'{"method":"getblockheader","params":["' + b"z" * 64 + b'"],"id":1}', 500, -8),
        (b'{"method":"getblockheader","params":["' + b"0" * 64 + b'"],"id":1}', 500, -5),
        (b'{"method":"getblock","params":["' + b"0" * 64 + b'"],"id":1}', 500, -5),
        (b'{"method":"getmempoolentry","params":["' + b"0" * 64 + b'"],"id":1}', 500, -5),
        (b'{"method":"gettxoutproof","params":[[]],"id":1}', 500, -8),
        (b'{"method":"gettxoutproof","params":[["' + b"0" * 64 + b'"]],"id":1}', 500, -5),
        (b'{"method":"submitblock","params":["00"],"id":1}', 500, -22),
        (b'{"method":"estimatesmartfee","params":[0],"id":1}', 500, -8),
        (b'{"method":"testmempoolaccept","params":[[]],"id":1}', 500, -8),
        (b'{"method":"testmempoolaccept","params":[[5]],"id":1}', 500, -22),
        (b'{"method":"generatetoaddress","params":[1,"bc1qnope"],"id":1}', 500, -5),
        (b'{"method":"generatetoaddress","params":[100000,"x"],"id":1}', 500, -5),
        (b'{"method":"devnet_mine","params":[0],"id":1}', 500, -8),
        (b'{"method":"devnet_fork","params":[0,1],"id":1}', 500, -8),
        (b'{"method":"devnet_faucet","params":["x",1],"id":1}', 500, -5),
    ],
)
def test_bad_requests_are_answered_with_cores_status_and_code(
    devnet: DevnetProcess, body: bytes, status: int, code: int
) -> None:
    seen, answer = devnet.post(body)
    error = json.loads(answer)["error"]
    assert (seen, error["code"]) == (status, code)
    assert error["message"]
    assert "Internal" not in error["message"]


@pytest.mark.parametrize("amount", ["0.00000001", 0, -1, "1e400", "x", 1e-9, "NaN", "21000001"])
def test_amounts_that_the_faucet_cannot_pay(devnet: DevnetProcess, amount: object) -> None:
    with pytest.raises(RpcRefusal) as caught:
        devnet.rpc("devnet_faucet", ANYONE_ADDRESS, amount)
    assert caught.value.code in (-3, -8)


def test_version_2_answers_carry_either_result_or_error(devnet: DevnetProcess) -> None:
    status, body = devnet.post(b'{"jsonrpc":"2.0","id":7,"method":"getblockcount"}')
    answer = json.loads(body)
    assert (status, set(answer), answer["id"]) == (200, {"jsonrpc", "result", "id"}, 7)
    status, body = devnet.post(b'{"jsonrpc":"2.0","id":7,"method":"nosuch"}')
    answer = json.loads(body)
    assert (status, set(answer)) == (200, {"jsonrpc", "error", "id"})
    assert devnet.post(b'{"jsonrpc":"2.0","method":"getblockcount"}') == (204, b"")
    status, body = devnet.post(b'{"method":"getblockcount","id":"a"}')
    assert set(json.loads(body)) == {"result", "error", "id"}


def test_a_batch_is_answered_in_order_and_each_in_its_own_style(devnet: DevnetProcess) -> None:
    batch = [
        {"method": "getblockcount", "id": 1},
        {"jsonrpc": "2.0", "method": "nosuch", "id": 2},
        {"jsonrpc": "2.0", "method": "getblockcount"},
        5,
        {"jsonrpc": "2.0", "method": "getbestblockhash", "id": 4},
    ]
    status, body = devnet.post(json.dumps(batch).encode())
    first, second, third, fourth = json.loads(body)
    assert (status, first["error"], second["error"]["code"]) == (200, None, -32601)
    assert (third["error"]["code"], fourth["id"]) == (-32600, 4)
    assert devnet.post(b"[]") == (200, b"[]\n")
    assert devnet.post(b'[{"jsonrpc":"2.0","method":"getblockcount"}]') == (204, b"")
    many = json.dumps([batch[0]] * 1001).encode()
    assert devnet.post(many)[0] == 400


def test_more_connections_than_workers_are_turned_away_and_the_node_goes_on(
    devnet: DevnetProcess,
) -> None:
    held = [socket.create_connection(("127.0.0.1", devnet.port)) for _ in range(MAX_WORKERS)]
    try:
        deadline = time.monotonic() + 5
        answer = b""
        while b"503" not in answer and time.monotonic() < deadline:
            answer = raw_http(devnet, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert b"503" in answer
    finally:
        for peer in held:
            peer.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            assert devnet.rpc("getblockcount") > 0
            return
        except AssertionError:
            time.sleep(0.05)
    raise AssertionError("the devnet does not answer any more")


def test_help_names_every_method_and_marks_what_only_the_devnet_has(devnet: DevnetProcess) -> None:
    names = [line.split(" ")[0] for line in devnet.rpc("help").splitlines()]
    assert names == sorted(names)
    for name in names:
        about = devnet.rpc("help", name)
        assert ("Devnet only" in about) == name.startswith("devnet_")


@pytest.mark.parametrize("call", [("devnet_mine", 1), ("devnet_faucet", ANYONE_ADDRESS, 1)])
def test_a_full_disk_is_never_answered_with_success(tmp_path: Path, call: tuple[Any, ...]) -> None:
    process = DevnetProcess(tmp_path).start()
    assert process._process is not None
    limit = (tmp_path / "data" / "journal").stat().st_size + 50
    resource.prlimit(process._process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    with pytest.raises(RpcRefusal, match="halted") as caught:
        process.rpc(*call)
    assert caught.value.code == -32603
    assert process._process.wait(10) == 1
    process._close_pipe()
    process.start()
    assert facts(process)[::2] == (110, [])
    assert process.stop() == 0


def test_spending_two_coins_of_one_faucet_payment(devnet: DevnetProcess) -> None:
    coins = [faucet(devnet), faucet(devnet)]
    devnet.rpc("devnet_mine", 1)
    tx = spend(coins, [pass_on(coins[0]).outputs[0]])
    with pytest.raises(RpcRefusal, match="maxfeerate"):
        send(devnet, tx)
    assert devnet.rpc("sendrawtransaction", tx.raw.hex(), 0) == shown(tx.txid)


def test_many_callers_at_once_see_one_consistent_chain(devnet: DevnetProcess) -> None:
    txids: list[str] = []

    def caller(number: int) -> None:
        for step in range(8):
            txids.append(devnet.rpc("devnet_faucet", ANYONE_ADDRESS, "0.001"))
            if (number + step) % 3 == 0:
                devnet.rpc("devnet_mine", 1)
            if (number + step) % 5 == 0:
                devnet.rpc("devnet_fork", 1, 2)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(caller, range(6)))
    devnet.rpc("devnet_mine", 1)
    assert devnet.rpc("getrawmempool") == []
    height = devnet.rpc("getblockcount")
    mined: list[str] = []
    for at in range(height + 1):
        block = devnet.rpc("getblock", devnet.rpc("getblockhash", at))
        mined += block["tx"]
    assert len(set(mined)) == len(mined)
    assert set(txids) <= set(mined)
