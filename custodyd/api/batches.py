"""BatchService: batches to read, and manifests for the payer to check and confirm."""

# ruff: noqa: N802 - methods are named as in the .proto file

from __future__ import annotations

from typing import Final

import grpc

from custodyd.api.filters import state_filter
from custodyd.api.premises import Premises
from custodyd.batches import payer, records
from custodyd.batches.rules import BatchState
from custodyd.rpc.v1 import batch_pb2, batch_pb2_grpc
from custodyd.store.pages import page_limit, page_start, page_token

# One proposal always fits: an envelope is at most 4 MiB.
MAX_PROPOSAL_BYTES: Final = 8 * 1024 * 1024


class Batches(batch_pb2_grpc.BatchServiceServicer):
    """See proto/custodyd/rpc/v1/batch.proto."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises

    def GetBatch(
        self, request: batch_pb2.GetBatchRequest, _context: grpc.ServicerContext
    ) -> batch_pb2.Batch:
        with self._premises.store.reading() as connection:
            return records.message(connection, records.get(connection, request.batch_id))

    def ListBatches(
        self, request: batch_pb2.ListBatchesRequest, _context: grpc.ServicerContext
    ) -> batch_pb2.ListBatchesResponse:
        state = state_filter(BatchState, request.state)
        filter_text = f"batches {request.state}"
        start = page_start(self._premises.page_key, filter_text, request.page_token)
        limit = page_limit(request.page_size)
        with self._premises.store.reading() as connection:
            found = records.list_page(connection, state, start, limit + 1)
            shown = [records.message(connection, one) for one in found[:limit]]
        token = ""
        if len(found) > limit:
            token = page_token(self._premises.page_key, filter_text, found[limit - 1].number)
        return batch_pb2.ListBatchesResponse(batches=shown, next_page_token=token)

    def ListUnconfirmedManifests(
        self,
        _request: batch_pb2.ListUnconfirmedManifestsRequest,
        _context: grpc.ServicerContext,
    ) -> batch_pb2.ListUnconfirmedManifestsResponse:
        answer = batch_pb2.ListUnconfirmedManifestsResponse()
        size = 0
        with self._premises.store.reading() as connection:
            waiting = payer.unconfirmed(connection)
        for batch_id, proposal in waiting:
            size += len(proposal)
            if answer.manifests and size > MAX_PROPOSAL_BYTES:
                break
            answer.manifests.add(batch_id=batch_id, proposal=proposal)
        return answer

    def ConfirmManifest(
        self, request: batch_pb2.ConfirmManifestRequest, _context: grpc.ServicerContext
    ) -> batch_pb2.ConfirmManifestResponse:
        payer.confirm(
            self._premises.store,
            self._premises.context(),
            request.batch_id,
            request.signed_confirmation,
        )
        return batch_pb2.ConfirmManifestResponse()
