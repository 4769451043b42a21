"""The node: one lock, one writer, and the order disk before answer.

Every change runs under the lock, in three steps: the kernel judges, the views follow its events,
the journal is committed. Only then does the caller get an answer. If the journal cannot be
written, or the kernel fails, memory is not what the disk says and the node halts: it answers
nothing more.

After a reorganisation the transactions of disconnected blocks return to the mempool, oldest
first, then what waited before is judged again; what no longer fits is dropped, as in Core.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from custodyd.devnet.acceptance import Accepted, ChainFacts, judge
from custodyd.devnet.assembly import select_transactions
from custodyd.devnet.blocks import (
    COINBASE_MATURITY,
    Block,
    coinbase,
    mine,
    parse_block,
    subsidy_sat,
)
from custodyd.devnet.bytesio import FormatError
from custodyd.devnet.chain_index import ChainIndex, IndexedBlock
from custodyd.devnet.coins import CoinView
from custodyd.devnet.consensus import ChainEvent, Consensus, ConsensusFailed, verify_scripts
from custodyd.devnet.faucet import Faucet, FaucetCoin, FaucetDry
from custodyd.devnet.journal import Journal, RecordKind
from custodyd.devnet.mempool import Entry, Mempool
from custodyd.devnet.policy import NextBlock
from custodyd.devnet.rejection import Rejected
from custodyd.devnet.transactions import Transaction, TxOutput, parse_transaction

JOURNAL_FILE = "journal"
SCRATCH_FOLDER = "kernel"
PREMINED_BLOCKS = 110  # ten coinbases are mature at once
EXTRA_NONCE_SIZE = 8
MAX_SCRIPT_CACHE = 20_000


class NodeHalted(Exception):
    """Memory and disk may differ; the process has to be started again."""


class BlockRefused(Exception):
    """A block that the node made or was asked to make does not connect; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """What became of a submitted block, in BIP-22's words; `result` is None for success."""

    result: str | None


@dataclass(frozen=True, slots=True)
class ForkPlan:
    """A competing branch: it starts `depth` blocks below the tip and has `blocks` blocks.

    The first of them holds `transactions`, in this order; the others are empty.
    """

    depth: int
    blocks: int
    transactions: tuple[Transaction, ...] = ()


