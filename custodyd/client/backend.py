"""The exchange's side as a process of its own: everything that B does without being asked.

One loop, one thread that decides; a second thread only reads the event stream into a bounded
queue. Events are hints that something may be due: what is done follows from the ledger and from
what the coordinator lists, so a lost event or a kill -9 anywhere costs time and nothing else (G10).

 1. Another store incarnation: every open request is submitted again; likewise one that the store
    does not know any more.
 2. A manifest waits for the payer: checked against the own ledger, confirmed (payer.py).
 3. Headers are verified; deposits are credited and payments called final by proof alone (G14).
 4. Watched deposit indices are announced again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from custodyd.client.connection import LOOKUP_LIMIT, Coordinator
from custodyd.client.errors import ClientError
from custodyd.client.events import EventReader, Position
from custodyd.client.headers import LedgerHeaders, follow
from custodyd.client.keys import RequestKey
from custodyd.client.ledger import ClientLedger, RequestState, StoredRequest
from custodyd.client.payer import Payer, confirm
from custodyd.client.requests import submit_open
from custodyd.client.verify import (
    ChainSource,
    DepositClaim,
    ExpectedPayment,
    depth_of,
    open_pinned,
    pin_vault,
    pinned_genesis,
    verify_deposit,
    verify_payment,
)
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import deposit_pb2, event_pb2, withdrawal_pb2
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.transaction import Outpoint, TxOut, txid_from_hex
from signer_node.kernel.documents.manifest import Manifest, ManifestProposal
from signer_node.kernel.errors import Refusal
from signer_node.kernel.rules.certify import CertifiedVault
from signer_node.wire import decode

INCARNATION_FACT: Final = "store_incarnation"
CURSOR_FACT: Final = "event_cursor"
CURSOR_BYTES: Final = 8
MAX_CLAIMS: Final = 100_000
MAX_OPEN: Final = 10_000
MAX_TOLD: Final = 10_000
MAX_CONFIRMATIONS_A_ROUND: Final = 100

_ENDED: Final = frozenset(
    {
        withdrawal_pb2.WITHDRAWAL_STATE_REJECTED,
        withdrawal_pb2.WITHDRAWAL_STATE_CANCELLED,
        withdrawal_pb2.WITHDRAWAL_STATE_EXPIRED,
    }
)


class Report(Protocol):
    """Tells what happened: an event's name and facts; the caller decides how it is shown."""

    def __call__(self, event: str, /, **facts: object) -> None: ...


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """Depths in confirmations, times in seconds."""

    credit_depth: int = 6
    final_depth: int = 6
    poll_s: float = 1.0
    list_every_s: float = 15.0
    # So long a request is left to the command that signed it.
    submit_grace_s: int = 10


