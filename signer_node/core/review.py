"""Review: a manifest arrives, is checked, waits for operators, is decided over.

received -> checked (journaled, verdict, operators are told) or refused (journaled, verdict).
Every later step checks the manifest again from the journaled bytes, so that a change of the chain,
an expiry or a release in between counts at the moment of signing.
"""

from __future__ import annotations

from typing import Final

from signer_node import wire
from signer_node.core.ledger import Ledger, ManifestEntry, Node
from signer_node.core.projection import open_proposal, summarise
from signer_node.core.step import Notice, Outgoing, Record, Step
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.headers import HeaderSource, height_of
from signer_node.kernel.bitcoin.psbt import parse_psbt
from signer_node.kernel.bitcoin.transaction import Outpoint
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.journal import RecordKind
from signer_node.kernel.documents.manifest import Approval, Decision, Manifest, Verdict
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.certify import CertifiedVault, check_certificate
from signer_node.kernel.rules.check_input import InputFacts
from signer_node.kernel.rules.check_manifest import (
    CheckedManifest,
    ManifestFacts,
    Parent,
    ReceivedManifest,
    check_manifest,
)
from signer_node.kernel.rules.decide import Subject, check_approval, requesters_of
from signer_node.kernel.rules.facts import BlockFact

MAX_OPEN_MANIFESTS: Final = 256
# How far the clocks of this node and of the exchange may be apart.
QUARANTINE_MARGIN_S: Final = 600
MAX_MANIFESTS_A_DAY: Final = 20_000
_DAY_S: Final = 86_400
VERDICT_LIFETIME_S: Final = 7 * 86_400
_MAX_DETAIL: Final = 500


def on_proposal(node: Node, genesis: Body[Genesis], payload: bytes, now_s: int) -> Step:
    """Check a proposal; raises Refusal, which the caller journals and answers."""
    received = open_proposal(payload)
    digest = received.body.digest
    if node.ledger.manifest(digest) is not None:
        return Step(outbox=(verdict(digest, None),))
    _check_room(node.ledger, now_s)
    checked = check_received(node.ledger, genesis, received, now_s)
    record = Record(RecordKind.MANIFEST_CHECKED, payload)
    quarantine = _quarantine(node.ledger, received)
    if quarantine is not None:
        return Step(records=(record,), outbox=(verdict(digest, quarantine),))
    if checked.expired:
        expired = Refusal(ErrorId.MANIFEST_EXPIRED, f"at {received.body.document.expires_at_s}")
        return Step(records=(record,), outbox=(verdict(digest, expired),))
    return Step(records=(record,), outbox=(verdict(digest, None),), notices=(Notice(digest),))


def _check_room(ledger: Ledger, now_s: int) -> None:
    """Raise Refusal(SESSION_LIMIT_REACHED): a coordinator must not fill the node's disk with
    manifests that nobody is asked about or that expire at once."""
    if ledger.open_manifests(now_s) >= MAX_OPEN_MANIFESTS:
        raise Refusal(ErrorId.SESSION_LIMIT_REACHED, f"{MAX_OPEN_MANIFESTS} manifests are open")
    if ledger.manifests_since(now_s - _DAY_S) >= MAX_MANIFESTS_A_DAY:
        raise Refusal(ErrorId.SESSION_LIMIT_REACHED, f"{MAX_MANIFESTS_A_DAY} manifests in a day")


def on_decision(node: Node, genesis: Body[Genesis], payload: bytes, now_s: int) -> Step:
    """An operator of this node approves or rejects a manifest that was checked here."""
    received = wire.open_signed(Approval, payload)
    seat = genesis.document.operator_by_key(received.key)
    me = genesis.document.signer_by_key(node.identity_key)
    if seat is None or me is None or seat.node != me.name:
        raise Refusal(ErrorId.OPERATOR_KEY_UNKNOWN, f"key {received.key.hex()}")
    entry = require_manifest(node.ledger, received.document.manifest)
    if received.document.decision is Decision.REJECT:
        # A no binds whatever became of the manifest: who turns the chain under it for a moment
        # must not silence its operators.
        subject = Subject(entry.digest, genesis.digest, frozenset())
    else:
        subject = subject_of(recheck(node.ledger, genesis, entry, now_s))
    check_approval(received, genesis, subject, now_s)
    outgoing = Outgoing(PayloadType.APPROVAL, payload, VERDICT_LIFETIME_S)
    if payload in node.ledger.decisions(entry.digest):
        return Step(outbox=(outgoing,))
    if entry.rejected and received.document.decision is Decision.APPROVE:
        raise Refusal(ErrorId.MANIFEST_REJECTED, "a rejection here cannot be taken back")
    return Step(records=(Record(RecordKind.DECISION, payload),), outbox=(outgoing,))


def verdict(subject: bytes, refusal: Refusal | None) -> Outgoing:
    """The message that tells the coordinator what this node thinks of a subject."""
    if refusal is None:
        document = Verdict(subject, accepted=True, error="", detail="")
    else:
        detail = refusal.detail.encode("ascii", "backslashreplace").decode()[:_MAX_DETAIL]
        document = Verdict(subject, accepted=False, error=refusal.error.name, detail=detail)
    return Outgoing(PayloadType.VERDICT, wire.encode(document), VERDICT_LIFETIME_S)


