"""Wires a node together and runs it until SIGTERM or SIGINT."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from signer_node.adapters.clock import Clock
from signer_node.adapters.entropy import boot_id
from signer_node.adapters.folder import Folder, locked, read_file
from signer_node.adapters.journal import Journal, Writer, connect
from signer_node.adapters.keystore import HOST, IDENTITY, TLS, VAULT_ROOT, Keystore, forget
from signer_node.adapters.link import Link
from signer_node.adapters.secrets import NodeSecrets
from signer_node.adapters.shares import ShareFiles, share_sealing_key
from signer_node.adapters.transport import certificate_expiry_s, open_channel
from signer_node.console.server import ConsoleServer
from signer_node.core.ledger import Node
from signer_node.core.step import Record, Step
from signer_node.daemon.answers import Console
from signer_node.daemon.config import Configuration
from signer_node.daemon.metrics import Figures, write_metrics
from signer_node.daemon.notice import Notifier
from signer_node.daemon.service import Service
from signer_node.kernel.documents.journal import RecordKind
from signer_node.kernel.errors import ErrorId, ExitCode, Refusal

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """What the passphrase opened; the host key stays sealed."""

    secrets: NodeSecrets
    identity_key: bytes
    host_key: bytes
    tls_key: bytes


def node_version() -> str:
    """The installed version."""
    try:
        return version("signer-node")
    except PackageNotFoundError:
        return "0"


def open_keys(folder: Folder, passphrase: bytes) -> Opened:
    """Open the keys that a running node needs; raises Refusal(PASSPHRASE_WRONG)."""
    keystore = Keystore(folder.keys)
    identity = keystore.open(IDENTITY, passphrase)
    root = keystore.open(VAULT_ROOT, passphrase)
    tls = keystore.open(TLS, passphrase)
    host_key = keystore.sealed(HOST).public
    forget()
    shares = ShareFiles(folder.shares, share_sealing_key(root.value))
    return Opened(NodeSecrets(identity, root, shares), identity.public, host_key, tls.value)


def run(configuration: Configuration, passphrase: Callable[[], bytes]) -> ExitCode:
    """Run the daemon; raises Refusal if it cannot start, before it asks for the passphrase."""
    folder = Folder(configuration.data_dir)
    if not Keystore(folder.keys).exists():
        raise Refusal(ErrorId.NOT_INITIALISED, str(folder.root))
    target = coordinator_address(configuration, folder)
    with locked(folder.root):
        opened = open_keys(folder, passphrase())
        return _run_locked(configuration, folder, opened, target)


def coordinator_address(configuration: Configuration, folder: Folder) -> str:
    """host:port of the coordinator; raises Refusal(NOT_ENROLLED)."""
    if not folder.certificate.exists():
        raise Refusal(ErrorId.NOT_ENROLLED, str(folder.root))
    if configuration.settings.coordinator:
        return configuration.settings.coordinator
    return read_file(folder.coordinator).decode("ascii", "replace").strip()


def _run_locked(
    configuration: Configuration, folder: Folder, opened: Opened, target: str
) -> ExitCode:
    settings = configuration.settings
    boot = boot_id()
    writer = Writer(opened.identity_key, opened.secrets.sign_identity, boot)
    journal = Journal(connect(folder.journal), writer)
    node = Node(opened.identity_key, opened.host_key, boot, journal, opened.secrets)
    clock = Clock(not_before_s=journal.head().written_at_s)
    notice_file = Path(settings.notice_file) if settings.notice_file else None
    notifier = Notifier(settings.notice_command, notice_file)
    service = Service(node, journal, clock, notifier)
    link = Link(
        service, lambda: open_channel(folder, opened.tls_key, target), settings.poll_wait_ms
    )
    service.wake_link = link.wake
    console = Console(service, lambda: certificate_expiry_s(folder))
    server = ConsoleServer(folder.socket, console.answer, os.geteuid())
    journal.commit(Step(records=(Record(RecordKind.BOOT, boot),)), clock.now_s())
    _log.info("started", extra={"version": node_version(), "boot": boot.hex()})
    return _serve(configuration, service, console, _Threads(link, server, notifier))


@dataclass(frozen=True, slots=True)
class _Threads:
    link: Link
    server: ConsoleServer
    notifier: Notifier


def _serve(
    configuration: Configuration, service: Service, console: Console, threads: _Threads
) -> ExitCode:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    service.start()
    threads.notifier.start()
    link = threading.Thread(target=threads.link.run, name="link")
    server = threading.Thread(target=threads.server.run, name="console-server")
    link.start()
    server.start()
    while not stopping.wait(configuration.settings.heartbeat_s):
        _beat(configuration, service, console)
        if not link.is_alive() or not server.is_alive():
            _log.error("a thread ended: the node stops")
            break
    threads.server.stop()
    threads.link.stop()
    link.join()
    server.join()
    service.stop()
    threads.notifier.stop()
    _log.info("stopped")
    halted = service.halted
    if halted is not None:
        return halted.error.value.exit_code
    return ExitCode.OK if stopping.is_set() else ExitCode.FAILED


def _beat(configuration: Configuration, service: Service, console: Console) -> None:
    try:
        if service.halted is None:
            service.beat()
        if configuration.settings.metrics_file:
            write_metrics(Path(configuration.settings.metrics_file), _figures(console))
    except Refusal as refusal:
        _log.warning("no heartbeat", extra={"error": refusal.error.name})
    except OSError as fault:
        _log.warning("no metrics", extra={"cause": type(fault).__name__})
    except Exception:  # noqa: BLE001 - the writer logged and counted it
        _log.error("no heartbeat", exc_info=True)


def _figures(console: Console) -> Figures:
    status = console.status()
    return Figures(
        version=node_version(),
        journal_sequence=status.journal_sequence,
        tip_height=status.tip_height,
        last_contact_s=status.last_contact_s,
        certificate_expires_s=status.certificate_expires_s,
        unsent=status.unsent,
        waiting=status.waiting,
        halted=bool(status.halted),
        refusals=status.refusals,
    )
