"""The whole of it in one process: real coordinator stages, signer nodes, backend and consensus.

Nothing here stands in for a part of ours: the store is SQLite on disk, the stages are those that
the daemon runs in its order, signer nodes are cores on journals, the backend is the client's, and
the chain is the devnet on Bitcoin Core's consensus code. The world replaces the wires between them
(gRPC, HTTP), the clock and the people. It can stop a part as kill -9 does: what was not durable is
gone, and whoever comes back finds only its disk.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from custodyd.batches import payer
from custodyd.batches import service as batches
from custodyd.batches.rules import BatchState
from custodyd.batches.tables import BATCHES
from custodyd.chain import follower
from custodyd.chain.block import parse_block
from custodyd.chain.rpc import ChainRpc, RpcEndpoint, _read_answer, _Request
from custodyd.chain.vaults import watch_deposits
from custodyd.cli.chain import RpcChainSource
from custodyd.client.backend import Backend, BackendSettings
from custodyd.client.errors import Advice, ClientError
from custodyd.client.keys import RequestKey
from custodyd.client.ledger import ClientLedger, RequestState
from custodyd.client.requests import Payment, Requester, sign_payment
from custodyd.client.verify import next_address, open_pinned, pin_genesis, pinned_genesis
from custodyd.daemon.sealing import Sealer
from custodyd.deposits import service as deposits
from custodyd.devnet.dispatch import Dispatcher
from custodyd.devnet.node import Node as Devnet
from custodyd.devnet.transactions import Transaction as ChainTransaction
from custodyd.devnet.transactions import TxOutput
from custodyd.errors import CustodydError
from custodyd.rpc.v1 import admin_pb2, batch_pb2, deposit_pb2, event_pb2, withdrawal_pb2
from custodyd.settlement import service as settlement
from custodyd.signing import mailbox, vaults
from custodyd.signing import service as signing
from custodyd.store import Store, open_store
from custodyd.store.answers import CallKey
from custodyd.store.context import DepositTier, StageContext, StageSettings
from custodyd.store.facts import GENESIS, put_fact
from custodyd.store.incarnation import Sidecar, begin_boot
from custodyd.store.schema import METADATA
from custodyd.withdrawals import service as withdrawals
from custodyd.withdrawals.rules import check_request
from signer_node import wire
from signer_node.adapters.journal import Cursor
from signer_node.core import node as core
from signer_node.core.step import Step
from signer_node.kernel.bitcoin.address import address_from_script
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.transaction import Transaction
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.curve import tagged_hash, xonly_from_secret
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.journal import RecordKind
from signer_node.kernel.documents.request import Request
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.errors import Refusal
from tests.world.keygen import confirmed, unconfirmed
from tests.world.payouts import approval, operator_envelope, rejection
from tests.world.quorum import RITA, START_S, VAULT, SimNode, World, secret

STAGES = (follower, withdrawals, deposits, batches, signing, settlement)
SETTINGS = StageSettings(
    batch_enough_withdrawals=2,
    batch_max_age_s=30,
    manifest_lifetime_s=1_200,
    deposit_tiers=(DepositTier(0, 1),),
    final_depth=3,
    round_timeout_s=20,
    signer_offline_after_s=60,
)
MAX_TURNS = 60
MAX_QUIET_TURNS = 16
TURN_S = 2
NODE_OF = {"alice": "s1", "bob": "s2", "carol": "s3"}


class Killed(BaseException):
    """The coordinator dies here; nothing catches it."""


class InProcessRpc(ChainRpc):
    """The real client against the real dispatcher, without the socket between them."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(RpcEndpoint(host="127.0.0.1", port=1, credentials_file=Path("none")))
        self._dispatcher = dispatcher

    def _ask(self, request: _Request) -> Any:
        return _read_answer(request, self._dispatcher.handle(request.encode()).body)


