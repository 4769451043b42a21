"""What the daemon answers at its console: facts from its journal; decisions only as envelopes."""

from __future__ import annotations

from collections.abc import Callable

from signer_node import wire
from signer_node.adapters.queries import ManifestRow
from signer_node.console.messages import (
    ConfirmRequest,
    ConfirmVaultRequest,
    DeliverRequest,
    Done,
    Failed,
    GenesisRequest,
    Listed,
    ListRequest,
    Manifests,
    PendingGenesis,
    Request,
    Response,
    Shown,
    ShowRequest,
    Status,
    StatusRequest,
    VaultListed,
    VaultRequest,
    Vaults,
    VaultShown,
    VaultsRequest,
)
from signer_node.core.ledger import KeygenEntry
from signer_node.daemon.service import Service
from signer_node.kernel.bitcoin.transaction import txid_to_hex
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.manifest import Approval, Decision
from signer_node.kernel.documents.vault import CosignerKey
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.vault.making import kind_name

_SHORTEST_PREFIX = 8


class Console:
    """Answers requests; `certificate_expires_s` tells when the transport certificate ends."""

    def __init__(self, service: Service, certificate_expires_s: Callable[[], int]) -> None:
        self._service = service
        self._journal = service.journal
        self._certificate_expires_s = certificate_expires_s

    def answer(self, request: Request) -> Response:
        """The answer to one request; a refusal is an answer too."""
        try:
            return self._answer(request)
        except Refusal as refusal:
            return Failed(refusal.error.name, refusal.detail)

    def _answer(self, request: Request) -> Response:
        match request:
            case StatusRequest():
                return self.status()
            case ListRequest():
                return Manifests([self._listed(row) for row in self._journal.manifests()])
            case ShowRequest(name):
                return self._shown(name)
            case GenesisRequest():
                return self._genesis()
            case ConfirmRequest(words):
                self._service.confirm_genesis(words)
            case VaultsRequest():
                return Vaults(self._vaults())
            case VaultRequest(vault):
                return self._vault(vault)
            case ConfirmVaultRequest():
                self._service.confirm_keygen(request)
            case DeliverRequest(envelope):
                self._service.deliver(envelope)
        return Done()

    def status(self) -> Status:
        """How the node stands."""
        service, node, journal = self._service, self._service.node, self._journal
        genesis = journal.genesis()
        seat = genesis.document.signer_by_key(node.identity_key) if genesis is not None else None
        head = journal.head()
        tip = journal.headers().tip() if genesis is not None else None
        halted = service.halted
        return Status(
            identity_key=node.identity_key.hex(),
            node=seat.name if seat is not None else "",
            genesis=genesis.digest.hex() if genesis is not None else "",
            genesis_pending=journal.pending_genesis() is not None,
            boot=node.boot.hex(),
            journal_sequence=head.sequence,
            journal_head=head.digest.hex(),
            tip_height=tip.height if tip is not None else 0,
            tip_hash=txid_to_hex(tip.hash) if tip is not None else "",
            last_contact_s=service.last_contact_s,
            unsent=journal.unsent_count(),
            waiting=sum(self._state(row) == "waiting" for row in journal.manifests()),
            certificate_expires_s=self._certificate_expires_s(),
            vaults=[
                f"{vault}/{epoch}{'' if certified else ' (in the making)'}"
                for vault, epoch, certified in journal.vaults()
            ],
            halted=f"{halted.error.name}: {halted.detail}" if halted is not None else "",
            refusals=dict(service.refusals),
        )

    def _listed(self, row: ManifestRow) -> Listed:
        return Listed(
            digest=row.digest.hex(),
            batch_id=row.batch_id,
            txid=txid_to_hex(row.txid),
            payouts=row.payouts,
            journaled_at_s=row.journaled_at_s,
            expires_at_s=row.expires_at_s,
            state=self._state(row),
            decisions=[_said(signed) for signed in self._journal.decisions(row.digest)],
        )

    def _state(self, row: ManifestRow) -> str:
        """One word: what may still happen with a manifest at this node."""
        if row.released:
            return "released"
        if row.rejected:
            return "rejected"
        if row.replaced:
            return "replaced"
        if row.expires_at_s < self._service.clock.now_s():
            return "expired"
        return "decided" if self._journal.decisions(row.digest) else "waiting"

    def _shown(self, name: str) -> Shown:
        row = self._find(name)
        entry, genesis = self._journal.manifest(row.digest), self._journal.genesis()
        if entry is None or genesis is None:
            raise Refusal(ErrorId.SUBJECT_NOT_FOUND, name)
        certificate = self._journal.certificate_of_manifest(entry.proposal)
        return Shown(
            proposal=entry.proposal,
            genesis=genesis.raw,
            certificate=certificate,
            decisions=list(self._journal.decisions(row.digest)),
            identity_key=self._service.node.identity_key,
            journaled_at_s=row.journaled_at_s,
            tip_height=self._journal.headers().tip().height,
            state=self._state(row),
            now_s=self._service.clock.now_s(),
            knows_replaced=self._journal.manifest(row.replaces) is not None,
        )

    def _find(self, name: str) -> ManifestRow:
        """By the first hex digits of its digest, else by batch id (the newest of that name).

        The coordinator chooses batch ids: none passes for the digits of another manifest.
        """
        rows = self._journal.manifests()
        wanted = name.replace(" ", "").lower()
        if len(wanted) >= _SHORTEST_PREFIX:
            found = [row for row in rows if row.digest.hex().startswith(wanted)]
            if len(found) > 1:
                detail = f"{len(found)} digests begin with {wanted}: give more digits"
                raise Refusal(ErrorId.SUBJECT_NOT_FOUND, detail)
            if found:
                return found[0]
        for row in rows:
            if row.batch_id == name:
                return row
        raise Refusal(ErrorId.SUBJECT_NOT_FOUND, name)

    def _vaults(self) -> list[VaultListed]:
        together = {
            (one.proposal.vault, one.proposal.epoch): one for one in self._journal.keygens()
        }
        rows = []
        for vault, epoch, certified in self._journal.vaults():
            entry = together.get((vault, epoch))
            if entry is None:
                key = self._journal.cosigner_key(vault, epoch) or b""
                kind = wire.open_signed(CosignerKey, key).document.kind
                state = "certified" if certified else "key given"
                rows.append(VaultListed(vault, epoch, kind_name(kind), state, 0))
                continue
            proposal = entry.proposal
            state = self._keygen_state(entry)
            rows.append(
                VaultListed(vault, epoch, kind_name(proposal.kind), state, proposal.attempt)
            )
        return rows

    def _keygen_state(self, entry: KeygenEntry) -> str:
        """One word: what a key generation waits for at this node, or how it ended."""
        vault, epoch = entry.proposal.vault, entry.proposal.epoch
        certificate = self._journal.certificate_of(vault, epoch)
        if certificate is not None:
            certified = self._journal.certificate(certificate.digest) is not None
            return "certified" if certified else "signed"
        if entry.outcome is not None and entry.outcome.attempt == entry.proposal.attempt:
            return "kept"
        if self._service.node.secrets.keygen_ready(vault, epoch):
            return "confirmed"
        return "interrupted" if entry.confirmed else "waiting"

    def _vault(self, vault: str) -> VaultShown:
        genesis = self._journal.genesis()
        found = [one for one in self._journal.keygens() if one.proposal.vault == vault]
        if not found or genesis is None:
            raise Refusal(ErrorId.SUBJECT_NOT_FOUND, f"no key generation of {vault}")
        entry = found[-1]
        identity_key = self._service.node.identity_key
        proposal = wire.encode(entry.proposal)
        return VaultShown(proposal, genesis.raw, identity_key, self._keygen_state(entry))

    def _genesis(self) -> PendingGenesis:
        confirmed = self._journal.genesis()
        raw = confirmed.raw if confirmed is not None else self._journal.pending_genesis()
        if raw is None:
            raise Refusal(ErrorId.SUBJECT_NOT_FOUND, "no genesis has come yet")
        digest = wire.decode_body(Genesis, raw).digest
        return PendingGenesis(raw, " ".join(words_from_digest(digest)), confirmed is not None)


def _said(signed: bytes) -> str:
    approval = wire.open_signed(Approval, signed).document
    verb = "approved" if approval.decision is Decision.APPROVE else "rejected"
    return f"{approval.person} {verb}"
