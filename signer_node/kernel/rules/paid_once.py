"""Paid at most once (PROTOCOL.md G4): the one function, for signers and for the payer.

For a signer, `earlier` are the manifests for which it released a share; for the payer, those that
it confirmed. A manifest may follow them only if, against each one that pays any of its withdrawals:

 1. it is that manifest, or
 2. it pays exactly the same withdrawals, and
 3. it shares a conflict token (an outpoint) with it, so that at most one of the two confirms.

An id is freed in no other way here: a rule that frees one by proof of a buried conflicting spend
does not exist yet, so an id once released stays bound to the conflict for ever.
"""

from __future__ import annotations

from collections.abc import Iterable

from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.facts import PaidManifest


def check_paid_once(manifest: PaidManifest, earlier: Iterable[PaidManifest]) -> None:
    """Raise Refusal(WITHDRAWAL_ALREADY_PAID) unless the manifest may follow all earlier ones."""
    for before in earlier:
        if before.digest != manifest.digest:
            _check_pair(manifest, before)


def _check_pair(manifest: PaidManifest, before: PaidManifest) -> None:
    shared = manifest.withdrawal_ids & before.withdrawal_ids
    if not shared:
        return
    name = f"{min(shared)} in manifest {before.digest.hex()}"
    if manifest.withdrawal_ids != before.withdrawal_ids:
        raise Refusal(ErrorId.WITHDRAWAL_ALREADY_PAID, f"{name}, which pays other withdrawals too")
    if not manifest.conflict_tokens & before.conflict_tokens:
        raise Refusal(ErrorId.WITHDRAWAL_ALREADY_PAID, f"{name}, which shares no input")
