"""EnrolmentService, one method on each port: Enroll by token, Renew by certificate."""

# ruff: noqa: N802 - methods are named as in the .proto file

from __future__ import annotations

import grpc

from custodyd.api.identity import caller_of
from custodyd.api.premises import Premises
from custodyd.api.slots import enroll
from signer_node.mailbox.v1 import enrolment_pb2, enrolment_pb2_grpc


class Enrolment(enrolment_pb2_grpc.EnrolmentServiceServicer):
    """Stands on both ports; the gate lets only Enroll through on one, only Renew on the other."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises

    def Enroll(
        self, request: enrolment_pb2.EnrollRequest, _context: grpc.ServicerContext
    ) -> enrolment_pb2.EnrollResponse:
        """Whoever has a token, once."""
        premises = self._premises
        with premises.store.transaction() as connection:
            return enroll(connection, request, premises.desk, premises.now_s())

    def Renew(
        self, request: enrolment_pb2.RenewRequest, context: grpc.ServicerContext
    ) -> enrolment_pb2.RenewResponse:
        """A new certificate for the caller's own role and name."""
        authority = self._premises.desk.authority
        return enrolment_pb2.RenewResponse(
            certificate=authority.issue_client(request.certificate_request, caller_of(context)),
            certificate_authority=authority.pem,
        )
