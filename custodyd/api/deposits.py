"""DepositService: which addresses to watch, and what was seen there."""

# ruff: noqa: N802 - methods are named as in the .proto file

from __future__ import annotations

import grpc

from custodyd.api.filters import state_filter
from custodyd.api.premises import Premises
from custodyd.chain.vaults import watch_deposits
from custodyd.deposits import service
from custodyd.deposits.rules import DepositState
from custodyd.rpc.v1 import deposit_pb2, deposit_pb2_grpc
from custodyd.store.pages import page_limit, page_start, page_token


class Deposits(deposit_pb2_grpc.DepositServiceServicer):
    """See proto/custodyd/rpc/v1/deposit.proto."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises

    def WatchAddresses(
        self, request: deposit_pb2.WatchAddressesRequest, _context: grpc.ServicerContext
    ) -> deposit_pb2.WatchAddressesResponse:
        network = self._premises.genesis().document.network
        with self._premises.store.transaction() as connection:
            count = watch_deposits(connection, network, request.vault, request.count)
        return deposit_pb2.WatchAddressesResponse(count=count)

    def ListDeposits(
        self, request: deposit_pb2.ListDepositsRequest, _context: grpc.ServicerContext
    ) -> deposit_pb2.ListDepositsResponse:
        state = state_filter(DepositState, request.state)
        filter_text = f"deposits {request.state}"
        start = page_start(self._premises.page_key, filter_text, request.page_token)
        limit = page_limit(request.page_size)
        with self._premises.store.reading() as connection:
            found = service.list_page(connection, state, start, limit + 1)
        token = ""
        if len(found) > limit:
            token = page_token(self._premises.page_key, filter_text, found[limit - 1][0])
        return deposit_pb2.ListDepositsResponse(
            deposits=[message for _, message in found[:limit]], next_page_token=token
        )
