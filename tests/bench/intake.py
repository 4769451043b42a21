"""Unary intake beside a bare gRPC echo that makes one durable insert, on both databases.

Each server runs in its own process, eight clients with a connection each run here as threads; the
two sides take turns, a bounded number of calls each. Neighbouring rounds share the machine's other
load, so what counts is the pair of rounds whose ratio is the median. Requests are made and signed
before the clock starts. See `intake_server` for what the two servers do.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from custodyd.api.certificates import SERVER_NAME, KeyPair, make_authority, open_authority
from custodyd.api.identity import Identity, Role
from custodyd.rpc.v1 import withdrawal_pb2
from tests.bench.intake_server import ECHO, Site, serve_echo, serve_ours
from tests.bench.measure import Direction, Measurement
from tests.stages.postgres_server import PostgresMissing, postgres_server
from tests.world.payouts import request
from tests.world.quorum import VAULT, World, secret, sign_document

CLIENTS = 8
CALLS = 600
WARM_UP = 200
ROUNDS = 5
GOAL = 0.5
CALL_TIMEOUT_S = 20.0
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
CREATE = "/custodyd.rpc.v1.WithdrawalService/CreateWithdrawal"
AMOUNT_SAT = 50_000

Serve = Callable[[Site, Connection], None]


def run(calls: int = CALLS, rounds: int = ROUNDS) -> list[Measurement]:
    """Calls a second on SQLite and on PostgreSQL (left out, with a row saying so, if missing)."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        urls = {side: f"sqlite:///{path / side}.db" for side in ("ours", "echo")}
        rows.append(_beside("SQLite", urls, path, (calls, rounds)))
    try:
        with postgres_server() as url, tempfile.TemporaryDirectory() as folder:
            urls = dict.fromkeys(("ours", "echo"), url)
            rows.append(_beside("PostgreSQL", urls, Path(folder), (calls, rounds)))
    except PostgresMissing as missing:
        rows.append(_row("PostgreSQL", 0.0, None, str(missing)))
    return rows


def _beside(
    database: str, urls: dict[str, str], folder: Path, volume: tuple[int, int]
) -> Measurement:
    calls, rounds = volume
    party = Party.make(folder, WARM_UP + calls * rounds)
    pairs: list[tuple[float, float]] = []
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(_side(party, serve, urls[name], method))
            for name, serve, method in (("ours", serve_ours, CREATE), ("echo", serve_echo, ECHO))
        }
        for clients in sides.values():
            clients.call_all(party.requests[:WARM_UP])
        for at in range(rounds):
            start = WARM_UP + at * calls
            wanted = party.requests[start : start + calls]
            pairs.append((sides["ours"].call_all(wanted), sides["echo"].call_all(wanted)))
    ours, echo = sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]
    note = f"{CLIENTS} clients, mTLS, median of {rounds} pairs of rounds of {calls} calls"
    return _row(database, ours, echo, note)


def _row(database: str, ours: float, echo: float | None, note: str) -> Measurement:
    return Measurement(
        f"unary intake, {database}",
        ours,
        "calls/s",
        "bare gRPC echo with one durable insert",
        echo,
        GOAL,
        Direction.HIGHER,
        note,
    )


@dataclass(frozen=True, slots=True)
class Party:
    """Everybody's certificates, the quorum's documents, and signed requests."""

    site: Site
    client: KeyPair
    requests: Sequence[bytes]

    @classmethod
    def make(cls, folder: Path, count: int) -> Party:
        """A world's genesis and vault, and `count` requests signed by its backend."""
        world = World()
        pair = make_authority()
        site = Site(
            url="",
            folder=folder,
            authority=pair,
            genesis=world.genesis.raw,
            vault=VAULT,
            certificate_body=world.vault.certificate.raw,
            certificate_digest=world.vault.certificate.digest,
            now_s=world.now_s,
        )
        requests = [_request(world, number) for number in range(count)]
        return cls(site, _client_pair(pair), requests)


def _request(world: World, number: int) -> bytes:
    document = request(world, f"w-{number}", AMOUNT_SAT)
    return withdrawal_pb2.CreateWithdrawalRequest(
        request_id=str(uuid.UUID(int=number + 1)),
        signed_request=sign_document(document, secret("backend")),
    ).SerializeToString(deterministic=True)


def _client_pair(authority: KeyPair) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    wanted = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = wanted.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    certificate = open_authority(authority).issue_client(pem, Identity(Role.BACKEND, "exchange"))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return KeyPair(private, certificate)


class Clients:
    """Eight clients of one method, each with a connection of its own."""

    def __init__(self, party: Party, port: int, method: str) -> None:
        credentials = grpc.ssl_channel_credentials(
            open_authority(party.site.authority).pem,
            party.client.private_key,
            party.client.certificate,
        )
        options = (
            ("grpc.ssl_target_name_override", SERVER_NAME),
            ("grpc.use_local_subchannel_pool", 1),
        )
        self._channels = [
            grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) for _ in range(CLIENTS)
        ]
        self._calls: list[grpc.UnaryUnaryMultiCallable[bytes, bytes]] = [
            channel.unary_unary(method) for channel in self._channels
        ]
        self._threads = ThreadPoolExecutor(CLIENTS)

    def call_all(self, requests: Sequence[bytes]) -> float:
        """Send all requests, shared out to the clients; returns calls a second."""
        began = time.perf_counter()
        done = [
            self._threads.submit(self._call_each, call, requests[at::CLIENTS])
            for at, call in enumerate(self._calls)
        ]
        for one in done:
            one.result()
        return len(requests) / (time.perf_counter() - began)

    def close(self) -> None:
        """Hang up."""
        self._threads.shutdown()
        for channel in self._channels:
            channel.close()

    @staticmethod
    def _call_each(
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes], requests: Sequence[bytes]
    ) -> None:
        for raw in requests:
            call(raw, timeout=CALL_TIMEOUT_S)


@contextmanager
def _side(party: Party, serve: Serve, url: str, method: str) -> Iterator[Clients]:
    """A server in its own process, with its clients."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=serve, args=(replace(party.site, url=url), there))
    process.start()
    try:
        if not here.poll(START_TIMEOUT_S):
            raise RuntimeError("the server did not start")
        clients = Clients(party, here.recv(), method)
        try:
            yield clients
        finally:
            clients.close()
            here.send("stop")
    finally:
        process.join(STOP_TIMEOUT_S)
        if process.is_alive():
            process.kill()
