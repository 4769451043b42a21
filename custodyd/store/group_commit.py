"""One writer thread that commits what many callers hand in, as one transaction for each gulp.

A durable commit costs the same for one row as for a hundred, so callers that wait anyway share it.
For LINGER_S it waits for as many jobs as there were callers when the last gulp ended, answered and
queued: who calls alone is never kept waiting, and callers that come together are served together.
To each caller: `submit` returns only after its own work is durable, or raises what its own work
raised; a commit that fails is every caller's failure. The queue is bounded (WRITER_OVERLOADED).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final, Generic, TypeVar

from sqlalchemy import Connection

from custodyd.errors import CustodydError, ErrorId
from custodyd.store.store import Store
from signer_node.kernel.errors import Refusal

QUEUE_SIZE: Final = 1_024
GULP: Final = 128
LINGER_S: Final = 0.01
_IDLE_S: Final = 0.5

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


class GroupCommit(Generic[JobT, ResultT]):
    """Runs `work` over gulps of jobs; it answers each job with a result or an exception."""

    def __init__(
        self,
        store: Store,
        work: Callable[[Connection, Sequence[JobT]], Sequence[ResultT | CustodydError | Refusal]],
    ) -> None:
        self._store = store
        self._work = work
        self._jobs: queue.Queue[tuple[JobT, Future[ResultT]]] = queue.Queue(QUEUE_SIZE)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, job: JobT, timeout_s: float) -> ResultT:
        """The job's result, once it is durable."""
        if self._stopping.is_set():
            raise CustodydError(ErrorId.SHUTTING_DOWN)
        answer: Future[ResultT] = Future()
        try:
            self._jobs.put_nowait((job, answer))
        except queue.Full:
            raise CustodydError(ErrorId.WRITER_OVERLOADED) from None
        try:
            return answer.result(timeout_s)
        except FutureTimeoutError:
            raise CustodydError(ErrorId.STORE_BUSY, "not durable within the deadline") from None

    def close(self) -> None:
        """Finish what is queued, then stop."""
        self._stopping.set()
        self._thread.join()

    def _serve(self) -> None:
        expected = 1
        while not (self._stopping.is_set() and self._jobs.empty()):
            gulp = self._take(expected)
            if gulp:
                self._commit(gulp)
                expected = len(gulp) + self._jobs.qsize()

    def _take(self, expected: int) -> list[tuple[JobT, Future[ResultT]]]:
        gulp: list[tuple[JobT, Future[ResultT]]] = []
        try:
            gulp.append(self._jobs.get(timeout=_IDLE_S))
            until = time.monotonic() + LINGER_S
            while len(gulp) < GULP:
                patience_s = until - time.monotonic() if len(gulp) < expected else 0.0
                gulp.append(self._jobs.get(patience_s > 0.0, max(patience_s, 0.0)))
        except queue.Empty:
            pass
        return gulp

    def _commit(self, gulp: list[tuple[JobT, Future[ResultT]]]) -> None:
        try:
            with self._store.transaction() as connection:
                results = self._work(connection, [job for job, _ in gulp])
        except BaseException as bad:  # noqa: BLE001 - whatever it is, every caller must hear of it
            for _, answer in gulp:
                answer.set_exception(bad)
            return
        for (_, answer), result in zip(gulp, results, strict=True):
            if isinstance(result, CustodydError | Refusal):
                answer.set_exception(result)
            else:
                answer.set_result(result)
