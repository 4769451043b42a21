"""The daemon: everything opened, connected, run until SIGTERM, closed.

Crash-only: stopping is only polite. Whatever the process did not finish, the next start finds in
the database and goes on with.
"""

from __future__ import annotations

import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Final

import stamina.instrumentation
import structlog

from custodyd.api.certificates import (
    LOCAL_NAMES,
    Authority,
    KeyPair,
    expires_at_s,
    open_authority,
)
from custodyd.api.premises import Premises
from custodyd.api.server import Ports, Servers
from custodyd.api.slots import Desk
from custodyd.batches import service as batches
from custodyd.batches.rules import BatchState
from custodyd.chain import follower, source
from custodyd.chain.rpc import ChainRpc, RpcEndpoint
from custodyd.daemon.config import Loaded, check_config, split_address
from custodyd.daemon.files import read_public
from custodyd.daemon.gauges import Gauges
from custodyd.daemon.reconciler import Loop, Reconciler, Stage
from custodyd.daemon.sealing import Sealer
from custodyd.deposits import service as deposits
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import withdrawal_pb2
from custodyd.settlement import service as settlement
from custodyd.signing import service as signing
from custodyd.store import Store, open_store
from custodyd.store.context import StageContext
from custodyd.store.facts import GENESIS, PAGE_KEY, get_fact
from custodyd.store.group_commit import GroupCommit
from custodyd.store.incarnation import INCARNATION_BYTES, Sidecar, begin_boot
from custodyd.store.migrate import require_schema
from custodyd.telemetry import metrics
from custodyd.telemetry.logs import configure_logs
from custodyd.telemetry.probes import Probes
from custodyd.withdrawals import service as withdrawals
from custodyd.withdrawals.rules import WithdrawalState
from signer_node.kernel.documents.genesis import Genesis
from signer_node.wire import decode_body

GRACE_S: Final = 5.0
# A server certificate is replaced when less than this is left of it.
RENEW_BEFORE_S: Final = 30 * 86_400


class ChainStage:
    """The follower, once the node has shown that it is on the configured network."""

    def __init__(self) -> None:
        self._is_known = False

    def __call__(self, store: Store, context: StageContext) -> None:
        """One pass; raises CHAIN_OTHER_NETWORK, CHAIN_UNREACHABLE, CHAIN_REFUSED."""
        if not self._is_known:
            check_network(context)
            self._is_known = True
        follower.reconcile(store, context)


def check_network(context: StageContext) -> None:
    """Raise CHAIN_OTHER_NETWORK unless the node's first block is this network's."""
    wanted = sha256(sha256(context.network.parameters.genesis_header).digest()).digest()
    found = source.block_hash(context.node, 0)
    if found != wanted:
        shown = found[::-1].hex() if found else "nothing"
        raise CustodydError(ErrorId.CHAIN_OTHER_NETWORK, f"its first block is {shown}")


STAGES: Final[Sequence[Stage]] = (
    Stage("chain", ChainStage()),
    Stage("withdrawals", withdrawals.reconcile),
    Stage("deposits", deposits.reconcile),
    Stage("batches", batches.reconcile),
    Stage("signing", signing.reconcile),
    Stage("settlement", settlement.reconcile),
)

_LOG = structlog.get_logger("daemon")


class Contexts:
    """The stages' context as it is now: a genesis that is made later is found by itself."""

    def __init__(
        self, store: Store, loaded: Loaded, committed: Callable[[str], None] | None = None
    ) -> None:
        self._store = store
        self._loaded = loaded
        self._secret = loaded.folder.envelope_secret()
        self._incarnation = secrets.token_bytes(INCARNATION_BYTES)
        self._committed = committed
        self._lock = threading.Lock()
        self._node = ChainRpc(_endpoint(loaded))
        self._present: StageContext | None = None

    def __call__(self) -> StageContext:
        """The context."""
        with self._lock:
            if self._present is None or self._present.genesis is None:
                self._present = self._make()
            return self._present

    def _make(self) -> StageContext:
        with self._store.reading() as connection:
            raw = get_fact(connection, GENESIS)
        genesis = None if raw is None else decode_body(Genesis, bytes(raw))
        settings = self._loaded.settings()
        context = StageContext(
            now_s=_now_s,
            network=self._loaded.network,
            genesis=genesis,
            node=self._node,
            seal=Sealer(
                genesis=genesis.digest if genesis else bytes(32),
                incarnation=self._incarnation,
                now_s=_now_s,
                lifetime_s=settings.envelope_lifetime_s,
                _secret=self._secret,
            ),
            settings=settings,
        )
        if self._committed is None:
            return context
        return replace(context, committed=self._committed)


class ServerCertificate:
    """The server's key and certificate, made at start and again long before it expires."""

    def __init__(self, authority: Authority, names: Sequence[str]) -> None:
        self._authority = authority
        self._names = tuple(dict.fromkeys((*LOCAL_NAMES, *names)))
        self._lock = threading.Lock()
        self._pair = authority.issue_server(self._names)

    def __call__(self) -> KeyPair:
        """The present pair; the same object until it is replaced."""
        with self._lock:
            if expires_at_s(self._pair.certificate) - time.time() < RENEW_BEFORE_S:
                self._pair = self._authority.issue_server(self._names)
            return self._pair


