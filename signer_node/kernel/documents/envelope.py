"""The envelope: how any party sends anything to a signer node or from it.

Who may send what stands in one table, ENTITLED. Trust is in envelopes; TLS is only transport.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Final

from signer_node.kernel.documents.fields import Digest, Incarnation, Payload, Time, Uint64, XOnlyKey


class PayloadType(Enum):
    """What an envelope carries; the numbers are those of the wire."""

    UNKNOWN = 0
    GENESIS = 1
    HEADERS = 2
    VAULT_PROPOSAL = 3
    COSIGNER_KEY = 4
    CERTIFICATE_DRAFT = 5
    CERTIFICATE_SIGNATURE = 6
    CERTIFICATE = 7
    MANIFEST_PROPOSAL = 8
    VERDICT = 9
    APPROVAL = 10
    ROUND_OPENING = 11
    COMMITMENT_SET = 12
    SIGNING_PACKAGE = 13
    SHARE_SET = 14
    HEARTBEAT = 15
    KEYGEN_STEP1 = 16
    KEYGEN_BROADCAST1 = 17
    KEYGEN_STEP2 = 18
    KEYGEN_BROADCAST2 = 19
    RECOVERY_ACKNOWLEDGEMENT = 20


class Sender(Enum):
    """The roles of a genesis that send envelopes."""

    UNKNOWN = 0
    COORDINATOR = 1
    SIGNER = 2
    OPERATOR = 3


_FROM_COORDINATOR: Final = (
    PayloadType.GENESIS,
    PayloadType.HEADERS,
    PayloadType.VAULT_PROPOSAL,
    PayloadType.CERTIFICATE_DRAFT,
    PayloadType.CERTIFICATE,
    PayloadType.MANIFEST_PROPOSAL,
    PayloadType.ROUND_OPENING,
    PayloadType.SIGNING_PACKAGE,
    PayloadType.KEYGEN_BROADCAST1,
    PayloadType.KEYGEN_BROADCAST2,
)
_FROM_SIGNER: Final = (
    PayloadType.COSIGNER_KEY,
    PayloadType.CERTIFICATE_SIGNATURE,
    PayloadType.VERDICT,
    PayloadType.APPROVAL,
    PayloadType.COMMITMENT_SET,
    PayloadType.SHARE_SET,
    PayloadType.HEARTBEAT,
    PayloadType.KEYGEN_STEP1,
    PayloadType.KEYGEN_STEP2,
    PayloadType.RECOVERY_ACKNOWLEDGEMENT,
)

ENTITLED: Final = {
    Sender.COORDINATOR: frozenset(_FROM_COORDINATOR),
    Sender.SIGNER: frozenset(_FROM_SIGNER),
    Sender.OPERATOR: frozenset({PayloadType.APPROVAL}),
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """The signed body of an envelope. `recipient` is the identity key of who shall open it."""

    NAME: ClassVar[str] = "envelope"
    type: PayloadType
    genesis: Digest
    sender: XOnlyKey
    incarnation: Incarnation
    sequence: Uint64
    previous: Digest
    recipient: XOnlyKey
    expires_at_s: Time
    payload: Payload
