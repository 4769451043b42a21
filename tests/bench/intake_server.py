"""The two servers of the intake measurement, each in a process of its own.

`ours` is the API as the daemon serves it: gate, roles, codec, the request's signature, the group
commit of row, event and answer. The stages do not run. `echo` is gRPC at its barest: bytes in, one
durable insert, the same bytes out, without protobuf, roles or errors; on SQLite its inserts queue
for a lock, since two writers would only wait for each other, on PostgreSQL each thread commits by
itself. Both use the same engine (WAL and synchronous = FULL on SQLite), the same TLS with client
certificates, as many threads.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import sqlalchemy

from custodyd.api.certificates import LOCAL_NAMES, Authority, KeyPair, open_authority
from custodyd.api.premises import WORKERS, Premises
from custodyd.api.server import Ports, Servers
from custodyd.api.slots import Desk
from custodyd.chain.rules import VaultState
from custodyd.chain.tables import VAULTS
from custodyd.rpc.v1 import withdrawal_pb2
from custodyd.store import Store, open_store
from custodyd.store.context import StageContext
from custodyd.store.facts import GENESIS, put_fact
from custodyd.store.group_commit import GroupCommit
from custodyd.store.incarnation import Sidecar, begin_boot
from custodyd.store.migrate import migrate
from custodyd.withdrawals.service import Intake, accept_many
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.genesis import Genesis
from signer_node.wire import decode_body

ECHO = "/bench.Echo/Echo"
_BODIES = sqlalchemy.Table(
    "bodies",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("body", sqlalchemy.LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Site:
    """What a server needs: database, the transport authority's files, what intake looks up."""

    url: str
    folder: Path
    authority: KeyPair
    genesis: bytes
    vault: str
    certificate_body: bytes
    certificate_digest: bytes
    now_s: int


def serve_ours(site: Site, link: Connection) -> None:
    """Serve the API until the other end says so; tells the port first."""
    with ExitStack() as stack:
        store = open_store(site.url)
        stack.callback(store.close)
        migrate(store)
        boot = begin_boot(store, Sidecar(site.folder / "mark.json"), site.now_s)
        store.run(lambda connection: _furnish(connection, site))
        intake: GroupCommit[Intake, withdrawal_pb2.Withdrawal] = GroupCommit(
            store, lambda connection, jobs: accept_many(connection, jobs, site.now_s)
        )
        stack.callback(intake.close)
        authority = open_authority(site.authority)
        premises = _premises(site, store, intake, authority, boot.incarnation)
        servers = Servers(premises, _ports(authority))
        stack.callback(servers.stop, 1.0)
        link.send(servers.mutual_port)
        link.recv()


def serve_echo(site: Site, link: Connection) -> None:
    """Serve the echo until the other end says so; tells the port first."""
    store = open_store(site.url)
    _BODIES.metadata.create_all(store.engine)
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_echo(store))
    server = grpc.server(ThreadPoolExecutor(WORKERS), options=(("grpc.so_reuseport", 0),))
    name, method = ECHO.strip("/").split("/")
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(name, {method: handler}),)
    )
    authority = open_authority(site.authority)
    pair = authority.issue_server(LOCAL_NAMES)
    credentials = grpc.ssl_server_credentials(
        [(pair.private_key, pair.certificate)], authority.pem, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    link.send(port)
    link.recv()
    server.stop(1.0).wait()
    store.close()


def _echo(store: Store) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    insert = _BODIES.insert()
    turn: AbstractContextManager[Any] = threading.Lock() if store.is_sqlite else nullcontext()

    def echo(body: bytes, _context: grpc.ServicerContext) -> bytes:
        with turn, store.engine.begin() as connection:
            connection.execute(insert, {"body": body})
        return body

    return echo


def _furnish(connection: sqlalchemy.Connection, site: Site) -> None:
    put_fact(connection, GENESIS, site.genesis)
    connection.execute(
        VAULTS.insert().values(
            vault=site.vault,
            kind="wsh-sortedmulti",
            epoch=0,
            state=VaultState.CERTIFIED,
            draft=site.certificate_body,
            digest=site.certificate_digest,
            created_at_s=site.now_s,
            asked_at_s=site.now_s,
            birth_height=0,
            deposit_count=0,
            external_watched=0,
            internal_watched=0,
            next_change=0,
        )
    )


def _premises(
    site: Site,
    store: Store,
    intake: GroupCommit[Intake, withdrawal_pb2.Withdrawal],
    authority: Authority,
    incarnation: bytes,
) -> Premises:
    context = StageContext(
        now_s=lambda: site.now_s,
        network=Network.REGTEST,
        genesis=decode_body(Genesis, site.genesis),
        node=_NoNode(),
        seal=_no_seal,
    )
    return Premises(
        store=store,
        context=lambda: context,
        desk=Desk(authority, "nowhere"),
        intake=intake,
        incarnation=incarnation,
        page_key=secrets.token_bytes(32),
        version="bench",
    )


def _ports(authority: Authority) -> Ports:
    pair = authority.issue_server(LOCAL_NAMES)
    return Ports("127.0.0.1:0", "127.0.0.1:0", authority.pem, lambda: pair)


class _NoNode:
    """Intake asks no Bitcoin node."""

    def call(self, method: str, *_params: object) -> Any:
        raise RuntimeError(f"intake asked a Bitcoin node: {method}")


def _no_seal(
    _connection: sqlalchemy.Connection, _kind: PayloadType, _recipient: bytes, _payload: bytes, /
) -> bytes:
    raise RuntimeError("intake sealed an envelope")
