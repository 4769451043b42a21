"""A scripted exchange day on a local quorum: `python -m deploy.local.demo`.

Deposits come in and are credited by proof; a file of withdrawals to five kinds of address goes out
in batches that operators at two nodes look at and approve by the command a person uses; blocks
confirm them; at the end the chain is compared with the file to the satoshi. Nothing is faked: the
processes, signatures and blocks are those of any other day. Writes build/demo/summary.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from deploy.local.cluster import VAULT, Cluster, Setting, at_once, last_group
from deploy.local.payees import Payee, payees, write_csv
from deploy.local.processes import CommandFailed, NotReady, Ports, RpcRefused, until
from deploy.local.steps import Steps, complain
from signer_node.kernel.units import SATOSHI_PER_BITCOIN, format_bitcoin

ROOT: Final = Path("build/demo")
WITHDRAWALS: Final = 24
DEPOSITS_BTC: Final = ("1.5", "2.25", "0.75")
APPROVERS: Final = ("s1", "s2")
PATIENCE_S: Final = 60.0
LOOK_S: Final = 0.2
ENDED: Final = frozenset({"FINAL", "REJECTED", "CANCELLED", "EXPIRED"})


class DayFailed(Exception):
    """The day did not end as it should; the message says what differs."""


@dataclass(slots=True)
class Day:
    """The script, step by step, and what it found."""

    cluster: Cluster
    steps: Steps
    withdrawals: int = WITHDRAWALS
    addresses: list[str] = field(default_factory=list)
    deposits: list[dict[str, Any]] = field(default_factory=list)
    payees: list[Payee] = field(default_factory=list)
    paid: list[dict[str, Any]] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)
    processes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self) -> None:
        """The whole day."""
        set_up(self.cluster, self.steps)
        self.fund()
        self.ask()
        self.decide()
        self.confirm()
        self.compare()
        for daemon in self.cluster.daemons:
            used = daemon.usage()
            if used is not None:
                self.processes[daemon.name] = asdict(used)

    # --- money in ---

    def fund(self) -> None:
        """Deposits to addresses that the backend derives itself, credited by proof."""
        cluster = self.cluster
        with self.steps.step("deposits", "Deposits: addresses, payments, blocks, credit by proof"):
            words = ("address", "new", "--vault", VAULT, "--count", str(len(DEPOSITS_BTC)))
            made = cluster.exchange(*words)["addresses"]
            for amount, address in zip(DEPOSITS_BTC, made, strict=True):
                txid = cluster.chain("devnet_faucet", address, amount)
                self.addresses.append(address)
                self.steps.fact(f"{amount} BTC to {address}")
                self.steps.fact(f"  in {txid}")
            height = cluster.mine(cluster.setting.deposit_depth)
            self.steps.fact(f"mined to height {height}")
            until("all deposits are credited", self._credited, PATIENCE_S)
            balance = until("the coordinator counts them", self._funded, PATIENCE_S)
            self.deposits = cluster.watcher.deposits()
            self.steps.fact(f"available {format_bitcoin(balance)} BTC, credited by proof")

    def _credited(self) -> bool:
        return len(self.cluster.watcher.credited()) == len(DEPOSITS_BTC)

    def _funded(self) -> int | None:
        available = self.cluster.watcher.available_sat(VAULT)
        return available if available >= sum(map(satoshi, DEPOSITS_BTC)) else None

    # --- money out ---

    def ask(self) -> None:
        """A file of withdrawals, checked, signed and submitted."""
        with self.steps.step("requests", f"{self.withdrawals} withdrawals from a CSV file"):
            self.payees = payees(self.withdrawals)
            path = self.cluster.root / "withdrawals.csv"
            write_csv(path, self.payees)
            words = ("withdraw", "--vault", VAULT, "--csv", str(path))
            asked = self.cluster.exchange(*words, keyed=True)["withdrawals"]
            total = format_bitcoin(sum(one.amount_sat for one in self.payees))
            kinds = ", ".join(sorted({one.kind for one in self.payees}))
            self.steps.fact(f"{path}: {total} BTC to {kinds}")
            self.steps.fact(f"{len(asked)} requests signed by the exchange's key and accepted")

    def decide(self) -> None:
        """Operators at two nodes look at each batch and approve it, until all is broadcast."""
        with self.steps.step("approvals", "Operators approve at their own nodes; the quorum signs"):
            decided: set[str] = set()
            deadline = time.monotonic() + PATIENCE_S
            while not self._all_sent():
                for digest in self.cluster.told(APPROVERS[0]):
                    if digest not in decided:
                        decided.add(digest)
                        self._decide(digest)
                if time.monotonic() > deadline:
                    raise NotReady(f"not all is broadcast:\n{self._waits()}")
                time.sleep(LOOK_S)
            self.steps.fact("every withdrawal is in a broadcast transaction")

    def _decide(self, digest: str) -> None:
        """Look at one node, approve at two: each computes the facts anew from the bytes."""
        seen = self.cluster.look(APPROVERS[0], digest)
        typed = last_group(seen)

        def approve(node: str) -> None:
            until(f"{node} has it", lambda: digest in self.cluster.told(node), PATIENCE_S)
            self.cluster.approve(node, digest, typed)

        at_once(approve, APPROVERS)
        count, paid = len(seen["payouts"]), format_bitcoin(seen["paid_sat"])
        self.steps.fact(f"batch {seen['batch_id']}: {count} payouts, {paid} BTC")
        self.steps.fact(f"  digest {digest}")
        self.steps.fact(f"  txid {seen['txid']}, fee {seen['fee_sat']} sat")
        self.steps.fact(f"  approved at {' and '.join(APPROVERS)}")

    def _states(self) -> list[dict[str, Any]]:
        return self.cluster.watcher.withdrawals()

    def _all_sent(self) -> bool:
        sent = {"BROADCAST", "CONFIRMED"} | ENDED
        return all(one["state"] in sent for one in self._states())

    def _waits(self) -> str:
        return "\n".join(
            f"{one['external_id']} {one['state']} {one['blocked_reason']} {one['blocked_detail']}"
            for one in self._states()
        )

    def confirm(self) -> None:
        """Blocks, until everything is final at the coordinator and, by proof, at the exchange."""
        with self.steps.step("confirmations", "Blocks confirm; the exchange verifies finality"):
            height = self.cluster.mine(self.cluster.setting.final_depth)
            self.steps.fact(f"mined to height {height}")
            until("all is final", self._all_final, PATIENCE_S, poll_s=LOOK_S)
            until("the exchange proved it", self._all_proved, PATIENCE_S)
            self.steps.fact("final at the coordinator, and proved to the exchange by headers")

    def _all_final(self) -> bool:
        found = self._states()
        stuck = [one for one in found if one["state"] in ENDED - {"FINAL"}]
        if stuck:
            raise DayFailed(f"{stuck[0]['external_id']} ended {stuck[0]['state']}")
        return all(one["state"] == "FINAL" for one in found)

    def _all_proved(self) -> bool:
        ids = [one.external_id for one in self.payees]
        return set(self.cluster.watcher.verified(ids).values()) == {"FINAL"}

    # --- the reckoning ---

    def compare(self) -> None:
        """The chain against the file: each line paid exactly once, and nothing else paid."""
        with self.steps.step("comparison", "The chain compared with the CSV, to the satoshi"):
            self.paid = self._states()
            self.batches = self.cluster.watcher.batches()
            outputs = self._chain_outputs()
            self._check_payments(outputs)
            fees = sum(self._fee_of(txid) for txid in outputs)
            moved = sum(one.amount_sat for one in self.payees)
            left = self.cluster.watcher.available_sat(VAULT)
            came = sum(map(satoshi, DEPOSITS_BTC))
            if came != moved + fees + left:
                raise DayFailed(f"{came} sat came in, {moved} paid, {fees} fees, {left} left")
            self.steps.fact(f"{len(self.payees)} outputs equal {len(self.payees)} lines")
            self.steps.fact(
                f"{format_bitcoin(came)} in = {format_bitcoin(moved)} paid"
                f" + {format_bitcoin(fees)} fees + {format_bitcoin(left)} left"
            )

    def _chain_outputs(self) -> dict[str, list[tuple[str, int]]]:
        """Outputs of the transactions that the withdrawals name, from the node's own blocks."""
        wanted = {one["txid"] for one in self.paid}
        found: dict[str, list[tuple[str, int]]] = {}
        for height in range(int(self.cluster.chain("getblockcount")) + 1):
            block = self.cluster.chain("getblock", self.cluster.chain("getblockhash", height), 2)
            for transaction in block["tx"]:
                if transaction["txid"] in wanted:
                    found[transaction["txid"]] = [_output(one) for one in transaction["vout"]]
        if set(found) != wanted:
            raise DayFailed(f"{len(wanted - set(found))} transactions are in no block")
        return found

    def _check_payments(self, outputs: dict[str, list[tuple[str, int]]]) -> None:
        on_chain = [one for paid in outputs.values() for one in paid]
        claimed = {one["external_id"]: one for one in self.paid}
        for payee in self.payees:
            line = (payee.address, payee.amount_sat)
            claim = claimed[payee.external_id]
            if on_chain.count(line) != 1 or line not in outputs[claim["txid"]]:
                raise DayFailed(f"{payee.external_id} was not paid exactly once")
        change = len(on_chain) - len(self.payees)
        if change > len(outputs) * 2 or len(outputs) < 2:
            raise DayFailed(f"{len(outputs)} transactions with {change} more outputs than lines")

    def _fee_of(self, txid: str) -> int:
        return next(int(one["fee_sat"]) for one in self.batches if one["txid"] == txid)

    def summary(self) -> dict[str, Any]:
        """What build/demo/summary.json holds."""
        credited = self.cluster.watcher.credited()
        return {
            "vault_kind": self.cluster.setting.vault_kind,
            "t": 2,
            "n": len(self.cluster.signers),
            "deposits": [
                {
                    "txid": one["txid"],
                    "vout": one["vout"],
                    "address": one["address"],
                    "amount_sat": int(one["amount_sat"]),
                    "confirmations": one["confirmations"],
                    "credited": f"{one['txid']}:{one['vout']}" in credited,
                }
                for one in self.deposits
            ],
            "withdrawals": [
                {
                    "id": one["external_id"],
                    "address": one["address"],
                    "amount_sat": int(one["amount_sat"]),
                    "txid": one["txid"],
                    "confirmations": one["confirmations"],
                    "state": one["state"],
                }
                for one in self.paid
            ],
            "batches": [
                {
                    "id": one["batch_id"],
                    "txid": one["txid"],
                    "withdrawals": len(one["external_ids"]),
                }
                for one in self.batches
            ],
            "fees_sat": sum(int(one["fee_sat"]) for one in self.batches if one["txid"]),
            "processes": self.processes,
            "seconds": dict(self.steps.seconds),
            "seconds_total": round(sum(self.steps.seconds.values()), 3),
        }


