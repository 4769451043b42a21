"""The consensus code of Bitcoin Core (py-bitcoinkernel), wrapped for one writer.

What it guarantees: every block is judged by Bitcoin Core's own rules, and the order in which
blocks were connected and disconnected is reported exactly. What the library leaves to its caller
is done here: trailing bytes are refused, a block that was stored but did not connect is told
apart from one that did, and calls that would abort the process are guarded.

The library loses everything since its last clean close when the process is killed. So it works
on a scratch folder with databases in memory, and the node replays its own journal at start.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pbk
from pbk.script import PrecomputedTransactionData

from custodyd.devnet.transactions import Transaction, TxOutput

REASON = re.compile(r"BlockChecked: block hash=([0-9a-f]{64}) state=(.*)")
MAX_REASONS = 100
ALL_FLAGS = pbk.ScriptVerificationFlags.ALL


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """A block joined (`connected`) or left the active chain."""

    connected: bool
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class Processed:
    """What became of one block: `reject_reason` is None when no rule was seen broken."""

    stored: bool
    reject_reason: str | None
    events: tuple[ChainEvent, ...]


class ConsensusFailed(Exception):
    """The library could not work (its disk is full, say): it says nothing about the block."""


class ScriptInvalid(Exception):
    """An input whose script does not hold; `input_index` says which."""

    def __init__(self, input_index: int) -> None:
        super().__init__(f"script of input {input_index} does not hold")
        self.input_index = input_index


class _KernelLog:
    """The library's log is process-wide and the only source of reject reasons."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reasons: dict[str, str] = {}
        pbk.logging_set_options(pbk.LoggingOptions(log_timestamps=False))
        pbk.enable_log_category(pbk.LogCategory.VALIDATION)
        pbk.set_log_level_category(pbk.LogCategory.VALIDATION, pbk.LogLevel.DEBUG)
        self._connection = pbk.LoggingConnection(cb=self._line)

    def _line(self, message: str) -> None:
        found = REASON.search(message)
        if found and found[2] != "Valid":
            with self._lock:
                if len(self._reasons) >= MAX_REASONS:
                    self._reasons.pop(next(iter(self._reasons)))
                self._reasons[found[1]] = found[2]

    def take_reason(self, block_hash: bytes) -> str | None:
        with self._lock:
            return self._reasons.pop(block_hash[::-1].hex(), None)


_log_lock = threading.Lock()
_logs: list[_KernelLog] = []


def _kernel_log() -> _KernelLog:
    with _log_lock:
        if not _logs:
            _logs.append(_KernelLog())
        return _logs[0]


class Consensus:
    """One regtest chain state. Not thread-safe: the node's single writer calls it."""

    def __init__(self, scratch: Path) -> None:
        self._log = _kernel_log()
        self._events: list[ChainEvent] = []
        self._invalid: set[bytes] = set()
        self._failed = False
        callbacks = pbk.ValidationInterfaceCallbacks(
            block_checked=self._on_checked,
            block_connected=self._on_connected,
            block_disconnected=self._on_disconnected,
        )
        context = pbk.make_context(pbk.ChainType.REGTEST, validation_callbacks=callbacks)
        options = pbk.ChainstateManagerOptions(context, str(scratch), str(scratch / "blocks"))
        options.update_block_tree_db_in_memory(True)
        options.update_chainstate_db_in_memory(True)
        options.set_worker_threads_num(0)
        self._manager = pbk.ChainstateManager(options)
        self.genesis = self._read_genesis()
        self._events.clear()

    def _read_genesis(self) -> bytes:
        entry = self._manager.get_active_chain().block_tree_entries[0]
        return bytes(self._manager.blocks[entry])

    # Exceptions inside a callback are swallowed by the library: these only record.
    def _on_checked(self, _data: Any, block: Any, state: Any) -> None:
        if state.validation_mode == pbk.ValidationMode.INVALID:
            self._invalid.add(bytes(block.block_hash))
        elif state.validation_mode != pbk.ValidationMode.VALID:
            self._failed = True

    def _on_connected(self, _data: Any, block: Any, _entry: Any) -> None:
        self._events.append(ChainEvent(True, bytes(block.block_hash)))

    def _on_disconnected(self, _data: Any, block: Any, _entry: Any) -> None:
        self._events.append(ChainEvent(False, bytes(block.block_hash)))

    def process(self, raw: bytes, block_hash: bytes) -> Processed:
        """Give one block to the consensus code.

        `raw` is a block in consensus serialisation whose hash is `block_hash`. Never raises for
        a block that breaks a rule: `stored` is False when the block was refused at the door,
        True with a reason when it was kept but cannot be part of a valid chain. Raises
        ConsensusFailed when the library itself failed: then its state is not known.
        """
        self._events.clear()
        self._invalid.clear()
        try:
            block = pbk.Block(raw)
        except RuntimeError:
            return Processed(False, "decode-failed", ())
        try:
            stored = bool(self._manager.process_block(block))
        except pbk.ProcessBlockException:
            stored = False
        reason = self._log.take_reason(block_hash)
        if self._failed or (not stored and block_hash not in self._invalid):
            raise ConsensusFailed(reason or "the consensus library failed")
        if block_hash in self._invalid and reason is None:
            reason = "rejected"
        return Processed(stored, reason, tuple(self._events))


def verify_scripts(transaction: Transaction, spent: Sequence[TxOutput]) -> None:
    """Check every input's script under all consensus rules; ScriptInvalid names the first bad one.

    `spent` are the outputs that the inputs spend, in input order. ValueError when their number
    does not fit: the library would abort the process.
    """
    if len(spent) != len(transaction.inputs) or not spent:
        raise ValueError("one spent output for each input is needed")
    tx = pbk.Transaction(transaction.raw)
    if len(tx.inputs) != len(spent):
        raise ValueError("the consensus library reads another number of inputs")
    outputs = [pbk.TransactionOutput(pbk.ScriptPubkey(o.script), o.amount_sat) for o in spent]
    data = PrecomputedTransactionData(tx, outputs)
    for index, output in enumerate(spent):
        script = outputs[index].script_pubkey
        try:
            holds = script.verify(output.amount_sat, tx, data, index, ALL_FLAGS)
        except pbk.ScriptVerifyException:
            holds = False
        if not holds:
            raise ScriptInvalid(index)