@dataclass(slots=True)
class Coordinator:
    """The coordinator's process: store, context, one incarnation of its envelopes."""

    folder: Path
    rpc: ChainRpc
    genesis: Body[Genesis]
    now_s: Callable[[], int]
    boots: int
    committed: Callable[[str], None]
    settings: StageSettings
    store: Store = field(init=False)
    context: StageContext = field(init=False)
    incarnation: bytes = field(init=False)
    sidecar: Sidecar = field(init=False)

    def __post_init__(self) -> None:
        self.store = open_store(f"sqlite:///{self.folder / 'store.sqlite3'}")
        METADATA.create_all(self.store.engine)
        with self.store.transaction() as connection:
            put_fact(connection, GENESIS, self.genesis.raw)
        self.sidecar = Sidecar(self.folder / "sidecar.json")
        self.incarnation = begin_boot(self.store, self.sidecar, self.now_s()).incarnation
        sealer = Sealer(
            genesis=self.genesis.digest,
            incarnation=tagged_hash("world/coordinator", bytes([self.boots % 256]))[:16],
            now_s=self.now_s,
            lifetime_s=self.settings.envelope_lifetime_s,
            _secret=secret("coordinator"),
        )
        self.context = StageContext(
            now_s=self.now_s,
            network=Network.REGTEST,
            genesis=self.genesis,
            node=self.rpc,
            seal=sealer,
            settings=self.settings,
            committed=self.committed,
        )

    def reconcile(self) -> None:
        """One pass of the stages, as the daemon's loop makes it."""
        for stage in STAGES:
            try:
                stage.reconcile(self.store, self.context)
            except (CustodydError, Refusal):
                continue  # counted and tried again in the next pass
        self.sidecar.follow(self.store)

    # --- what the client's connection offers, without the connection ---

    def status(self) -> admin_pb2.Status:
        return admin_pb2.Status(store_incarnation=self.incarnation)

    def vaults(self) -> Sequence[admin_pb2.Vault]:
        with self.store.reading() as connection:
            return vaults.list_vaults(connection)

    def watch_addresses(self, vault: str, count: int) -> int:
        with self.store.transaction() as connection:
            return watch_deposits(connection, Network.REGTEST, vault, count)

    def create_withdrawal(
        self, request_id: str, signed: bytes, *, validate_only: bool = False
    ) -> withdrawal_pb2.CreateWithdrawalResponse:
        del validate_only
        checked = check_request(wire.open_signed(Request, signed), self.genesis)
        intake = withdrawals.Intake(CallKey("backend", request_id), checked)
        try:
            with self.store.transaction() as connection:
                accepted = withdrawals.accept(connection, intake, self.now_s())
        except (CustodydError, Refusal) as refused:
            advice = Advice("", retryable=False, exit_code=3)
            raise ClientError(refused.error.name, str(refused), None, advice) from None  # type: ignore[arg-type]
        return withdrawal_pb2.CreateWithdrawalResponse(
            withdrawal=accepted, store_incarnation=self.incarnation
        )

    def unconfirmed_manifests(self) -> Sequence[batch_pb2.UnconfirmedManifest]:
        with self.store.reading() as connection:
            return [
                batch_pb2.UnconfirmedManifest(batch_id=batch_id, proposal=proposal)
                for batch_id, proposal in payer.unconfirmed(connection)
            ]

    def confirm_manifest(self, batch_id: str, signed: bytes) -> None:
        payer.confirm(self.store, self.context, batch_id, signed)

    def deposits(self, state: int = 0) -> Iterator[deposit_pb2.Deposit]:
        del state
        with self.store.reading() as connection:
            for _number, one in deposits.list_page(connection, None, 0, 1_000):
                yield one

    def lookup(self, external_ids: Sequence[str]) -> withdrawal_pb2.LookupWithdrawalsResponse:
        with self.store.reading() as connection:
            found = withdrawals.lookup(connection, set(external_ids))
        return withdrawal_pb2.LookupWithdrawalsResponse(
            withdrawals=[one.message() for one in found]
        )

    def watch_events(self, *_: object) -> Iterator[event_pb2.WatchEventsResponse]:
        yield from ()


