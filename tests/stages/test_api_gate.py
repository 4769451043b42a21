"""The gate of the API: who may call what, how, and how the servers begin and end."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import grpc
import pytest
from cryptography import x509
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from custodyd.api import errors
from custodyd.api.certificates import CERTIFICATE_DAYS, make_authority, open_authority
from custodyd.api.gate import MAX_REQUEST_BYTES
from custodyd.api.identity import METHOD_ROLES, OPEN_METHODS, Role, parse_identity
from custodyd.api.premises import MAX_LONG_POLLS, MAX_STREAMS, WORKERS
from custodyd.api.server import SERVICES
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    event_pb2,
    event_pb2_grpc,
    withdrawal_pb2,
    withdrawal_pb2_grpc,
)
from signer_node.kernel.errors import ErrorId as SignerErrorId
from signer_node.kernel.errors import Refusal
from signer_node.mailbox.v1 import (
    enrolment_pb2,
    enrolment_pb2_grpc,
    mailbox_pb2,
    mailbox_pb2_grpc,
)
from tests.stages.coordinator import (
    TIMEOUT_S,
    Coordinator,
    certificate_request,
    reason_of,
    running,
)

SIGNER = "spiffe://custodyd/signer/s1"
ADMIN = "spiffe://custodyd/admin/sre"
OBSERVER = "spiffe://custodyd/observer/o"


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    with running(tmp_path_factory.mktemp("gate") / "c") as one:
        yield one


def _served() -> dict[str, Any]:
    pool = descriptor_pool.Default()
    return {
        f"/{name}/{method.name}": method
        for name in SERVICES
        for method in pool.FindServiceByName(name).methods
    }


# ------------------------------------------------------------------------------------------- roles
def test_every_method_that_is_served_has_its_roles_written_down() -> None:
    assert set(_served()) <= set(METHOD_ROLES) | OPEN_METHODS


def _call(channel: grpc.Channel, path: str, request: bytes, is_stream: bool) -> None:
    if is_stream:
        stream: Any = channel.unary_stream(path)
        next(stream(request, timeout=5))
    else:
        call: Any = channel.unary_unary(path)
        call(request, timeout=5)


def test_no_role_reaches_a_method_that_the_table_does_not_give_it(coordinator: Coordinator) -> None:
    for role in (Role.SIGNER, Role.BACKEND, Role.ADMIN, Role.OBSERVER):
        with coordinator.channel(f"spiffe://custodyd/{role.value}/x") as channel:
            for path, method in _served().items():
                if role in METHOD_ROLES.get(path, ()):
                    continue
                request = message_factory.GetMessageClass(method.input_type)()
                with pytest.raises(grpc.RpcError) as refused:
                    _call(channel, path, request.SerializeToString(), method.server_streaming)
                assert reason_of(refused.value) == "ROLE_FORBIDDEN", (role, path)


def test_a_certificate_of_another_authority_reaches_nothing(coordinator: Coordinator) -> None:
    foreign = open_authority(make_authority())
    private, request = certificate_request()
    certificate = foreign.issue_client(request, parse_identity(ADMIN))
    credentials = grpc.ssl_channel_credentials(coordinator.authority.pem, private, certificate)
    with grpc.secure_channel(coordinator.address, credentials) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            admin_pb2_grpc.AdminServiceStub(channel).GetStatus(
                admin_pb2.GetStatusRequest(), timeout=5
            )
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_no_certificate_reaches_nothing(coordinator: Coordinator) -> None:
    credentials = grpc.ssl_channel_credentials(coordinator.authority.pem)
    with grpc.secure_channel(coordinator.address, credentials) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            admin_pb2_grpc.AdminServiceStub(channel).GetStatus(
                admin_pb2.GetStatusRequest(), timeout=5
            )
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    "uri",
    ["", "spiffe://custodyd/root/x", "spiffe://other/admin/x", "spiffe://custodyd/admin/",
     "spiffe://custodyd/admin/X", "spiffe://custodyd//x", "spiffe://custodyd/admin/x/y"],
)  # fmt: skip
def test_an_identity_that_is_not_of_our_form_is_none(uri: str) -> None:
    with pytest.raises(CustodydError) as refused:
        parse_identity(uri)
    assert refused.value.error is ErrorId.IDENTITY_MISSING


# -------------------------------------------------------------------------------- deadlines, sizes
def test_a_call_without_a_deadline_is_refused(coordinator: Coordinator) -> None:
    with coordinator.channel(ADMIN) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest())
        assert reason_of(refused.value) == "DEADLINE_REQUIRED"
        stream = event_pb2_grpc.EventServiceStub(channel).WatchEvents(
            event_pb2.WatchEventsRequest()
        )
        with pytest.raises(grpc.RpcError) as refused:
            next(stream)
        assert reason_of(refused.value) == "DEADLINE_REQUIRED"


def test_a_message_that_is_too_large_is_refused(coordinator: Coordinator) -> None:
    with coordinator.channel() as channel:
        with pytest.raises(grpc.RpcError) as refused:
            withdrawal_pb2_grpc.WithdrawalServiceStub(channel).CreateWithdrawal(
                withdrawal_pb2.CreateWithdrawalRequest(signed_request=bytes(MAX_REQUEST_BYTES)),
                timeout=TIMEOUT_S,
            )
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(refused.value) == "MESSAGE_TOO_LARGE"


# --------------------------------------------------------------------------------------- enrolment
def _enrolment_stub(
    coordinator: Coordinator,
) -> tuple[grpc.Channel, enrolment_pb2_grpc.EnrolmentServiceStub]:
    address = f"localhost:{coordinator.daemon.servers.enrolment_port}"
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(coordinator.authority.pem))
    return channel, enrolment_pb2_grpc.EnrolmentServiceStub(channel)


def _token(coordinator: Coordinator, uri: str) -> str:
    from custodyd.api.slots import create_slot

    with coordinator.store.transaction() as connection:
        return create_slot(
            connection, parse_identity(uri), coordinator.authority.fingerprint, int(time.time())
        )


def test_a_token_opens_its_slot_once_and_answers_the_same_again(coordinator: Coordinator) -> None:
    token = _token(coordinator, "spiffe://custodyd/admin/once")
    private, csr = certificate_request()
    channel, stub = _enrolment_stub(coordinator)
    call = enrolment_pb2.EnrollRequest(
        token=token, certificate_request=csr, admin=enrolment_pb2.AdminEnrolment()
    )
    with channel:
        answer = stub.Enroll(call, timeout=TIMEOUT_S)
        assert stub.Enroll(call, timeout=TIMEOUT_S) == answer
        _, other = certificate_request()
        call.certificate_request = other
        with pytest.raises(grpc.RpcError) as refused:
            stub.Enroll(call, timeout=TIMEOUT_S)
        assert reason_of(refused.value) == "TOKEN_USED"
    credentials = grpc.ssl_channel_credentials(
        answer.certificate_authority, private, answer.certificate
    )
    with grpc.secure_channel(coordinator.address, credentials) as channel:
        status = admin_pb2_grpc.AdminServiceStub(channel).GetStatus(
            admin_pb2.GetStatusRequest(), timeout=TIMEOUT_S
        )
        assert status.version
        renewed = enrolment_pb2_grpc.EnrolmentServiceStub(channel).Renew(
            enrolment_pb2.RenewRequest(certificate_request=other), timeout=TIMEOUT_S
        )
        with pytest.raises(grpc.RpcError) as refused:
            enrolment_pb2_grpc.EnrolmentServiceStub(channel).Enroll(call, timeout=TIMEOUT_S)
        assert reason_of(refused.value) == "ROLE_FORBIDDEN"
    certificate = x509.load_pem_x509_certificate(renewed.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == ["spiffe://custodyd/admin/once"]


def test_a_forged_token_or_the_wrong_kind_of_applicant_opens_nothing(
    coordinator: Coordinator,
) -> None:
    token = _token(coordinator, "spiffe://custodyd/signer/s9")
    _, csr = certificate_request()
    channel, stub = _enrolment_stub(coordinator)
    attempts = [
        ("", "TOKEN_INVALID"),
        ("custodyd1.AAAA.00", "TOKEN_INVALID"),
        (token.replace("custodyd1", "custodyd2"), "TOKEN_INVALID"),
        ("x" * 1_000, "TOKEN_INVALID"),
        (token, "SLOT_KIND_DIFFERS"),
    ]
    with channel:
        for tried, reason in attempts:
            with pytest.raises(grpc.RpcError) as refused:
                stub.Enroll(
                    enrolment_pb2.EnrollRequest(
                        token=tried, certificate_request=csr, admin=enrolment_pb2.AdminEnrolment()
                    ),
                    timeout=TIMEOUT_S,
                )
            assert reason_of(refused.value) == reason
        for request, reason in [(b"no pem", "CERTIFICATE_REQUEST_INVALID")]:
            signer = enrolment_pb2.SignerEnrolment(
                identity_key=coordinator.world.nodes["s1"].identity_key,
                host_key=coordinator.world.nodes["s1"].host_key,
                operators=[enrolment_pb2.OperatorEnrolment(
                    person="zoe", role="treasury",
                    key=coordinator.world.nodes["s2"].identity_key,
                )],
            )  # fmt: skip
            with pytest.raises(grpc.RpcError) as refused:
                stub.Enroll(
                    enrolment_pb2.EnrollRequest(
                        token=token, certificate_request=request, signer=signer
                    ),
                    timeout=TIMEOUT_S,
                )
            assert reason_of(refused.value) == reason


def _handshake(coordinator: Coordinator) -> bytes:
    """The server's certificate, DER, as the enrolment port shows it now."""
    context = ssl.create_default_context(cadata=coordinator.authority.pem.decode())
    context.set_alpn_protocols(["h2"])
    address = ("127.0.0.1", coordinator.daemon.servers.enrolment_port)
    with socket.create_connection(address, timeout=5) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            shown = tls.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def test_a_server_certificate_that_nears_its_end_is_replaced_while_serving(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _handshake(coordinator)
    assert _handshake(coordinator) == first
    with monkeypatch.context() as later:
        later.setattr("custodyd.daemon.run.RENEW_BEFORE_S", (CERTIFICATE_DAYS + 1) * 86_400)
        assert _handshake(coordinator) != first
    second = _handshake(coordinator)
    assert second != first
    assert _handshake(coordinator) == second


def test_the_enrolment_port_shows_the_authority_that_tokens_pin(coordinator: Coordinator) -> None:
    context = ssl.create_default_context(cadata=coordinator.authority.pem.decode())
    address = ("127.0.0.1", coordinator.daemon.servers.enrolment_port)
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(address, timeout=5) as plain:
        with context.wrap_socket(plain, server_hostname="custodyd-coordinator") as tls:
            chain = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
    shown = [sha256(ssl.PEM_cert_to_DER_cert(one.public_bytes())).hexdigest() for one in chain]
    assert shown[-1] == coordinator.authority.fingerprint


# ----------------------------------------------------------------------------- streams, long polls
def test_waits_are_capped_below_the_number_of_workers() -> None:
    assert MAX_STREAMS + MAX_LONG_POLLS < WORKERS


def test_one_stream_too_many_is_told_so_and_short_calls_still_get_through(
    coordinator: Coordinator,
) -> None:
    with coordinator.channel(OBSERVER) as channel:
        stub = event_pb2_grpc.EventServiceStub(channel)
        streams = [
            stub.WatchEvents(event_pb2.WatchEventsRequest(), timeout=30) for _ in range(MAX_STREAMS)
        ]
        for stream in streams:
            next(stream)  # a heartbeat at the latest
        with pytest.raises(grpc.RpcError) as refused:
            next(stub.WatchEvents(event_pb2.WatchEventsRequest(), timeout=5))
        assert reason_of(refused.value) == "SUBSCRIBERS_EXHAUSTED"
        admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest(), timeout=5)
        for stream in streams:
            stream.cancel()


