"""B's keys, made on B's own host: the request key, sealed, and the key of its transport.

The request key signs requests and payer confirmations and nothing else; its secret is in memory
only inside `RequestKey`, which never shows it. The transport key is no secret of the protocol
(trust is in envelopes and signed documents), so it lies in a file of mode 0600.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from custodyd.client.sealing import COST_LOG2, read_private, seal, unseal, write_private
from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel import curve
from signer_node.kernel.errors import ErrorId as SignerErrorId
from signer_node.kernel.errors import Refusal

KIND: Final = "request-key"
KEY_FILE: Final = "request.key"
IDENTITY_FILE: Final = "identity.json"
TLS_KEY_FILE: Final = "tls.key"


@dataclass(frozen=True, slots=True)
class Identity:
    """What is public of a client: its x-only request key and the people behind it."""

    key: bytes
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The request key, opened."""

    public: bytes
    _secret: bytes = field(repr=False)

    def sign(self, digest: bytes) -> bytes:
        """BIP-340 signature over a document digest, with fresh auxiliary randomness."""
        return curve.sign_schnorr(self._secret, digest, os.urandom(curve.AUX_BYTES))


def make_keys(
    folder: Path, people: Sequence[str], passphrase: bytes, cost_log2: int = COST_LOG2
) -> Identity:
    """Make request key and transport key in a folder that has none."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (folder / KEY_FILE).exists():
        raise CustodydError(ErrorId.CLIENT_ALREADY_INITIALISED, str(folder))
    secret = _fresh_secret()
    identity = Identity(curve.xonly_from_secret(secret), tuple(people))
    record = {"key": identity.key.hex(), "people": list(people)}
    (folder / IDENTITY_FILE).write_text(json.dumps(record, indent=1) + "\n")
    make_tls_key(folder)
    write_private(folder / KEY_FILE, seal(secret, KIND, passphrase, cost_log2))
    return identity


def load_identity(folder: Path) -> Identity:
    """What is public of the client in this folder."""
    try:
        record = json.loads((folder / IDENTITY_FILE).read_text())
        return Identity(bytes.fromhex(record["key"]), tuple(record["people"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise CustodydError(ErrorId.CLIENT_NOT_INITIALISED, str(folder)) from None


def open_request_key(folder: Path, passphrase: bytes) -> RequestKey:
    """Unseal the request key."""
    if not (folder / KEY_FILE).exists():
        raise CustodydError(ErrorId.CLIENT_NOT_INITIALISED, str(folder))
    secret = unseal(read_private(folder / KEY_FILE), KIND, passphrase)
    return RequestKey(curve.xonly_from_secret(secret), secret)


def make_tls_key(folder: Path) -> None:
    """Make a transport key (P-256) unless one is there."""
    if (folder / TLS_KEY_FILE).exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(folder / TLS_KEY_FILE, pem)


def certificate_request(folder: Path) -> bytes:
    """PEM PKCS#10 for the transport key; the coordinator decides name and role by itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "custodyd-client")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = request.sign(_tls_key(folder), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def tls_public_key(folder: Path) -> bytes:
    """The transport key's public part, DER."""
    return (
        _tls_key(folder)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _tls_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(read_private(folder / TLS_KEY_FILE), None)
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Refusal(SignerErrorId.KEY_FILE_INVALID, f"{folder / TLS_KEY_FILE}")
    return key


def _fresh_secret() -> bytes:
    while True:
        secret = os.urandom(curve.SECRET_BYTES)
        try:
            curve.xonly_from_secret(secret)
        except curve.BadKey:
            continue
        return secret
