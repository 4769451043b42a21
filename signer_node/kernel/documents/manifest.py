"""The manifest, the decisions over it, and what travels with them (PROTOCOL.md section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, ClassVar

from signer_node.kernel.documents.fields import (
    MAX_BRANCH,
    MAX_ENVELOPE,
    MAX_INPUTS,
    MAX_PAYOUTS,
    MAX_PSBT,
    MAX_TRANSACTION,
    Amount,
    Count,
    DerivationIndex,
    Digest,
    ErrorName,
    Label,
    Name,
    Range,
    ShortText,
    Size,
    Time,
    Uint32,
    Uint64,
)

# The longest PSBT with the most evidence that an envelope still carries.
_Transaction = Annotated[bytes, Size(1, MAX_TRANSACTION)]
_Branch = Annotated[tuple[Digest, ...], Count(0, MAX_BRANCH)]


class ManifestKind(Enum):
    """What a quorum signs; a kind not named here is not signed."""

    UNKNOWN = 0
    PAYOUT = 1


@dataclass(frozen=True, slots=True)
class Payout:
    """Output number `output` pays the request with this digest."""

    output: Uint32
    request: Digest


@dataclass(frozen=True, slots=True)
class Change:
    """Output number `output` returns to the vault's internal chain at `index`."""

    output: Uint32
    index: DerivationIndex


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A Merkle branch from a transaction to a block, with the coinbase's to fix its length."""

    block_hash: Digest
    position: Uint32
    branch: _Branch
    coinbase: _Transaction
    coinbase_branch: _Branch


@dataclass(frozen=True, slots=True)
class InputEvidence:
    """Proof of what an input spends; no inclusion: change of a manifest checked before."""

    previous_transaction: _Transaction
    chain: Annotated[int, Range(0, 1)]
    index: DerivationIndex
    inclusion: Inclusion | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A transaction to sign and everything by which a signer judges it alone."""

    NAME: ClassVar[str] = "manifest"
    genesis: Digest
    certificate: Digest
    policy: Digest
    kind: ManifestKind
    batch_id: Label
    psbt: Annotated[bytes, Size(1, MAX_PSBT)]
    payouts: Annotated[tuple[Payout, ...], Count(0, MAX_PAYOUTS)]
    changes: Annotated[tuple[Change, ...], Count(0, MAX_PAYOUTS)]
    evidence: Annotated[tuple[InputEvidence, ...], Count(0, MAX_INPUTS)]
    max_fee_sat: Amount
    max_fee_rate_sat_vb: Amount
    replaces: Digest
    not_before_s: Time
    expires_at_s: Time


@dataclass(frozen=True, slots=True)
class ManifestProposal:
    """A manifest's bytes with the Signed bytes of the requests that it pays."""

    NAME: ClassVar[str] = "manifest-proposal"
    manifest: Annotated[bytes, Size(1, MAX_ENVELOPE)]
    requests: Annotated[tuple[bytes, ...], Count(0, MAX_PAYOUTS)]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A signer's acceptance or refusal of a manifest or signing package."""

    NAME: ClassVar[str] = "verdict"
    subject: Digest
    accepted: bool
    error: ErrorName
    detail: ShortText


class Decision(Enum):
    """An operator's word on a manifest."""

    UNKNOWN = 0
    APPROVE = 1
    REJECT = 2


class RejectReason(Enum):
    """Why an operator rejects; NONE exactly when approving."""

    UNKNOWN = 0
    NONE = 1
    WRONG_DESTINATION = 2
    WRONG_AMOUNT = 3
    SUSPECTED_FRAUD = 4
    FEE = 5
    OTHER = 6


@dataclass(frozen=True, slots=True)
class Approval:
    """An operator's decision over exactly one manifest; `outputs` narrows a rejection."""

    NAME: ClassVar[str] = "approval"
    genesis: Digest
    policy: Digest
    manifest: Digest
    decision: Decision
    reason: RejectReason
    text: ShortText
    outputs: Annotated[tuple[Uint32, ...], Count(0, MAX_PAYOUTS)]
    person: Name
    decided_at_s: Time


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life with the heads that a signer stands on."""

    NAME: ClassVar[str] = "heartbeat"
    journal_sequence: Uint64
    journal_head: Digest
    policy: Digest
    tip_height: Uint32
    tip_hash: Digest
    sent_at_s: Time


@dataclass(frozen=True, slots=True)
class Headers:
    """Consecutive raw block headers."""

    NAME: ClassVar[str] = "headers"
    headers: Annotated[tuple[Annotated[bytes, Size(80, 80)], ...], Count(1, 2_000)]
