"""Requests: made, signed, kept, submitted; asked again of a store that does not know them.

1. A request is durable, with its request_id, before it is sent (G10).
2. The same payment under the same external_id is the same request; with another body it is
   refused here already.
3. What the coordinator refuses for good is kept with the reason and not sent again by itself;
   what did not get through stays open.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias

from custodyd.client.connection import Coordinator
from custodyd.client.errors import ClientError
from custodyd.client.keys import RequestKey
from custodyd.client.ledger import ClientLedger, RequestState, StoredRequest
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import withdrawal_pb2
from signer_node.kernel.bitcoin.address import script_from_address
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.request import Request
from signer_node.kernel.documents.signed import Body, document_digest
from signer_node.kernel.rules.requests import check_request
from signer_node.wire import encode, open_signed, signed_bytes

VALID_FOR_S: Final = 24 * 60 * 60
RESUBMIT_AT_ONCE: Final = 200
# Calls under way at the same time: the coordinator makes durable together what comes together.
CALLS_AT_ONCE: Final = 8
# Answers that are noted in the ledger in one durable change.
NOTED_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class Payment:
    """What the exchange wants paid: amount in satoshi, `memo` stays here (only its hash goes)."""

    external_id: str
    address: str
    amount_sat: int
    account: str = ""
    memo: str = ""


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks: the key, the person who causes it, the quorum, the vault that shall pay."""

    key: RequestKey
    initiator: str
    genesis: Body[Genesis]
    vault: str


def sign_payment(payment: Payment, requester: Requester, now_s: int) -> StoredRequest:
    """The signed request, checked by the kernel's own rule; raises Refusal or BitcoinFault."""
    network = requester.genesis.document.network
    memo_hash = hashlib.sha256(payment.memo.encode()).digest() if payment.memo else ZERO_DIGEST
    request = Request(
        genesis=requester.genesis.digest,
        vault=requester.vault,
        key=requester.key.public,
        withdrawal_id=payment.external_id,
        script=script_from_address(payment.address, network),
        amount_sat=payment.amount_sat,
        account=payment.account,
        initiator=requester.initiator,
        issued_at_s=now_s,
        valid_until_s=now_s + VALID_FOR_S,
        memo_hash=memo_hash,
    )
    body = encode(request)
    digest = document_digest(Request, body)
    signed = signed_bytes(body, requester.key.public, requester.key.sign(digest))
    check_request(open_signed(Request, signed), requester.genesis, requester.vault, now_s)
    return StoredRequest(
        withdrawal_id=request.withdrawal_id,
        digest=digest,
        signed=signed,
        request_id=str(uuid.uuid4()),
        vault=request.vault,
        script=request.script,
        amount_sat=request.amount_sat,
        valid_until_s=request.valid_until_s,
        created_at_s=now_s,
    )


def keep(ledger: ClientLedger, requests: Sequence[StoredRequest]) -> tuple[StoredRequest, ...]:
    """Keep new requests, all or none; an equal payment that is here already stands for its twin.

    Raises WITHDRAWAL_ID_REUSED for an id whose payment differs.
    """
    with ledger.transaction():
        kept = tuple(_twin(ledger, one) or one for one in requests)
        ledger.add_requests([one for one, twin in zip(requests, kept, strict=True) if one is twin])
    return kept


def submit(coordinator: Coordinator, ledger: ClientLedger, request: StoredRequest) -> str:
    """Send one kept request; returns its state at the coordinator.

    Raises `ClientError`; one that is not retryable is kept as the request's refusal.
    """
    state = _noted(ledger, request, _sent(coordinator, request))
    if isinstance(state, ClientError):
        raise state
    return state


def submit_many(
    coordinator: Coordinator, ledger: ClientLedger, requests: Sequence[StoredRequest]
) -> Iterator[tuple[StoredRequest, str | ClientError]]:
    """Send kept requests, a few at the same time; each with its state or its fault, in order.

    Once the coordinator cannot be reached, what was not sent yet is left out.
    """
    gone = threading.Event()

    def send(one: StoredRequest) -> _Outcome | None:
        outcome = None if gone.is_set() else _sent(coordinator, one)
        if isinstance(outcome, ClientError) and not _refused_for_good(outcome):
            gone.set()
        return outcome

    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        for start in range(0, len(requests), NOTED_AT_ONCE):
            part = requests[start : start + NOTED_AT_ONCE]
            outcomes = list(pool.map(send, part))
            with ledger.transaction():
                noted = [
                    (one, _noted(ledger, one, outcome))
                    for one, outcome in zip(part, outcomes, strict=True)
                    if outcome is not None
                ]
            yield from noted


def submit_open(
    coordinator: Coordinator,
    ledger: ClientLedger,
    incarnation: bytes,
    signed_by_s: int,
    refused: Callable[[str, ClientError], None],
) -> int:
    """Send every open request that the store of this incarnation has not accepted; how many went.

    Younger ones than `signed_by_s` are left to the command that signed them and is sending them.
    A refusal is told and does not stop the others; an unreachable coordinator does.
    """
    sent = 0
    waiting = ledger.requests_not_at(incarnation, signed_by_s, RESUBMIT_AT_ONCE)
    for request, outcome in submit_many(coordinator, ledger, waiting):
        if not isinstance(outcome, ClientError):
            sent += 1
        elif _refused_for_good(outcome):
            refused(request.withdrawal_id, outcome)
        else:
            raise outcome
    return sent


_Outcome: TypeAlias = withdrawal_pb2.CreateWithdrawalResponse | ClientError


def _sent(coordinator: Coordinator, request: StoredRequest) -> _Outcome:
    try:
        return coordinator.create_withdrawal(request.request_id, request.signed)
    except ClientError as fault:
        return fault


def _noted(ledger: ClientLedger, request: StoredRequest, outcome: _Outcome) -> str | ClientError:
    """Keep what came back; returns the state at the coordinator, or the fault."""
    if not isinstance(outcome, ClientError):
        ledger.mark_submitted(request.withdrawal_id, outcome.store_incarnation)
        return _state_name(outcome.withdrawal.state)
    if _refused_for_good(outcome):
        ledger.mark_refused(request.withdrawal_id, f"{outcome.reason}: {outcome.detail}"[:500])
    return outcome


def _twin(ledger: ClientLedger, request: StoredRequest) -> StoredRequest | None:
    """The request kept under this id, if it asks for the same; raises if it does not."""
    kept = ledger.request(request.withdrawal_id)
    if kept is None:
        return None
    same = (kept.vault, kept.script, kept.amount_sat)
    if same != (request.vault, request.script, request.amount_sat) or _account(kept) != _account(
        request
    ):
        raise CustodydError(ErrorId.WITHDRAWAL_ID_REUSED, request.withdrawal_id)
    if kept.state is RequestState.REFUSED:
        raise CustodydError(
            ErrorId.WITHDRAWAL_ID_REUSED, f"{request.withdrawal_id} was refused: {kept.refusal}"
        )
    return kept


def _account(request: StoredRequest) -> str:
    return open_signed(Request, request.signed).document.account


def _refused_for_good(fault: ClientError) -> bool:
    return fault.exit_code == 3 and not fault.retryable


def _state_name(state: withdrawal_pb2.WithdrawalState.ValueType) -> str:
    return withdrawal_pb2.WithdrawalState.Name(state).removeprefix("WITHDRAWAL_STATE_")
