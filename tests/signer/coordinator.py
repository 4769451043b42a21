"""A coordinator's mailbox and enrolment port for one node, as the protocol asks for them: a CA of
its own, mutual TLS, a store that can be lost."""

from __future__ import annotations

import base64
import datetime
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from signer_node.mailbox.v1 import (
    enrolment_pb2,
    enrolment_pb2_grpc,
    mailbox_pb2,
    mailbox_pb2_grpc,
)

NAME = "custodyd-coordinator"
DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority that gives transport and nothing else."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("ca", self.key.public_key(), None, is_ca=True)

    def _sign(
        self, name: str, public: Any, san: x509.GeneralName | None, *, is_ca: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + 30 * DAY)
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        )
        if san is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([san]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        return sha256(self.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    def issue(self, request_pem: bytes, uri: str) -> bytes:
        request = x509.load_pem_x509_csr(request_pem)
        san = x509.UniformResourceIdentifier(uri)
        issued = self._sign("node", request.public_key(), san)
        return issued.public_bytes(serialization.Encoding.PEM) + self.pem

    def server_pair(self) -> tuple[bytes, bytes]:
        """Key and chain (with the CA in it, for enrolment) of the coordinator's ports."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign("coordinator", key.public_key(), x509.DNSName(NAME))
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return pem, certificate.public_bytes(serialization.Encoding.PEM) + self.pem


class Coordinator(
    mailbox_pb2_grpc.MailboxServiceServicer, enrolment_pb2_grpc.EnrolmentServiceServicer
):
    """Both ports. `post` puts an envelope into the node's inbox, `received` is what it sent."""

    def __init__(self) -> None:
        self.authority = Authority()
        self.token_secret = base64.b32encode(os.urandom(20)).decode()
        self.changed = threading.Condition()
        self.incarnation = os.urandom(16)
        self.inbox: list[bytes] = []
        self.received: list[bytes] = []
        self.cursor = 0
        self.enrolled: list[Any] = []
        self.fail_next = 0
        self._server: grpc.Server | None = None
        self._port = 0
        self._start_enrolment()
        self.start()

    @property
    def token(self) -> str:
        return f"custodyd1.{self.token_secret}.{self.authority.fingerprint}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    # --- servers ---

    def _start_enrolment(self) -> None:
        key, chain = self.authority.server_pair()
        self._enrolment = grpc.server(ThreadPoolExecutor(2))
        enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(self, self._enrolment)
        credentials = grpc.ssl_server_credentials([(key, chain)])
        port = self._enrolment.add_secure_port("127.0.0.1:0", credentials)
        self.enrolment_address = f"127.0.0.1:{port}"
        self._enrolment.start()

    def start(self) -> None:
        """(Re)start the mTLS port, on the same port number."""
        key, chain = self.authority.server_pair()
        limits = [("grpc.max_receive_message_length", 16 << 20), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(8), options=limits)
        mailbox_pb2_grpc.add_MailboxServiceServicer_to_server(self, self._server)
        enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(self, self._server)
        credentials = grpc.ssl_server_credentials(
            [(key, chain)], self.authority.pem, require_client_auth=True
        )
        self._port = self._server.add_secure_port(f"127.0.0.1:{self._port}", credentials)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            with self.changed:
                self.changed.notify_all()
            self._server.stop(0).wait()
            self._server = None

    def close(self) -> None:
        self.stop()
        self._enrolment.stop(0).wait()

    def lose_store(self) -> None:
        """Yesterday's database, or none: another incarnation."""
        with self.changed:
            self.incarnation = os.urandom(16)
            self.inbox = []
            self.cursor = 0

    # --- services ---

    def Enroll(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        if request.token != self.token:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "ENROLMENT_TOKEN_UNKNOWN")
        self.enrolled.append(request.signer)
        return enrolment_pb2.EnrollResponse(
            certificate=self.authority.issue(request.certificate_request, f"spiffe://{NAME}/s1"),
            certificate_authority=self.authority.pem,
            coordinator_address=self.address,
        )

    def Renew(self, request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
        return enrolment_pb2.RenewResponse(
            certificate=self.authority.issue(request.certificate_request, f"spiffe://{NAME}/s1"),
            certificate_authority=self.authority.pem,
        )

    def Sync(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        with self.changed:
            if self.fail_next:
                self.fail_next -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "as the test wants it")
            same = request.store_incarnation == self.incarnation
            after = request.cursor if same else 0
            self.cursor = max(self.cursor, after)
            self.received.extend(request.outbox)
            self.changed.notify_all()
            if request.wait_ms:
                self.changed.wait_for(
                    lambda: len(self.inbox) > after or self._server is None,
                    request.wait_ms / 1000,
                )
            items = [
                mailbox_pb2.InboxItem(sequence=number, envelope=envelope)
                for number, envelope in enumerate(self.inbox, 1)
                if number > after
            ]
            return mailbox_pb2.SyncResponse(store_incarnation=self.incarnation, inbox=items[:8])

    # --- the test's side ---

    def post(self, envelope: bytes) -> int:
        with self.changed:
            self.inbox.append(envelope)
            self.changed.notify_all()
            return len(self.inbox)

    def wait_taken(self, sequence: int, timeout_s: float = 20) -> None:
        """Until the node asks from beyond this item: its effects are durable there."""
        with self.changed:
            taken = self.changed.wait_for(lambda: self.cursor >= sequence, timeout_s)
        if not taken:
            raise AssertionError(f"the node took {self.cursor} of {sequence} items")

    def wait_received(self, count: int, timeout_s: float = 20) -> list[bytes]:
        with self.changed:
            came = self.changed.wait_for(lambda: len(self.received) >= count, timeout_s)
        if not came:
            raise AssertionError(f"{len(self.received)} envelopes of {count} came")
        return list(self.received)
