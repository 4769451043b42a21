"""What the coordinator answered when it refused, as one typed error (AIP-193).

The id is the reason of google.rpc.ErrorInfo in domain `custodyd`; what to do comes from the
catalogue of this distribution or the signer's, whichever knows the id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from custodyd.errors import ErrorId as OwnErrorId
from signer_node.kernel.errors import ErrorId as SignerErrorId

DOMAIN: Final = "custodyd"
UNAVAILABLE: Final = "COORDINATOR_UNREACHABLE"
_EXIT_FAILED: Final = 1
_EXIT_REFUSED: Final = 3
_EXIT_UNAVAILABLE: Final = 4
_UNREACHED: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


@dataclass(frozen=True, slots=True)
class Advice:
    """What a catalogue says of an id."""

    to_do: str
    retryable: bool
    exit_code: int


class ClientError(Exception):
    """A call that the coordinator refused or did not answer: `reason` is the stable id."""

    def __init__(self, reason: str, detail: str, code: grpc.StatusCode, advice: Advice) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.code = code
        self.to_do = advice.to_do
        self.retryable = advice.retryable
        self.exit_code = advice.exit_code


def client_error(call: grpc.RpcError) -> ClientError:
    """The typed error of a failed call."""
    code = call.code() if isinstance(call, grpc.Call) else grpc.StatusCode.UNKNOWN
    details = call.details() if isinstance(call, grpc.Call) else str(call)
    reason = _reason(call)
    if reason is None and code in _UNREACHED:
        reason = UNAVAILABLE
    if reason is None:
        reason = f"GRPC_{code.name}"
    return ClientError(reason, details or code.name, code, advice_on(reason, code))


def advice_on(reason: str, code: grpc.StatusCode) -> Advice:
    """What to do about an id, by whichever catalogue knows it."""
    for catalogue in (OwnErrorId, SignerErrorId):
        entry = catalogue.__members__.get(reason)
        if entry is not None:
            value = entry.value
            return Advice(value.to_do, value.retryable, value.exit_code.value)
    if code in _UNREACHED:
        return Advice("see that the coordinator runs and can be reached", True, _EXIT_UNAVAILABLE)
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return Advice("use the certificate of a role that may do this", False, _EXIT_REFUSED)
    return Advice("look at the coordinator's log", False, _EXIT_FAILED)


def _reason(call: grpc.RpcError) -> str | None:
    if not isinstance(call, grpc.Call):
        return None
    try:
        status = rpc_status.from_call(call)
    except ValueError:
        return None
    for packed in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if packed.Is(info.DESCRIPTOR) and packed.Unpack(info) and info.domain == DOMAIN:
            return str(info.reason)
    return None
