"""Both error catalogues as google.rpc.Status (AIP-193); nothing else maps errors to gRPC.

Every refusal carries ErrorInfo (reason: the stable id; domain `custodyd`; metadata: who may be at
fault, what to do), BadRequest where an argument is named, RetryInfo where the same call may succeed
later. What is no refusal of a catalogue becomes INTERNAL without any detail.
"""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel.errors import ErrorEntry, Fault, Refusal
from signer_node.kernel.errors import ErrorId as SignerErrorId

DOMAIN: Final = "custodyd"
RETRY_AFTER_S: Final = 1
_Code = grpc.StatusCode

# Where an id does not follow from who is at fault.
CODES: Final[dict[ErrorId, grpc.StatusCode]] = {
    ErrorId.MESSAGE_TOO_LARGE: _Code.RESOURCE_EXHAUSTED,
    ErrorId.IDENTITY_MISSING: _Code.UNAUTHENTICATED,
    ErrorId.ROLE_FORBIDDEN: _Code.PERMISSION_DENIED,
    ErrorId.EVENTS_COMPACTED: _Code.OUT_OF_RANGE,
    ErrorId.STORE_INCARNATION_CHANGED: _Code.FAILED_PRECONDITION,
    ErrorId.SUBSCRIBERS_EXHAUSTED: _Code.RESOURCE_EXHAUSTED,
    ErrorId.NOT_FOUND: _Code.NOT_FOUND,
    ErrorId.REQUEST_ID_REUSED: _Code.ALREADY_EXISTS,
    ErrorId.WITHDRAWAL_ID_REUSED: _Code.ALREADY_EXISTS,
    ErrorId.VAULT_UNKNOWN: _Code.NOT_FOUND,
    ErrorId.VAULT_EXISTS: _Code.ALREADY_EXISTS,
    ErrorId.BATCH_NOT_WAITING: _Code.FAILED_PRECONDITION,
    ErrorId.PAYER_CONFIRMATION_DIFFERS: _Code.ALREADY_EXISTS,
    ErrorId.GENESIS_MISSING: _Code.FAILED_PRECONDITION,
    ErrorId.GENESIS_EXISTS: _Code.FAILED_PRECONDITION,
    ErrorId.SLOTS_UNFILLED: _Code.FAILED_PRECONDITION,
    ErrorId.TOKEN_INVALID: _Code.PERMISSION_DENIED,
    ErrorId.TOKEN_USED: _Code.ALREADY_EXISTS,
    ErrorId.SLOT_EXISTS: _Code.ALREADY_EXISTS,
    ErrorId.WRITER_OVERLOADED: _Code.RESOURCE_EXHAUSTED,
}
SIGNER_CODES: Final[dict[SignerErrorId, grpc.StatusCode]] = {
    SignerErrorId.REQUEST_EXPIRED: _Code.FAILED_PRECONDITION,
    SignerErrorId.REQUEST_KEY_UNKNOWN: _Code.PERMISSION_DENIED,
    SignerErrorId.REQUEST_INITIATOR_UNKNOWN: _Code.PERMISSION_DENIED,
    SignerErrorId.REQUEST_OTHER_GENESIS: _Code.FAILED_PRECONDITION,
    # Found in a call, these are the caller's.
    SignerErrorId.REQUEST_SIGNATURE_INVALID: _Code.INVALID_ARGUMENT,
    SignerErrorId.PAYER_KEY_UNKNOWN: _Code.PERMISSION_DENIED,
    SignerErrorId.PAYER_CONFIRMATION_INVALID: _Code.INVALID_ARGUMENT,
    SignerErrorId.PAYER_CONFIRMATION_OTHER_MANIFEST: _Code.INVALID_ARGUMENT,
}


def status_of(error: CustodydError | Refusal) -> Status:
    """The Status that a caller receives for a refusal."""
    if isinstance(error, CustodydError):
        code = CODES.get(error.error) or _default_code(error.error.value)
        return _status(code, str(error), error.error.name, error.error.value, error.field)
    code = SIGNER_CODES.get(error.error) or _default_code(error.error.value)
    return _status(code, str(error), error.error.name, error.error.value, "")


def code_of(status: Status) -> grpc.StatusCode:
    """The gRPC code of a Status of ours."""
    return next(code for code in grpc.StatusCode if code.value[0] == status.code)


def _default_code(entry: ErrorEntry) -> grpc.StatusCode:
    match entry.fault:
        case Fault.CALLER | Fault.PEER | Fault.OPERATOR:
            return _Code.INVALID_ARGUMENT
        case Fault.COORDINATOR:
            return _Code.FAILED_PRECONDITION
        case Fault.LOCAL if entry.retryable:
            return _Code.UNAVAILABLE
    return _Code.INTERNAL


def _status(
    code: grpc.StatusCode, message: str, reason: str, entry: ErrorEntry, field: str
) -> Status:
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=reason,
            domain=DOMAIN,
            metadata={"fault": entry.fault.value, "to_do": entry.to_do},
        )
    ]
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if entry.retryable:
        details.append(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=RETRY_AFTER_S)))
    status = Status(code=code.value[0], message=message)
    for detail in details:
        packed = PackedAny()
        packed.Pack(detail)
        status.details.append(packed)
    return status
