"""The coordinator's stages with a real quorum: real signer cores, a chain mined here, one clock.

`House.settle()` lets everybody talk until nothing moves: stages in their order, then each node that
is up reads its mailbox and answers. Crashing the coordinator is `restart()`: only the store stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from custodyd.batches import payer, records
from custodyd.batches import service as batches
from custodyd.batches.records import StoredBatch
from custodyd.chain import follower, vaults
from custodyd.chain.work import Work
from custodyd.coins.service import Balance, Depth, balance
from custodyd.daemon.sealing import Sealer
from custodyd.deposits import service as deposits
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import deposit_pb2
from custodyd.settlement import service as settlement
from custodyd.signing import ceremony, mailbox
from custodyd.signing import service as signing
from custodyd.store import Store, open_store
from custodyd.store.answers import CallKey
from custodyd.store.context import StageContext, StageSettings
from custodyd.store.facts import GENESIS, put_fact
from custodyd.store.migrate import migrate
from custodyd.store.schema import METADATA, STORE_META
from custodyd.withdrawals import service as withdrawals
from custodyd.withdrawals.rules import check_request
from custodyd.withdrawals.service import Intake, StoredWithdrawal
from signer_node import wire
from signer_node.core import node as core
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.serial import compact_size
from signer_node.kernel.bitcoin.transaction import Transaction, TxOut, parse_transaction
from signer_node.kernel.curve import xonly_from_secret
from signer_node.kernel.documents.envelope import Envelope
from signer_node.kernel.documents.request import Request
from signer_node.kernel.errors import Refusal
from signer_node.kernel.vault.interface import VaultKindId
from signer_node.kernel.vault.making import is_made_together
from tests.world.chain import Block, Chain
from tests.world.keygen import confirmed
from tests.world.payouts import approval, confirmation, operator_envelope, request
from tests.world.quorum import VAULT, World, secret, sign_document

MAX_PASSES = 60
PASS_S = 1


@cache
def _shared_store() -> Store:
    store = open_store("sqlite://")
    migrate(store)
    return store


def memory_store() -> Store:
    """A store in memory with this version's schema, empty.

    One for the process, wiped each time: compiled statements live with the engine.
    """
    store = _shared_store()
    first = {"id": 1, "boot_counter": 1, "last_event": 0, "oldest_event": 1, "created_at_s": 0}
    with store.transaction() as connection:
        for table in METADATA.sorted_tables:
            connection.execute(table.delete())
        connection.execute(STORE_META.insert().values(**first))
    return store


class Quorum(World):
    """The world's nodes and genesis; its vault is made by the coordinator under test."""

    def _make_vault(self) -> Any:
        return None


@dataclass(slots=True)
class FakeNode:
    """A chain node by its RPC names. Knows no consensus; counts what is sent to it."""

    chain: Chain
    mempool: dict[bytes, Transaction] = field(default_factory=dict)
    sent: list[bytes] = field(default_factory=list)
    down: bool = False
    loses_answers: bool = False
    refuses: str = ""

    def call(self, method: str, *params: Any) -> Any:
        if self.down:
            raise CustodydError(ErrorId.CHAIN_UNREACHABLE, "down")
        found: Callable[..., Any] = getattr(self, method)
        return found(*params)

    def getblockchaininfo(self) -> Any:
        tip = self.chain.blocks[-1].header
        return {"blocks": self.chain.height, "bestblockhash": tip.hash[::-1].hex()}

    def getblockhash(self, height: int) -> str:
        if height > self.chain.height:
            raise CustodydError(ErrorId.CHAIN_REFUSED, "Block height out of range (-8)")
        return self.chain.blocks[height].header.hash[::-1].hex()

    def getblock(self, block_hash: str, _verbosity: int) -> str:
        wanted = bytes.fromhex(block_hash)[::-1]
        block = next(one for one in self.chain.blocks if one.header.hash == wanted)
        parts = [block.header.raw, compact_size(len(block.transactions))]
        return b"".join([*parts, *(one.raw for one in block.transactions)]).hex()

    def estimatesmartfee(self, _target: int) -> Any:
        return {"errors": ["Insufficient data or no feerate found"], "blocks": 0}

    def sendrawtransaction(self, raw: str) -> str:
        if self.refuses:
            raise CustodydError(ErrorId.CHAIN_REFUSED, self.refuses)
        transaction = parse_transaction(bytes.fromhex(raw))
        self.sent.append(transaction.txid)
        self.mempool[transaction.txid] = transaction
        if self.loses_answers:
            raise CustodydError(ErrorId.CHAIN_UNREACHABLE, "no answer")
        return transaction.txid[::-1].hex()

    def getmempoolentry(self, txid: str) -> Any:
        if bytes.fromhex(txid)[::-1] not in self.mempool:
            raise CustodydError(ErrorId.CHAIN_REFUSED, "Transaction not in mempool (-5)")
        return {"vsize": 1}

    def getrawmempool(self) -> list[str]:
        return [txid[::-1].hex() for txid in self.mempool]

    def getrawtransaction(self, txid: str, _verbose: bool, _block: str = "") -> str:
        found = self.mempool.get(bytes.fromhex(txid)[::-1])
        if found is None:
            raise CustodydError(ErrorId.CHAIN_REFUSED, "No such mempool transaction (-5)")
        return found.raw.hex()