def test_a_long_poll_ends_in_time_and_the_newer_poll_of_a_node_wins(
    coordinator: Coordinator,
) -> None:
    with coordinator.channel(SIGNER) as channel:
        stub = mailbox_pb2_grpc.MailboxServiceStub(channel)
        answer = stub.Sync(mailbox_pb2.SyncRequest(), timeout=TIMEOUT_S)
        assert answer.store_incarnation == coordinator.daemon.incarnation
        # What the stages posted by now is read: from there on the box is empty.
        cursor = answer.inbox[-1].sequence if answer.inbox else 0
        poll = mailbox_pb2.SyncRequest(
            cursor=cursor, store_incarnation=answer.store_incarnation, wait_ms=20_000
        )
        ended: list[float] = []

        def wait() -> None:
            stub.Sync(poll, timeout=25)
            ended.append(time.monotonic())

        older = threading.Thread(target=wait)
        older.start()
        time.sleep(0.5)
        poll_again = mailbox_pb2.SyncRequest(
            cursor=cursor, store_incarnation=answer.store_incarnation, wait_ms=500
        )
        started = time.monotonic()
        stub.Sync(poll_again, timeout=TIMEOUT_S)
        assert time.monotonic() - started < 5
        older.join(timeout=5)
        assert ended, "the older poll still waits"


