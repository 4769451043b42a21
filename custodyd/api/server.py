"""The two gRPC servers: the port with client certificates, and the enrolment port.

Both speak TLS with a certificate that the daemon may replace while they run. SIGTERM ends them
gracefully: health says NOT_SERVING, streams and long polls end by themselves, running calls finish
within the grace.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from custodyd.api.admin import Admin
from custodyd.api.batches import Batches
from custodyd.api.certificates import KeyPair
from custodyd.api.deposits import Deposits
from custodyd.api.enrolment import Enrolment
from custodyd.api.events import Events
from custodyd.api.gate import MAX_MESSAGE_BYTES, Gate
from custodyd.api.identity import METHOD_ROLES
from custodyd.api.mailbox import Mailbox
from custodyd.api.premises import WORKERS, Premises
from custodyd.api.withdrawals import Withdrawals
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import (
    admin_pb2_grpc,
    batch_pb2_grpc,
    deposit_pb2_grpc,
    event_pb2_grpc,
    withdrawal_pb2_grpc,
)
from custodyd.telemetry.metrics import initialise_method
from signer_node.mailbox.v1 import enrolment_pb2_grpc, mailbox_pb2_grpc

ENROLMENT_WORKERS: Final = 4
SERVICES: Final = (
    "custodyd.rpc.v1.WithdrawalService",
    "custodyd.rpc.v1.DepositService",
    "custodyd.rpc.v1.EventService",
    "custodyd.rpc.v1.BatchService",
    "custodyd.rpc.v1.AdminService",
    "signer_node.mailbox.v1.MailboxService",
    "signer_node.mailbox.v1.EnrolmentService",
)
_STREAMS: Final = frozenset({"WatchEvents", "Watch", "ServerReflectionInfo"})
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A second process on the same address must fail, not share it.
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen, host:port; `certificate` gives the present server certificate."""

    mutual: str
    enrolment: str
    authority: bytes
    certificate: Callable[[], KeyPair]
    has_reflection: bool = False


class Servers:
    """Both servers, running."""

    def __init__(self, premises: Premises, ports: Ports) -> None:
        self._premises = premises
        # Watch of a library's health servicer would hold a worker: it is closed in the role table.
        self._health = health.HealthServicer(experimental_non_blocking=False)
        self._mutual = self._mutual_server(ports)
        self._enrolment = self._enrolment_server()
        self._set_health(health_pb2.HealthCheckResponse.SERVING)
        self.mutual_port = _listen(self._mutual, ports.mutual, _credentials(ports, mutual=True))
        self.enrolment_port = _listen(
            self._enrolment, ports.enrolment, _credentials(ports, mutual=False)
        )
        self._mutual.start()
        self._enrolment.start()

    def stop(self, grace_s: float) -> None:
        """End gracefully; returns when nothing runs any more."""
        self._health.enter_graceful_shutdown()
        self._premises.stopping.set()
        self._premises.store.changes.notify()
        ends = [server.stop(grace_s) for server in (self._mutual, self._enrolment)]
        for end in ends:
            end.wait()

    def _mutual_server(self, ports: Ports) -> grpc.Server:
        server = grpc.server(
            ThreadPoolExecutor(WORKERS, "api"), interceptors=[Gate()], options=_OPTIONS
        )
        premises = self._premises
        withdrawal_pb2_grpc.add_WithdrawalServiceServicer_to_server(Withdrawals(premises), server)
        deposit_pb2_grpc.add_DepositServiceServicer_to_server(Deposits(premises), server)
        event_pb2_grpc.add_EventServiceServicer_to_server(Events(premises), server)
        batch_pb2_grpc.add_BatchServiceServicer_to_server(Batches(premises), server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(Admin(premises), server)
        mailbox_pb2_grpc.add_MailboxServiceServicer_to_server(Mailbox(premises), server)
        enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(Enrolment(premises), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if ports.has_reflection:
            reflection.enable_server_reflection((*SERVICES, reflection.SERVICE_NAME), server)
        for method in METHOD_ROLES:
            _, service, name = method.split("/")
            kind = "server_stream" if name in _STREAMS else "unary"
            initialise_method(kind, service, name)
        return server

    def _enrolment_server(self) -> grpc.Server:
        server = grpc.server(
            ThreadPoolExecutor(ENROLMENT_WORKERS, "enrolment"),
            interceptors=[Gate(is_open=True)],
            options=_OPTIONS,
        )
        enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(Enrolment(self._premises), server)
        return server

    def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
        for service in ("", *SERVICES):
            self._health.set(service, status)


def _credentials(ports: Ports, *, mutual: bool) -> grpc.ServerCredentials:
    """TLS that asks for the certificate again at each handshake, and takes a newer one."""
    used = ports.certificate()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        current = ports.certificate()
        if current is used:
            return None
        used = current
        return configuration(current)

    def configuration(pair: KeyPair) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(pair.private_key, pair.certificate)], ports.authority if mutual else None
        )

    return grpc.dynamic_ssl_server_credentials(
        configuration(used),
        fetch,  # type: ignore[arg-type]  # the types forget that None means: no change
        require_client_authentication=mutual,
    )


def _listen(server: grpc.Server, address: str, credentials: grpc.ServerCredentials) -> int:
    try:
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        raise CustodydError(ErrorId.PORT_TAKEN, address) from None
