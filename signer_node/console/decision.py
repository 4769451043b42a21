"""An operator's decision: made in the operator's own process, delivered as an envelope.

The key never reaches the daemon. What is signed is the digest that this process computed itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from signer_node.adapters.entropy import boot_id, fresh
from signer_node.adapters.keystore import Secret
from signer_node.console.facts import Review
from signer_node.console.screen import last_group
from signer_node.kernel.curve import AUX_BYTES, sign_schnorr
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.manifest import Approval, Decision, RejectReason
from signer_node.kernel.documents.signed import Body, Document, document_digest
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.wire import encode, signed_bytes

ENVELOPE_LIFETIME_S: Final = 300


@dataclass(frozen=True, slots=True)
class Word:
    """What an operator says; reason NONE, no text and no outputs exactly when approving."""

    decision: Decision
    reason: RejectReason = RejectReason.NONE
    text: str = ""
    outputs: tuple[int, ...] = ()


APPROVE: Final = Word(Decision.APPROVE)


def require_typed(review: Review, typed: str) -> None:
    """Raise Refusal(DECISION_NOT_CONFIRMED) unless the last group of the largest was typed."""
    if typed.strip() != last_group(review.largest.address):
        raise Refusal(ErrorId.DECISION_NOT_CONFIRMED, f"for output {review.largest.output}")


def check_word(review: Review, word: Word) -> None:
    """Raise Refusal(SUBJECT_NOT_FOUND) if a rejection names outputs that are no payouts."""
    numbers = {payout.output for payout in review.payouts}
    for output in word.outputs:
        if output not in numbers:
            raise Refusal(ErrorId.SUBJECT_NOT_FOUND, f"output {output} is no payout")


def decision_envelope(
    review: Review, genesis: Body[Genesis], operator: Secret, word: Word, node_and_time: Addressed
) -> bytes:
    """The signed envelope that carries a decision over exactly this manifest."""
    seat = genesis.document.operator_by_key(operator.public)
    if seat is None:
        raise Refusal(ErrorId.OPERATOR_KEY_UNKNOWN, f"key {operator.public.hex()}")
    approval = Approval(
        genesis=genesis.digest,
        policy=review.policy,
        manifest=review.digest,
        decision=word.decision,
        reason=word.reason,
        text=word.text,
        outputs=word.outputs,
        person=seat.person,
        decided_at_s=node_and_time.now_s,
    )
    envelope = Envelope(
        type=PayloadType.APPROVAL,
        genesis=genesis.digest,
        sender=operator.public,
        incarnation=boot_id(),
        sequence=1,
        previous=ZERO_DIGEST,
        recipient=node_and_time.identity_key,
        expires_at_s=node_and_time.now_s + ENVELOPE_LIFETIME_S,
        payload=_signed(Approval, encode(approval), operator),
    )
    return _signed(Envelope, encode(envelope), operator)


@dataclass(frozen=True, slots=True)
class Addressed:
    """Which node shall take a decision, and when it was made."""

    identity_key: bytes
    now_s: int


def _signed(kind: type[Document], body: bytes, operator: Secret) -> bytes:
    signature = sign_schnorr(operator.value, document_digest(kind, body), fresh(AUX_BYTES))
    return signed_bytes(body, operator.public, signature)
