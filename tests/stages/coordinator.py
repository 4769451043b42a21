"""A coordinator of its own for a test: the real daemon in this process, over real mutual TLS.

Its genesis is the world's (tests.world), its vault the world's vault; it listens on free ports and
its chain node is nowhere, so withdrawals are taken in and queued, and nothing is ever batched.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from sqlalchemy import insert

from custodyd.api.certificates import Authority, open_authority
from custodyd.api.identity import parse_identity
from custodyd.chain.rules import VaultState
from custodyd.chain.tables import VAULTS
from custodyd.daemon.config import load_config
from custodyd.daemon.files import DataFolder, write_private
from custodyd.daemon.run import Daemon
from custodyd.daemon.setup import InitOptions, init
from custodyd.rpc.v1 import withdrawal_pb2
from custodyd.store import Store, open_store
from custodyd.store.facts import GENESIS, put_fact
from signer_node import wire
from signer_node.kernel.curve import xonly_from_secret
from signer_node.kernel.documents.request import Request
from tests.world.quorum import RITA, VAULT, World, secret, sign_document

TIMEOUT_S = 10.0
ANY_PORT = "127.0.0.1:0"
P2WPKH = b"\x00\x14" + b"\x07" * 20


def certificate_request() -> tuple[bytes, bytes]:
    """A fresh key and its PKCS#10 request, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ignored")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private, request.public_bytes(serialization.Encoding.PEM)


def reason_of(fault: grpc.RpcError) -> str:
    """ErrorInfo.reason of a refused call, or the bare code."""
    assert isinstance(fault, grpc.Call)
    status = rpc_status.from_call(fault)
    for packed in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if packed.Is(info.DESCRIPTOR) and packed.Unpack(info):
            assert info.domain == "custodyd"
            return str(info.reason)
    return f"GRPC_{fault.code().name}"


@dataclass(frozen=True, slots=True)
class Coordinator:
    """The running daemon, and what a test needs to call it."""

    daemon: Daemon
    folder: DataFolder
    store: Store
    world: World

    @property
    def authority(self) -> Authority:
        return open_authority(self.folder.authority())

    @contextmanager
    def channel(self, uri: str = "spiffe://custodyd/backend/b") -> Iterator[grpc.Channel]:
        """A channel whose certificate carries this identity."""
        private, request = certificate_request()
        certificate = self.authority.issue_client(request, parse_identity(uri))
        credentials = grpc.ssl_channel_credentials(self.authority.pem, private, certificate)
        with grpc.secure_channel(self.address, credentials) as channel:
            yield channel

    @property
    def address(self) -> str:
        return f"localhost:{self.daemon.servers.mutual_port}"

    def request(self, **changes: Any) -> bytes:
        """A signed request of the backend's, valid now unless changed."""
        now_s = int(time.time())
        fields: dict[str, Any] = {
            "genesis": self.world.genesis.digest,
            "vault": VAULT,
            "key": xonly_from_secret(secret("backend")),
            "withdrawal_id": f"w-{uuid.uuid4().hex}",
            "script": P2WPKH,
            "amount_sat": 50_000,
            "account": "acme",
            "initiator": RITA,
            "issued_at_s": now_s,
            "valid_until_s": now_s + 3_600,
            "memo_hash": bytes(32),
        }
        signer = changes.pop("signer", "backend")
        return sign_document(Request(**(fields | changes)), secret(signer))

    def create(self, signed: bytes, **changes: Any) -> withdrawal_pb2.CreateWithdrawalRequest:
        """The call around a signed request."""
        fields: dict[str, Any] = {"request_id": str(uuid.uuid4()), "signed_request": signed}
        return withdrawal_pb2.CreateWithdrawalRequest(**(fields | changes))


def make_folder(path: Path, store_url: str = "") -> DataFolder:
    """An initialised data folder that listens on free ports and reaches no chain node."""
    write_private_file = path.parent / f"{path.name}-cookie"
    write_private(write_private_file, b"user:password")
    init(
        InitOptions(
            data_dir=path,
            network="regtest",
            chain_port=1,
            chain_credentials_file=str(write_private_file),
            store_url=store_url,
            more=f'[api]\naddress = "{ANY_PORT}"\nenrolment_address = "{ANY_PORT}"\n'
            f'[telemetry]\naddress = "{ANY_PORT}"\n',
        )
    )
    return DataFolder(path)


@contextmanager
def running(
    path: Path, store_url: str = "", overrides: Mapping[str, str] | None = None
) -> Iterator[Coordinator]:
    """A coordinator with the world's genesis and vault."""
    world = World()
    folder = make_folder(path, store_url)
    folder.envelope_key.unlink()
    write_private(folder.envelope_key, secret("coordinator").hex().encode())
    loaded = load_config(path, overrides)
    store = open_store(loaded.store_url())
    with store.transaction() as connection:
        put_fact(connection, GENESIS, world.genesis.raw)
        certificate = world.vault.certificate
        connection.execute(
            insert(VAULTS).values(
                vault=VAULT,
                kind="wsh-sortedmulti",
                epoch=0,
                state=VaultState.CERTIFIED,
                draft=wire.encode(certificate.document),
                digest=certificate.digest,
                created_at_s=0,
                asked_at_s=0,
                birth_height=0,
                deposit_count=0,
                external_watched=0,
                internal_watched=0,
                next_change=0,
            )
        )
    daemon = Daemon(loaded)
    try:
        yield Coordinator(daemon, folder, store, world)
    finally:
        daemon.close()
        store.close()