class Node:
    """The devnet's state. Public methods that change something answer after fsync."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.halted = threading.Event()
        self.halt_reason = ""
        self._clock = clock
        self._started_s = int(clock())
        self._journal = Journal(folder / JOURNAL_FILE)
        scratch = folder / SCRATCH_FOLDER
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        self._consensus = Consensus(scratch)
        self.index = ChainIndex(parse_block(self._consensus.genesis))
        self.coins = CoinView()
        self.pool = Mempool()
        self.faucet = Faucet.open(folder)
        self.fee_rate_sat_kvb: int | None = None  # what the devnet was told to estimate
        self._checked_scripts: dict[bytes, None] = {}
        self._replay()

    def close(self) -> None:
        """Let go of the files; nothing waits to be written, and nothing more is answered."""
        with self.lock:
            self._halt("it is stopping")
            self._journal.close()

    # --- facts ----------------------------------------------------------------------------------

    def next_block(self) -> NextBlock:
        return NextBlock(self.index.height + 1, self.index.median_time(self.index.tip))

    def chain_facts(self) -> ChainFacts:
        return ChainFacts(self.coins, self.next_block(), self._median_time_before, self._now())

    def uptime_s(self) -> int:
        return self._now() - self._started_s

    def size_on_disk(self) -> int:
        return self._journal.size()

    def faucet_balance_sat(self) -> int:
        """What the faucet could spend in the next block, unconfirmed change included."""
        return sum(coin.amount_sat for coin in self._faucet_coins())

    def _median_time_before(self, height: int) -> int:
        before = min(max(height - 1, 0), self.index.height)
        return self.index.median_time(self.index.at(before))

    def _now(self) -> int:
        return int(self._clock())

    # --- transactions ---------------------------------------------------------------------------

    def judge(self, tx: Transaction, pool: Mempool) -> Accepted:
        """May `tx` enter `pool`? Changes nothing; raises Rejected."""
        return judge(tx, pool, self.chain_facts(), check_scripts=self._scripts_once)

    def accept(self, tx: Transaction) -> None:
        """Put a transaction into the mempool; raises Rejected. Returns when it is durable."""
        with self._change():
            self.enter(self.judge(tx, self.pool))

    def enter(self, accepted: Accepted) -> None:
        """Do what `judge` found possible; the caller has held the lock since."""
        with self._change():
            for txid in accepted.replaced:
                self.pool.remove(txid)
            self.pool.add(accepted.entry)
            self._journal.stage(RecordKind.ENTERED, accepted.entry.tx.raw)
            for txid in accepted.replaced:
                self._journal.stage(RecordKind.LEFT, txid)

    def _scripts_once(self, tx: Transaction, spent: Sequence[TxOutput]) -> None:
        """Scripts that held once hold always: a wtxid fixes the inputs and what they spend."""
        if tx.wtxid in self._checked_scripts:
            return
        verify_scripts(tx, spent)
        if len(self._checked_scripts) >= MAX_SCRIPT_CACHE:
            self._checked_scripts.pop(next(iter(self._checked_scripts)))
        self._checked_scripts[tx.wtxid] = None

    # --- blocks ---------------------------------------------------------------------------------

    def submit_block(self, raw: bytes) -> BlockOutcome:
        """BIP-22's submitblock; raises FormatError for bytes that are no block."""
        with self._change():
            reason = self._take_block(parse_block(raw))
            # The words behind the comma are Core's debug message, which submitblock does not give.
            return BlockOutcome(None if reason is None else reason.split(", ", 1)[0])

    def generate(self, count: int, script: bytes) -> list[bytes]:
        """Mine `count` blocks whose coinbases pay `script`; returns their hashes."""
        with self._change():
            return [self._mine_best(script) for _ in range(count)]

    def generate_block(self, transactions: Sequence[Transaction], script: bytes) -> Block:
        """Mine one block with exactly these transactions; raises BlockRefused."""
        with self._change():
            fees = self._fees_of(transactions)
            block = self._make(self.index.tip, transactions, script, fees)
            self._require(block)
            return block

    def build_block(self, transactions: Sequence[Transaction], script: bytes) -> Block:
        """The block that `generate_block` would submit, without submitting it."""
        with self.lock:
            fees = self._fees_of(transactions)
            return self._make(self.index.tip, transactions, script, fees)

    def fork(self, plan: ForkPlan) -> tuple[list[bytes], list[bytes]]:
        """Mine a competing branch; returns (its hashes, hashes of the blocks it disconnected).

        Raises ValueError for a plan outside the chain, BlockRefused when the branch is invalid.
        """
        with self._change():
            if not 0 < plan.depth <= self.index.height:
                raise ValueError(f"depth must be 1..{self.index.height}")
            parent = self.index.at(self.index.height - plan.depth)
            heights = range(parent.height + 1, self.index.height + 1)
            before = [self.index.at(height).hash for height in heights]
            made: list[bytes] = []
            for number in range(plan.blocks):
                transactions = plan.transactions if number == 0 else ()
                block = self._make(parent, transactions, self.faucet.script, 0)
                self._require(block)
                made.append(block.hash)
                parent = self._known(block.hash)
            gone = [h for h in before if not self.index.is_active(self._known(h))]
            return made, gone

    def _known(self, block_hash: bytes) -> IndexedBlock:
        entry = self.index.get(block_hash)
        if entry is None:
            raise BlockRefused("block is not kept")
        return entry

    def _mine_best(self, script: bytes) -> bytes:
        entries = select_transactions(self.pool)
        fees = sum(entry.fee_sat for entry in entries)
        block = self._make(self.index.tip, [entry.tx for entry in entries], script, fees)
        self._require(block)
        return block.hash

    def _require(self, block: Block) -> None:
        reason = self._take_block(block)
        if reason is not None and reason != "inconclusive":
            raise BlockRefused(reason)

    def _make(
        self,
        parent: IndexedBlock,
        transactions: Sequence[Transaction],
        script: bytes,
        fees_sat: int,
    ) -> Block:
        height = parent.height + 1
        extra = secrets.token_bytes(EXTRA_NONCE_SIZE)
        amount = subsidy_sat(height) + fees_sat
        first = coinbase(height, amount, script, [tx.wtxid for tx in transactions], extra)
        time_s = max(self.index.median_time(parent) + 1, self._now())
        return mine(parent.hash, time_s, [first, *transactions])

    def _fees_of(self, transactions: Sequence[Transaction]) -> int:
        """Fees on top of the active chain; unknown inputs count as nothing: the kernel judges."""
        made = {(tx.txid, n): o for tx in transactions for n, o in enumerate(tx.outputs)}
        total = 0
        for tx in transactions:
            for item in tx.inputs:
                coin = self.coins.get(item.outpoint)
                output = coin.output if coin is not None else made.get(item.outpoint)
                total += output.amount_sat if output is not None else 0
            total -= sum(output.amount_sat for output in tx.outputs)
        return max(total, 0)

    def _take_block(self, block: Block) -> str | None:
        """Give a block to the kernel and follow it; the reject reason, or None if it connected."""
        known = self.index.get(block.hash)
        if known is not None:
            return "duplicate" if self.index.is_active(known) else "duplicate-inconclusive"
        waiting = {entry.tx.txid: entry.tx for entry in self.pool}
        outcome = self._consensus.process(block.raw, block.hash)
        if not outcome.stored or outcome.reject_reason is not None:
            self._follow(outcome.events, None, waiting)
            return outcome.reject_reason or "rejected"
        entry = self.index.add(block)
        self._follow(outcome.events, block, waiting)
        return None if self.index.is_active(entry) else "inconclusive"

    def _follow(
        self,
        events: Sequence[ChainEvent],
        block: Block | None,
        waiting: dict[bytes, Transaction],
    ) -> None:
        """Make views and mempool follow the kernel; stage what changed, in the journal's order."""
        returned = self._apply(events)
        if returned is not None:
            self._rebuild_pool(returned)
        present = {entry.tx.txid: entry.tx for entry in self.pool}
        for txid, tx in present.items():
            if txid not in waiting:
                self._journal.stage(RecordKind.ENTERED, tx.raw)
        if block is not None:
            self._journal.stage(RecordKind.BLOCK, block.raw)
        for txid in waiting:
            if txid not in present:
                self._journal.stage(RecordKind.LEFT, txid)

    def _apply(self, events: Sequence[ChainEvent]) -> list[Transaction] | None:
        """Connect and disconnect; the transactions that lost their block, None without any."""
        returned: list[Transaction] = []
        for event in events:
            if event.connected:
                entry = self.index.connect(event.block_hash)
                self.coins.connect(entry.block, entry.height)
                self._confirm(entry.block)
            else:
                entry = self.index.disconnect(event.block_hash)
                self.coins.disconnect(entry.block)
                returned[:0] = entry.block.transactions[1:]
        return None if all(event.connected for event in events) else returned

    def _confirm(self, block: Block) -> None:
        """Take a block's transactions, and what conflicts with them, out of the mempool."""
        for tx in block.transactions:
            if tx.txid in self.pool:
                self.pool.remove(tx.txid)
            for txid in self.pool.descendants(self.pool.conflicts(tx)):
                self.pool.remove(txid)

    def _rebuild_pool(self, returned: Sequence[Transaction]) -> None:
        known = {entry.tx.txid: entry for entry in self.pool}
        self.pool = Mempool()
        for tx in (*returned, *(entry.tx for entry in known.values())):
            self._readmit(tx, known.get(tx.txid))

    def _readmit(self, tx: Transaction, known: Entry | None = None) -> None:
        """Let a transaction in again that was accepted before, if it still fits."""
        facts = self.chain_facts()
        try:
            accepted = judge(tx, self.pool, facts, returning=True, check_scripts=self._scripts_once)
        except Rejected:
            return
        entry = accepted.entry
        if known is not None:
            entry = replace(entry, entered_s=known.entered_s, entered_height=known.entered_height)
        self.pool.add(entry)

    # --- the faucet -----------------------------------------------------------------------------

    def pay_from_faucet(self, payments: tuple[TxOutput, ...]) -> Transaction:
        """Pay from the devnet's own coins; raises FaucetDry or Rejected."""
        with self._change():
            tx = self.faucet.pay(self._faucet_coins(), payments)
            self.accept(tx)
            return tx

    def _faucet_coins(self) -> Iterator[FaucetCoin]:
        """Confirmed coins first, the largest first; then change that waits in the mempool."""
        height = self.index.height + 1
        confirmed = [
            FaucetCoin(outpoint, coin.output.amount_sat)
            for outpoint, coin in self.coins.of_script(self.faucet.script)
            if not coin.is_coinbase or height - coin.height >= COINBASE_MATURITY
        ]
        confirmed.sort(key=lambda coin: (-coin.amount_sat, coin.outpoint))
        waiting = [
            FaucetCoin((entry.tx.txid, vout), output.amount_sat)
            for entry in self.pool
            for vout, output in enumerate(entry.tx.outputs)
            if output.script == self.faucet.script
        ]
        return (c for c in (*confirmed, *waiting) if self.pool.spender(c.outpoint) is None)

    # --- start and commit -----------------------------------------------------------------------

    def _replay(self) -> None:
        """Come back to the last committed state; mine the faucet's first blocks when new."""
        waiting: dict[bytes, Transaction] = {}
        for record in self._journal.replay():
            if record.kind is RecordKind.BLOCK:
                self._replay_block(record.payload)
            elif record.kind is RecordKind.ENTERED:
                tx = parse_transaction(record.payload)
                waiting[tx.txid] = tx
            else:
                waiting.pop(record.payload, None)
        for tx in waiting.values():
            self._readmit(tx)
        for txid in waiting:
            if txid not in self.pool:
                self._journal.stage(RecordKind.LEFT, txid)
        self._journal.commit()
        if self.index.height == 0:
            self.generate(PREMINED_BLOCKS, self.faucet.script)

    def _replay_block(self, raw: bytes) -> None:
        block = parse_block(raw)
        outcome = self._consensus.process(raw, block.hash)
        if outcome.stored:
            self.index.add(block)
        self._apply(outcome.events)

    @contextmanager
    def _change(self) -> Iterator[None]:
        """The writer's turn: refusals change nothing that is not committed; surprises halt."""
        with self.lock:
            if self.halted.is_set():
                raise NodeHalted(self.halt_reason)
            try:
                yield
            except REFUSALS:
                self._commit()
                raise
            except NodeHalted:
                raise
            except ConsensusFailed as error:
                raise self._halt(f"the consensus library failed: {error}") from error
            except BaseException as error:
                self._halt(f"unexpected: {type(error).__name__}")
                raise
            self._commit()

    def _halt(self, reason: str) -> NodeHalted:
        self.halt_reason = reason
        self.halted.set()
        return NodeHalted(reason)

    def _commit(self) -> None:
        try:
            self._journal.commit()
        except OSError as error:
            reason = f"the journal could not be written: {error.strerror}"
            raise self._halt(reason) from error


REFUSALS = (Rejected, BlockRefused, FormatError, FaucetDry, ValueError)
