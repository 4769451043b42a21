"""An exchange's client in the world of `tests.world`: its ledger on disk, its chain source honest
unless a test bends it, and a coordinator that does what a test says."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from custodyd.client.backend import Backend, BackendSettings
from custodyd.client.errors import Advice, ClientError
from custodyd.client.keys import RequestKey
from custodyd.client.ledger import ClientLedger
from custodyd.client.payer import Payer
from custodyd.client.requests import Payment, Requester
from custodyd.client.verify import TransactionProof, pin_genesis, pin_vault
from custodyd.rpc.v1 import admin_pb2, batch_pb2, deposit_pb2, event_pb2, withdrawal_pb2
from signer_node import wire
from signer_node.kernel.bitcoin.address import address_from_script
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.transaction import stripped_bytes
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.curve import xonly_from_secret
from signer_node.kernel.documents.request import Request
from tests.world.payouts import p2wpkh
from tests.world.quorum import RITA, VAULT, World, secret

UNREACHED = Advice("wait", retryable=True, exit_code=4)
REFUSED = Advice("mend it", retryable=False, exit_code=3)


def unreachable() -> ClientError:
    return ClientError("COORDINATOR_UNREACHABLE", "", grpc.StatusCode.UNAVAILABLE, UNREACHED)


def refusal(reason: str) -> ClientError:
    return ClientError(reason, "", grpc.StatusCode.FAILED_PRECONDITION, REFUSED)


@dataclass(slots=True)
class WorldChain:
    """The world's chain as a client's chain source."""

    world: World

    def headers_after(self, known: Sequence[bytes], limit: int) -> Sequence[bytes]:
        hashes = [block.header.hash for block in self.world.chain.blocks]
        for one in known:
            if one in hashes:
                return self.world.chain.headers(hashes.index(one))[:limit]
        return ()

    def prove(self, txid: bytes, block_hash: bytes) -> TransactionProof | None:
        for block in self.world.chain.blocks:
            if block.header.hash == block_hash and txid in block.txids:
                found = block.inclusion(txid)
                raw = block.transactions[found.position]
                return TransactionProof(
                    block_hash, stripped_bytes(raw), found.position, found.branch, found.coinbase,
                    found.coinbase_branch,
                )  # fmt: skip
        return None

    def locate(self, txids: Sequence[bytes], from_height: int) -> dict[bytes, bytes]:
        return {
            txid: block.header.hash
            for block in self.world.chain.blocks[from_height:]
            for txid in txids
            if txid in block.txids
        }


@dataclass(slots=True)
class ScriptedCoordinator:
    """What a coordinator would answer; `down` makes every call fail."""

    world: World
    incarnation: bytes = b"\x01" * 16
    down: bool = False
    refuse: dict[str, str] = field(default_factory=dict)
    accepted: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    unconfirmed: dict[str, bytes] = field(default_factory=dict)
    confirmations: dict[str, bytes] = field(default_factory=dict)
    deposits_seen: list[deposit_pb2.Deposit] = field(default_factory=list)
    withdrawals_seen: list[withdrawal_pb2.Withdrawal] = field(default_factory=list)
    watched: dict[str, int] = field(default_factory=dict)
    certified: bool = True

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.down:
            raise unreachable()

    def status(self) -> admin_pb2.Status:
        self._called("status")
        return admin_pb2.Status(store_incarnation=self.incarnation)

    def vaults(self) -> list[admin_pb2.Vault]:
        self._called("vaults")
        certificate = self.world.certificate if self.certified else b""
        return [admin_pb2.Vault(vault=VAULT, certificate=certificate)]

    def watch_addresses(self, vault: str, count: int) -> int:
        self._called("watch_addresses")
        self.watched[vault] = count
        return count

    def create_withdrawal(
        self, request_id: str, signed: bytes, *, validate_only: bool = False
    ) -> withdrawal_pb2.CreateWithdrawalResponse:
        self._called("create_withdrawal")
        received = wire.open_signed(Request, signed)
        withdrawal_id = received.document.withdrawal_id
        if withdrawal_id in self.refuse:
            raise refusal(self.refuse[withdrawal_id])
        self.accepted[withdrawal_id] = signed
        answer = withdrawal_pb2.CreateWithdrawalResponse(store_incarnation=self.incarnation)
        answer.withdrawal.state = withdrawal_pb2.WITHDRAWAL_STATE_ACCEPTED
        return answer

    def unconfirmed_manifests(self) -> list[batch_pb2.UnconfirmedManifest]:
        self._called("unconfirmed_manifests")
        return [
            batch_pb2.UnconfirmedManifest(batch_id=one, proposal=raw)
            for one, raw in self.unconfirmed.items()
        ]

    def confirm_manifest(self, batch_id: str, signed: bytes) -> None:
        self._called("confirm_manifest")
        self.confirmations[batch_id] = signed
        self.unconfirmed.pop(batch_id, None)

    def deposits(self, state: int = 0) -> Iterator[deposit_pb2.Deposit]:
        self._called("deposits")
        yield from self.deposits_seen

    def lookup(self, external_ids: Sequence[str]) -> withdrawal_pb2.LookupWithdrawalsResponse:
        self._called("lookup")
        known = {
            one: withdrawal_pb2.Withdrawal(
                external_id=one, state=withdrawal_pb2.WITHDRAWAL_STATE_QUEUED
            )
            for one in self.accepted
        }
        known.update({one.external_id: one for one in self.withdrawals_seen})
        return withdrawal_pb2.LookupWithdrawalsResponse(
            withdrawals=[known[one] for one in external_ids if one in known]
        )

    def watch_events(
        self, after_sequence: int, store_incarnation: bytes, timeout_s: float
    ) -> Iterator[event_pb2.WatchEventsResponse]:
        self._called("watch_events")
        time.sleep(0.01)
        yield from ()


@dataclass(slots=True)
class Exchange:
    """The exchange's side of a world."""

    world: World
    folder: Path
    ledger: ClientLedger = field(init=False)
    coordinator: ScriptedCoordinator = field(init=False)
    key: RequestKey = field(init=False)
    reports: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    settings: BackendSettings = field(default_factory=lambda: BackendSettings(2, 3, 0.01, 0.0, 0))

    def __post_init__(self) -> None:
        self.key = RequestKey(xonly_from_secret(secret("backend")), secret("backend"))
        self.coordinator = ScriptedCoordinator(self.world)
        self.open()
        words = " ".join(words_from_digest(self.world.genesis.digest))
        pin_genesis(self.ledger, self.world.genesis.raw, words, self.key.public)
        pin_vault(self.ledger, self.world.genesis, VAULT, self.world.certificate)

    def open(self) -> None:
        """The ledger as a process that starts finds it."""
        self.ledger = ClientLedger(self.folder / "ledger.sqlite3")

    def backend(self) -> Backend:
        """A process that starts now, on what the disk holds."""
        self.ledger.close()
        self.open()
        return Backend(
            coordinator=self.coordinator,  # type: ignore[arg-type]
            ledger=self.ledger,
            chain=WorldChain(self.world),
            key=self.key,
            report=self._report,
            settings=self.settings,
            now_s=lambda: self.world.now_s,
        )

    def _report(self, event: str, /, **facts: object) -> None:
        self.reports.append((event, facts))

    def told(self, event: str) -> list[dict[str, Any]]:
        return [facts for name, facts in self.reports if name == event]

    @property
    def payer(self) -> Payer:
        vaults = {self.world.vault.certificate.digest: self.world.vault}
        return Payer(self.ledger, self.key, self.world.genesis, vaults)

    @property
    def requester(self) -> Requester:
        return Requester(self.key, RITA, self.world.genesis, VAULT)


def payment(external_id: str, amount_sat: int = 1_000_000) -> Payment:
    script = p2wpkh(sum(external_id.encode()))
    address = address_from_script(script, Network.REGTEST)
    return Payment(external_id, address, amount_sat, "acme")
