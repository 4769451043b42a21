"""How a backend or an SRE gets a transport certificate: by a one-time token, later by the old one.

A token is `custodyd1.<base32 secret>.<hex SHA-256 of the CA certificate's DER>`. The chain that the
enrolment port shows is fetched without trust; the CA in it is trusted if its fingerprint is the
token's; then the real call is made, verified by that CA alone. It gives transport only: what is
believed of the quorum stands on the genesis words.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from custodyd.client.connection import (
    AUTHORITY_FILE,
    CALL_TIMEOUT_S,
    CERTIFICATE_FILE,
    COORDINATOR_NAME,
    load_transport,
    open_channel,
    secure_channel,
)
from custodyd.client.errors import client_error
from custodyd.client.keys import Identity, certificate_request, tls_public_key
from custodyd.client.sealing import replace_private
from custodyd.errors import CustodydError, ErrorId
from signer_node.mailbox.v1 import enrolment_pb2, enrolment_pb2_grpc

_TOKEN: Final = re.compile(r"custodyd1\.[A-Z2-7=]{16,128}\.([0-9a-f]{64})")
_MAX_CHAIN: Final = 5


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What an enrolment gave: where the coordinator's mTLS port is."""

    address: str


def enroll(folder: Path, token: str, target: str, identity: Identity | None) -> Enrolled:
    """Take the slot that a token opens: a backend's with an identity, an admin's without."""
    authority = _authority(target, fingerprint_of(token))
    request = enrolment_pb2.EnrollRequest(
        token=token.strip(), certificate_request=certificate_request(folder)
    )
    if identity is None:
        request.admin.SetInParent()
    else:
        request.backend.request_key = identity.key
        request.backend.people.extend(identity.people)
    with closing(secure_channel(target, grpc.ssl_channel_credentials(authority))) as channel:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
        try:
            answer = stub.Enroll(request, timeout=CALL_TIMEOUT_S)
        except grpc.RpcError as fault:
            raise client_error(fault) from None
    if authority.strip() not in answer.certificate_authority:
        raise CustodydError(ErrorId.AUTHORITY_DIFFERS, "the answer names another one")
    _store(folder, answer.certificate, authority)
    return Enrolled(answer.coordinator_address or target)


def renew(folder: Path, address: str) -> int:
    """Replace the transport certificate; returns when the new one ends (Unix seconds)."""
    request = enrolment_pb2.RenewRequest(certificate_request=certificate_request(folder))
    with closing(open_channel(load_transport(folder, address))) as channel:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
        try:
            answer = stub.Renew(request, timeout=CALL_TIMEOUT_S)
        except grpc.RpcError as fault:
            raise client_error(fault) from None
    authority = answer.certificate_authority or (folder / AUTHORITY_FILE).read_bytes()
    _store(folder, answer.certificate, authority)
    return certificate_expiry_s(folder)


def certificate_expiry_s(folder: Path) -> int:
    """Unix seconds at which the transport certificate ends."""
    try:
        chain = x509.load_pem_x509_certificates((folder / CERTIFICATE_FILE).read_bytes())
    except (OSError, ValueError):
        raise CustodydError(ErrorId.CLIENT_NOT_ENROLLED, str(folder)) from None
    return int(chain[0].not_valid_after_utc.timestamp())


def fingerprint_of(token: str) -> bytes:
    """The SHA-256 of the CA certificate that a token names; raises TOKEN_MALFORMED."""
    match = _TOKEN.fullmatch(token.strip())
    if match is None:
        raise CustodydError(ErrorId.TOKEN_MALFORMED)
    return bytes.fromhex(match[1])


def _store(folder: Path, certificate: bytes, authority: bytes) -> None:
    """Keep what was issued, if it is for our key."""
    try:
        chain = x509.load_pem_x509_certificates(certificate)
        x509.load_pem_x509_certificates(authority)
    except ValueError:
        raise CustodydError(ErrorId.TOKEN_INVALID, "the answer holds no certificate") from None
    if chain[0].public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    ) != tls_public_key(folder):
        raise CustodydError(ErrorId.TOKEN_INVALID, "the certificate is for another key")
    replace_private(folder / AUTHORITY_FILE, authority)
    replace_private(folder / CERTIFICATE_FILE, certificate)


def _authority(target: str, fingerprint: bytes) -> bytes:
    """The CA certificate, PEM, that the server shows and whose fingerprint the token names."""
    for der in _shown_chain(target):
        if sha256(der).digest() == fingerprint:
            return ssl.DER_cert_to_PEM_cert(der).encode()
    raise CustodydError(ErrorId.AUTHORITY_DIFFERS, target)


def _shown_chain(target: str) -> Sequence[bytes]:
    """The chain of the TLS handshake, DER; nothing is trusted yet."""
    host, _colon, port = target.rpartition(":")
    if not host or not port.isdigit():
        raise CustodydError(ErrorId.CONFIG_INVALID, f"{target!r} is not host:port")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CALL_TIMEOUT_S) as plain:
            with context.wrap_socket(plain, server_hostname=COORDINATOR_NAME) as secure:
                return _chain_of(secure)[:_MAX_CHAIN]
    except OSError as fault:
        raise CustodydError(ErrorId.COORDINATOR_UNREACHABLE, f"{target}: {fault}") from None


def _chain_of(secure: ssl.SSLSocket) -> list[bytes]:
    """Python 3.13 has a method for this; before, the object under it has one."""
    if hasattr(secure, "get_unverified_chain"):
        return list(secure.get_unverified_chain())
    inner: Any = secure._sslobj  # type: ignore[attr-defined]
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in inner.get_unverified_chain()]