def run(
    data_dir: Path,
    overrides: Mapping[str, str] | None = None,
    committed: Callable[[str], None] | None = None,
) -> None:
    """Run the coordinator until SIGTERM or SIGINT. Raises CustodydError when it cannot start.

    `committed` is told each transition that became durable (tests kill the process there).
    """
    loaded = check_config(data_dir, overrides)
    configure_logs(level=loaded.config.telemetry.log_level)
    # Every pass tells that the chain node is away; each single attempt need not.
    stamina.instrumentation.set_on_retry_hooks([])
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with ExitStack() as stack:
        stack.callback(loaded.folder.hold().close)
        daemon = Daemon(loaded, committed)
        stack.callback(daemon.close)
        _LOG.info("started", version=daemon.version, incarnation=daemon.incarnation.hex())
        ended.wait()
        _LOG.info("stopping")


class Daemon:
    """A running coordinator of one data folder; `close` ends it."""

    def __init__(self, loaded: Loaded, committed: Callable[[str], None] | None = None) -> None:
        self._stack = ExitStack()
        self.version = version("custodyd")
        try:
            self._open(loaded, committed)
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        """Stop serving, finish what runs, flush."""
        self._stack.close()

    def _open(self, loaded: Loaded, committed: Callable[[str], None] | None) -> None:
        store = open_store(loaded.store_url())
        self._stack.callback(store.close)
        require_schema(store)
        sidecar = Sidecar(loaded.folder.sidecar)
        self.incarnation = begin_boot(store, sidecar, _now_s()).incarnation
        contexts = Contexts(store, loaded, committed)
        intake: GroupCommit[withdrawals.Intake, withdrawal_pb2.Withdrawal] = GroupCommit(
            store,
            lambda connection, jobs: withdrawals.accept_many(connection, jobs, _now_s()),
        )
        self._stack.callback(intake.close)
        authority = open_authority(loaded.folder.authority())
        certificate = ServerCertificate(authority, loaded.config.api.names)
        self._watch(loaded, store, contexts, authority, certificate)
        self._reconcile(loaded, store, contexts, sidecar)
        premises = Premises(
            store=store,
            context=contexts,
            desk=Desk(authority, _advertised(loaded)),
            intake=intake,
            incarnation=self.incarnation,
            page_key=_page_key(store),
            version=self.version,
        )
        self.servers = Servers(premises, _ports(loaded, authority, certificate))
        self._stack.callback(self.servers.stop, GRACE_S)

    def _watch(
        self,
        loaded: Loaded,
        store: Store,
        contexts: Contexts,
        authority: Authority,
        certificate: ServerCertificate,
    ) -> None:
        metrics.initialise(
            [stage.name for stage in STAGES],
            {
                "withdrawals": [state.name for state in WithdrawalState if state.value],
                "batches": [state.name for state in BatchState if state.value],
            },
        )
        metrics.BUILD.info({"version": self.version})
        gauges = Gauges(
            store,
            contexts,
            lambda: {"authority": authority.pem, "server": certificate().certificate},
        )
        address = split_address(loaded.config.telemetry.address, "telemetry.address")
        try:
            self.probes = Probes(address, gauges.refresh, gauges.missing)
        except OSError:
            raise CustodydError(ErrorId.PORT_TAKEN, loaded.config.telemetry.address) from None
        self._stack.callback(self.probes.close)

    def _reconcile(
        self, loaded: Loaded, store: Store, contexts: Contexts, sidecar: Sidecar
    ) -> None:
        reconciler = Reconciler(
            Loop(
                store=store,
                context=contexts,
                stages=STAGES,
                sidecar=sidecar,
                holder=read_public(loaded.folder.replica).decode("ascii"),
                interval_s=loaded.config.interval_ms / 1000,
            )
        )
        reconciler.start()
        self._stack.callback(reconciler.stop, GRACE_S)


def _now_s() -> int:
    return int(time.time())


def _endpoint(loaded: Loaded) -> RpcEndpoint:
    chain = loaded.config.chain
    return RpcEndpoint(
        chain.host, chain.port, loaded.resolve(chain.credentials_file), float(chain.timeout_s)
    )


def _page_key(store: Store) -> bytes:
    with store.reading() as connection:
        key = get_fact(connection, PAGE_KEY)
    if key is None:
        raise CustodydError(ErrorId.NOT_INITIALISED, "the database was not made by `custodyd init`")
    return bytes(key)


def _advertised(loaded: Loaded) -> str:
    return loaded.config.api.advertised_address or loaded.config.api.address


def _ports(loaded: Loaded, authority: Authority, certificate: ServerCertificate) -> Ports:
    return Ports(
        mutual=loaded.config.api.address,
        enrolment=loaded.config.api.enrolment_address,
        authority=authority.pem,
        certificate=certificate,
        has_reflection=loaded.config.api.reflection,
    )
