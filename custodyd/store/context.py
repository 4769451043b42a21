"""What a stage's `reconcile(store, context)` is handed by the daemon: values and capabilities.

A stage reads neither clock, configuration nor keys by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from custodyd.store.leases import Lease, check_lease
from custodyd.store.settings import DepositTier, StageSettings
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.signed import Body


class ChainNode(Protocol):
    """A Bitcoin node by its documented JSON-RPC (`custodyd.chain.rpc` is one).

    Raises CustodydError CHAIN_UNREACHABLE or CHAIN_REFUSED.
    """

    def call(self, method: str, *params: object) -> Any:
        """The `result` of one RPC."""
        ...


class Seal(Protocol):
    """Signs an envelope by the coordinator's key, as the next of its sequence, in a transaction.

    `recipient` is the identity key of a signer node; returns the envelope's Signed bytes.
    """

    def __call__(
        self,
        connection: Connection,
        type: PayloadType,  # noqa: A002 - the document's own word
        recipient: bytes,
        payload: bytes,
        /,
    ) -> bytes: ...


def _nothing(_transition: str) -> None:
    return


@dataclass(frozen=True, slots=True)
class StageContext:
    """Everything that a reconciler may use beside the store."""

    now_s: Callable[[], int]
    network: Network
    genesis: Body[Genesis] | None
    node: ChainNode
    seal: Seal
    lease: Lease | None = None
    settings: StageSettings = field(default_factory=StageSettings)
    # Told the name of each transition once it is durable; tests kill the process there.
    committed: Callable[[str], None] = _nothing

    def fence(self, connection: Connection) -> None:
        """To be called in every transaction of a reconciler: LEASE_LOST stops a replica."""
        if self.lease is not None:
            check_lease(connection, self.lease)


MAX_STEPS_PER_RECONCILE: Final = 1_000

__all__ = [
    "MAX_STEPS_PER_RECONCILE",
    "ChainNode",
    "DepositTier",
    "Seal",
    "StageContext",
    "StageSettings",
]
