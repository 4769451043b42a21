"""Gauges are set from the database just before a scrape, and readiness is judged from it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from custodyd.api.certificates import expires_at_s
from custodyd.api.status import node_height
from custodyd.batches import records
from custodyd.batches.rules import BatchState
from custodyd.errors import CustodydError
from custodyd.rpc.v1 import admin_pb2
from custodyd.signing import liveness
from custodyd.store import Store
from custodyd.store.context import StageContext
from custodyd.store.events import last_event
from custodyd.telemetry import metrics
from custodyd.withdrawals import service as withdrawals
from custodyd.withdrawals.rules import ENDS, WithdrawalState

# A scrape more often than this sees the same figures.
REFRESH_S: Final = 1.0
# A chain node that did not answer for so long makes the coordinator not ready.
CHAIN_STALE_S: Final = 60

_LOG = structlog.get_logger("gauges")


class Gauges:
    """Sets the gauges; `certificates` are by the name that the metric shows."""

    def __init__(
        self,
        store: Store,
        context: Callable[[], StageContext],
        certificates: Callable[[], dict[str, bytes]],
    ) -> None:
        self._store = store
        self._context = context
        self._certificates = certificates
        self._lock = threading.Lock()
        self._next = 0.0

    def refresh(self) -> None:
        """Set all gauges; a database that does not answer leaves them as they were."""
        with self._lock:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + REFRESH_S
            try:
                self._set()
            except CustodydError as bad:
                _LOG.warning("gauges not set", error=bad.error.name)

    def missing(self) -> str:
        """What keeps the coordinator from working; empty when nothing does."""
        context = self._context()
        if context.genesis is None:
            return "no genesis"
        try:
            status = self._status(context)
        except CustodydError as bad:
            return f"database: {bad.error.name}"
        if context.now_s() - status.chain_seen_s > CHAIN_STALE_S:
            return "the chain node does not answer"
        online = sum(1 for signer in status.signers if signer.online)
        threshold = context.genesis.document.threshold
        return "" if online >= threshold else f"{online} signer nodes online, {threshold} needed"

    def _status(self, context: StageContext) -> admin_pb2.Status:
        status = admin_pb2.Status()
        with self._store.reading() as connection:
            liveness.fill_chain(connection, status)
            status.signers.extend(liveness.signer_status(connection, context))
        return status

    def _set(self) -> None:
        context = self._context()
        with self._store.reading() as connection:
            by_state = withdrawals.count_by_state(connection)
            oldest = withdrawals.oldest_by_state(connection)
            batches = records.count_by_state(connection)
            metrics.EVENT_SEQUENCE.set(last_event(connection))
            node_at = node_height(connection)
        for state in WithdrawalState:
            if state is not WithdrawalState.UNKNOWN:
                metrics.WITHDRAWALS.labels(state.name).set(by_state.get(state, 0))
            if state in oldest and state not in ENDS:
                age_s = context.now_s() - oldest[state]
                metrics.OLDEST_WITHDRAWAL.labels(state.name).set(age_s)
            elif state not in ENDS and state is not WithdrawalState.UNKNOWN:
                metrics.OLDEST_WITHDRAWAL.labels(state.name).set(0)
        for batch_state in BatchState:
            if batch_state is not BatchState.UNKNOWN:
                metrics.BATCHES.labels(batch_state.name).set(batches.get(batch_state, 0))
        for name, pem in self._certificates().items():
            metrics.CERTIFICATE_EXPIRY.labels(name).set(expires_at_s(pem))
        if context.genesis is not None:
            self._set_quorum(context, node_at)

    def _set_quorum(self, context: StageContext, node_at: int) -> None:
        status = self._status(context)
        for signer in status.signers:
            metrics.SIGNER_SEEN.labels(signer.node).set(signer.last_seen_s)
        metrics.CHAIN_HEIGHT.set(status.chain_height)
        metrics.CHAIN_SEEN.set(status.chain_seen_s)
        metrics.CHAIN_LAG.set(max(0, node_at - status.chain_height))
