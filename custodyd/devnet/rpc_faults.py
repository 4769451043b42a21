"""Error codes of Bitcoin Core's RPC (rpc/protocol.h), and the exception that carries one."""

from __future__ import annotations

from enum import IntEnum


class RpcCode(IntEnum):
    """The codes that the devnet answers, with Core's meanings."""

    UNKNOWN = 0
    MISC_ERROR = -1
    TYPE_ERROR = -3
    INVALID_ADDRESS_OR_KEY = -5
    INSUFFICIENT_FUNDS = -6
    INVALID_PARAMETER = -8
    DESERIALIZATION_ERROR = -22
    VERIFY_ERROR = -25
    VERIFY_REJECTED = -26
    ALREADY_IN_UTXO_SET = -27
    IN_WARMUP = -28
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INTERNAL_ERROR = -32603
    PARSE_ERROR = -32700


class RpcFault(Exception):
    """A request that is answered by an error object."""

    def __init__(self, code: RpcCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> RpcFault:
    """A parameter of the right type with a value that cannot be."""
    return RpcFault(RpcCode.INVALID_PARAMETER, message)


def not_found(message: str) -> RpcFault:
    """A block, transaction or address that does not exist."""
    return RpcFault(RpcCode.INVALID_ADDRESS_OR_KEY, message)
