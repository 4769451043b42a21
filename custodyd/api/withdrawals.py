"""WithdrawalService: what the exchange's backend asks for and follows to final."""

# ruff: noqa: N802 - methods are named as in the .proto file

from __future__ import annotations

from typing import Final

import grpc

from custodyd.api.filters import state_filter
from custodyd.api.identity import caller_of
from custodyd.api.premises import Premises
from custodyd.chain.vaults import certified_vault
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import withdrawal_pb2, withdrawal_pb2_grpc
from custodyd.store.answers import CallKey, check_request_id
from custodyd.store.pages import page_limit, page_start, page_token
from custodyd.withdrawals import service
from custodyd.withdrawals.rules import WithdrawalState, check_request
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.documents.request import Request
from signer_node.wire import open_signed

MAX_ID: Final = 64


class Withdrawals(withdrawal_pb2_grpc.WithdrawalServiceServicer):
    """See proto/custodyd/rpc/v1/withdrawal.proto."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        # Vaults found certified: what once is stays so.
        self._certified: set[str] = set()

    def CreateWithdrawal(
        self, request: withdrawal_pb2.CreateWithdrawalRequest, context: grpc.ServicerContext
    ) -> withdrawal_pb2.CreateWithdrawalResponse:
        check_request_id(request.request_id)
        premises = self._premises
        genesis = premises.genesis()
        received = open_signed(Request, request.signed_request)
        checked = check_request(received, genesis)
        key = CallKey(caller_of(context).uri, request.request_id.lower())
        intake = service.Intake(key, checked)
        self._require_certified(received.document.vault, genesis.document.network)
        if request.validate_only:
            with premises.store.reading() as connection:
                withdrawal = service.preview(connection, intake, premises.now_s())
        else:
            withdrawal = premises.intake.submit(intake, context.time_remaining())
        return withdrawal_pb2.CreateWithdrawalResponse(
            withdrawal=withdrawal, store_incarnation=premises.incarnation
        )

    def _require_certified(self, vault: str, network: Network) -> None:
        """Raise VAULT_UNKNOWN unless the vault is certified; asks the database once for each."""
        if vault not in self._certified:
            with self._premises.store.reading() as connection:
                certified_vault(connection, network, vault)
            self._certified.add(vault)

    def GetWithdrawal(
        self, request: withdrawal_pb2.GetWithdrawalRequest, _context: grpc.ServicerContext
    ) -> withdrawal_pb2.Withdrawal:
        _check_id(request.external_id)
        with self._premises.store.reading() as connection:
            return service.get(connection, request.external_id).message()

    def LookupWithdrawals(
        self, request: withdrawal_pb2.LookupWithdrawalsRequest, _context: grpc.ServicerContext
    ) -> withdrawal_pb2.LookupWithdrawalsResponse:
        if len(request.external_ids) > service.MAX_LOOKUP:
            raise CustodydError(
                ErrorId.ARGUMENT_INVALID,
                f"{len(request.external_ids)} ids, at most {service.MAX_LOOKUP}",
                field="external_ids",
            )
        for external_id in request.external_ids:
            _check_id(external_id)
        with self._premises.store.reading() as connection:
            found = service.lookup(connection, set(request.external_ids))
        return withdrawal_pb2.LookupWithdrawalsResponse(
            withdrawals=[one.message() for one in found],
            store_incarnation=self._premises.incarnation,
        )

    def ListWithdrawals(
        self, request: withdrawal_pb2.ListWithdrawalsRequest, _context: grpc.ServicerContext
    ) -> withdrawal_pb2.ListWithdrawalsResponse:
        state = state_filter(WithdrawalState, request.state)
        filter_text = f"withdrawals {request.state}"
        start = page_start(self._premises.page_key, filter_text, request.page_token)
        limit = page_limit(request.page_size)
        with self._premises.store.reading() as connection:
            found = service.list_page(connection, state, start, limit + 1)
        page = found[:limit]
        token = ""
        if len(found) > limit:
            token = page_token(self._premises.page_key, filter_text, page[-1].number)
        return withdrawal_pb2.ListWithdrawalsResponse(
            withdrawals=[one.message() for one in page], next_page_token=token
        )


def _check_id(external_id: str) -> None:
    if not 1 <= len(external_id) <= MAX_ID:
        raise CustodydError(
            ErrorId.ARGUMENT_INVALID, f"an id has 1 to {MAX_ID} characters", field="external_id"
        )