@dataclass(slots=True)
class Whole:
    """Everything, in a folder. `deadly`: the coordinator dies at each transition's first time."""

    folder: Path
    deadly: bool = False
    deadly_for_signers: bool = False
    kind: str = "wsh-sortedmulti"
    died: dict[str, set[RecordKind]] = field(default_factory=dict)
    settings: StageSettings = SETTINGS
    now_s: int = START_S
    boots: int = 0
    seen: list[str] = field(default_factory=list)
    asleep: set[str] = field(default_factory=set)
    approvers: tuple[str, ...] = ("alice", "bob")
    rejecter: str = ""
    nodes: dict[str, SimNode] = field(init=False)
    genesis: Body[Genesis] = field(init=False)
    devnet: Devnet = field(init=False)
    coordinator: Coordinator = field(init=False)
    ledger: ClientLedger = field(init=False)
    backend: Backend = field(init=False)
    key: RequestKey = field(init=False)
    deaths: int = 0
    # What happens in the world the moment after a transition became durable, once.
    at: dict[str, Callable[[], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        blank = World()
        self.nodes = {name: SimNode(name) for name in blank.nodes}
        self.genesis = blank.genesis
        words = " ".join(words_from_digest(self.genesis.digest))
        for sim in self.nodes.values():
            sim.commit(core.confirm_genesis(sim.node, self.genesis.raw, words), self.now_s)
        self.key = RequestKey(xonly_from_secret(secret("backend")), secret("backend"))
        self.start_devnet()
        self.start_coordinator()
        self.start_backend()
        pin_genesis(self.ledger, self.genesis.raw, words, self.key.public)
        self._make_vault()

    # --- processes ---

    def start_devnet(self) -> None:
        """The chain's process begins, on what its disk holds."""
        self.devnet = Devnet(self.folder / "devnet", clock=lambda: float(self.now_s))

    def dispatcher(self) -> Dispatcher:
        dispatcher = Dispatcher(lambda: None)
        dispatcher.node = self.devnet
        return dispatcher

    def start_coordinator(self) -> None:
        """The coordinator's process begins, on what its disk holds."""
        self.boots += 1
        folder = self.folder / "coordinator"
        folder.mkdir(exist_ok=True)
        self.coordinator = Coordinator(
            folder=folder,
            rpc=InProcessRpc(self.dispatcher()),
            genesis=self.genesis,
            now_s=lambda: self.now_s,
            boots=self.boots,
            committed=self._committed,
            settings=self.settings,
        )

    def kill_coordinator(self) -> None:
        """kill -9, then a start."""
        self.deaths += 1
        self.coordinator.store.close()
        self.start_coordinator()
        self.backend.coordinator = self.coordinator  # type: ignore[assignment]

    def kill_devnet(self) -> None:
        """kill -9, then a start; the coordinator finds it again."""
        self.devnet.close()
        self.start_devnet()
        self.coordinator.rpc._dispatcher.node = self.devnet  # type: ignore[attr-defined]
        self.backend.chain = RpcChainSource(InProcessRpc(self.dispatcher()))

    def start_backend(self) -> None:
        """The backend's process begins, on what its disk holds."""
        self.ledger = ClientLedger(self.folder / "ledger.sqlite3")
        self.backend = Backend(
            coordinator=self.coordinator,  # type: ignore[arg-type]
            ledger=self.ledger,
            chain=RpcChainSource(InProcessRpc(self.dispatcher())),
            key=self.key,
            report=lambda _event, /, **_facts: None,
            settings=BackendSettings(1, 3, 0.01, 0.0, 0),
            now_s=lambda: self.now_s,
        )

    def kill_backend(self) -> None:
        """kill -9, then a start."""
        self.ledger.close()
        self.start_backend()

    def copy_store(self) -> Path:
        """Yesterday's database: a copy that `put_back` brings in again."""
        copy = self.folder / "yesterday.sqlite3"
        source = sqlite3.connect(self.folder / "coordinator" / "store.sqlite3")
        with closing(source), closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        return copy

    def put_back(self, copy: Path) -> None:
        """The coordinator dies and starts on an old copy of its database."""
        self.coordinator.store.close()
        for path in (self.folder / "coordinator").glob("store.sqlite3*"):
            path.unlink()
        shutil.copy(copy, self.folder / "coordinator" / "store.sqlite3")
        self.start_coordinator()
        self.backend.coordinator = self.coordinator  # type: ignore[assignment]

    def _committed(self, name: str) -> None:
        first = name not in self.seen
        self.seen.append(name)
        if name in self.at:
            self.at.pop(name)()
        if self.deadly and first:
            raise Killed(name)

    # --- time ---

    def turn(self) -> None:
        """Everybody who is awake does what is due; then two seconds pass."""
        try:
            self.coordinator.reconcile()
            self._sync_nodes()
        except Killed:
            self.kill_coordinator()
        self._operators()
        if "backend" not in self.asleep:
            self.backend.turn()
        self.now_s += TURN_S

    def run(self, until: Callable[[], bool], turns: int = MAX_TURNS) -> None:
        """Turns until something holds; a block now and then; fails after `turns`."""
        for number in range(turns):
            if until():
                return
            self.turn()
            if number % 3 == 2:
                self.mine()
        raise AssertionError(f"not after {turns} turns; withdrawals: {self.states()}")

    def wait(self, name: str) -> None:
        """Turns without a block until a transition was seen."""
        for _ in range(MAX_QUIET_TURNS):
            if name in self.seen:
                return
            self.turn()
        raise AssertionError(f"no {name} in {MAX_QUIET_TURNS} quiet turns: {self.seen[-12:]}")

    def mine(self, count: int = 1) -> None:
        self.devnet.generate(count, b"\x51\x20" + xonly_from_secret(secret("miner")))

    def _sync_nodes(self) -> None:
        for name, sim in self.nodes.items():
            if name not in self.asleep:
                self._sync(name, sim)

    def _sync(self, name: str, sim: SimNode) -> None:
        head = sim.journal.head()
        sim.journal.commit(
            core.heartbeat(sim.node, head.sequence, head.digest, self.now_s), self.now_s
        )
        cursor = sim.journal.cursor()
        position = (
            cursor.sequence if cursor.store_incarnation == self.coordinator.incarnation else 0
        )
        unsent = sim.journal.unsent(100, 1 << 24, self.now_s)
        mailbox.receive(
            self.coordinator.store,
            self.coordinator.context,
            name,
            [raw for _position, raw in unsent],
            position,
        )
        sim.journal.mark_sent([one for one, _raw in unsent], self.now_s)
        with self.coordinator.store.reading() as connection:
            inbox = mailbox.fetch(connection, name, position)
        for sequence, raw in inbox:
            self._hand(sim, sequence, raw)

    def _hand(self, sim: SimNode, sequence: int, raw: bytes) -> None:
        cursor = Cursor(self.coordinator.incarnation, sequence)
        try:
            step = core.deliver(sim.node, raw, self.now_s)
        except Refusal:
            step = Step()
        sim.journal.commit(step, self.now_s, cursor)
        sim.notices.extend(notice.manifest for notice in step.notices if not notice.vault)
        self._may_die(sim, step)

    def _may_die(self, sim: SimNode, step: Step) -> None:
        """In a world deadly for signers, each dies once after each kind of record."""
        fresh = {record.kind for record in step.records} - self.died.get(sim.name, set())
        if self.deadly_for_signers and fresh:
            self.died.setdefault(sim.name, set()).update(fresh)
            sim.crash()

    def _operators(self) -> None:
        """Each operator decides over what waits at the own node, and confirms key generations."""
        for sim in self.nodes.values():
            for vault in unconfirmed(sim):
                if sim.name not in self.asleep:
                    self._confirm_keygen(sim, vault)
        for person in self.approvers:
            sim = self.nodes[NODE_OF[person]]
            while sim.notices and NODE_OF[person] not in self.asleep:
                self._decide(person, sim, sim.notices.pop())

    def _decide(self, person: str, sim: SimNode, manifest: bytes) -> None:
        decide = rejection if person == self.rejecter else approval
        signed = decide(self, manifest, person)  # type: ignore[arg-type]
        raw = operator_envelope(self, sim.name, person, signed)  # type: ignore[arg-type]
        try:
            step = core.deliver(sim.node, raw, self.now_s)
        except Refusal:
            return
        sim.journal.commit(step, self.now_s)

    def _confirm_keygen(self, sim: SimNode, vault: str) -> None:
        step = confirmed(sim, vault)
        sim.journal.commit(step, self.now_s)
        self._may_die(sim, step)

    # --- the exchange ---

    def _make_vault(self) -> None:
        with self.coordinator.store.transaction() as connection:
            vaults.propose(connection, self.coordinator.context, VAULT, self.kind)
        self.run(lambda: self.ledger.vault(VAULT) is not None)

    def next_deposit_script(self) -> bytes:
        """The script of a fresh deposit address."""
        pinned = self.ledger.vault(VAULT)
        if pinned is None:
            raise AssertionError("there is no vault")
        vault = open_pinned(pinned_genesis(self.ledger), pinned)
        index, _address = next_address(self.ledger, vault, "deposit")
        return vault.kind.script(0, index)

    def deposit(self, amount_sat: int, *, mined: bool = True) -> ChainTransaction:
        """A customer pays to a fresh address; the backend credits it."""
        script = self.next_deposit_script()
        if "backend" not in self.asleep:
            self.backend.turn()
        paid = self.devnet.pay_from_faucet((TxOutput(amount_sat, script),))
        if mined:
            self.mine()
        return paid

    def withdraw(self, *ids: str, amount_sat: int = 1_000_000) -> None:
        """The exchange signs requests; the backend sends them when it can."""
        requester = Requester(self.key, RITA, pinned_genesis(self.ledger), VAULT)
        payments = [
            Payment(one, address_from_script(self.script(one), Network.REGTEST), amount_sat, "acme")
            for one in ids
        ]
        self.ledger.add_requests([sign_payment(one, requester, self.now_s) for one in payments])

    def script(self, withdrawal_id: str) -> bytes:
        return b"\x00\x14" + tagged_hash("world/payee", withdrawal_id.encode())[:20]

    def states(self) -> dict[str, str]:
        ids = [one.withdrawal_id for one in self.ledger.requests_in(list(RequestState), 1_000)]
        with self.coordinator.store.reading() as connection:
            found = withdrawals.lookup(connection, set(ids))
        return {one.external_id: f"{one.state.name} {one.blocked_detail}" for one in found}

    def batch_states(self) -> list[BatchState]:
        return [row.state for row in self._batches()]

    def last_batch(self) -> Any:
        """The newest batch's row."""
        return self._batches()[-1]

    def _batches(self) -> Sequence[Any]:
        with self.coordinator.store.reading() as connection:
            return connection.execute(select(BATCHES).order_by(BATCHES.c.number)).all()

    def reject(self, person: str) -> None:
        """A person who may have approved rejects the newest batch as a whole."""
        self.rejecter = person
        self._decide(person, self.nodes[NODE_OF[person]], self.last_batch().digest)
        self.rejecter = ""

    def all_final(self) -> bool:
        """Whether the backend verified every request as paid, and the coordinator says so too."""
        mine = self.ledger.requests_in(list(RequestState), 1_000)
        return (
            bool(mine)
            and all(one.state.name == "FINAL" for one in mine)
            and all(state.startswith("FINAL") for state in self.states().values())
        )

    def payments_to(self, withdrawal_id: str) -> list[Transaction]:
        """Every transaction of the best chain that pays this withdrawal's script."""
        wanted = self.script(withdrawal_id)
        return [
            transaction
            for transaction in self._chain()
            if any(output.script == wanted for output in transaction.outputs)
        ]

    def _chain(self) -> Iterator[Transaction]:
        rpc = InProcessRpc(self.dispatcher())
        for height in range(1, rpc.get_block_count() + 1):
            yield from parse_block(rpc.get_block(rpc.get_block_hash(height))).transactions
