"""What a stage's `reconcile(store, context)` is handed by the daemon: values and capabilities.

A stage reads neither clock, configuration nor keys by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from custodyd.store.leases import Lease, check_lease
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


@dataclass(frozen=True, slots=True)
class DepositTier:
    """Deposits of at least `from_sat` are creditable at `depth` confirmations."""

    from_sat: int
    depth: int


@dataclass(frozen=True, slots=True)
class StageSettings:
    """Figures of the stages; defaults suit a main chain, the daemon's configuration sets them."""

    batch_max_withdrawals: int = 200
    # A batch is formed when so many wait, or when the oldest waited so long.
    batch_enough_withdrawals: int = 100
    batch_max_age_s: int = 60
    manifest_lifetime_s: int = 7_200
    # Fee rate: the node's estimate between floor and cap, the fallback when it has none.
    fee_target_blocks: int = 6
    fee_floor_sat_vb: int = 1
    fee_cap_sat_vb: int = 200
    fee_fallback_sat_vb: int = 2
    # Greatest `from_sat` that is not above the amount decides; sorted ascending.
    deposit_tiers: tuple[DepositTier, ...] = (
        DepositTier(0, 2),
        DepositTier(100_000_000, 3),
        DepositTier(1_000_000_000, 6),
    )
    final_depth: int = 6
    round_timeout_s: int = 30
    signer_offline_after_s: int = 30
    envelope_lifetime_s: int = 86_400


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
