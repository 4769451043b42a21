"""A local quorum: devnet, coordinator, three signer nodes, backend, and how it is set up.

Each is an OS process of the real commands with a folder of its own, on loopback. Everything that
people would do by hand is done by the commands that they would use: tokens, enrolment, comparing
the genesis words, confirming them at each node and at the backend, making the vault.

The scrypt cost of this quorum's keys is lowered by explicit options: they guard regtest money.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
from deploy.local.watching import Watcher, words_at

NODES: Final = ("s1", "s2", "s3")
OPERATORS: Final = {
    "s1": ("alice", "treasury"),
    "s2": ("bob", "security"),
    "s3": ("carol", "treasury"),
}
REQUESTER: Final = "rita"
BACKEND: Final = "exchange"
SRE: Final = "sre"
VAULT: Final = "hot"
ROLES: Final = {BACKEND: "backend", SRE: "admin"}
SCRYPT_COST: Final = 12
PASSPHRASES: Final = "passphrases"
WORKERS: Final = 3
GROUP: Final = 4
FIRST_BLOCKS: Final = 101
PASSPHRASE_FD: Final = "--passphrase-fd"  # noqa: S105 - an option's name

RULES: Final = """\
label = "local quorum"
threshold = 2
corrupt_max = 1

[rules]
approvals_required = 2
payer_confirmation_required = true
max_fee_sat = 1_000_000
max_fee_rate_sat_vb = 200
max_fee_share_ppm = 50_000
max_change_outputs = 2
min_change_sat = 1_000
change_index_gap = 50
max_manifest_lifetime_s = 86_400
approval_lifetime_s = 7_200
min_input_confirmations = 2
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a quorum lives and how it is made. Depths in confirmations, ages in seconds.

    `coordinator_program` replaces `custodyd run` (tests wire a crash into it).
    """

    root: Path
    ports: Ports = field(default_factory=Ports)
    vault_kind: str = "taproot-frost"
    deposit_depth: int = 2
    final_depth: int = 3
    batch_most: int = 12
    batch_age_s: int = 2
    round_timeout_s: int = 3
    offline_after_s: int = 7
    coordinator_program: tuple[str, ...] = ()


class Cluster:
    """The quorum's processes and the commands that act on it."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.root = setting.root
        self.passphrases = _passphrases(setting.root / PASSPHRASES)
        self.devnet = self._devnet()
        self.coordinator = self.make_coordinator(setting.coordinator_program)
        self.signers = {node: self._signer(node) for node in NODES}
        self.backend = self._backend()
        self.watcher = Watcher(self.folder("backend"))

    # --- processes ---

    @property
    def daemons(self) -> tuple[Daemon, ...]:
        """All of them, in the order in which they start."""
        return (self.devnet, self.coordinator, *self.signers.values(), self.backend)

    @property
    def credentials(self) -> Path:
        """The chain node's `user:password`."""
        return self.root / "devnet" / "rpc-password"

    def folder(self, name: str) -> Path:
        """The folder of a process or a person."""
        return self.root / name

    def _log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def _devnet(self) -> Daemon:
        folder, port = self.folder("devnet"), str(self.setting.ports.chain)
        argv = [*program("custodyd"), "devnet", "--data-dir", str(folder / "chain")]
        argv += ["--rpc-password-file", str(self.credentials), "--port", port]
        return Daemon("devnet", argv, self._log("devnet"))

    def make_coordinator(self, words: Sequence[str] = ()) -> Daemon:
        """The coordinator's process, not started; `words` in place of `custodyd run`."""
        argv = [*(words or (*program("custodyd"), "run"))]
        argv += ["--data-dir", str(self.folder("coordinator"))]
        return Daemon("coordinator", argv, self._log("coordinator"))

    def _signer(self, node: str) -> Daemon:
        argv = [*program("signer-node"), "run", "--data-dir", str(self.folder(node))]
        argv += ["--heartbeat-s", "2", "--notice-file", str(self.notices(node))]
        return Daemon(node, argv, self._log(node), [self.secret(node)])

    def _backend(self) -> Daemon:
        argv = [*program("custodyd"), "backend", "run", "--home", str(self.folder("backend"))]
        return Daemon("backend", argv, self._log("backend"), [self.secret(BACKEND)])

    def secret(self, name: str) -> Secret:
        """A passphrase as a command takes it."""
        return Secret(PASSPHRASE_FD, self.passphrases[name])

    def keep_passphrases(self) -> None:
        """Write them into files of mode 0600, so that a person (or a later start) can use them."""
        folder = self.root / PASSPHRASES
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, passphrase in self.passphrases.items():
            path = folder / name
            path.touch(mode=0o600)
            path.write_bytes(passphrase + b"\n")

    def await_ready(self) -> None:
        """Wait until chain node and coordinator answer."""
        self._await_port("the chain node", self.setting.ports.chain, self.devnet)
        self._await_port("the coordinator", self.setting.ports.coordinator, self.coordinator)

    def start(self) -> None:
        """Start everything that does not run."""
        for daemon in self.daemons:
            daemon.start()

    def stop(self) -> dict[str, int | None]:
        """End everything that was started here, last started first; exit codes by name."""
        self.watcher.close()
        return {daemon.name: daemon.stop() for daemon in reversed(self.daemons)}

    # --- commands ---

    def custodyd(self, *words: str, secret: Secret | None = None, said: str = "") -> Answer:
        """Run a `custodyd` command."""
        return run([*program("custodyd"), *words], *([secret] if secret else []), said=said)

    def coordinate(self, *words: str) -> Any:
        """A `custodyd` command at the coordinator's host, with its JSON answer."""
        folder = str(self.folder("coordinator"))
        return self.custodyd(*words, "--data-dir", folder, "--json").json()

    def sre(self, *words: str) -> Any:
        """A `custodyd` command of the SRE, with its JSON answer."""
        return self.custodyd(*words, "--home", str(self.folder(SRE)), "--json").json()

    def exchange(self, *words: str, keyed: bool = False) -> Any:
        """A `custodyd` command of the exchange, with its JSON answer."""
        secret = self.secret(BACKEND) if keyed else None
        home = ("--home", str(self.folder("backend")), "--json")
        return self.custodyd(*words, *home, secret=secret).json()

    def signer(self, node: str, *words: str, secret: Secret | None = None) -> Any:
        """A `signer-node` command at a node, with its JSON answer."""
        argv = [*program("signer-node"), *words, "--data-dir", str(self.folder(node)), "--json"]
        return run(argv, *([secret] if secret else [])).json()

    def chain(self, method: str, *params: object) -> Any:
        """Call the chain node."""
        return call_rpc(self.setting.ports.chain, self.credentials, method, *params)

    def mine(self, count: int = 1) -> int:
        """Make blocks; returns the height."""
        self.chain("devnet_mine", count)
        return int(self.chain("getblockcount"))

    # --- what operators do ---

    def key_file(self, node: str) -> Path:
        """The sealed approval key of a node's operator."""
        person, _role = OPERATORS[node]
        return self.root / "operators" / f"{person}.key"

    def notices(self, node: str) -> Path:
        """The file in which a node notes what waits for its operator."""
        return self.root / f"{node}.notices"

    def told(self, node: str) -> list[str]:
        """Digests of the manifests of which a node told its operator."""
        try:
            lines = self.notices(node).read_text().splitlines()
        except FileNotFoundError:
            return []
        words = (line.split(" ", 2) for line in lines)
        return [digest for _at, digest, name in words if not name.startswith("vault/")]

    def look(self, node: str, manifest: str) -> Any:
        """The screen of a manifest, as facts."""
        return self.signer(node, "show", manifest)

    def approve(self, node: str, manifest: str, typed: str) -> None:
        """What a person does after the screen: type the last group, sign."""
        person, _role = OPERATORS[node]
        words = ("approve", manifest, "--key", str(self.key_file(node)), "--confirm", typed)
        self.signer(node, *words, secret=self.secret(person))

    # --- setting up, in the order of the steps ---

    def make_keys(self) -> None:
        """Chain node, folders, and every key on its own host."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.devnet.start()
        at_once(self._make_folder, ("coordinator", *NODES, "backend"))
        self._await_port("the chain node", self.setting.ports.chain, self.devnet)

    def _await_port(self, who: str, port: int, daemon: Daemon) -> None:
        until(f"{who} listens", lambda: is_listening(port), daemons=[daemon])

    def _make_folder(self, name: str) -> None:
        if name == "coordinator":
            self._make_coordinator_folder()
        elif name == "backend":
            self._make_backend_folder()
        else:
            self._make_node_folder(name)

    def _make_coordinator_folder(self) -> None:
        settings = self.root / "coordinator-settings.toml"
        settings.write_text(self._coordinator_settings())
        (self.root / "rules.toml").write_text(RULES)
        chain = ("--chain", f"{LOOPBACK}:{self.setting.ports.chain}")
        credentials = ("--chain-credentials-file", str(self.credentials))
        more = ("--settings-file", str(settings))
        self.coordinate("init", "--network", "regtest", *chain, *credentials, *more)

    def _coordinator_settings(self) -> str:
        setting, ports = self.setting, self.setting.ports
        return (
            f'[api]\naddress = "{LOOPBACK}:{ports.coordinator}"\n'
            f'enrolment_address = "{LOOPBACK}:{ports.enrolment}"\n'
            f'[telemetry]\naddress = "{LOOPBACK}:{ports.metrics}"\n'
            f"[batches]\nmax_withdrawals = {setting.batch_most}\n"
            f"enough_withdrawals = {setting.batch_most}\nmax_age_s = {setting.batch_age_s}\n"
            f"[depths]\nfinal = {setting.final_depth}\n"
            f"[[depths.deposit_tiers]]\nfrom_sat = 0\ndepth = {setting.deposit_depth}\n"
            f"[signing]\nround_timeout_s = {setting.round_timeout_s}\n"
            f"signer_offline_after_s = {setting.offline_after_s}\n"
        )

    def _make_node_folder(self, node: str) -> None:
        person, role = OPERATORS[node]
        cost = ("--kdf-log2-n", str(SCRYPT_COST))
        self.signer(node, "init", *cost, secret=self.secret(node))
        who = ("--person", person, "--role", role, "--out", str(self.key_file(node)))
        self.signer(node, "operator", "create", *who, *cost, secret=self.secret(person))

    def _make_backend_folder(self) -> None:
        chain = f"{LOOPBACK}:{self.setting.ports.chain}"
        where = ("--chain", chain, "--chain-credentials-file", str(self.credentials))
        depths = (
            *("--credit-depth", str(self.setting.deposit_depth)),
            *("--final-depth", str(self.setting.final_depth)),
        )
        cost = ("--scrypt-cost", str(SCRYPT_COST), "--poll-s", "0.3")
        words = ("backend", "init", "--person", REQUESTER, *where, *depths, *cost)
        self.exchange(*words, keyed=True)

    def enrol(self) -> None:
        """Start the coordinator; open five slots by tokens and take them."""
        self.coordinator.start()
        self._await_port("the coordinator", self.setting.ports.enrolment, self.coordinator)
        slots = [f"{ROLES.get(name, 'signer')}:{name}" for name in (*NODES, BACKEND, SRE)]
        words = [word for slot in slots for word in ("--slot", slot)]
        tokens = self.coordinate("token", "create", *words)["tokens"]
        for slot, token in tokens.items():
            self._token_file(slot.partition(":")[2]).write_text(token)
        at_once(self._enrol, (*NODES, BACKEND, SRE))

    def _token_file(self, name: str) -> Path:
        path = self.root / f"{name}.token"
        path.touch(mode=0o600)
        return path

    def _enrol(self, name: str) -> None:
        path = self._token_file(name)
        role = ROLES.get(name, "signer")
        where = ("--coordinator", f"{LOOPBACK}:{self.setting.ports.enrolment}")
        given = ("--token-file", str(path))
        if role == "signer":
            card = ("--operator", f"{self.key_file(name)}.pub")
            self.signer(name, "enroll", *where, *given, *card, secret=self.secret(name))
        elif role == "backend":
            self.exchange("backend", "enroll", *where, *given)
        else:
            self.sre("admin", "enroll", *where, *given)
        path.unlink()

    def agree(self) -> list[str]:
        """Write the genesis; compare its words everywhere; confirm them everywhere."""
        rules = str(self.root / "rules.toml")
        words: list[str] = self.coordinate("genesis", "create", "--rules", rules)["words"]
        for node in self.signers.values():
            node.start()
        self._words = words
        at_once(self._confirm, (*NODES, BACKEND))
        self.backend.start()
        return words

    def _confirm(self, name: str) -> None:
        """What the people do: compare what is shown here with what the others read; confirm."""
        if name == BACKEND:
            path = self.root / "words.txt"
            path.write_text(" ".join(self._words))
            self.exchange("backend", "genesis", "confirm", "--words-file", str(path))
            return
        shown = until(
            f"the genesis reaches {name}",
            lambda: words_at(self.folder(name)),
            daemons=[self.coordinator, self.signers[name]],
        )
        self._compare(name, shown)
        self.signer(name, "genesis", "confirm", "--words", " ".join(self._words))

    def _compare(self, name: str, words: list[str]) -> None:
        if words != self._words:
            raise NotReady(f"{name} shows other genesis words: nothing is confirmed")

    def make_vault(self) -> Any:
        """Have the signer nodes make the vault; all of them certify it."""
        kind = ("--kind", self.setting.vault_kind)
        made = self.sre("vault", "create", VAULT, *kind, "--wait-s", "0")
        if made["attempt"]:
            at_once(self._confirm_vault, NODES)
        until("the vault is certified", self._is_certified, daemons=self.daemons)
        return self.sre("vault", "show", VAULT)

    def _is_certified(self) -> bool:
        return bool(self.sre("vault", "show", VAULT)["state"] == "CERTIFIED")

    def _confirm_vault(self, node: str) -> None:
        """What an operator does: look at who takes part, compare, type the fingerprint."""
        until(
            f"the key generation reaches {node}",
            lambda: self.signer(node, "vault", "list"),
            daemons=[self.coordinator, self.signers[node]],
        )
        seen = self.signer(node, "vault", "show", VAULT)
        words = ("vault", "confirm", VAULT, "--yes", seen["fingerprint"])
        self.signer(node, *words, secret=self.secret(node))

    def prime_chain(self) -> int:
        """Blocks enough that the faucet has coins."""
        return self.mine(FIRST_BLOCKS)


def _passphrases(kept: Path) -> dict[str, bytes]:
    """New ones, or those that a quorum kept in this folder."""
    names = (*NODES, *(person for person, _role in OPERATORS.values()), BACKEND)
    return {
        name: (kept / name).read_bytes().strip()
        if (kept / name).exists()
        else secrets.token_urlsafe(18).encode()
        for name in names
    }


def last_group(seen: dict[str, Any]) -> str:
    """What a screen asks to type: the last four or fewer characters of the largest's address."""
    address: str = seen["largest"]["address"]
    return address[(len(address) - 1) // GROUP * GROUP :]


def at_once(work: Callable[[str], object], names: Sequence[str]) -> None:
    """Do the same for each name, a few at a time; raises what the first one raised."""
    with ThreadPoolExecutor(min(WORKERS, max(1, (os.cpu_count() or 1) + 1))) as pool:
        for _done in pool.map(work, names):
            pass
