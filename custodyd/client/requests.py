"""Requests: made, signed, kept, submitted; asked again of a store that does not know them.

1. A request is durable, with its request_id, before it is sent (G10).
2. The same payment under the same external_id is the same request; with another body it is
   refused here already.
3. What the coordinator refuses for good is kept with the reason and not sent again by itself;
   what did not get through stays open.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

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
    try:
        answer = coordinator.create_withdrawal(request.request_id, request.signed)
    except ClientError as fault:
        if _refused_for_good(fault):
            ledger.mark_refused(request.withdrawal_id, f"{fault.reason}: {fault.detail}"[:500])
        raise
    ledger.mark_submitted(request.withdrawal_id, answer.store_incarnation)
    return _state_name(answer.withdrawal.state)


def submit_open(
    coordinator: Coordinator,
    ledger: ClientLedger,
    incarnation: bytes,
    refused: Callable[[str, ClientError], None],
) -> int:
    """Send every open request that the store of this incarnation has not accepted; how many went.

    A refusal is told and does not stop the others; an unreachable coordinator does.
    """
    sent = 0
    for request in ledger.requests_not_at(incarnation, RESUBMIT_AT_ONCE):
        try:
            submit(coordinator, ledger, request)
            sent += 1
        except ClientError as fault:
            if not _refused_for_good(fault):
                raise
            refused(request.withdrawal_id, fault)
    return sent


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
