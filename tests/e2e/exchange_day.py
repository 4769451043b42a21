"""What happens on a local quorum in these tests: money in, requests, approvals, blocks; and the one
question after everything: was each line paid exactly once, as the chain tells it?"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from deploy.local.cluster import VAULT, Cluster, last_group
from deploy.local.demo import satoshi
from deploy.local.payees import Payee, payees, write_csv
from deploy.local.processes import CommandFailed, RpcRefused, until
from deploy.local.watching import or_none

PATIENCE_S = 120.0
ENOUGH_SAT = 50_000_000
SENT = frozenset({"BROADCAST", "CONFIRMED", "FINAL"})


@dataclass(slots=True)
class Round:
    """Some withdrawals of a test, under ids of their own."""

    cluster: Cluster
    prefix: str
    payees: list[Payee] = field(default_factory=list)
    patience_s: float = PATIENCE_S

    def fund(self, amount_btc: str = "1") -> None:
        """A deposit that the exchange credits."""
        cluster = self.cluster
        before = len(cluster.watcher.credited())
        address = cluster.exchange("address", "new", "--vault", VAULT)["address"]
        cluster.chain("devnet_faucet", address, amount_btc)
        cluster.mine(cluster.setting.deposit_depth)
        until("credited", lambda: len(cluster.watcher.credited()) > before, self.patience_s)
        until(
            "counted",
            or_none(lambda: cluster.watcher.available_sat(VAULT) > 50_000_000),
            self.patience_s,
        )

    def ask(self, count: int = 2) -> None:
        """Requests from a CSV file."""
        wanted = [
            Payee(one.external_id, one.address, 100_000 + at, one.account, one.kind)
            for at, one in enumerate(payees(count, self.prefix))
        ]
        path = self.cluster.root / f"{self.prefix}.csv"
        write_csv(path, wanted)
        self.cluster.exchange("withdraw", "--vault", VAULT, "--csv", str(path), keyed=True)
        self.payees = wanted

    @property
    def ids(self) -> list[str]:
        return [one.external_id for one in self.payees]

    def states(self) -> dict[str, dict[str, Any]]:
        """This round's withdrawals; empty while the coordinator does not answer."""
        found = or_none(self.cluster.watcher.withdrawals)() or []
        return {one["external_id"]: one for one in found if one["external_id"] in self.ids}

    def all_in(self, *states: str) -> bool:
        found = self.states()
        return len(found) == len(self.ids) and all(one["state"] in states for one in found.values())

    def await_states(self, *states: str) -> None:
        claim = f"{self.prefix}: all in {states}"
        until(claim, lambda: self.all_in(*states), self.patience_s, poll_s=0.2)

    def manifest_digest(self) -> str:
        """The digest of this round's batch, once it is proposed."""

        def proposed() -> str | None:
            for batch in or_none(self.cluster.watcher.batches)() or []:
                if set(self.ids) & set(batch["external_ids"]) and batch["state"] == "PROPOSED":
                    return str(batch["manifest_digest"])
            return None

        found: str = until(f"{self.prefix}: proposed", proposed, self.patience_s, poll_s=0.2)
        return found

    def approve(self, nodes: Sequence[str] = ("s1", "s2"), digest: str = "") -> None:
        """Operators at these nodes look and approve."""
        manifest = digest or self.manifest_digest()
        for node in nodes:
            self._approve_at(node, manifest)

    def _approve_at(self, node: str, manifest: str) -> None:
        until(f"{node} told", lambda: manifest in self.cluster.told(node), self.patience_s)
        self.cluster.approve(node, manifest, last_group(self.cluster.look(node, manifest)))

    def finish(self) -> None:
        """Blocks until the coordinator says final and the exchange proved it; then look."""
        self.await_states(*SENT)

        def final() -> bool:
            if self.all_in("FINAL"):
                return True
            try:
                self.cluster.mine()
            except (OSError, RpcRefused):
                return False
            return False

        until(f"{self.prefix}: final", final, self.patience_s, poll_s=0.5)
        verified = self.cluster.watcher.verified
        until(
            f"{self.prefix}: proved",
            lambda: set(verified(self.ids).values()) == {"FINAL"},
            self.patience_s,
            poll_s=0.2,
        )
        self.check_paid_once()

    def check_paid_once(self) -> None:
        """Each line of this round stands on the chain exactly once, to the satoshi."""
        outputs = chain_outputs(self.cluster)
        for one in self.payees:
            count = outputs.count((one.address, one.amount_sat))
            assert count == 1, f"{one.external_id} is paid {count} times"


def chain_outputs(cluster: Cluster) -> list[tuple[str, int]]:
    """All outputs of the best chain, with addresses."""
    found = []
    for height in range(int(cluster.chain("getblockcount")) + 1):
        block = cluster.chain("getblock", cluster.chain("getblockhash", height), 2)
        for transaction in block["tx"]:
            for vout in transaction["vout"]:
                address = vout["scriptPubKey"].get("address", "")
                found.append((address, satoshi(vout["value"])))
    return found


@contextmanager
def operators_on_duty(cluster: Cluster, nodes: Sequence[str] = ("s1", "s2")) -> Iterator[None]:
    """People at these nodes who approve whatever their node tells them of, until the end."""
    stop = threading.Event()

    def work(node: str) -> None:
        decided: set[str] = set()
        while not stop.wait(0.2):
            for manifest in cluster.told(node):
                if manifest in decided:
                    continue
                try:
                    cluster.approve(node, manifest, last_group(cluster.look(node, manifest)))
                except CommandFailed as failed:
                    if "EXPIRED" not in failed.said:
                        time.sleep(0.5)
                        continue
                decided.add(manifest)

    threads = [threading.Thread(target=work, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