def subject_of(checked: CheckedManifest) -> Subject:
    """What operators decide over, with everybody who may not approve it."""
    return Subject(
        checked.digest,
        checked.body.document.policy,
        requesters_of(checked.genesis, checked.request_keys),
    )


def require_manifest(ledger: Ledger, digest: bytes) -> ManifestEntry:
    """The journaled manifest; raises Refusal(MANIFEST_UNKNOWN)."""
    entry = ledger.manifest(digest)
    if entry is None:
        raise Refusal(ErrorId.MANIFEST_UNKNOWN, digest.hex())
    return entry


def recheck(
    ledger: Ledger, genesis: Body[Genesis], entry: ManifestEntry, now_s: int
) -> CheckedManifest:
    """Check a journaled manifest again as of now; raises Refusal, MANIFEST_EXPIRED and
    QUARANTINED included."""
    received = open_proposal(entry.proposal)
    checked = check_received(ledger, genesis, received, now_s)
    quarantine = _quarantine(ledger, received)
    if quarantine is not None:
        raise quarantine
    if checked.expired:
        raise Refusal(
            ErrorId.MANIFEST_EXPIRED, f"at {checked.body.document.expires_at_s}, now {now_s}"
        )
    return checked


def check_received(
    ledger: Ledger, genesis: Body[Genesis], received: ReceivedManifest, now_s: int
) -> CheckedManifest:
    """Fetch the facts that the manifest's ids ask for, and apply the rules."""
    return check_manifest(received, _facts(ledger, genesis, received, now_s))


def _quarantine(ledger: Ledger, received: ReceivedManifest) -> Refusal | None:
    """A node that came back without its journal cannot know what it released before (G6): it signs
    only requests issued well after that, by the word of their signed bodies. It reads all, to know
    again which change indices were used."""
    since_s = ledger.quarantined_since_s()
    if not since_s:
        return None
    for request in received.requests:
        if request.document.issued_at_s <= since_s + QUARANTINE_MARGIN_S:
            return Refusal(ErrorId.QUARANTINED, request.document.withdrawal_id)
    if not received.requests:
        return Refusal(ErrorId.QUARANTINED, "a manifest that pays no request")
    return None


def _facts(
    ledger: Ledger, genesis: Body[Genesis], received: ReceivedManifest, now_s: int
) -> ManifestFacts:
    manifest = received.body.document
    ids = [request.document.withdrawal_id for request in received.requests]
    indices = [change.index for change in manifest.changes]
    used = ledger.change_indices_used(manifest.certificate, indices)
    return ManifestFacts(
        genesis=genesis,
        vault=_vault(ledger, genesis, manifest.certificate),
        inputs=_input_facts(ledger, genesis.document, manifest),
        first_requests=ledger.request_digests(ids),
        released=ledger.released_for(ids),
        highest_change_index=ledger.highest_change_index(manifest.certificate),
        used_change=frozenset(
            index for index, first in used.items() if first != received.body.digest
        ),
        parent=_parent(ledger, manifest),
        now_s=now_s,
    )


def _vault(ledger: Ledger, genesis: Body[Genesis], digest: bytes) -> CertifiedVault | None:
    certificate = ledger.certificate(digest)
    return None if certificate is None else check_certificate(certificate, genesis)


def _input_facts(ledger: Ledger, genesis: Genesis, manifest: Manifest) -> InputFacts:
    headers = ledger.headers()
    hashes = {
        evidence.inclusion.block_hash
        for evidence in manifest.evidence
        if evidence.inclusion is not None
    }
    blocks = {one: fact for one in hashes if (fact := _block(headers, one)) is not None}
    own = ledger.own_outputs([outpoint.txid for outpoint in _outpoints(manifest)])
    return InputFacts(
        tip_height=headers.tip().height,
        blocks=blocks,
        own_outputs={one.outpoint: one for one in own},
        min_confirmations=genesis.rules.min_input_confirmations,
    )


def _outpoints(manifest: Manifest) -> tuple[Outpoint, ...]:
    """What the PSBT spends; nothing when it does not parse, which check_manifest then refuses."""
    try:
        inputs = parse_psbt(manifest.psbt).transaction.inputs
    except BitcoinFault:
        return ()
    return tuple(txin.outpoint for txin in inputs)


def _block(headers: HeaderSource, block_hash: bytes) -> BlockFact | None:
    height = height_of(headers, block_hash)
    stored = headers.get(block_hash)
    if height is None or stored is None:
        return None
    return BlockFact(height, stored.header.merkle_root)


def _parent(ledger: Ledger, manifest: Manifest) -> Parent | None:
    if manifest.replaces == ZERO_DIGEST:
        return None
    entry = ledger.manifest(manifest.replaces)
    if entry is None:
        return None
    summary = summarise(entry.proposal)
    return Parent(
        withdrawals=dict(summary.withdrawals),
        inputs=frozenset(summary.inputs),
        change_indices=frozenset(change.index for change in summary.changes),
    )
