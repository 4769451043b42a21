"""The wire to the coordinator: mutual TLS, a deadline on every call, retries where they are safe.

1. Every call has a deadline (the server refuses calls without one).
2. Only UNAVAILABLE is retried, and only for reads and for writes that carry a request_id or are
   the same however often they are sent.
3. A refusal is a `ClientError` with the catalogue's id; nothing else leaves this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import grpc
import stamina

from custodyd.client.errors import ClientError, client_error
from custodyd.client.keys import TLS_KEY_FILE
from custodyd.client.sealing import read_private
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    batch_pb2,
    batch_pb2_grpc,
    deposit_pb2,
    deposit_pb2_grpc,
    event_pb2,
    event_pb2_grpc,
    withdrawal_pb2,
    withdrawal_pb2_grpc,
)

COORDINATOR_NAME: Final = "custodyd-coordinator"
CERTIFICATE_FILE: Final = "tls.crt"
AUTHORITY_FILE: Final = "ca.crt"
CALL_TIMEOUT_S: Final = 10.0
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
PAGE_SIZE: Final = 500
MAX_PAGES: Final = 10_000
LOOKUP_LIMIT: Final = 1_000
ATTEMPTS: Final = 6
RETRY_FOR_S: Final = 20.0
_KEEPALIVE_MS: Final = 30_000
_RECONNECT_FIRST_MS: Final = 100
_RECONNECT_LONGEST_MS: Final = 1_000

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Transport:
    """Where the coordinator is, and the certificate by which it knows the caller (PEM)."""

    address: str
    certificate: bytes
    private_key: bytes
    authority: bytes


def load_transport(folder: Path, address: str) -> Transport:
    """Read `tls.crt`, `tls.key` and `ca.crt` of an enrolled client's folder."""
    try:
        certificate = (folder / CERTIFICATE_FILE).read_bytes()
        authority = (folder / AUTHORITY_FILE).read_bytes()
    except OSError:
        raise CustodydError(
            ErrorId.CLIENT_NOT_ENROLLED, f"{folder} holds no transport certificate"
        ) from None
    return Transport(address, certificate, read_private(folder / TLS_KEY_FILE), authority)


def open_channel(transport: Transport) -> grpc.Channel:
    """A channel that authenticates both ends; it connects when it is used."""
    credentials = grpc.ssl_channel_credentials(
        transport.authority, transport.private_key, transport.certificate
    )
    return secure_channel(transport.address, credentials)


def secure_channel(target: str, credentials: grpc.ChannelCredentials) -> grpc.Channel:
    """A channel whose server must show the coordinator's name, wherever it listens."""
    options = [
        ("grpc.ssl_target_name_override", COORDINATOR_NAME),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.initial_reconnect_backoff_ms", _RECONNECT_FIRST_MS),
        ("grpc.min_reconnect_backoff_ms", _RECONNECT_FIRST_MS),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_LONGEST_MS),
        ("grpc.enable_http_proxy", 0),
    ]
    return grpc.secure_channel(target, credentials, options)