# --------------------------------------------------------------------------- health and reflection
def test_health_is_told_for_each_service(coordinator: Coordinator) -> None:
    with coordinator.channel(OBSERVER) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", *SERVICES):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as refused:
            stub.Check(health_pb2.HealthCheckRequest(service="none"), timeout=5)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_is_off_unless_asked_for(
    coordinator: Coordinator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def services(one: Coordinator) -> list[str]:
        with one.channel(OBSERVER) as channel:
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                iter([request]), timeout=5
            )
            return [each.name for each in next(answers).list_services_response.service]

    with pytest.raises(grpc.RpcError) as refused:
        services(coordinator)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    folder = tmp_path_factory.mktemp("reflection") / "c"
    with running(folder, overrides={"api.reflection": "true"}) as other:
        assert set(SERVICES) <= set(services(other))


# --------------------------------------------------------------------------------------- catalogue
@pytest.mark.parametrize("error", [*ErrorId, *SignerErrorId], ids=lambda one: one.name)
def test_every_id_of_both_catalogues_has_a_status(error: ErrorId | SignerErrorId) -> None:
    refusal = CustodydError(error) if isinstance(error, ErrorId) else Refusal(error)
    status = errors.status_of(refusal)
    assert errors.code_of(status) not in (grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN)
    assert len(status.details) == (2 if error.value.retryable else 1)


# ----------------------------------------------------------------------------------------- the end
def test_a_stop_ends_open_streams_and_polls_within_the_grace(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running(tmp_path_factory.mktemp("end") / "c") as one:
        with one.channel(OBSERVER) as channel, one.channel(SIGNER) as signer:
            stream = event_pb2_grpc.EventServiceStub(channel).WatchEvents(
                event_pb2.WatchEventsRequest(), timeout=60
            )
            next(stream)
            sync = mailbox_pb2_grpc.MailboxServiceStub(signer).Sync
            first = sync(mailbox_pb2.SyncRequest(), timeout=5)
            poll = sync.future(
                mailbox_pb2.SyncRequest(
                    cursor=10**6, store_incarnation=first.store_incarnation, wait_ms=20_000
                ),
                timeout=30,
            )
            time.sleep(0.3)
            started = time.monotonic()
            one.daemon.close()
            assert time.monotonic() - started < 5
            assert poll.result(timeout=5).store_incarnation == first.store_incarnation
            assert list(stream) is not None
