"""The signing stage's reconciler: genesis to new nodes, vaults, rounds."""

from __future__ import annotations

from custodyd.signing import ceremony, mailbox, rounds
from custodyd.store import Store
from custodyd.store.context import StageContext


def reconcile(store: Store, context: StageContext) -> None:
    """One pass over everything that waits for signer nodes."""
    if context.genesis is None:
        return
    ceremony.reconcile(store, context)
    rounds.reconcile(store, context)
    mailbox.forget_old(store, context)
