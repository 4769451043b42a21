"""The local quorum kept running: `python -m deploy.local.quorum`; ctrl-C ends it.

The first start sets everything up under build/quorum; a later one goes on with what is there, as
after a power cut. Passphrases of a kept quorum stand in build/quorum/passphrases/ (mode 0600):
regtest money, and you want to type the commands that it prints.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from deploy.local.cluster import NODES, OPERATORS, VAULT, Cluster, Setting
from deploy.local.demo import set_up
from deploy.local.processes import CommandFailed, NotReady, RpcRefused, program
from deploy.local.steps import Steps, complain

ROOT: Final = Path("build/quorum")
READY_FILE: Final = "ready"
WATCH_S: Final = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run until ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.quorum", description=__doc__)
    parser.add_argument("--vault", default="taproot-frost", metavar="KIND", help="vault kind")
    parser.add_argument("--fresh", action="store_true", help="forget what is under build/quorum")
    given = parser.parse_args(argv)
    setting = Setting(ROOT.absolute(), vault_kind=given.vault)
    taken = setting.ports.taken()
    if taken:
        complain(f"ports {taken} are taken: stop what listens there")
        return 1
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ender(ended))
    is_new = given.fresh or not (setting.root / READY_FILE).exists()
    if is_new:
        shutil.rmtree(setting.root, ignore_errors=True)
    cluster = Cluster(setting)
    steps = Steps()
    try:
        _begin(cluster, steps, is_new=is_new)
        steps.say(_what_to_try(cluster))
        _watch(cluster, ended)
    except (CommandFailed, NotReady, RpcRefused) as fault:
        complain(f"{fault}\nlogs: {setting.root / 'logs'}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        steps.say("ending what was started")
        codes = cluster.stop()
    unclean = {name: code for name, code in codes.items() if code not in (0, None)}
    if unclean:
        complain(f"not ended cleanly: {unclean}")
    return 1 if unclean else 0


def _ender(ended: threading.Event) -> Callable[[int, FrameType | None], None]:
    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            raise KeyboardInterrupt
        ended.set()

    return on_signal


def _begin(cluster: Cluster, steps: Steps, *, is_new: bool) -> None:
    cluster.keep_passphrases()
    if is_new:
        set_up(cluster, steps)
        (cluster.root / READY_FILE).touch()
        return
    with steps.step("start", f"The quorum under {cluster.root} goes on"):
        cluster.start()
        cluster.await_ready()


def _watch(cluster: Cluster, ended: threading.Event) -> None:
    """Say it when a process dies; the others go on, as they would elsewhere."""
    dead: set[str] = set()
    while not ended.wait(WATCH_S):
        for daemon in cluster.daemons:
            if not daemon.is_running and daemon.name not in dead:
                dead.add(daemon.name)
                complain(f"{daemon.name} ended; its log: {daemon.log}")


def _short(path: Path | str) -> str:
    """A path as it is typed from here."""
    return os.path.relpath(path)


def _what_to_try(cluster: Cluster) -> str:
    root = _short(cluster.root)
    custodyd, signer = _short(program("custodyd")[0]), _short(program("signer-node")[0])
    home, password = f"--home {root}/backend", f"{root}/passphrases"
    rpc = f"{_short(sys.executable)} -m deploy.local.rpc"
    processes = "\n".join(
        f"  {one.name:12} pid {one.pid}, log {_short(one.log)}" for one in cluster.daemons
    )
    approvals = "\n".join(
        f"  {signer} approve BATCH --data-dir {root}/{node} --key {_short(cluster.key_file(node))}"
        f" --passphrase-fd 3 3< {password}/{OPERATORS[node][0]}"
        for node in NODES[:2]
    )
    return f"""
The quorum runs; ctrl-C ends it. Processes (kill -9 one and look what happens):
{processes}

Deposit:
  {custodyd} address new {home}
  {rpc} devnet_faucet ADDRESS 1.5
  {rpc} devnet_mine 3
  {custodyd} deposits list {home}
Withdraw:
  {custodyd} withdraw wd-1 bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080 0.1 {home} \\
      --passphrase-fd 3 3< {password}/exchange
  {custodyd} withdrawals list {home}
Look and approve at two nodes (it shows the screen and asks you to type the last group):
  {signer} list --waiting --data-dir {root}/s1
  {signer} show BATCH --data-dir {root}/s1
{approvals}
Confirm, and follow to final:
  {rpc} devnet_mine 3
  {custodyd} withdrawals watch wd-1 {home}
  {custodyd} batches list {home}
  {custodyd} balance --vault {VAULT} {home}
  {custodyd} status {home}
"""


if __name__ == "__main__":
    sys.exit(main())
