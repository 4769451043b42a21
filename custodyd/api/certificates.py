"""The small certificate authority of the coordinator's: it gives transport, never trust.

Who holds a certificate may talk; what is said is believed for its envelope's signature alone. Keys
are P-256 (what TLS stacks agree on), certificates carry one identity as URI SAN, the authority's
own key lies in the coordinator's folder.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from custodyd.api.identity import Identity, Role
from custodyd.errors import CustodydError, ErrorId

AUTHORITY_DAYS: Final = 3_650
CERTIFICATE_DAYS: Final = 90
SERVER_NAME: Final = "custodyd-coordinator"
LOCAL_NAMES: Final = (SERVER_NAME, "localhost", "127.0.0.1")
MAX_REQUEST_BYTES: Final = 16_384
_MIN_RSA_BITS: Final = 2_048
# Clocks of the hosts may differ by so much.
_BACKDATED: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key and its certificate chain, both PEM."""

    private_key: bytes = field(repr=False)
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority, opened."""

    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def pem(self) -> bytes:
        """The authority's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the certificate's DER: what an enrolment token pins."""
        return sha256(self.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    def issue_client(self, request_pem: bytes, identity: Identity) -> bytes:
        """A client certificate, PEM, for the key of a PKCS#10 request; its subject is ignored.

        Raises CERTIFICATE_REQUEST_INVALID.
        """
        request = _open_request(request_pem)
        builder = self._builder(request.public_key(), identity.name)  # type: ignore[arg-type]
        certificate = (
            builder.add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity.uri)]),
                critical=False,
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def issue_server(self, names: Sequence[str]) -> KeyPair:
        """A server key with a certificate for these names; the chain ends with the authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        identity = Identity(Role.COORDINATOR, SERVER_NAME)
        sans: list[x509.GeneralName] = [_general_name(name) for name in names]
        sans.append(x509.UniformResourceIdentifier(identity.uri))
        certificate = (
            self._builder(key.public_key(), SERVER_NAME)
            .add_extension(x509.SubjectAlternativeName(sans), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        # The chain carries the authority, so that an enrolling node can compare it with its token.
        chain = certificate.public_bytes(serialization.Encoding.PEM) + self.pem
        return KeyPair(_private_pem(key), chain)

    def _builder(
        self, public_key: ec.EllipticCurvePublicKey, common_name: str
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(authority_key, critical=False)
        )


def make_authority() -> KeyPair:
    """A new authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name("custodyd transport authority"))
        .issuer_name(_name("custodyd transport authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(_private_pem(key), certificate.public_bytes(serialization.Encoding.PEM))


def open_authority(pair: KeyPair) -> Authority:
    """The authority of its two files; raises FILE_UNREADABLE."""
    try:
        key = serialization.load_pem_private_key(pair.private_key, password=None)
        certificate = x509.load_pem_x509_certificate(pair.certificate)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CustodydError(ErrorId.FILE_UNREADABLE, "the authority's files do not parse") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CustodydError(ErrorId.FILE_UNREADABLE, "the authority's key is of another kind")
    return Authority(certificate, key)


def expires_at_s(certificate_pem: bytes) -> int:
    """When a certificate (the first of a chain) expires, seconds since 1970."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    return int(certificate.not_valid_after_utc.timestamp())


def _open_request(pem: bytes) -> x509.CertificateSigningRequest:
    if len(pem) > MAX_REQUEST_BYTES:
        raise _bad_request("too long")
    try:
        request = x509.load_pem_x509_csr(pem)
        key = request.public_key()
        is_signed = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        raise _bad_request("does not parse") from None
    if not is_signed:
        raise _bad_request("its signature does not verify")
    good = (
        isinstance(key, ed25519.Ed25519PublicKey)
        or (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1))
        or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS)
    )
    if not good:
        raise _bad_request("its key is none of P-256, Ed25519, RSA of 2048 bits")
    return request


def _bad_request(detail: str) -> CustodydError:
    return CustodydError(ErrorId.CERTIFICATE_REQUEST_INVALID, detail, field="certificate_request")


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
