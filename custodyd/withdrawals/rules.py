"""Withdrawals: the table of their states, and the check of a signed request at intake.

Pure. A request is accepted only if every honest signer would find it payable now: the checks are
the kernel's, with the kernel's error ids. What is checked here protects the exchange from waiting
for a payment that no signer will sign; the signers check everything again, alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel.bitcoin.address import address_from_script, dust_threshold_sat
from signer_node.kernel.bitcoin.faults import InvalidAddress
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.request import Request
from signer_node.kernel.documents.signed import Authentic, Body, Received, authenticate, require_key
from signer_node.kernel.errors import ErrorId as SignerErrorId
from signer_node.kernel.errors import Refusal


class WithdrawalState(Enum):
    """Where a withdrawal stands; numbers are those of the API."""

    UNKNOWN = 0
    ACCEPTED = 1
    HELD = 2
    QUEUED = 3
    BATCHED = 4
    COMMITTED = 5
    BROADCAST = 6
    CONFIRMED = 7
    FINAL = 8
    REJECTED = 9
    CANCELLED = 10
    EXPIRED = 11


class BlockedReason(Enum):
    """Why something waits; numbers are those of the API."""

    UNKNOWN = 0
    NONE = 1
    BATCH = 2
    FUNDS = 3
    APPROVALS = 4
    PAYER = 5
    SIGNERS = 6
    CHAIN = 7
    CONFIRMATIONS = 8
    HELD = 9


_S = WithdrawalState

# From -> to, with what makes it happen. The diagram in docs/ is drawn from this table.
TRANSITIONS: Final[dict[tuple[WithdrawalState, WithdrawalState], str]] = {
    (_S.ACCEPTED, _S.QUEUED): "nothing holds it",
    (_S.ACCEPTED, _S.HELD): "held at intake",
    (_S.ACCEPTED, _S.EXPIRED): "valid_until passed",
    (_S.HELD, _S.QUEUED): "released by an SRE",
    (_S.HELD, _S.EXPIRED): "valid_until passed",
    (_S.HELD, _S.CANCELLED): "cancelled by the backend",
    (_S.QUEUED, _S.BATCHED): "a batch takes it",
    (_S.QUEUED, _S.HELD): "its last batch was rejected as a whole",
    (_S.QUEUED, _S.EXPIRED): "valid_until passed",
    (_S.QUEUED, _S.CANCELLED): "cancelled by the backend",
    (_S.BATCHED, _S.QUEUED): "its batch was abandoned, or rejected for other outputs",
    (_S.BATCHED, _S.HELD): "its batch was rejected as a whole",
    (_S.BATCHED, _S.REJECTED): "an operator rejected its output",
    (_S.BATCHED, _S.COMMITTED): "a signing package is durable",
    (_S.BATCHED, _S.CONFIRMED): "its transaction was found in a block",
    (_S.HELD, _S.CONFIRMED): "its transaction was found in a block",
    (_S.QUEUED, _S.CONFIRMED): "its transaction was found in a block",
    (_S.COMMITTED, _S.HELD): "its batch was rejected after a package was durable",
    (_S.COMMITTED, _S.BROADCAST): "the signed transaction was sent",
    (_S.COMMITTED, _S.CONFIRMED): "seen in a block before our own broadcast was noted",
    (_S.BROADCAST, _S.CONFIRMED): "in a block",
    (_S.CONFIRMED, _S.BROADCAST): "reorg: its block was left",
    (_S.CONFIRMED, _S.FINAL): "buried to final depth",
}

# Nothing leaves these.
ENDS: Final = frozenset({_S.FINAL, _S.REJECTED, _S.CANCELLED, _S.EXPIRED})
# A request may expire only where no batch can pay it any more.
MAY_EXPIRE: Final = frozenset(start for (start, to) in TRANSITIONS if to is WithdrawalState.EXPIRED)
# What a state waits for, unless a later stage knows better.
WAITS_FOR: Final[dict[WithdrawalState, BlockedReason]] = {
    _S.ACCEPTED: BlockedReason.BATCH,
    _S.HELD: BlockedReason.HELD,
    _S.QUEUED: BlockedReason.BATCH,
    _S.BATCHED: BlockedReason.APPROVALS,
    _S.COMMITTED: BlockedReason.SIGNERS,
    _S.BROADCAST: BlockedReason.CHAIN,
    _S.CONFIRMED: BlockedReason.CONFIRMATIONS,
    _S.FINAL: BlockedReason.NONE,
    _S.REJECTED: BlockedReason.NONE,
    _S.CANCELLED: BlockedReason.NONE,
    _S.EXPIRED: BlockedReason.NONE,
}

# A backend's clock may be ahead by so much.
MAX_CLOCK_SKEW_S: Final = 300
MAX_VALIDITY_S: Final = 90 * 86_400
# A request must live at least so long, or it would expire before operators could read it.
MIN_REMAINING_S: Final = 1


def check_transition(old: WithdrawalState, new: WithdrawalState) -> None:
    """Raise STATE_TRANSITION_FORBIDDEN unless the table allows it."""
    if (old, new) not in TRANSITIONS:
        raise CustodydError(ErrorId.STATE_TRANSITION_FORBIDDEN, f"{old.name} -> {new.name}")


def sources_of(new: WithdrawalState) -> frozenset[WithdrawalState]:
    """The states from which the table allows to reach `new`."""
    return frozenset(start for (start, to) in TRANSITIONS if to is new)


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that passed intake, with the address that its script stands for."""

    request: Authentic[Request]
    address: str


