"""The API of withdrawals over mutual TLS: one call, one withdrawal, and typed refusals."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from custodyd.rpc.v1 import event_pb2, event_pb2_grpc, withdrawal_pb2, withdrawal_pb2_grpc
from tests.stages.coordinator import TIMEOUT_S, Coordinator, reason_of, running

State = withdrawal_pb2.WithdrawalState
Stub = withdrawal_pb2_grpc.WithdrawalServiceStub


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    with running(tmp_path_factory.mktemp("api") / "c") as one:
        yield one


@pytest.fixture
def stub(coordinator: Coordinator) -> Iterator[Stub]:
    with coordinator.channel() as channel:
        yield Stub(channel)


def _refused(stub: Stub, call: withdrawal_pb2.CreateWithdrawalRequest) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        stub.CreateWithdrawal(call, timeout=TIMEOUT_S)
    return refused.value


def _until(condition: Any, timeout_s: float = 10.0) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, "did not happen in time"
        time.sleep(0.02)


def test_a_signed_request_becomes_a_withdrawal_that_waits_for_a_batch(
    coordinator: Coordinator, stub: Stub
) -> None:
    answer = stub.CreateWithdrawal(
        coordinator.create(coordinator.request(withdrawal_id="w-1")), timeout=TIMEOUT_S
    )
    assert answer.withdrawal.external_id == "w-1"
    assert answer.withdrawal.state == State.WITHDRAWAL_STATE_ACCEPTED
    assert answer.withdrawal.address.startswith("bcrt1q")
    assert answer.store_incarnation == coordinator.daemon.incarnation
    get = withdrawal_pb2.GetWithdrawalRequest(external_id="w-1")
    _until(
        lambda: stub.GetWithdrawal(get, timeout=TIMEOUT_S).state == State.WITHDRAWAL_STATE_QUEUED
    )


def test_the_same_call_again_is_the_same_withdrawal(coordinator: Coordinator, stub: Stub) -> None:
    call = coordinator.create(coordinator.request())
    first = stub.CreateWithdrawal(call, timeout=TIMEOUT_S)
    assert stub.CreateWithdrawal(call, timeout=TIMEOUT_S) == first
    other_id = coordinator.create(call.signed_request)
    again = stub.CreateWithdrawal(other_id, timeout=TIMEOUT_S)
    assert again.withdrawal.external_id == first.withdrawal.external_id


def test_a_request_id_for_another_body_is_refused(coordinator: Coordinator, stub: Stub) -> None:
    call = coordinator.create(coordinator.request())
    stub.CreateWithdrawal(call, timeout=TIMEOUT_S)
    other = coordinator.create(coordinator.request(), request_id=call.request_id)
    fault = _refused(stub, other)
    assert (fault.code(), reason_of(fault)) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def test_a_withdrawal_id_for_another_body_is_refused_and_kept_as_evidence(
    coordinator: Coordinator, stub: Stub
) -> None:
    stub.CreateWithdrawal(
        coordinator.create(coordinator.request(withdrawal_id="w-twice")), timeout=TIMEOUT_S
    )
    other = coordinator.request(withdrawal_id="w-twice", amount_sat=60_000)
    fault = _refused(stub, coordinator.create(other))
    assert fault.code() is grpc.StatusCode.ALREADY_EXISTS
    assert reason_of(fault) == "WITHDRAWAL_ID_REUSED"
    with coordinator.store.reading() as connection:
        kept = connection.exec_driver_sql(
            "SELECT signed_request FROM withdrawal_conflicts WHERE external_id = 'w-twice'"
        ).scalars()
        assert list(kept) == [other]


def test_validate_only_says_what_would_be_and_leaves_nothing(
    coordinator: Coordinator, stub: Stub
) -> None:
    signed = coordinator.request(withdrawal_id="w-never")
    answer = stub.CreateWithdrawal(
        coordinator.create(signed, validate_only=True), timeout=TIMEOUT_S
    )
    assert answer.withdrawal.state == State.WITHDRAWAL_STATE_ACCEPTED
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetWithdrawal(
            withdrawal_pb2.GetWithdrawalRequest(external_id="w-never"), timeout=TIMEOUT_S
        )
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


NOW_S = int(time.time())


@pytest.mark.parametrize(
    ("changes", "reason", "code"),
    [
        ({"genesis": b"\1" * 32}, "REQUEST_OTHER_GENESIS", "FAILED_PRECONDITION"),
        ({"vault": "cold"}, "VAULT_UNKNOWN", "NOT_FOUND"),
        ({"signer": "mallory"}, "REQUEST_SIGNATURE_INVALID", "INVALID_ARGUMENT"),
        ({"initiator": "mallory"}, "REQUEST_INITIATOR_UNKNOWN", "PERMISSION_DENIED"),
        ({"script": b"\x6a\x04spam"}, "REQUEST_SCRIPT_UNPAYABLE", "INVALID_ARGUMENT"),
        ({"script": b"\x51\x20" + b"\xff" * 32}, "REQUEST_SCRIPT_UNPAYABLE", "INVALID_ARGUMENT"),
        ({"amount_sat": 293}, "REQUEST_AMOUNT_DUST", "INVALID_ARGUMENT"),
        ({"valid_until_s": NOW_S - 1}, "REQUEST_EXPIRED", "FAILED_PRECONDITION"),
        ({"issued_at_s": NOW_S + 9_999, "valid_until_s": NOW_S + 10_000}, "VALIDITY_TOO_LONG",
         "INVALID_ARGUMENT"),
        ({"valid_until_s": NOW_S + 400 * 86_400}, "VALIDITY_TOO_LONG", "INVALID_ARGUMENT"),
    ],
)  # fmt: skip
def test_a_request_that_no_signer_would_pay_is_refused_by_name(
    coordinator: Coordinator, stub: Stub, changes: dict[str, Any], reason: str, code: str
) -> None:
    fault = _refused(stub, coordinator.create(coordinator.request(**changes)))
    assert (reason_of(fault), fault.code().name) == (reason, code)


@pytest.mark.parametrize("bad", [b"", b"\0", b"rubbish"])
def test_bytes_that_are_no_request_are_refused(
    coordinator: Coordinator, stub: Stub, bad: bytes
) -> None:
    fault = _refused(stub, coordinator.create(bad))
    assert fault.code() is grpc.StatusCode.INVALID_ARGUMENT
    trailing = coordinator.request() + b"\x28\x01"
    assert reason_of(_refused(stub, coordinator.create(trailing))) == "BYTES_NOT_CANONICAL"


def test_a_bad_argument_is_named_in_a_field_violation(coordinator: Coordinator, stub: Stub) -> None:
    fault = _refused(stub, coordinator.create(coordinator.request(), request_id="no uuid"))
    assert isinstance(fault, grpc.Call)
    status = rpc_status.from_call(fault)
    assert status is not None
    bad = error_details_pb2.BadRequest()
    assert any(packed.Unpack(bad) for packed in status.details if packed.Is(bad.DESCRIPTOR))
    assert bad.field_violations[0].field == "request_id"


def test_pages_walk_everything_once_and_newest_first(coordinator: Coordinator, stub: Stub) -> None:
    for _ in range(7):
        stub.CreateWithdrawal(coordinator.create(coordinator.request()), timeout=TIMEOUT_S)
    seen: list[str] = []
    token = ""
    while True:
        page = stub.ListWithdrawals(
            withdrawal_pb2.ListWithdrawalsRequest(page_size=3, page_token=token), timeout=TIMEOUT_S
        )
        assert len(page.withdrawals) <= 3
        seen += [one.external_id for one in page.withdrawals]
        token = page.next_page_token
        if not token:
            break
    assert len(seen) == len(set(seen)) >= 7
    with pytest.raises(grpc.RpcError) as refused:
        stub.ListWithdrawals(
            withdrawal_pb2.ListWithdrawalsRequest(page_token="forged"), timeout=TIMEOUT_S
        )
    assert reason_of(refused.value) == "PAGE_TOKEN_INVALID"
    with pytest.raises(grpc.RpcError) as refused:
        stub.ListWithdrawals(
            withdrawal_pb2.ListWithdrawalsRequest(state=99),  # type: ignore[arg-type]
            timeout=TIMEOUT_S,
        )
    assert reason_of(refused.value) == "ARGUMENT_INVALID"


def test_lookup_leaves_unknown_ids_out(coordinator: Coordinator, stub: Stub) -> None:
    signed = coordinator.request(withdrawal_id="w-known")
    stub.CreateWithdrawal(coordinator.create(signed), timeout=TIMEOUT_S)
    answer = stub.LookupWithdrawals(
        withdrawal_pb2.LookupWithdrawalsRequest(external_ids=["w-known", "w-unknown"]),
        timeout=TIMEOUT_S,
    )
    assert [one.external_id for one in answer.withdrawals] == ["w-known"]
    assert answer.store_incarnation == coordinator.daemon.incarnation
    too_many = withdrawal_pb2.LookupWithdrawalsRequest(external_ids=["x"] * 1_001)
    with pytest.raises(grpc.RpcError) as refused:
        stub.LookupWithdrawals(too_many, timeout=TIMEOUT_S)
    assert reason_of(refused.value) == "ARGUMENT_INVALID"


def test_events_tell_every_change_in_order_and_without_gaps(coordinator: Coordinator) -> None:
    with coordinator.channel() as channel:
        stub = Stub(channel)
        events = event_pb2_grpc.EventServiceStub(channel)
        stream = events.WatchEvents(event_pb2.WatchEventsRequest(), timeout=TIMEOUT_S)
        name = f"w-{uuid.uuid4().hex}"
        stub.CreateWithdrawal(
            coordinator.create(coordinator.request(withdrawal_id=name)), timeout=TIMEOUT_S
        )
        sequence, states = 0, []
        for response in stream:
            assert response.event.sequence == sequence + 1
            sequence = response.event.sequence
            if response.event.withdrawal.external_id == name:
                states.append(response.event.withdrawal.state)
            if len(states) == 2:
                break
        assert states == [State.WITHDRAWAL_STATE_ACCEPTED, State.WITHDRAWAL_STATE_QUEUED]
        stream.cancel()
        other = event_pb2.WatchEventsRequest(store_incarnation=bytes(16))
        with pytest.raises(grpc.RpcError) as refused:
            next(events.WatchEvents(other, timeout=TIMEOUT_S))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(refused.value) == "STORE_INCARNATION_CHANGED"


def test_intake_works_on_postgresql_alike(postgres_url: str, tmp_path: Path) -> None:
    with running(tmp_path / "c", store_url=postgres_url) as one, one.channel() as channel:
        stub = Stub(channel)
        call = one.create(one.request(withdrawal_id="w-1"))
        first = stub.CreateWithdrawal(call, timeout=TIMEOUT_S)
        assert stub.CreateWithdrawal(call, timeout=TIMEOUT_S) == first
        other = one.create(one.request(withdrawal_id="w-1", amount_sat=1_000))
        assert reason_of(_refused(stub, other)) == "WITHDRAWAL_ID_REUSED"
        get = withdrawal_pb2.GetWithdrawalRequest(external_id="w-1")
        _until(
            lambda: (
                stub.GetWithdrawal(get, timeout=TIMEOUT_S).state == State.WITHDRAWAL_STATE_QUEUED
            )
        )
