"""Why a transaction is not accepted, in the words that Bitcoin Core 28 uses."""

from __future__ import annotations

from enum import Enum


class RejectKind(Enum):
    """What class of rule was broken; it decides the RPC error code."""

    UNKNOWN = 0
    RULE = 1  # consensus or standardness: -26
    MISSING_INPUTS = 2  # an input is unknown or spent: -25
    IN_CHAIN = 3  # its outputs are in the chain already: -27
    IN_MEMPOOL = 4  # it waits in the mempool already: no error for sendrawtransaction


class Rejected(Exception):
    """A transaction that the mempool refuses: `reason` is Core's reject reason."""

    def __init__(self, reason: str, detail: str = "", kind: RejectKind = RejectKind.RULE) -> None:
        super().__init__(f"{reason}, {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.kind = kind
