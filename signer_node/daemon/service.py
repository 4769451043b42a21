"""The running node: one writer thread, fed by a bounded queue, through which everything enters.

1. Each event (an envelope from link or console, a heartbeat, a confirmation) is one step of the
   core and one commit of the journal, in the order of the queue. Nothing else writes.
2. A refusal is logged and counted, and changes nothing.
3. When the journal cannot be written or the clock is unsound, the node halts: it answers `status`,
   signs nothing, takes nothing, until a person restarts it.
4. Before the genesis is confirmed only a genesis is taken from the inbox; the rest waits there.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from signer_node import wire
from signer_node.adapters.clock import Clock
from signer_node.adapters.journal import Cursor, Journal
from signer_node.adapters.link import Arrived
from signer_node.console.messages import ConfirmVaultRequest
from signer_node.core import ceremony
from signer_node.core import node as core
from signer_node.core.ledger import Node
from signer_node.core.step import Step
from signer_node.daemon.notice import Notifier, Waiting
from signer_node.kernel.documents.manifest import Manifest, ManifestProposal
from signer_node.kernel.errors import ErrorId, Refusal

MAX_QUEUED: Final = 256
QUEUE_TIMEOUT_S: Final = 10.0
STEP_TIMEOUT_S: Final = 120.0
INTERNAL: Final = "INTERNAL"

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Task:
    run: Callable[[], Any]
    result: Future[Any]


class Service:
    """The node's events. `wake_link` is set by whoever wires the link."""

    def __init__(self, node: Node, journal: Journal, clock: Clock, notifier: Notifier) -> None:
        self.node = node
        self.journal = journal
        self.clock = clock
        self.halted: Refusal | None = None
        self.refusals: Counter[str] = Counter()
        self.last_contact_s = 0
        self.wake_link: Callable[[], None] = lambda: None
        self._notifier = notifier
        self._queue: queue.Queue[_Task | None] = queue.Queue(MAX_QUEUED)
        self._thread = threading.Thread(target=self._run, name="writer")

    # --- the writer ---

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, then end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            try:
                task.result.set_result(task.run())
            except Refusal as refusal:
                self._note(refusal)
                task.result.set_exception(refusal)
            except Exception as fault:  # noqa: BLE001 - a bug in one event must not end the node
                _log.error("internal error", exc_info=True)
                self.refusals[INTERNAL] += 1
                task.result.set_exception(fault)

    def _do(self, run: Callable[[], T]) -> T:
        """Run something on the writer and wait for it; raises Refusal(CONSOLE_BUSY)."""
        result: Future[T] = Future()
        try:
            self._queue.put(_Task(run, result), timeout=QUEUE_TIMEOUT_S)
            return result.result(STEP_TIMEOUT_S)
        except (queue.Full, FutureTimeout):
            raise Refusal(ErrorId.CONSOLE_BUSY, "the node is busy") from None

    def _note(self, refusal: Refusal) -> None:
        name = refusal.error.name
        self.refusals[name] += 1
        _log.warning("refused", extra={"error": name, "detail": refusal.detail})
        if refusal.error in (ErrorId.JOURNAL_UNWRITABLE, ErrorId.CLOCK_UNSOUND):
            self._halt(refusal)

    def _halt(self, refusal: Refusal) -> None:
        if self.halted is None:
            self.halted = refusal
            _log.error("halted: nothing is signed", extra={"error": refusal.error.name})

    def _require_sound(self) -> int:
        """The time to act by; raises what the node halted for."""
        if self.halted is not None:
            raise self.halted
        return self.clock.sound_s()

    # --- events ---

    def deliver(self, envelope: bytes) -> None:
        """An envelope from the console."""
        self._do(lambda: self._deliver(envelope, None))

    def confirm_genesis(self, words: str) -> None:
        """An operator compared the words of the pending genesis."""
        self._do(lambda: self._confirm(words))
        self.wake_link()

    def confirm_keygen(self, confirmed: ConfirmVaultRequest) -> None:
        """An operator confirmed a key generation, and opened the host key for it."""
        self._do(lambda: self._confirm_keygen(confirmed))

    def beat(self) -> None:
        """A sign of life; also forgets what expired in the outbox."""
        self._do(self._beat)

    # --- adapters.link.Mail ---

    def cursor(self) -> Cursor:
        """How far the inbox is durably taken."""
        return self.journal.cursor()

    def unsent(self, most_rows: int, most_bytes: int) -> list[tuple[int, bytes]]:
        """What waits in the outbox."""
        return self.journal.unsent(most_rows, most_bytes, self.clock.now_s())

    def sent(self, positions: list[int]) -> None:
        """These are durable at the coordinator."""
        self._do(lambda: self.journal.mark_sent(positions, self.clock.now_s()))

    def store_changed(self, cursor: Cursor) -> None:
        """The coordinator has another store."""
        _log.warning("the coordinator's store changed")
        self._do(lambda: self.journal.commit(Step(), self._require_sound(), cursor))

    def arrived(self, items: list[Arrived]) -> None:
        """Take inbox items in order; stops at the first one that must wait."""
        self._do(lambda: self._arrived(items))

    def contact(self) -> None:
        """The coordinator has just answered."""
        self.last_contact_s = self.clock.now_s()

    # --- on the writer ---

    def _arrived(self, items: list[Arrived]) -> None:
        for item in items:
            if self.halted is not None or not self._take(item):
                return

    def _take(self, item: Arrived) -> bool:
        """Whether the item's cursor became durable."""
        try:
            self._deliver(item.envelope, item.cursor)
            return True
        except Refusal as refusal:
            if refusal.error is ErrorId.GENESIS_NOT_CONFIRMED:
                return False
            self._note(refusal)
        except Exception:  # noqa: BLE001 - no envelope may stop the node from taking the next
            _log.error("internal error", exc_info=True)
            self.refusals[INTERNAL] += 1
        if self.halted is not None:
            return False
        self.journal.commit(Step(), self._require_sound(), item.cursor)
        return True

    def _deliver(self, envelope: bytes, cursor: Cursor | None) -> None:
        now_s = self._require_sound()
        if self.node.ledger.genesis() is None:
            self.journal.hold_genesis(core.receive_genesis(self.node, envelope).raw)
            step = Step()
        else:
            step = core.deliver(self.node, envelope, now_s)
        self._commit(step, now_s, cursor)

    def _confirm(self, words: str) -> None:
        now_s = self._require_sound()
        confirmed = self.node.ledger.genesis()
        raw = confirmed.raw if confirmed is not None else self.journal.pending_genesis()
        if raw is None:
            raise Refusal(ErrorId.SUBJECT_NOT_FOUND, "no genesis has come yet")
        self._commit(core.confirm_genesis(self.node, raw, words), now_s, None)

    def _confirm_keygen(self, confirmed: ConfirmVaultRequest) -> None:
        now_s = self._require_sound()
        secrets, vault, epoch = self.node.secrets, confirmed.vault, confirmed.epoch
        was_ready = secrets.keygen_ready(vault, epoch)
        secrets.admit_host(
            (vault, epoch), confirmed.host_secret, confirmed.entropy, self.node.host_key
        )
        try:
            step = ceremony.confirm(self.node, vault, epoch)
        except Refusal:
            if not was_ready:
                secrets.end_keygen(vault, epoch)
            raise
        self._commit(step, now_s, None)

    def _beat(self) -> None:
        now_s = self._require_sound()
        self.journal.mark_sent([], now_s)
        head = self.journal.head()
        self._commit(core.heartbeat(self.node, head.sequence, head.digest, now_s), now_s, None)

    def _commit(self, step: Step, now_s: int, cursor: Cursor | None) -> None:
        if step.records or step.outbox or cursor is not None:
            self.journal.commit(step, now_s, cursor)
        if step.outbox:
            self.wake_link()
        for notice in step.notices:
            name = f"vault/{notice.vault}" if notice.vault else self._batch_id(notice.manifest)
            self._notifier.tell(Waiting(name, notice.manifest, now_s))

    def _batch_id(self, digest: bytes) -> str:
        entry = self.journal.manifest(digest)
        if entry is None:
            return ""
        proposal = wire.decode(ManifestProposal, entry.proposal)
        return wire.decode(Manifest, proposal.manifest).batch_id
