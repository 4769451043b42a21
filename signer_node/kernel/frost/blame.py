"""Who must not have sent what: the signers whose contributions spoil a session.

Blame is a function of public values, so anybody who has them comes to the same names, and an honest
signer is never among them: what it sends satisfies the equation for its own public nonce and share.
It needs the public nonces as the signers sent them, from which the caller made the aggregate.

If a session fails and nobody is to blame, then the aggregate nonce was not the sum of these public
nonces: whoever aggregated is at fault.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from signer_node.kernel.frost.aggregation import partial_sig_verify
from signer_node.kernel.frost.commitments import PubNonce, parse_pubnonce
from signer_node.kernel.frost.faults import Contribution, InvalidContribution, InvalidParameters
from signer_node.kernel.frost.package import SessionValues


@dataclass(frozen=True, slots=True)
class Culprit:
    """A participant, and what of its contributions is invalid."""

    signer_id: int
    contribution: Contribution


def find_bad_pubnonces(ids: Sequence[int], encoded: Sequence[bytes]) -> tuple[Culprit, ...]:
    """Return the signers whose public nonces are not two points; `encoded` is in their order."""
    _require_one_each(ids, encoded, "pubnonces")
    culprits = []
    for index, (signer_id, one) in enumerate(zip(ids, encoded, strict=True)):
        try:
            parse_pubnonce(index, one)
        except InvalidContribution as fault:
            culprits.append(Culprit(signer_id, fault.contribution))
    return tuple(culprits)


def find_culprits(
    psigs: Sequence[bytes], pubnonces: Sequence[PubNonce], values: SessionValues
) -> tuple[Culprit, ...]:
    """Return the signers whose partial signatures do not verify; all lists in their order."""
    ids = values.session.signers.ids
    _require_one_each(ids, psigs, "psigs")
    _require_one_each(ids, pubnonces, "pubnonces")
    culprits = []
    for signer_id, psig, pubnonce in zip(ids, psigs, pubnonces, strict=True):
        try:
            partial_sig_verify(psig, pubnonce, signer_id, values)
        except InvalidContribution as fault:
            culprits.append(Culprit(signer_id, fault.contribution))
    return tuple(culprits)


def _require_one_each(ids: Sequence[int], given: Sequence[object], name: str) -> None:
    if len(given) != len(ids):
        raise InvalidParameters(f"The {name} and ids lists must have the same length.")
