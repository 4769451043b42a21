"""AdminService: what SREs do at the coordinator, and what everybody may read there."""

# ruff: noqa: N802 - methods are named as in the .proto file

from __future__ import annotations

from hashlib import sha256
from typing import Final

import grpc

from custodyd.api.identity import caller_of
from custodyd.api.premises import Premises
from custodyd.api.status import followed_height
from custodyd.coins import service as coins
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import admin_pb2, admin_pb2_grpc
from custodyd.signing import liveness, vaults
from custodyd.store.answers import (
    Answer,
    CallKey,
    check_request_id,
    find_answers,
    keep_answers,
    require_same_body,
)
from custodyd.store.events import last_event
from custodyd.withdrawals import service as withdrawals

CREATE_VAULT: Final = "CreateVault"


class Admin(admin_pb2_grpc.AdminServiceServicer):
    """See proto/custodyd/rpc/v1/admin.proto."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises

    def GetGenesis(
        self, _request: admin_pb2.GetGenesisRequest, _context: grpc.ServicerContext
    ) -> admin_pb2.Genesis:
        return admin_pb2.Genesis(genesis=self._premises.genesis().raw)

    def GetVault(
        self, request: admin_pb2.GetVaultRequest, _context: grpc.ServicerContext
    ) -> admin_pb2.Vault:
        with self._premises.store.reading() as connection:
            return vaults.get_vault(connection, request.vault)

    def ListVaults(
        self, _request: admin_pb2.ListVaultsRequest, _context: grpc.ServicerContext
    ) -> admin_pb2.ListVaultsResponse:
        with self._premises.store.reading() as connection:
            return admin_pb2.ListVaultsResponse(vaults=vaults.list_vaults(connection))

    def CreateVault(
        self, request: admin_pb2.CreateVaultRequest, context: grpc.ServicerContext
    ) -> admin_pb2.CreateVaultResponse:
        """Idempotent by request_id; a vault of that name by another call: VAULT_EXISTS."""
        check_request_id(request.request_id)
        premises = self._premises
        premises.genesis()
        key = CallKey(caller_of(context).uri, request.request_id.lower())
        digest = sha256(f"{request.vault}\0{request.kind}".encode()).digest()
        now_s = premises.now_s()
        with premises.store.transaction() as connection:
            stored = find_answers(connection, [key]).get(key)
            if stored is not None:
                require_same_body(stored, CREATE_VAULT, digest)
            else:
                vaults.propose(connection, premises.context(), request.vault, request.kind)
                keep_answers(connection, [Answer(key, CREATE_VAULT, digest, b"")], now_s)
            return admin_pb2.CreateVaultResponse(vault=vaults.get_vault(connection, request.vault))

    def GetBalance(
        self, request: admin_pb2.GetBalanceRequest, _context: grpc.ServicerContext
    ) -> admin_pb2.Balance:
        genesis = self._premises.genesis().document
        with self._premises.store.reading() as connection:
            vaults.get_vault(connection, request.vault)
            depth = coins.Depth(followed_height(connection), genesis.rules.min_input_confirmations)
            found = coins.balance(connection, request.vault, depth)
        return admin_pb2.Balance(
            vault=request.vault,
            available_sat=found.available_sat,
            reserved_sat=found.reserved_sat,
            pending_change_sat=found.pending_change_sat,
            pending_deposits_sat=found.pending_deposits_sat,
        )

    def GetStatus(
        self, _request: admin_pb2.GetStatusRequest, _context: grpc.ServicerContext
    ) -> admin_pb2.Status:
        premises = self._premises
        context = premises.context()
        status = admin_pb2.Status(version=premises.version, store_incarnation=premises.incarnation)
        with premises.store.reading() as connection:
            status.last_event = last_event(connection)
            status.signers.extend(liveness.signer_status(connection, context))
            liveness.fill_chain(connection, status)
        return status

    def ReleaseHolds(
        self, request: admin_pb2.ReleaseHoldsRequest, _context: grpc.ServicerContext
    ) -> admin_pb2.ReleaseHoldsResponse:
        if len(request.external_ids) > withdrawals.MAX_LOOKUP:
            raise CustodydError(
                ErrorId.ARGUMENT_INVALID,
                f"at most {withdrawals.MAX_LOOKUP} ids",
                field="external_ids",
            )
        ids = sorted(set(request.external_ids))
        with self._premises.store.transaction() as connection:
            released = withdrawals.release_holds(connection, ids, self._premises.now_s())
        return admin_pb2.ReleaseHoldsResponse(released=released)
