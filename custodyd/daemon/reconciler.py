"""The loop that works: each stage's `reconcile` in turn, under one lease, again and again.

A pass begins when something was committed or after the interval, at the latest; between two passes
there is a shortest pause, so that a stream of requests does not keep it spinning. A stage that
fails is counted and tried again in the next pass; the stages after it still get their turn, since
none depends on another but by what is stored. Losing the lease ends the pass.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from custodyd.errors import CustodydError, ErrorId
from custodyd.store import Store
from custodyd.store.context import StageContext
from custodyd.store.events import compact_events
from custodyd.store.incarnation import Sidecar
from custodyd.store.leases import Lease, acquire_lease, release_lease
from custodyd.telemetry import metrics
from signer_node.kernel.errors import Refusal

LEASE: Final = "reconciler"
LEASE_LIFETIME_S: Final = 15
SHORTEST_PAUSE_S: Final = 0.05
EVENTS_KEPT_S: Final = 90 * 86_400
HOUSEKEEPING_S: Final = 3_600.0
SIDECAR_S: Final = 1.0
SAY_AGAIN_S: Final = 60.0

_LOG = structlog.get_logger("reconciler")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage by name."""

    name: str
    reconcile: Callable[[Store, StageContext], None]


@dataclass(frozen=True, slots=True)
class Loop:
    """What the loop works with."""

    store: Store
    context: Callable[[], StageContext]
    stages: Sequence[Stage]
    sidecar: Sidecar
    holder: str
    interval_s: float


class Reconciler:
    """The loop's thread."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._stopping = threading.Event()
        self._next_housekeeping = time.monotonic() + HOUSEKEEPING_S
        self._next_sidecar = 0.0
        self._said: dict[str, tuple[str, float]] = {}
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End after the stage that runs; a stage that takes longer is left to the crash rule."""
        self._stopping.set()
        self._loop.store.changes.notify()
        self._thread.join(timeout_s)

    @property
    def is_alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.run_once()
            seen = self._loop.store.changes.seen()
            self._stopping.wait(SHORTEST_PAUSE_S)
            self._loop.store.changes.wait(seen, self._loop.interval_s)
        self._let_go()

    def run_once(self) -> bool:
        """One pass; returns whether this process held the lease and all stages went through."""
        try:
            lease = self._take_lease()
            if lease is None:
                return False
            context = replace(self._loop.context(), lease=lease)
            went_through = self._pass(context)
            self._keep_house(context)
        except CustodydError as bad:
            _LOG.warning("pass ended", error=bad.error.name)
            return False
        if went_through:
            metrics.RECONCILE_SUCCESS.set_to_current_time()
        return went_through

    def _take_lease(self) -> Lease | None:
        now_s = self._loop.context().now_s()
        with self._loop.store.transaction() as connection:
            return acquire_lease(connection, LEASE, self._loop.holder, now_s, LEASE_LIFETIME_S)

    def _pass(self, context: StageContext) -> bool:
        results = []
        for stage in self._loop.stages:
            if self._stopping.is_set():
                return False
            results.append(self._step(stage, context))
        return all(results)

    def _step(self, stage: Stage, context: StageContext) -> bool:
        started = time.monotonic()
        try:
            stage.reconcile(self._loop.store, context)
        except CustodydError as bad:
            if bad.error is ErrorId.LEASE_LOST:
                raise
            self._failed(stage, bad.error.name, None)
            return False
        except Refusal as bad:
            self._failed(stage, bad.error.name, None)
            return False
        except Exception as bad:  # noqa: BLE001 - a defect in one stage must not stop the others
            self._failed(stage, "DEFECT", bad)
            return False
        else:
            self._said.pop(stage.name, None)
        finally:
            metrics.RECONCILE_SECONDS.labels(stage.name).observe(time.monotonic() - started)
        return True

    def _failed(self, stage: Stage, error: str, defect: BaseException | None) -> None:
        metrics.RECONCILE_FAILURES.labels(stage.name).inc()
        # What goes on failing is told once and then seldom; the counter has every pass.
        said, next_time = self._said.get(stage.name, ("", 0.0))
        if said == error and time.monotonic() < next_time:
            return
        self._said[stage.name] = (error, time.monotonic() + SAY_AGAIN_S)
        log = _LOG.error if defect else _LOG.warning
        log("stage failed", stage=stage.name, error=error, exc_info=defect)

    def _keep_house(self, context: StageContext) -> None:
        now = time.monotonic()
        if now >= self._next_sidecar:
            self._next_sidecar = now + SIDECAR_S
            self._loop.sidecar.follow(self._loop.store)
        if now >= self._next_housekeeping:
            self._next_housekeeping = now + HOUSEKEEPING_S
            with self._loop.store.transaction() as connection:
                context.fence(connection)
                compact_events(connection, context.now_s() - EVENTS_KEPT_S)

    def _let_go(self) -> None:
        """Give the lease to other replicas at once, and note how far the store came."""
        try:
            lease = self._take_lease()
            if lease is not None:
                with self._loop.store.transaction() as connection:
                    release_lease(connection, lease, self._loop.context().now_s())
            self._loop.sidecar.follow(self._loop.store)
        except CustodydError as bad:
            _LOG.warning("lease kept", error=bad.error.name)
