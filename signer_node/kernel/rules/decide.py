"""Approvals: is this manifest approved as the policy says? (PROTOCOL.md G3)

 1. An approval is an operator's signature over exactly this manifest under the policy in force.
 2. It is neither from the future nor older than the policy's lifetime of approvals.
 3. The operator is no person behind a request of this manifest.
 4. Each person counts once; enough distinct people, at more nodes than may be corrupt.
 5. A rejection stops the manifest.

`tally` serves the coordinator, which may wait; `require_approved` serves a signer, which refuses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from signer_node.kernel.documents.genesis import Genesis, OperatorSeat
from signer_node.kernel.documents.manifest import Approval, Decision, RejectReason
from signer_node.kernel.documents.signed import Authentic, Body, Received, authenticate
from signer_node.kernel.errors import ErrorId, Refusal

# An operator's host may be this far ahead of the node that judges.
MAX_CLOCK_SKEW_S: Final = 120


@dataclass(frozen=True, slots=True)
class Subject:
    """What is decided over: a manifest's digest, its policy, and who caused it."""

    manifest: bytes
    policy: bytes
    requesters: frozenset[str]


class Outcome(Enum):
    """Where a manifest stands with its operators; the zero value is no yes."""

    UNKNOWN = 0
    PENDING = 1
    APPROVED = 2
    REJECTED = 3


@dataclass(frozen=True, slots=True)
class CheckedApproval:
    """A decision by an operator who may decide."""

    authentic: Authentic[Approval]
    seat: OperatorSeat


@dataclass(frozen=True, slots=True)
class Tally:
    """People and nodes that approved, and how many are missing."""

    outcome: Outcome
    people: frozenset[str]
    nodes: frozenset[str]
    people_missing: int
    nodes_missing: int
    rejections: tuple[CheckedApproval, ...]


def requesters_of(genesis: Genesis, keys: Iterable[bytes]) -> frozenset[str]:
    """Everybody behind these request keys."""
    entries = [genesis.request_key(key) for key in set(keys)]
    return frozenset(person for entry in entries if entry is not None for person in entry.people)


def check_approval(
    received: Received[Approval], genesis: Body[Genesis], subject: Subject, now_s: int
) -> CheckedApproval:
    """One decision, checked by rules 1 to 3; raises Refusal."""
    approval = received.document
    seat = genesis.document.operator_by_key(received.key)
    if seat is None or seat.person != approval.person:
        raise Refusal(ErrorId.APPROVAL_OPERATOR_UNKNOWN, f"key {received.key.hex()}")
    authentic = authenticate(received, ErrorId.APPROVAL_SIGNATURE_INVALID)
    if approval.manifest != subject.manifest:
        raise Refusal(ErrorId.APPROVAL_OTHER_MANIFEST, approval.manifest.hex())
    if approval.policy != subject.policy or approval.genesis != genesis.digest:
        raise Refusal(ErrorId.APPROVAL_OTHER_POLICY, approval.policy.hex())
    if (approval.decision is Decision.APPROVE) != (approval.reason is RejectReason.NONE):
        raise Refusal(ErrorId.APPROVAL_INCONSISTENT, seat.person)
    _check_age(approval, genesis.document, now_s)
    if approval.decision is Decision.APPROVE and seat.person in subject.requesters:
        raise Refusal(ErrorId.APPROVAL_BY_REQUESTER, seat.person)
    return CheckedApproval(authentic, seat)


def _check_age(approval: Approval, genesis: Genesis, now_s: int) -> None:
    age_s = now_s - approval.decided_at_s
    if not -MAX_CLOCK_SKEW_S <= age_s <= genesis.rules.approval_lifetime_s:
        raise Refusal(ErrorId.APPROVAL_EXPIRED, f"{approval.person} decided {age_s} s ago")


def tally(genesis: Genesis, decisions: Iterable[CheckedApproval]) -> Tally:
    """Where checked decisions leave the manifest; a person's second approval adds nothing."""
    decided = tuple(decisions)
    approved = [one for one in decided if one.authentic.document.decision is Decision.APPROVE]
    rejections = tuple(one for one in decided if one.authentic.document.decision is Decision.REJECT)
    people = frozenset(one.seat.person for one in approved)
    nodes = frozenset(one.seat.node for one in approved)
    people_missing = max(0, genesis.rules.approvals_required - len(people))
    nodes_missing = max(0, genesis.corrupt_max + 1 - len(nodes))
    if rejections:
        outcome = Outcome.REJECTED
    elif people_missing or nodes_missing:
        outcome = Outcome.PENDING
    else:
        outcome = Outcome.APPROVED
    return Tally(outcome, people, nodes, people_missing, nodes_missing, rejections)


def require_approved(
    received: Iterable[Received[Approval]], genesis: Body[Genesis], subject: Subject, now_s: int
) -> Tally:
    """The tally of a package's approvals; raises Refusal unless it is APPROVED.

    Every approval must be valid and of another person: an honest coordinator sends no other.
    """
    checked = [check_approval(one, genesis, subject, now_s) for one in received]
    people = [one.seat.person for one in checked]
    for person in people:
        if people.count(person) > 1:
            raise Refusal(ErrorId.APPROVAL_TWICE, person)
    result = tally(genesis.document, checked)
    if result.outcome is Outcome.REJECTED:
        raise Refusal(ErrorId.MANIFEST_REJECTED, result.rejections[0].seat.person)
    if result.people_missing:
        raise Refusal(ErrorId.APPROVALS_MISSING, f"{result.people_missing} more people")
    if result.nodes_missing:
        raise Refusal(ErrorId.APPROVAL_NODES_MISSING, f"{result.nodes_missing} more nodes")
    if result.outcome is not Outcome.APPROVED:
        raise Refusal(ErrorId.APPROVALS_MISSING, result.outcome.name)
    return result
