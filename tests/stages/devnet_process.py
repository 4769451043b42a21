"""A devnet for tests: as a process that can be killed, and coins that anybody can spend.

`ANYONE` pays to the witness script OP_TRUE, so tests build transactions with any fields they like
without signing; what needs real signatures takes the faucet's.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custodyd.devnet.node import Node
from custodyd.devnet.script import address_of_script
from custodyd.devnet.transactions import Outpoint, Transaction, TxInput, TxOutput, build

START_TIMEOUT_S = 60.0
COIN_SAT = 100_000_000
OP_TRUE = b"\x51"
ANYONE = b"\x00\x20" + hashlib.sha256(OP_TRUE).digest()
ANYONE_ADDRESS = str(address_of_script(ANYONE))


@dataclass(frozen=True)
class Money:
    """An output that anybody can spend."""

    outpoint: Outpoint
    amount_sat: int


def spend(
    coins: Sequence[Money],
    outputs: Sequence[TxOutput],
    *,
    version: int = 2,
    locktime: int = 0,
    sequence: int = 0xFFFFFFFD,
    witness: tuple[bytes, ...] = (OP_TRUE,),
) -> Transaction:
    inputs = tuple(TxInput(*coin.outpoint, b"", sequence, witness) for coin in coins)
    return build(version, inputs, tuple(outputs), locktime)


def pass_on(coin: Money, fee_sat: int = 1000, **fields: Any) -> Transaction:
    """One input, one output to anybody, this fee."""
    return spend([coin], [TxOutput(coin.amount_sat - fee_sat, ANYONE)], **fields)


def output_of(tx: Transaction, vout: int = 0) -> Money:
    return Money((tx.txid, vout), tx.outputs[vout].amount_sat)


def fund(node: Node, count: int = 1, amount_sat: int = COIN_SAT) -> list[Money]:
    """Confirmed coins that anybody can spend, from the faucet."""
    tx = node.pay_from_faucet(tuple(TxOutput(amount_sat, ANYONE) for _ in range(count)))
    node.generate(1, node.faucet.script)
    return [output_of(tx, vout) for vout in range(count)]


class RpcRefusal(Exception):
    """An error object, as a raw JSON-RPC caller sees it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


class DevnetProcess:
    """`python -m custodyd.devnet` on a free port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.password_file = folder / "password"
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> DevnetProcess:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "custodyd.devnet"),
                *("--data-dir", str(self.folder / "data")),
                *("--port", str(self.port)),
                *("--rpc-password-file", str(self.password_file)),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = self._announced_port()
        return self

    def _announced_port(self) -> int:
        assert self._process is not None
        assert self._process.stderr is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        for line in self._process.stderr:
            if " rpc 127.0.0.1:" in line:
                return int(line.rsplit(":", 1)[1])
            assert time.monotonic() < deadline, line
        raise AssertionError("the devnet ended before it was ready")

    def kill(self) -> None:
        """kill -9, at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._close_pipe()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(START_TIMEOUT_S)
        self._close_pipe()
        return code

    def _close_pipe(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        self._process.stderr.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def cpu_s(self) -> float:
        """Processor time that it has used, in seconds (Linux)."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def post(self, body: bytes, user_password: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of one POST."""
        return post(self.port, body, user_password or self.password_file.read_bytes())

    def rpc(self, method: str, *params: object) -> Any:
        request = {"jsonrpc": "2.0", "id": "t", "method": method, "params": params}
        status, body = self.post(json.dumps(request).encode())
        assert status == 200
        answer = json.loads(body)
        if "error" in answer:
            raise RpcRefusal(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]


def post(port: int, body: bytes, user_password: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Authorization": "Basic " + base64.b64encode(user_password).decode()}
    try:
        connection.request("POST", "/", body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
