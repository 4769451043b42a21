"""The one way in: every envelope, from mailbox, console or file, enters by `deliver`.

1. Canonical bytes, of this genesis, addressed to this node, unexpired.
2. Its sender stands in the genesis and may send this type of payload (ENTITLED).
3. Its signature verifies. What fails so far concerns nobody and is not journaled: Refusal.
4. Then the machine for its type takes a step; its refusal is journaled with the envelope as
   evidence, and answered where the coordinator waits for an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from signer_node import wire
from signer_node.core import ceremony, keygen, review, signing
from signer_node.core.ledger import Node
from signer_node.core.step import Outgoing, Record, Step
from signer_node.kernel.bitcoin.faults import InvalidHeader, UnknownParent
from signer_node.kernel.bitcoin.headers import accept_headers
from signer_node.kernel.bitcoin.words import digest_from_words
from signer_node.kernel.documents.envelope import ENTITLED, Envelope, PayloadType, Sender
from signer_node.kernel.documents.genesis import Genesis, check_genesis
from signer_node.kernel.documents.journal import RecordKind, Refused
from signer_node.kernel.documents.manifest import Headers, Heartbeat, Manifest, ManifestProposal
from signer_node.kernel.documents.signed import (
    Authentic,
    Body,
    Received,
    authenticate,
    document_digest,
)
from signer_node.kernel.documents.signing import RoundOpening, SigningPackage
from signer_node.kernel.documents.vault import KeygenMessage
from signer_node.kernel.errors import ErrorId, Refusal

HEARTBEAT_LIFETIME_S: Final = 60
MAX_EVIDENCE: Final = 1024 * 1024
MAX_EVIDENCE_A_DAY: Final = 200
MAX_REFUSALS_A_DAY: Final = 10_000
DAY_S: Final = 86_400
_MAX_DETAIL: Final = 500

_Handler = Callable[[Node, Body[Genesis], bytes, int], Step]


def deliver(node: Node, raw: bytes, now_s: int) -> Step:
    """Take one envelope; raises Refusal for what is not to be journaled (rules 1 to 3)."""
    genesis = node.ledger.genesis()
    received = wire.open_envelope(raw)
    if genesis is None:
        raise Refusal(ErrorId.GENESIS_NOT_CONFIRMED, "only a genesis is taken now")
    envelope = _check_envelope(node, genesis, received, now_s).document
    handler = _HANDLERS.get(envelope.type)
    if handler is None:
        return Step()
    try:
        return handler(node, genesis, envelope.payload, now_s)
    except Refusal as refusal:
        return _refused(node, envelope, raw, refusal, now_s)


def _check_envelope(
    node: Node, genesis: Body[Genesis], received: Received[Envelope], now_s: int
) -> Authentic[Envelope]:
    envelope = received.document
    if envelope.genesis != genesis.digest:
        raise Refusal(ErrorId.ENVELOPE_OTHER_GENESIS, envelope.genesis.hex())
    if envelope.recipient != node.identity_key:
        raise Refusal(ErrorId.ENVELOPE_OTHER_RECIPIENT, envelope.recipient.hex())
    role = sender_role(genesis.document, envelope.sender)
    if envelope.type not in ENTITLED[role]:
        raise Refusal(ErrorId.ENVELOPE_SENDER_UNENTITLED, f"{role.name} sends {envelope.type.name}")
    authentic = authenticate(received, ErrorId.ENVELOPE_SIGNATURE_INVALID)
    if now_s > envelope.expires_at_s:
        raise Refusal(ErrorId.ENVELOPE_EXPIRED, f"{envelope.type.name} {envelope.sequence}")
    return authentic


def sender_role(genesis: Genesis, key: bytes) -> Sender:
    """Which role of the genesis a key has; raises Refusal(ENVELOPE_SENDER_UNKNOWN)."""
    if key == genesis.coordinator_key:
        return Sender.COORDINATOR
    if genesis.signer_by_key(key) is not None:
        return Sender.SIGNER
    if genesis.operator_by_key(key) is not None:
        return Sender.OPERATOR
    raise Refusal(ErrorId.ENVELOPE_SENDER_UNKNOWN, key.hex())


def receive_genesis(node: Node, raw: bytes) -> Body[Genesis]:
    """A genesis offered to a node that has none: sound, naming this node, signed by its own
    coordinator. It binds nothing until its words are confirmed."""
    received = wire.open_envelope(raw)
    envelope = received.document
    if envelope.type is not PayloadType.GENESIS:
        raise Refusal(ErrorId.GENESIS_NOT_CONFIRMED, f"{envelope.type.name} came first")
    genesis = wire.decode_body(Genesis, envelope.payload)
    if envelope.sender != genesis.document.coordinator_key:
        raise Refusal(ErrorId.ENVELOPE_SENDER_UNKNOWN, envelope.sender.hex())
    authenticate(received, ErrorId.ENVELOPE_SIGNATURE_INVALID)
    _check_mine(node, genesis)
    return genesis


def confirm_genesis(node: Node, raw: bytes, words: str) -> Step:
    """Bind this node to a genesis for ever, after people compared its 24 words."""
    genesis = wire.decode_body(Genesis, raw)
    before = node.ledger.genesis()
    if before is not None:
        if before.digest == genesis.digest:
            return Step()
        raise Refusal(ErrorId.GENESIS_ALREADY_CONFIRMED, before.digest.hex())
    _check_mine(node, genesis)
    try:
        typed = digest_from_words(words)
    except ValueError as fault:
        raise Refusal(ErrorId.GENESIS_WORDS_DIFFER, str(fault)) from fault
    if typed != genesis.digest:
        raise Refusal(ErrorId.GENESIS_WORDS_DIFFER, "the words are of another genesis")
    return Step(records=(Record(RecordKind.GENESIS_CONFIRMED, raw),))


def heartbeat(node: Node, journal_sequence: int, journal_head: bytes, now_s: int) -> Step:
    """A sign of life; nothing before the genesis is confirmed."""
    genesis = node.ledger.genesis()
    if genesis is None:
        return Step()
    tip = node.ledger.headers().tip()
    beat = Heartbeat(journal_sequence, journal_head, genesis.digest, tip.height, tip.hash, now_s)
    payload = wire.encode(beat)
    return Step(outbox=(Outgoing(PayloadType.HEARTBEAT, payload, HEARTBEAT_LIFETIME_S),))


def _check_mine(node: Node, genesis: Body[Genesis]) -> None:
    check_genesis(genesis.document)
    seat = genesis.document.signer_by_key(node.identity_key)
    if seat is None or seat.host_key != node.host_key:
        raise Refusal(ErrorId.GENESIS_NOT_MINE, node.identity_key.hex())


def _on_genesis(_node: Node, genesis: Body[Genesis], payload: bytes, _now_s: int) -> Step:
    if document_digest(Genesis, payload) != genesis.digest:
        raise Refusal(ErrorId.GENESIS_ALREADY_CONFIRMED, "another genesis came")
    return Step()


def _on_headers(node: Node, genesis: Body[Genesis], payload: bytes, now_s: int) -> Step:
    headers = wire.decode(Headers, payload).headers
    try:
        accepted = accept_headers(node.ledger.headers(), headers, now_s, genesis.document.network)
    except UnknownParent as fault:
        raise Refusal(ErrorId.HEADER_UNCONNECTED, str(fault)) from fault
    except InvalidHeader as fault:
        raise Refusal(ErrorId.HEADER_INVALID, str(fault)) from fault
    if not accepted.new:
        return Step()
    return Step(records=(Record(RecordKind.HEADERS, payload),))


_HANDLERS: Final[dict[PayloadType, _Handler]] = {
    PayloadType.GENESIS: _on_genesis,
    PayloadType.HEADERS: _on_headers,
    PayloadType.VAULT_PROPOSAL: lambda node, genesis, payload, _now_s: ceremony.on_proposal(
        node, genesis, payload
    ),
    PayloadType.CERTIFICATE_DRAFT: lambda node, genesis, payload, _now_s: ceremony.on_draft(
        node, genesis, payload
    ),
    PayloadType.CERTIFICATE: lambda node, genesis, payload, _now_s: ceremony.on_certificate(
        node, genesis, payload
    ),
    PayloadType.KEYGEN_BROADCAST1: lambda node, genesis, payload, _now_s: keygen.on_broadcast1(
        node, genesis, payload
    ),
    PayloadType.KEYGEN_BROADCAST2: lambda node, genesis, payload, _now_s: keygen.on_broadcast2(
        node, genesis, payload
    ),
    PayloadType.MANIFEST_PROPOSAL: review.on_proposal,
    PayloadType.APPROVAL: review.on_decision,
    PayloadType.ROUND_OPENING: signing.on_opening,
    PayloadType.SIGNING_PACKAGE: signing.on_package,
}


def _refused(node: Node, envelope: Envelope, raw: bytes, refusal: Refusal, now_s: int) -> Step:
    """Journal a refusal once for each subject and error; answer where an answer is awaited.

    Rubbish costs its sender nothing, and a full disk stops the node: so many refusals a day are
    journaled, and the first of them with the envelope as evidence. All are answered.
    """
    if envelope.type is PayloadType.APPROVAL:
        raise refusal
    subject = _subject(envelope)
    outbox = (review.verdict(subject, refusal),) if envelope.type in _ANSWERED else ()
    if node.ledger.refused_before(subject, refusal.error.name):
        return Step(outbox=outbox)
    today = node.ledger.refusals_since(now_s - DAY_S)
    if today >= MAX_REFUSALS_A_DAY:
        return Step(outbox=outbox)
    detail = refusal.detail.encode("ascii", "backslashreplace").decode()[:_MAX_DETAIL]
    evidence = raw if len(raw) <= MAX_EVIDENCE and today < MAX_EVIDENCE_A_DAY else b""
    record = wire.encode(Refused(refusal.error.name, detail, subject, evidence))
    return Step(records=(Record(RecordKind.REFUSED, record),), outbox=outbox)


_ANSWERED: Final = frozenset(
    {
        PayloadType.MANIFEST_PROPOSAL,
        PayloadType.ROUND_OPENING,
        PayloadType.SIGNING_PACKAGE,
        PayloadType.KEYGEN_BROADCAST1,
        PayloadType.KEYGEN_BROADCAST2,
    }
)


def _subject(envelope: Envelope) -> bytes:
    """The digest by which the coordinator knows what was refused."""
    try:
        match envelope.type:
            case PayloadType.MANIFEST_PROPOSAL:
                proposal = wire.decode(ManifestProposal, envelope.payload)
                return document_digest(Manifest, proposal.manifest)
            case PayloadType.ROUND_OPENING:
                return wire.decode(RoundOpening, envelope.payload).manifest
            case PayloadType.KEYGEN_BROADCAST1 | PayloadType.KEYGEN_BROADCAST2:
                return document_digest(KeygenMessage, envelope.payload)
            case _:
                return document_digest(SigningPackage, envelope.payload)
    except Refusal:
        return document_digest(Envelope, envelope.payload)