def check_request(received: Received[Request], genesis: Body[Genesis]) -> CheckedRequest:
    """Raise Refusal unless the request is payable under this genesis, at some time.

    `check_validity` adds whether that time is now: a call that is repeated later must find the
    answer that it had, so time is asked only of a request that is new.
    """
    request = received.document
    _check_key(received, genesis.document)
    authentic = authenticate(received, SignerErrorId.REQUEST_SIGNATURE_INVALID)
    if request.genesis != genesis.digest:
        raise Refusal(SignerErrorId.REQUEST_OTHER_GENESIS, request.genesis.hex())
    address = _check_destination(request, genesis.document)
    return CheckedRequest(authentic, address)


def _check_key(received: Received[Request], genesis: Genesis) -> None:
    request = received.document
    if received.key != request.key:
        raise Refusal(
            SignerErrorId.REQUEST_SIGNATURE_INVALID, "signed by another key than the request names"
        )
    require_key(
        request.key,
        [entry.key for entry in genesis.request_keys],
        SignerErrorId.REQUEST_KEY_UNKNOWN,
    )
    entry = genesis.request_key(request.key)
    if entry is None or request.initiator not in entry.people:
        raise Refusal(SignerErrorId.REQUEST_INITIATOR_UNKNOWN, request.initiator)


def check_validity(request: Request, now_s: int) -> None:
    """Raise Refusal or CustodydError unless it is valid now, for a reasonable time."""
    if request.valid_until_s < now_s + MIN_REMAINING_S:
        raise Refusal(SignerErrorId.REQUEST_EXPIRED, f"valid until {request.valid_until_s}")
    if request.issued_at_s > now_s + MAX_CLOCK_SKEW_S:
        raise CustodydError(
            ErrorId.VALIDITY_TOO_LONG,
            f"issued at {request.issued_at_s}, in the future",
            field="issued_at_s",
        )
    if request.valid_until_s - request.issued_at_s > MAX_VALIDITY_S:
        raise CustodydError(
            ErrorId.VALIDITY_TOO_LONG, f"longer than {MAX_VALIDITY_S} s", field="valid_until_s"
        )


def _check_destination(request: Request, genesis: Genesis) -> str:
    try:
        address = address_from_script(request.script, genesis.network)
    except InvalidAddress as bad:
        raise Refusal(SignerErrorId.REQUEST_SCRIPT_UNPAYABLE, str(bad)) from bad
    least_sat = dust_threshold_sat(request.script)
    if request.amount_sat < least_sat:
        raise Refusal(
            SignerErrorId.REQUEST_AMOUNT_DUST,
            f"{request.amount_sat} sat to this script, at least {least_sat} sat",
        )
    return address