def set_up(cluster: Cluster, steps: Steps) -> None:
    """From empty folders to a certified vault."""
    with steps.step("keys", "Chain node, folders, and every key made on its own host"):
        cluster.make_keys()
        steps.fact(f"data under {cluster.root}, logs in {cluster.root / 'logs'}")
    with steps.step("enrolment", "Coordinator up; five slots opened by one-time tokens"):
        cluster.enrol()
        steps.fact("signers s1, s2, s3; backend exchange; admin sre")
    with steps.step("genesis", "Genesis written, its 24 words compared and confirmed everywhere"):
        words = cluster.agree()
        for at in range(0, len(words), 8):
            steps.fact(" ".join(words[at : at + 8]))
    with steps.step("vault", f"The signer nodes make vault {VAULT!r}; all of them certify it"):
        steps.fact(cluster.make_vault()["descriptor"])
        steps.fact(f"chain primed to height {cluster.prime_chain()}")


def satoshi(amount_btc: str | Decimal) -> int:
    """An amount in satoshi, exactly."""
    exact = Decimal(amount_btc) * SATOSHI_PER_BITCOIN
    if exact != int(exact):
        raise DayFailed(f"{amount_btc} BTC is no number of satoshi")
    return int(exact)


def _output(vout: dict[str, Any]) -> tuple[str, int]:
    return vout["scriptPubKey"].get("address", ""), satoshi(vout["value"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the day; exit code 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.demo", description=__doc__)
    parser.add_argument("--vault", default="taproot-frost", metavar="KIND", help="vault kind")
    given = parser.parse_args(argv)
    setting = Setting(ROOT.absolute(), Ports(), vault_kind=given.vault)
    taken = setting.ports.taken()
    if taken:
        complain(f"ports {taken} are taken: stop what listens there (`make quorum`?)")
        return 1
    shutil.rmtree(setting.root, ignore_errors=True)
    day = Day(Cluster(setting), Steps())
    try:
        day.run()
    except (CommandFailed, NotReady, RpcRefused, DayFailed) as fault:
        complain(f"the demo failed: {fault}\nlogs: {setting.root / 'logs'}")
        return 1
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    finally:
        codes = day.cluster.stop()
    unclean = {name: code for name, code in codes.items() if code not in (0, None)}
    if unclean:
        complain(f"not ended cleanly: {unclean}")
        return 1
    path = ROOT / "summary.json"
    path.write_text(json.dumps(day.summary(), indent=1) + "\n")
    day.steps.say(f"all processes ended; {sum(day.steps.seconds.values()):.0f} s; see {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
