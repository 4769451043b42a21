"""Mutual TLS to the coordinator: transport only, trust is in envelopes.

Enrolment: a token `custodyd1.<base32 secret>.<hex SHA-256 of the CA certificate's DER>` opens one
slot once. The chain that the enrolment port shows is fetched without trust; the CA in it is trusted
if its fingerprint is the token's; then the real call is made, verified by that CA alone.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from signer_node.adapters.folder import Folder, read_file, write_file
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.mailbox.v1 import enrolment_pb2, enrolment_pb2_grpc

COORDINATOR_NAME: Final = "custodyd-coordinator"
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
CALL_TIMEOUT_S: Final = 30.0
_TOKEN: Final = re.compile(r"custodyd1\.[A-Z2-7=]{16,128}\.([0-9a-f]{64})")
_MAX_CHAIN: Final = 5
_KEEPALIVE_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class OperatorPublic:
    """An operator's public part, for the enrolment."""

    person: str
    role: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who asks for a seat: the node's public keys and its operators."""

    identity_key: bytes
    host_key: bytes
    operators: tuple[OperatorPublic, ...]


def new_tls_key() -> bytes:
    """Return a fresh P-256 key, PKCS#8 PEM without encryption: it is sealed like every secret."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def certificate_request(tls_key: bytes) -> bytes:
    """Return a PKCS#10 request, PEM. The coordinator decides the name, so it carries none."""
    key: Any = serialization.load_pem_private_key(tls_key, None)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer-node")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def open_channel(folder: Folder, tls_key: bytes, target: str) -> grpc.Channel:
    """Return a channel that authenticates both ends; it connects when it is used."""
    credentials = grpc.ssl_channel_credentials(
        read_file(folder.authority), tls_key, read_file(folder.certificate)
    )
    return _channel(target, credentials)


def _channel(target: str, credentials: grpc.ChannelCredentials) -> grpc.Channel:
    options = [
        ("grpc.ssl_target_name_override", COORDINATOR_NAME),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.enable_http_proxy", 0),
    ]
    return grpc.secure_channel(target, credentials, options)


# --- enrolment ---


def enroll(folder: Folder, token: str, target: str, tls_key: bytes, who: Applicant) -> str:
    """Take the slot that a token opens; return the address of the coordinator's mTLS port."""
    authority = _authority(target, _fingerprint_of(token))
    request = enrolment_pb2.EnrollRequest(
        token=token,
        certificate_request=certificate_request(tls_key),
        signer=enrolment_pb2.SignerEnrolment(
            identity_key=who.identity_key,
            host_key=who.host_key,
            operators=[
                enrolment_pb2.OperatorEnrolment(person=one.person, role=one.role, key=one.key)
                for one in who.operators
            ],
        ),
    )
    with _channel(target, grpc.ssl_channel_credentials(authority)) as channel:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
        response = _call(lambda: stub.Enroll(request, timeout=CALL_TIMEOUT_S))
    if authority.strip() not in response.certificate_authority:
        raise Refusal(ErrorId.ENROLMENT_REFUSED, "the answer names another authority")
    address = response.coordinator_address or target
    _store(folder, response.certificate, authority, tls_key)
    write_file(folder.coordinator, address.encode() + b"\n")
    return address


def renew(folder: Folder, tls_key: bytes, target: str) -> None:
    """Replace the transport certificate by a newer one."""
    request = enrolment_pb2.RenewRequest(certificate_request=certificate_request(tls_key))
    with open_channel(folder, tls_key, target) as channel:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
        response = _call(lambda: stub.Renew(request, timeout=CALL_TIMEOUT_S))
    authority = response.certificate_authority or read_file(folder.authority)
    _store(folder, response.certificate, authority, tls_key)


def certificate_expiry_s(folder: Folder) -> int:
    """Unix seconds at which the transport certificate ends."""
    chain = x509.load_pem_x509_certificates(read_file(folder.certificate))
    return int(chain[0].not_valid_after_utc.timestamp())


def _call(call: Any) -> Any:
    try:
        return call()
    except grpc.RpcError as fault:
        code, detail = fault.code(), str(fault.details())[:200]
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise Refusal(ErrorId.COORDINATOR_UNREACHABLE, detail) from None
        raise Refusal(ErrorId.ENROLMENT_REFUSED, f"{code.name}: {detail}") from None


def _store(folder: Folder, certificate: bytes, authority: bytes, tls_key: bytes) -> None:
    """Keep what was issued, if it is for our key."""
    key = serialization.load_pem_private_key(tls_key, None)
    try:
        chain = x509.load_pem_x509_certificates(certificate)
        x509.load_pem_x509_certificates(authority)
    except ValueError:
        raise Refusal(ErrorId.ENROLMENT_REFUSED, "the answer holds no certificate") from None
    if chain[0].public_key() != key.public_key():
        raise Refusal(ErrorId.ENROLMENT_REFUSED, "the certificate is for another key")
    write_file(folder.authority, authority)
    write_file(folder.certificate, certificate)


def _fingerprint_of(token: str) -> bytes:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise Refusal(ErrorId.ENROLMENT_REFUSED, "this is no token of the form custodyd1.X.Y")
    return bytes.fromhex(match[1])


def _authority(target: str, fingerprint: bytes) -> bytes:
    """The CA certificate, PEM, that the server shows and whose fingerprint the token names."""
    for der in _shown_chain(target):
        if sha256(der).digest() == fingerprint:
            return ssl.DER_cert_to_PEM_cert(der).encode()
    detail = "the coordinator shows no certificate authority with the token's fingerprint"
    raise Refusal(ErrorId.ENROLMENT_REFUSED, detail)


def _shown_chain(target: str) -> Sequence[bytes]:
    """The chain of the TLS handshake, DER; nothing is trusted yet."""
    host, _colon, port = target.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CALL_TIMEOUT_S) as plain:
            with context.wrap_socket(plain, server_hostname=COORDINATOR_NAME) as secure:
                return _chain_of(secure)[:_MAX_CHAIN]
    except ValueError:
        raise Refusal(ErrorId.CONFIG_INVALID, f"{target!r} is not host:port") from None
    except OSError as fault:
        raise Refusal(ErrorId.COORDINATOR_UNREACHABLE, f"{target}: {fault}") from None


def _chain_of(secure: ssl.SSLSocket) -> list[bytes]:
    """Python 3.13 has a method for this; before, the object under it has one."""
    if hasattr(secure, "get_unverified_chain"):
        return list(secure.get_unverified_chain())
    inner: Any = secure._sslobj  # type: ignore[attr-defined]
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in inner.get_unverified_chain()]