class Coordinator:
    """The coordinator's services as plain methods; use as a context manager.

    `patient=False` gives up on the first UNAVAILABLE, for loops that come back anyway.
    """

    def __init__(self, transport: Transport, *, patient: bool = True) -> None:
        self._channel = open_channel(transport)
        self._attempts = ATTEMPTS if patient else 1
        self._withdrawals = withdrawal_pb2_grpc.WithdrawalServiceStub(self._channel)
        self._deposits = deposit_pb2_grpc.DepositServiceStub(self._channel)
        self._batches = batch_pb2_grpc.BatchServiceStub(self._channel)
        self._events = event_pb2_grpc.EventServiceStub(self._channel)
        self._admin = admin_pb2_grpc.AdminServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the channel and every stream on it."""
        self._channel.close()

    # --- withdrawals ---

    def create_withdrawal(
        self, request_id: str, signed: bytes, *, validate_only: bool = False
    ) -> withdrawal_pb2.CreateWithdrawalResponse:
        """Submit a signed request; the same request_id is the same call."""
        return self._safe(
            self._withdrawals.CreateWithdrawal,
            withdrawal_pb2.CreateWithdrawalRequest(
                request_id=request_id, signed_request=signed, validate_only=validate_only
            ),
        )

    def withdrawal(self, external_id: str) -> withdrawal_pb2.Withdrawal:
        """One withdrawal."""
        return self._safe(
            self._withdrawals.GetWithdrawal,
            withdrawal_pb2.GetWithdrawalRequest(external_id=external_id),
        )

    def lookup(self, external_ids: Sequence[str]) -> withdrawal_pb2.LookupWithdrawalsResponse:
        """Those of at most 1,000 withdrawals that the coordinator knows."""
        return self._safe(
            self._withdrawals.LookupWithdrawals,
            withdrawal_pb2.LookupWithdrawalsRequest(external_ids=external_ids[:LOOKUP_LIMIT]),
        )

    def withdrawals(self, state: int = 0) -> Iterator[withdrawal_pb2.Withdrawal]:
        """All withdrawals, or those in a state."""
        token = ""
        for _ in range(MAX_PAGES):
            page = self._safe(
                self._withdrawals.ListWithdrawals,
                withdrawal_pb2.ListWithdrawalsRequest(
                    page_size=PAGE_SIZE,
                    page_token=token,
                    state=state,  # type: ignore[arg-type]
                ),
            )
            yield from page.withdrawals
            token = page.next_page_token
            if not token:
                return

    # --- deposits ---

    def watch_addresses(self, vault: str, count: int) -> int:
        """Have the coordinator watch the external chain's indices below `count`."""
        answer = self._safe(
            self._deposits.WatchAddresses,
            deposit_pb2.WatchAddressesRequest(vault=vault, count=count),
        )
        return answer.count

    def deposits(self, state: int = 0) -> Iterator[deposit_pb2.Deposit]:
        """All deposits that the coordinator saw; hints, nothing more."""
        token = ""
        for _ in range(MAX_PAGES):
            page = self._safe(
                self._deposits.ListDeposits,
                deposit_pb2.ListDepositsRequest(
                    page_size=PAGE_SIZE,
                    page_token=token,
                    state=state,  # type: ignore[arg-type]
                ),
            )
            yield from page.deposits
            token = page.next_page_token
            if not token:
                return

    # --- batches ---

    def batch(self, batch_id: str) -> batch_pb2.Batch:
        """One batch."""
        return self._safe(self._batches.GetBatch, batch_pb2.GetBatchRequest(batch_id=batch_id))

    def batches(self, state: int = 0) -> Iterator[batch_pb2.Batch]:
        """All batches, or those in a state."""
        token = ""
        for _ in range(MAX_PAGES):
            page = self._safe(
                self._batches.ListBatches,
                batch_pb2.ListBatchesRequest(
                    page_size=PAGE_SIZE,
                    page_token=token,
                    state=state,  # type: ignore[arg-type]
                ),
            )
            yield from page.batches
            token = page.next_page_token
            if not token:
                return

    def unconfirmed_manifests(self) -> Sequence[batch_pb2.UnconfirmedManifest]:
        """Manifests that wait for the payer's confirmation; as many as fit in one message."""
        answer = self._safe(
            self._batches.ListUnconfirmedManifests, batch_pb2.ListUnconfirmedManifestsRequest()
        )
        return answer.manifests

    def confirm_manifest(self, batch_id: str, signed: bytes) -> None:
        """Send a payer confirmation; the same one again changes nothing."""
        self._safe(
            self._batches.ConfirmManifest,
            batch_pb2.ConfirmManifestRequest(batch_id=batch_id, signed_confirmation=signed),
        )

    # --- events ---

    def watch_events(
        self, after_sequence: int, store_incarnation: bytes, timeout_s: float
    ) -> Iterator[event_pb2.WatchEventsResponse]:
        """Events after a sequence until the deadline; raises `ClientError` when it breaks."""
        request = event_pb2.WatchEventsRequest(
            after_sequence=after_sequence, store_incarnation=store_incarnation
        )
        try:
            yield from self._events.WatchEvents(request, timeout=timeout_s)
        except grpc.RpcError as fault:
            raise client_error(fault) from None

    # --- administration ---

    def genesis(self) -> bytes:
        """The genesis as the coordinator gives it: nothing is checked."""
        return self._safe(self._admin.GetGenesis, admin_pb2.GetGenesisRequest()).genesis

    def vault(self, vault: str) -> admin_pb2.Vault:
        """A vault and how far its making is."""
        return self._safe(self._admin.GetVault, admin_pb2.GetVaultRequest(vault=vault))

    def vaults(self) -> Sequence[admin_pb2.Vault]:
        """All vaults."""
        return self._safe(self._admin.ListVaults, admin_pb2.ListVaultsRequest()).vaults

    def create_vault(self, request_id: str, vault: str, kind: str) -> admin_pb2.Vault:
        """Propose a vault to the signer nodes."""
        request = admin_pb2.CreateVaultRequest(request_id=request_id, vault=vault, kind=kind)
        return self._safe(self._admin.CreateVault, request).vault

    def balance(self, vault: str) -> admin_pb2.Balance:
        """A vault's balance as the coordinator counts it."""
        return self._safe(self._admin.GetBalance, admin_pb2.GetBalanceRequest(vault=vault))

    def status(self) -> admin_pb2.Status:
        """Chain, signers, store."""
        return self._safe(self._admin.GetStatus, admin_pb2.GetStatusRequest())

    def release_holds(self, external_ids: Sequence[str]) -> Sequence[str]:
        """Let held withdrawals go into a batch again."""
        request = admin_pb2.ReleaseHoldsRequest(external_ids=external_ids)
        return self._safe(self._admin.ReleaseHolds, request).released

    def _safe(self, method: Callable[..., _Answer], request: _Request) -> _Answer:
        """Call with a deadline; all methods here may be repeated (rule 2 above)."""
        for attempt in stamina.retry_context(
            on=_unavailable,
            attempts=self._attempts,
            timeout=RETRY_FOR_S,
            wait_initial=0.1,
            wait_max=3.0,
        ):
            with attempt:
                try:
                    return method(request, timeout=CALL_TIMEOUT_S)
                except grpc.RpcError as fault:
                    raise client_error(fault) from None
        raise AssertionError  # pragma: no cover - the loop above returns or raises


def _unavailable(fault: Exception) -> bool:
    return isinstance(fault, ClientError) and fault.code is grpc.StatusCode.UNAVAILABLE
