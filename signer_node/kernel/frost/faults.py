"""What FROST raises, in BIP-445's two kinds, and the one that it leaves to the caller.

1. `InvalidParameters`: an argument that nobody may pass (the BIP's ValueError, with its words).
2. `InvalidContribution`: what a signer, or whoever aggregated the nonces, must not have sent.
3. `InvalidSignature`: the aggregate does not verify; `blame` finds out through whom.
4. `SigningFault`: this machine made a partial signature that does not verify; it stays here.
"""

from enum import Enum, unique


@unique
class Contribution(Enum):
    """What a party contributes to a session."""

    UNKNOWN = "unknown"
    PUBNONCE = "pubnonce"
    AGGNONCE = "aggnonce"
    PSIG = "psig"


class InvalidParameters(ValueError):
    """An argument breaks a precondition of BIP-445."""


class InvalidContribution(ValueError):
    """A party misbehaves: the one at `signer_index` of the list, or, if None, the aggregator."""

    def __init__(self, signer_index: int | None, contribution: Contribution) -> None:
        sender = "the aggregator" if signer_index is None else f"the signer at index {signer_index}"
        super().__init__(f"{sender} sent an invalid {contribution.value}")
        self.signer_index = signer_index
        self.contribution = contribution


class InvalidSignature(ValueError):
    """The partial signatures do not add up to a signature of the threshold public key."""


class SigningFault(RuntimeError):
    """A partial signature made here does not verify: memory or processor are at fault."""