@dataclass(slots=True)
class Options:
    """What a test wants different."""

    settings: StageSettings = field(
        default_factory=lambda: StageSettings(
            batch_max_age_s=1,
            final_depth=3,
            round_timeout_s=5,
            signer_offline_after_s=10,
            fee_fallback_sat_vb=3,
        )
    )
    threshold: int = 2
    count: int = 3
    kind: VaultKindId = VaultKindId.WSH_SORTEDMULTI


class House:
    """Coordinator, quorum, chain and clock of one test."""

    def __init__(self, store: Store | None = None, options: Options | None = None) -> None:
        store = store or memory_store()
        self.options = options or Options()
        self.world = Quorum(self.options.threshold, self.options.count)
        self.store = store
        self.node = FakeNode(self.world.chain)
        self.cursors: dict[str, int] = dict.fromkeys(self.world.nodes, 0)
        self.away: set[str] = set()
        self.tampers: dict[str, Callable[[Envelope], bytes | None]] = {}
        self.unread: dict[str, list[bytes]] = {}
        self.boots = 0
        self.committed: list[str] = []
        self.on_commit: Callable[[str], None] = lambda _name: None
        with store.transaction() as connection:
            put_fact(connection, GENESIS, self.world.genesis.raw)
        self.restart()

    # --- the coordinator ---

    def restart(self) -> None:
        """A new process of the coordinator on the same store."""
        self.boots += 1
        self.context = StageContext(
            now_s=lambda: self.world.now_s,
            network=Network.REGTEST,
            genesis=self.world.genesis,
            node=self.node,
            seal=Sealer(
                self.world.genesis.digest,
                self.boots.to_bytes(16, "big"),
                lambda: self.world.now_s,
                86_400,
                secret("coordinator"),
            ),
            settings=self.options.settings,
            committed=self._note,
        )

    def _note(self, name: str) -> None:
        self.committed.append(name)
        self.on_commit(name)

    def reconcile(self) -> None:
        """One pass over the stages, in the daemon's order; a stage that fails is tried again."""
        for stage in (follower, withdrawals, deposits, batches, signing, settlement):
            try:
                stage.reconcile(self.store, self.context)
            except CustodydError as bad:
                if bad.error is not ErrorId.CHAIN_UNREACHABLE:
                    raise

    def settle(self, passes: int = 12) -> None:
        """Everybody works and talks for some passes of a second each."""
        for _pass in range(passes):
            self.reconcile()
            for name in self.world.nodes:
                if name not in self.away:
                    self.sync(name)
            self.world.now_s += PASS_S

    # --- signer nodes ---

    def sync(self, name: str) -> None:
        """A node reads its mailbox, answers, and beats."""
        sim = self.world.nodes[name]
        with self.store.reading() as connection:
            items = mailbox.fetch(connection, name, self.cursors[name])
        for sequence, raw in items:
            self.cursors[name] = sequence
            try:
                self._commit(name, core.deliver(sim.node, raw, self.world.now_s))
            except Refusal:
                continue
        beat = core.heartbeat(sim.node, 0, bytes(32), self.world.now_s)
        self._commit(name, beat)
        outbox = self.unread.pop(name, [])
        mailbox.receive(self.store, self.context, name, outbox, self.cursors[name])

    def _commit(self, name: str, step: Any) -> None:
        sim = self.world.nodes[name]
        sim.journal.commit(step, self.world.now_s)
        unsent = sim.journal.unsent(1_000, 64 * 1024 * 1024, self.world.now_s)
        sim.journal.mark_sent([position for position, _raw in unsent], self.world.now_s)
        for _position, raw in unsent:
            tamper = self.tampers.get(name)
            changed = raw if tamper is None else tamper(wire.open_envelope(raw).document)
            if changed is not None:
                self.unread.setdefault(name, []).append(changed)

    def crash_node(self, name: str) -> None:
        """kill -9 of a signer node; what it had not sent is sent after its restart."""
        self.world.nodes[name].crash()

    # --- people and the backend ---

    def decide(self, batch: StoredBatch, person: str, payload: bytes | None = None) -> None:
        """An operator decides at the own node."""
        seat = next(one for one in self.world.genesis.document.operators if one.person == person)
        raw = payload or approval(self.world, batch.digest, person)
        envelope = operator_envelope(self.world, seat.node, person, raw)
        sim = self.world.nodes[seat.node]
        self._commit(seat.node, core.deliver(sim.node, envelope, self.world.now_s))

    def approve(self, batch: StoredBatch, *people: str) -> None:
        for person in people or ("alice", "bob"):
            self.decide(batch, person)
        self.settle(3)

    def confirm(self, batch: StoredBatch) -> None:
        """The payer confirms."""
        signed = confirmation(self.world, batch.digest)
        payer.confirm(self.store, self.context, batch.batch_id, signed)

    def withdraw(self, external_id: str, amount_sat: int, **changes: Any) -> None:
        self.submit(request(self.world, external_id, amount_sat, **changes))

    def submit(self, document: Request) -> None:
        received = wire.open_signed(Request, sign_document(document, secret("backend")))
        checked = check_request(received, self.world.genesis)
        key = CallKey("spiffe://custodyd/backend/b", f"r-{document.withdrawal_id}")
        with self.store.transaction() as connection:
            withdrawals.accept(connection, Intake(key, checked), self.world.now_s)

    def release(self, *external_ids: str) -> list[str]:
        with self.store.transaction() as connection:
            return withdrawals.release_holds(connection, external_ids, self.world.now_s)

    # --- vault and chain ---

    def propose_vault(self, name: str = VAULT) -> None:
        """Ask the nodes for a vault; for a key generation people must confirm then."""
        with self.store.transaction() as connection:
            work = Work(connection, self.context, self.world.now_s)
            ceremony.propose(work, name, self.options.kind)

    def confirm_keygen(self, *names: str, vault: str = VAULT) -> None:
        """Operators confirm that their nodes take part."""
        for name in names or self.world.nodes:
            self._commit(name, confirmed(self.world.nodes[name], vault))

    def make_vault(self, name: str = VAULT) -> None:
        self.propose_vault(name)
        self.settle(4)
        if is_made_together(self.options.kind):
            self.confirm_keygen(vault=name)
            self.settle(6)
        with self.store.transaction() as connection:
            vaults.watch_deposits(connection, Network.REGTEST, name, 10)
            self.world.vault = vaults.certified_vault(connection, Network.REGTEST, name)

    def deposit(self, amount_sat: int, index: int = 0, chain: int = 0) -> Transaction:
        """A payment to the vault, in the mempool."""
        output = TxOut(amount_sat, self.world.vault.kind.script(chain, index))
        payment = self.world.foreign_transaction(output)
        self.node.mempool[payment.txid] = payment
        return payment

    def mine(self, count: int = 1) -> None:
        """Blocks; the first one holds the mempool."""
        for _block in range(count):
            self.world.chain.mine(*self.node.mempool.values())
            self.node.mempool.clear()

    def reorganise(self, depth: int, *transactions: Transaction, extra: int = 1) -> list[Block]:
        """Leave the last blocks; mine as many and more without what they held."""
        chain = self.world.chain
        lost = chain.blocks[len(chain.blocks) - depth :]
        del chain.blocks[len(chain.blocks) - depth :]
        spare = self.world.foreign_transaction(TxOut(1_000 + chain.height, b"\x00\x14" + bytes(20)))
        chain.mine(spare, *transactions)
        for _block in range(depth - 1 + extra):
            chain.mine()
        return lost

    def fund(self, *amounts_sat: int) -> None:
        for index, amount_sat in enumerate(amounts_sat):
            self.deposit(amount_sat, index)
        self.mine()
        self.settle(3)

    # --- looking ---

    def batches(self) -> Sequence[StoredBatch]:
        with self.store.reading() as connection:
            return list(reversed(records.list_page(connection, None, None, 100)))

    def batch(self, number: int = -1) -> StoredBatch:
        return self.batches()[number]

    def withdrawal(self, external_id: str) -> StoredWithdrawal:
        with self.store.reading() as connection:
            return withdrawals.get(connection, external_id)

    def deposits(self) -> list[deposit_pb2.Deposit]:
        with self.store.reading() as connection:
            return [one for _number, one in deposits.list_page(connection, None, None, 100)]

    def balance(self) -> Balance:
        with self.store.reading() as connection:
            depth = Depth(follower.connected_tip(connection).height, 1)
            return balance(connection, VAULT, depth)

    def tune(self, **changes: Any) -> None:
        """Other settings, from now on."""
        self.options.settings = replace(self.options.settings, **changes)
        self.context = replace(self.context, settings=self.options.settings)

    # --- whole ways ---

    def up_to_approval(self, *amounts_sat: int) -> StoredBatch:
        """A funded vault with a proposed batch of withdrawals w-1, w-2, ..."""
        self.make_vault()
        self.fund(*(amounts_sat or (5_000_000, 3_000_000)))
        self.withdraw("w-1", 1_000_000)
        self.withdraw("w-2", 700_000)
        self.settle(4)
        return self.batch()

    def sign(self, batch: StoredBatch) -> StoredBatch:
        """Approve, confirm, let the signers sign and settlement broadcast."""
        self.approve(batch)
        self.confirm(batch)
        self.settle(6)
        return self.batch()


def key_of(person: str) -> bytes:
    return xonly_from_secret(secret(person))
