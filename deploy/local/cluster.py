"""A local quorum: devnet, coordinator, three signer nodes, backend, and how it is set up.

Each is an OS process of the real commands with a folder of its own, on loopback. Everything that
people would do by hand is done by the commands that they would use: tokens, enrolment, comparing
the genesis words, confirming them at each node and at the backend, making the vault.

The scrypt cost of this quorum's keys is lowered by an explicit option: they guard regtest money.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from deploy.local.processes import (
    LOOPBACK,
    Answer,
    Daemon,
    NotReady,
    Ports,
    Secret,
    call_rpc,
    is_listening,
    program,
    run,
    until,
)

NODES: Final = ("s1", "s2", "s3")
OPERATORS: Final = {"s1": ("alice", "treasury"), "s2": ("bob", "security"), "s3": ("carol", "treasury")}
REQUESTER: Final = "rita"
BACKEND: Final = "exchange"
SRE: Final = "sre"
VAULT: Final = "hot"
SCRYPT_COST: Final = 12
WORKERS: Final = 3
SATOSHI: Final = Decimal(100_000_000)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a quorum lives and how it is made.

    `run_coordinator` replaces the command that runs the coordinator (tests wire a crash into it).
    """

    root: Path
    ports: Ports = field(default_factory=Ports)
    vault_kind: str = "wsh-sortedmulti"
    credit_depth: int = 2
    final_depth: int = 3
    batch_max: int = 12
    batch_age_s: int = 1
    coordinator_program: tuple[str, ...] = ()


class Cluster:
    """The quorum's processes and the commands that act on it."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.root = setting.root
        self.passphrases = {
            name: secrets.token_urlsafe(18).encode()
            for name in (*NODES, *(person for person, _role in OPERATORS.values()), BACKEND)
        }
        self.devnet = self._devnet()
        self.coordinator = self._coordinator()
        self.signers = {node: self._signer(node) for node in NODES}
        self.backend = self._backend()
        self.words = ""

    # --- processes ---

    @property
    def daemons(self) -> tuple[Daemon, ...]:
        """All of them, in the order in which they start."""
        return (self.devnet, self.coordinator, *self.signers.values(), self.backend)

    @property
    def credentials(self) -> Path:
        """The chain node's `user:password`."""
        return self.root / "devnet" / ".cookie"

    def folder(self, name: str) -> Path:
        """The folder of a process."""
        return self.root / name

    def _log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def _devnet(self) -> Daemon:
        argv = [
            *program("custodyd"), "devnet", "--data-dir", str(self.folder("devnet")),
            "--rpc-password-file", str(self.credentials), "--port", str(self.setting.ports.chain),
        ]  # fmt: skip
        return Daemon("devnet", argv, self._log("devnet"))

    def _coordinator(self) -> Daemon:
        words = self.setting.coordinator_program or (*program("custodyd"), "run")
        argv = [*words, "--data-dir", str(self.folder("coordinator"))]
        return Daemon("coordinator", argv, self._log("coordinator"))

    def _signer(self, node: str) -> Daemon:
        argv = [*program("signer-node"), "run", "--data-dir", str(self.folder(node))]
        secret = Secret("--passphrase-fd", self.passphrases[node])
        return Daemon(node, argv, self._log(node), [secret])

    def _backend(self) -> Daemon:
        argv = [*program("custodyd"), "backend", "run", "--home", str(self.folder("backend"))]
        secret = Secret("--passphrase-fd", self.passphrases[BACKEND])
        return Daemon("backend", argv, self._log("backend"), [secret])

    def stop(self) -> dict[str, int | None]:
        """End everything that was started here, last started first; exit codes by name."""
        return {daemon.name: daemon.stop() for daemon in reversed(self.daemons)}

    # --- commands ---

    def custodyd(self, *words: str, secret: Secret | None = None, said: str = "") -> Answer:
        """Run a `custodyd` command."""
        return run([*program("custodyd"), *words], *([secret] if secret else []), said=said)

    def sre(self, *words: str) -> Any:
        """A `custodyd` command of the SRE, with its JSON answer."""
        return self.custodyd(*words, "--home", str(self.folder(SRE)), "--json").json()

    def exchange(self, *words: str, keyed: bool = False) -> Any:
        """A `custodyd` command of the exchange's backend, with its JSON answer."""
        secret = Secret("--passphrase-fd", self.passphrases[BACKEND]) if keyed else None
        home = ("--home", str(self.folder("backend")), "--json")
        return self.custodyd(*words, *home, secret=secret).json()

    def signer(self, node: str, *words: str, secret: Secret | None = None, said: str = "") -> Answer:
        """Run a `signer-node` command at a node."""
        argv = [*program("signer-node"), *words, "--data-dir", str(self.folder(node))]
        return run(argv, *([secret] if secret else []), said=said)

    def chain(self, method: str, *params: object) -> Any:
        """Call the chain node."""
        return call_rpc(self.setting.ports.chain, self.credentials, method, *params)

    def mine(self, count: int = 1) -> int:
        """Make blocks; returns the height."""
        self.chain("devnet_mine", count)
        return int(self.chain("getblockcount"))


def at_once(work: Callable[[str], object], names: Sequence[str]) -> None:
    """Do the same for each name, a few at a time; raises what the first one raised."""
    with ThreadPoolExecutor(WORKERS) as pool:
        for _done in pool.map(work, names):
            pass
