"""Withdrawals a second from end to end, at 200 a batch, over the real processes.

The local quorum (deploy/local) is set up as `make demo` sets it up; then the clock runs from the
command that submits 400 withdrawals until both batches are broadcast. Operators at two nodes
approve each batch by the console command a person uses, run by the script as soon as their nodes
have told them. The stages overlap, so the note names milestones: when the last batch had come so
far. At the end each process's peak resident memory (VmHWM) is read.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

from deploy.local.cluster import VAULT, Cluster, Setting, at_once, last_group
from deploy.local.demo import set_up
from deploy.local.payees import payees, write_csv
from deploy.local.processes import NotReady, Ports, until
from deploy.local.steps import Steps
from tests.bench.measure import Direction, Measurement

WITHDRAWALS = 400
BATCH = 200
AGE_S = 120
"""Batches are formed full, never by age."""
AMOUNT_SAT = 100_000
DEPOSITS = 8
DEPOSIT_BTC = "0.1"
APPROVERS = ("s1", "s2")
PATIENCE_S = 120.0
LOOK_S = 0.1
SENT = frozenset({"BROADCAST", "CONFIRMED", "FINAL"})
MIB = 1024.0


def run(count: int = WITHDRAWALS, batch: int = BATCH) -> list[Measurement]:
    """Set the quorum up, run once, end it; the throughput and a row of memory for each process."""
    with tempfile.TemporaryDirectory(prefix="custodyd-bench-") as folder:
        setting = Setting(
            Path(folder) / "quorum", Ports.free(), batch_most=batch, batch_age_s=AGE_S
        )
        cluster = Cluster(setting)
        try:
            with redirect_stdout(StringIO()):
                set_up(cluster, Steps())
            _fund(cluster)
            run = Run(cluster, count, -(-count // batch))
            run.go()
            return [run.row(), *_memory(cluster)]
        finally:
            cluster.stop()


def _fund(cluster: Cluster) -> None:
    words = ("address", "new", "--vault", VAULT, "--count", str(DEPOSITS))
    for address in cluster.exchange(*words)["addresses"]:
        cluster.chain("devnet_faucet", address, DEPOSIT_BTC)
    cluster.mine(cluster.setting.deposit_depth)
    until("deposits are credited", lambda: len(cluster.watcher.credited()) == DEPOSITS, PATIENCE_S)
    until("they are counted", lambda: cluster.watcher.available_sat(VAULT) > 0, PATIENCE_S)


@dataclass(slots=True)
class Run:
    """One measured run: its milestones, in seconds since the submitting command began."""

    cluster: Cluster
    count: int
    batches: int
    began: float = 0.0
    milestones: dict[str, float] = field(default_factory=dict)
    decided: dict[str, Future[None]] = field(default_factory=dict)

    def go(self) -> None:
        """Submit, decide, wait until all is broadcast."""
        path = self.cluster.root / "withdrawals.csv"
        write_csv(path, [replace(one, amount_sat=AMOUNT_SAT) for one in payees(self.count)])
        self.began = time.perf_counter()
        with ThreadPoolExecutor(1 + self.batches) as pool:
            asked = pool.submit(self._ask, path)
            self._await("proposed", lambda: len(self._batches()) >= self.batches, pool)
            self._await("told", lambda: self._told() >= self.batches, pool)
            self._await("approved by console", self._all_decided, pool)
            self._await("broadcast", self._all_sent, pool)
            asked.result()

    def row(self) -> Measurement:
        """Withdrawals a second, and where the time went."""
        seconds = self.milestones["broadcast"]
        marks = sorted(self.milestones.items(), key=lambda one: one[1])
        told = ", ".join(f"{name} {at:.1f} s" for name, at in marks)
        before = [0.0, *(at for _name, at in marks)]
        longest = max(range(len(marks)), key=lambda at: marks[at][1] - before[at])
        return Measurement(
            f"withdrawals from end to end at {self.count // self.batches} a batch",
            self.count / seconds,
            "withdrawals/s",
            "",
            None,
            None,
            Direction.HIGHER,
            f"{self.count} withdrawals, {self.batches} batches; the last one was: {told};"
            f" longest on the way to: {marks[longest][0]}",
        )

    def _await(self, name: str, holds: Callable[[], bool], pool: ThreadPoolExecutor) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            self._decide_new(pool)
            if time.monotonic() > deadline:
                raise NotReady(f"not {name} after {PATIENCE_S:.0f} s: {self._batches()}")
            time.sleep(LOOK_S)
        self._mark(name)

    def _mark(self, name: str) -> None:
        self.milestones[name] = time.perf_counter() - self.began

    def _ask(self, path: Path) -> None:
        self.cluster.exchange("withdraw", "--vault", VAULT, "--csv", str(path), keyed=True)
        self._mark("submitted")

    def _decide_new(self, pool: ThreadPoolExecutor) -> None:
        for digest in self.cluster.told(APPROVERS[0]):
            if digest not in self.decided:
                self.decided[digest] = pool.submit(self._decide, digest)

    def _decide(self, digest: str) -> None:
        """Look at one node, approve at two, as the demo does."""
        typed = last_group(self.cluster.look(APPROVERS[0], digest))

        def approve(node: str) -> None:
            until(f"{node} is told", lambda: digest in self.cluster.told(node), PATIENCE_S)
            self.cluster.approve(node, digest, typed)

        at_once(approve, APPROVERS)

    def _told(self) -> int:
        return min(len(self.cluster.told(node)) for node in APPROVERS)

    def _all_decided(self) -> bool:
        done = [one for one in self.decided.values() if one.done()]
        for one in done:
            one.result()
        return len(done) >= self.batches

    def _batches(self) -> list[dict[str, Any]]:
        return self.cluster.watcher.batches()

    def _all_sent(self) -> bool:
        sent = [one for one in self._batches() if one["state"] in SENT]
        return sum(len(one["external_ids"]) for one in sent) == self.count


def _memory(cluster: Cluster) -> list[Measurement]:
    used = {daemon.name: daemon.usage() for daemon in cluster.daemons}
    return [
        Measurement(
            f"peak memory, {name}",
            one.peak_rss_kb / MIB,
            "MiB",
            "",
            None,
            None,
            Direction.LOWER,
            f"VmHWM at the end of the run above; {one.cpu_s:.1f} s of processor time",
        )
        for name, one in used.items()
        if one is not None
    ]
