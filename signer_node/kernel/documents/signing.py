"""Messages of a signing session, in the order in which they are sent.

A vault kind without nonces has empty commitments and is otherwise the same machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from signer_node.kernel.documents.fields import (
    MAX_INPUTS,
    MAX_OPERATORS,
    MAX_ROSTER,
    Count,
    Digest,
    Incarnation,
    Name,
    Range,
    Size,
)

MAX_ROUNDS = 10_000
Round = Annotated[int, Range(1, MAX_ROUNDS)]
Commitments = Annotated[tuple[Annotated[bytes, Size(1, 128)], ...], Count(0, MAX_INPUTS)]


@dataclass(frozen=True, slots=True)
class RoundOpening:
    """Coordinator: commit to signing this manifest in this round."""

    NAME: ClassVar[str] = "round-opening"
    manifest: Digest
    round: Round


@dataclass(frozen=True, slots=True)
class CommitmentSet:
    """Signer: its commitments for every input; they die with its boot."""

    NAME: ClassVar[str] = "commitment-set"
    manifest: Digest
    round: Round
    boot: Incarnation
    commitments: Commitments


@dataclass(frozen=True, slots=True)
class SignerCommitments:
    """One member of the signer set as the coordinator heard it."""

    node: Name
    boot: Incarnation
    commitments: Commitments


@dataclass(frozen=True, slots=True)
class SigningPackage:
    """Coordinator: everything that a share depends on.

    `payer_confirmation` is empty when the policy asks for none.
    """

    NAME: ClassVar[str] = "signing-package"
    manifest: Digest
    round: Round
    approvals: Annotated[tuple[Annotated[bytes, Size(1, 4_096)], ...], Count(0, MAX_OPERATORS)]
    payer_confirmation: Annotated[bytes, Size(0, 4_096)]
    signers: Annotated[tuple[SignerCommitments, ...], Count(1, MAX_ROSTER)]


@dataclass(frozen=True, slots=True)
class ShareSet:
    """Signer: its share for every input of the package."""

    NAME: ClassVar[str] = "share-set"
    package: Digest
    manifest: Digest
    round: Round
    shares: Annotated[tuple[Annotated[bytes, Size(1, 128)], ...], Count(1, MAX_INPUTS)]