@dataclass(slots=True)
class Backend:
    """The process; `run` returns when `stop` is set."""

    coordinator: Coordinator
    ledger: ClientLedger
    chain: ChainSource
    key: RequestKey
    report: Report
    settings: BackendSettings = field(default_factory=BackendSettings)
    now_s: Callable[[], int] = lambda: int(time.time())
    _claims: dict[Outpoint, DepositClaim] = field(default_factory=dict)
    _announced: dict[str, int] = field(default_factory=dict)
    _vaults: dict[str, CertifiedVault] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)
    _finished_at: bytes = b""
    _listed_at: float | None = None
    _reader: EventReader | None = None

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`; every fault of others is told and tried again."""
        reader = EventReader(self.coordinator, self._position())
        self._reader = reader
        reader.start()
        try:
            while not stop.is_set():
                self.turn()
                self._take_events(reader)
        finally:
            reader.stop()

    # --- one turn ---

    def turn(self) -> None:
        """Do whatever is due now; idempotent."""
        for duty in (
            self._meet_store,
            self._pin_vaults,
            self._announce,
            self._submit,
            self._confirm,
            self._list,
            self._follow,
        ):
            try:
                duty()
            except ClientError as fault:
                self.report("coordinator", duty=duty.__name__.strip("_"), error=fault.reason)
                return
            except (CustodydError, Refusal) as fault:
                self.report("refused", duty=duty.__name__.strip("_"), error=str(fault))

    def _meet_store(self) -> None:
        incarnation = self.coordinator.status().store_incarnation
        if incarnation == self.ledger.fact(INCARNATION_FACT):
            return
        with self.ledger.transaction():
            self.ledger.set_fact(INCARNATION_FACT, incarnation)
            self.ledger.set_fact(CURSOR_FACT, bytes(CURSOR_BYTES))
        self._announced.clear()
        self._listed_at = None
        if self._reader is not None:
            self._reader.restart(self._position())
        self.report("store", incarnation=incarnation.hex())

    def _incarnation(self) -> bytes:
        return self.ledger.fact(INCARNATION_FACT) or b""

    def _pin_vaults(self) -> None:
        """Pin what all signers certified; open what is pinned."""
        if self._listing_due():
            self._pin_new()
        for pinned in self.ledger.vaults():
            if pinned.vault not in self._vaults:
                self._vaults[pinned.vault] = open_pinned(pinned_genesis(self.ledger), pinned)

    def _pin_new(self) -> None:
        genesis = pinned_genesis(self.ledger)
        for vault in self.coordinator.vaults():
            if vault.certificate and self.ledger.vault(vault.vault) is None:
                pin_vault(self.ledger, genesis, vault.vault, vault.certificate)
                self.report("vault pinned", vault=vault.vault, descriptor=vault.descriptor)

    def _announce(self) -> None:
        for pinned in self.ledger.vaults():
            if self._announced.get(pinned.vault) != pinned.next_index:
                self.coordinator.watch_addresses(pinned.vault, pinned.next_index)
                self._announced[pinned.vault] = pinned.next_index

    def _submit(self) -> None:
        def refused(withdrawal_id: str, fault: ClientError) -> None:
            self.report("request refused", external_id=withdrawal_id, error=fault.reason)

        signed_by_s = self.now_s() - self.settings.submit_grace_s
        sent = submit_open(self.coordinator, self.ledger, self._incarnation(), signed_by_s, refused)
        if sent:
            self.report("requests submitted", count=sent)

    # --- payer confirmations ---

    def _confirm(self) -> None:
        for _ in range(MAX_CONFIRMATIONS_A_ROUND):
            waiting = self.coordinator.unconfirmed_manifests()
            confirmed = [one for one in waiting if self._confirm_one(one.batch_id, one.proposal)]
            if not confirmed:
                return

    def _confirm_one(self, batch_id: str, proposal: bytes) -> bool:
        headers = LedgerHeaders(self.ledger)
        vaults = {one.certificate.digest: one for one in self._vaults.values()}
        payer = Payer(self.ledger, self.key, pinned_genesis(self.ledger), vaults)
        try:
            signed = confirm(payer, batch_id, proposal, headers.tip().height, self.now_s())
        except (CustodydError, Refusal, BitcoinFault) as fault:
            self._tell_refusal(batch_id, str(fault))
            return False
        try:
            self.coordinator.confirm_manifest(batch_id, signed)
        except ClientError as fault:
            if fault.retryable:
                raise
            self.report("confirmation refused", batch_id=batch_id, error=fault.reason)
            return False
        self.report("manifest confirmed", batch_id=batch_id)
        return True

    def _tell_refusal(self, batch_id: str, error: str) -> None:
        """Once for each reason: the manifest is listed until the coordinator gives it up."""
        if (batch_id, error) in self._told:
            return
        if len(self._told) >= MAX_TOLD:
            self._told.clear()
        self._told.add((batch_id, error))
        self.report("manifest refused", batch_id=batch_id, error=error)

    # --- what the coordinator lists ---

    def _list(self) -> None:
        """Now and then look at everything, in case an event was lost."""
        if not self._listing_due():
            return
        for deposit in self.coordinator.deposits():
            self._note_deposit(deposit)
        open_states = (RequestState.SUBMITTED,)
        ids = [one.withdrawal_id for one in self.ledger.requests_in(open_states, MAX_OPEN)]
        for start in range(0, len(ids), LOOKUP_LIMIT):
            asked = ids[start : start + LOOKUP_LIMIT]
            answer = self.coordinator.lookup(asked)
            for withdrawal in answer.withdrawals:
                self._note_withdrawal(withdrawal)
            self._note_forgotten(set(asked) - {one.external_id for one in answer.withdrawals})
        self._listed_at = time.monotonic()

    def _listing_due(self) -> bool:
        age_s = None if self._listed_at is None else time.monotonic() - self._listed_at
        return age_s is None or age_s >= self.settings.list_every_s

    def _note_deposit(self, deposit: deposit_pb2.Deposit) -> None:
        """Remember where to look; a reorged or unconfirmed deposit says nothing to look at."""
        if deposit.vault not in self._vaults or not deposit.block_hash:
            return
        try:
            outpoint = Outpoint(txid_from_hex(deposit.txid), deposit.vout)
            block_hash = txid_from_hex(deposit.block_hash)
        except BitcoinFault:
            return
        if len(self._claims) >= MAX_CLAIMS or self.ledger.credited(outpoint):
            return
        self._claims[outpoint] = DepositClaim(outpoint, deposit.vault, deposit.index, block_hash)

    def _note_withdrawal(self, withdrawal: withdrawal_pb2.Withdrawal) -> None:
        if withdrawal.state not in _ENDED:
            return
        own = self.ledger.request(withdrawal.external_id)
        if own is None or own.state is not RequestState.SUBMITTED:
            return
        name = withdrawal_pb2.WithdrawalState.Name(withdrawal.state)
        self.ledger.mark_ended(own.withdrawal_id, name)
        self.report("withdrawal ended", external_id=own.withdrawal_id, state=name)

    def _note_forgotten(self, withdrawal_ids: set[str]) -> None:
        """An old database may come back under its old incarnation: what it lost is sent again."""
        for withdrawal_id in sorted(withdrawal_ids):
            self.ledger.mark_forgotten(withdrawal_id)
            self.report("request forgotten", external_id=withdrawal_id)

    # --- the chain ---

    def _follow(self) -> None:
        genesis = pinned_genesis(self.ledger).document
        headers = LedgerHeaders(self.ledger)
        try:
            new = follow(headers, self.chain, genesis, self.now_s())
        finally:
            self._tell_reversed(headers)
        if new:
            tip = headers.tip()
            self.report("chain", height=tip.height, tip=tip.hash[::-1].hex())
        self._credit(headers)
        tip_hash = headers.tip().hash
        if tip_hash != self._finished_at:
            # A payment becomes final by a new block and by nothing else.
            self._finish(headers)
            self._finished_at = tip_hash

    def _tell_reversed(self, headers: LedgerHeaders) -> None:
        """Whoever booked a credit by its line hears by a line that it is none any more."""
        for credit in headers.reversed:
            self.report(
                "deposit reversed",
                outpoint=str(credit.outpoint),
                index=credit.index,
                amount_sat=credit.amount_sat,
            )

    def _credit(self, headers: LedgerHeaders) -> None:
        for claim in tuple(self._claims.values()):
            if depth_of(claim.block_hash, headers) < self.settings.credit_depth:
                continue
            del self._claims[claim.outpoint]
            try:
                self._credit_one(claim, headers)
            except CustodydError as fault:
                # One false claim holds up neither the other deposits nor what is final.
                self.report("deposit refused", outpoint=str(claim.outpoint), error=str(fault))

    def _credit_one(self, claim: DepositClaim, headers: LedgerHeaders) -> None:
        proof = self.chain.prove(claim.outpoint.txid, claim.block_hash)
        if proof is None:
            raise CustodydError(ErrorId.DEPOSIT_UNPROVEN, str(claim.outpoint))
        credit = verify_deposit(claim, proof, self._vaults[claim.vault], headers)
        if depth_of(proof.block_hash, headers) < self.settings.credit_depth:
            raise CustodydError(ErrorId.DEPOSIT_UNPROVEN, f"{claim.outpoint} is not deep enough")
        if self.ledger.credit(credit):
            self.report(
                "deposit credited",
                outpoint=str(credit.outpoint),
                index=credit.index,
                amount_sat=credit.amount_sat,
                height=credit.height,
            )

    def _finish(self, headers: LedgerHeaders) -> None:
        """Call payments final, by proof, whatever the coordinator says of them."""
        payments: dict[bytes, list[tuple[StoredRequest, ExpectedPayment]]] = {}
        lowest = headers.tip().height
        for own in self.ledger.requests_confirmed(MAX_OPEN):
            for manifest in self.ledger.manifests_of(own.withdrawal_id):
                expected = _expected(own, manifest.txid, manifest.proposal)
                payments.setdefault(manifest.txid, []).append((own, expected))
                lowest = min(lowest, manifest.tip_height)
        if not payments:
            return
        for txid, block_hash in self.chain.locate(tuple(payments), lowest).items():
            if depth_of(block_hash, headers) >= self.settings.final_depth:
                self._finish_one(txid, block_hash, payments[txid], headers)

    def _finish_one(
        self,
        txid: bytes,
        block_hash: bytes,
        payments: list[tuple[StoredRequest, ExpectedPayment]],
        headers: LedgerHeaders,
    ) -> None:
        proof = self.chain.prove(txid, block_hash)
        if proof is None or depth_of(proof.block_hash, headers) < self.settings.final_depth:
            raise CustodydError(ErrorId.PAYMENT_UNPROVEN, txid[::-1].hex())
        for _own, expected in payments:
            verify_payment(expected, proof, headers)
        with self.ledger.transaction():
            for own, _expected_payment in payments:
                self.ledger.mark_final(own.withdrawal_id, txid)
        self.report("payments final", txid=txid[::-1].hex(), count=len(payments))

    # --- events ---

    def _position(self) -> Position:
        sequence = int.from_bytes(self.ledger.fact(CURSOR_FACT) or b"", "big")
        return Position(sequence, self._incarnation() if sequence else b"")

    def _take_events(self, reader: EventReader) -> None:
        """Handle what came in, then store how far; waits at most one poll."""
        answers = reader.take(self.settings.poll_s)
        for answer in answers:
            if answer.store_incarnation != self._incarnation():
                return
            self._handle(answer.event)
        if answers:
            last = answers[-1].event.sequence
            self.ledger.set_fact(CURSOR_FACT, last.to_bytes(CURSOR_BYTES, "big"))

    def _handle(self, event: event_pb2.Event) -> None:
        match event.WhichOneof("subject"):
            case "deposit":
                self._note_deposit(event.deposit)
            case "withdrawal":
                self._note_withdrawal(event.withdrawal)
            case _:
                return


def _expected(own: StoredRequest, txid: bytes, proposal: bytes) -> ExpectedPayment:
    """The output that a manifest confirmed here gives to a request."""
    manifest = decode(Manifest, decode(ManifestProposal, proposal).manifest)
    number = next(one.output for one in manifest.payouts if one.request == own.digest)
    return ExpectedPayment(Outpoint(txid, number), TxOut(own.amount_sat, own.script))
