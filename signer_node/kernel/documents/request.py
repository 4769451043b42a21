"""What the exchange's backend signs: a request to pay, and the confirmation of a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from signer_node.kernel.documents.fields import (
    Digest,
    Name,
    PositiveAmount,
    Script,
    ShortText,
    Time,
    WithdrawalId,
    XOnlyKey,
)


@dataclass(frozen=True, slots=True)
class Request:
    """One withdrawal: pay `amount_sat` to `script`, once, under a `withdrawal_id` unique for ever.

    `memo_hash` is the SHA-256 of a memo that only the exchange keeps, or zero.
    """

    NAME: ClassVar[str] = "request"
    genesis: Digest
    vault: Name
    key: XOnlyKey
    withdrawal_id: WithdrawalId
    script: Script
    amount_sat: PositiveAmount
    account: ShortText
    initiator: Name
    issued_at_s: Time
    valid_until_s: Time
    memo_hash: Digest


@dataclass(frozen=True, slots=True)
class PayerConfirmation:
    """The backend found `manifest` paid-once against its own ledger."""

    NAME: ClassVar[str] = "payer-confirmation"
    genesis: Digest
    manifest: Digest
    key: XOnlyKey
    confirmed_at_s: Time
