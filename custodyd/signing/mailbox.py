"""The mailbox server's inside: envelopes from signer nodes in, rows of the outbox out.

1. An envelope counts only if it is canonical, of this genesis, addressed to this coordinator,
   unexpired, by a sender who may send its type (ENTITLED), and its signature verifies. Whoever
   brought it: trust is in envelopes, TLS is transport, an air-gapped node's come by file.
2. The same envelope again changes nothing. Another one with the same sender, incarnation and
   sequence is equivocation: kept as evidence, not acted upon.
3. Handlers only store; what follows from it is decided by the reconcilers.
4. What is not acted upon is dropped with a log line: a node that sends rubbish must not clog its
   own mailbox, and an answer to it means only that nothing of it is needed again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from custodyd.batches.decisions import keep_decision
from custodyd.chain.outbox import ensure_signers
from custodyd.chain.tables import OUTBOX
from custodyd.chain.work import Work
from custodyd.errors import CustodydError, ErrorId
from custodyd.signing import answers, keygen, liveness
from custodyd.signing.answers import Delivered
from custodyd.signing.ceremony import keep_certificate_signature, keep_cosigner_key
from custodyd.signing.tables import INBOX
from custodyd.store import Store
from custodyd.store.context import StageContext
from custodyd.store.facts import GENESIS, get_fact
from signer_node.kernel.documents.envelope import ENTITLED, Envelope, PayloadType, Sender
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.signed import Authentic, Body, Received, authenticate
from signer_node.kernel.errors import ErrorId as SignerErrorId
from signer_node.kernel.errors import Refusal
from signer_node.wire import decode_body, open_envelope

_log = logging.getLogger(__name__)

MAX_FETCH: Final = 256
INBOX_KEPT_S: Final = 30 * 86_400
"""Longer than any envelope lives: what is older is refused as expired."""


def receive(
    store: Store, context: StageContext, node: str, envelopes: Sequence[bytes], cursor: int
) -> None:
    """Take a node's envelopes, and note how far it has read; durable on return.

    Polls and heartbeats wake nobody: what follows from them can wait for the next pass.
    """
    if context.genesis is None:
        raise CustodydError(ErrorId.GENESIS_MISSING)
    now_s = context.now_s()
    with store.transaction(tells=False) as connection:
        ensure_signers(Work(connection, context, now_s))
        liveness.note_sync(connection, node, cursor, now_s)
        kinds = {_take(connection, context.genesis, raw, now_s) for raw in envelopes}
    if kinds - {None, PayloadType.HEARTBEAT}:
        store.changes.notify()


def deliver(connection: Connection, node: str, raw_envelope: bytes, now_s: int) -> None:
    """Take one envelope that `node` brought; raises Refusal by rule 1, GENESIS_MISSING."""
    raw_genesis = get_fact(connection, GENESIS)
    if raw_genesis is None:
        raise CustodydError(ErrorId.GENESIS_MISSING, f"{node} delivered")
    genesis = decode_body(Genesis, raw_genesis)
    _handle(connection, genesis, _checked(genesis, raw_envelope, now_s), now_s)


def fetch(
    connection: Connection, node: str, after: int, limit: int = MAX_FETCH
) -> list[tuple[int, bytes]]:
    """(sequence, envelope) of what is addressed to a node after a sequence, oldest first."""
    rows = connection.execute(
        select(OUTBOX.c.sequence, OUTBOX.c.envelope)
        .where(OUTBOX.c.node == node, OUTBOX.c.sequence > after)
        .order_by(OUTBOX.c.sequence)
        .limit(min(limit, MAX_FETCH))
    )
    return [(row.sequence, bytes(row.envelope)) for row in rows]


def forget_old(store: Store, context: StageContext) -> None:
    """Remove what rule 2 no longer needs."""
    too_old = INBOX.c.received_at_s < context.now_s() - INBOX_KEPT_S
    with store.reading() as connection:
        if connection.execute(select(INBOX.c.digest).where(too_old).limit(1)).first() is None:
            return
    with store.transaction() as connection:
        context.fence(connection)
        connection.execute(delete(INBOX).where(too_old))


def _take(
    connection: Connection, genesis: Body[Genesis], raw: bytes, now_s: int
) -> PayloadType | None:
    """Rule 4: one envelope, dropped if it is refused; what it carried, if it was taken."""
    try:
        checked = _checked(genesis, raw, now_s)
        with connection.begin_nested():
            _handle(connection, genesis, checked, now_s)
    except Refusal as refusal:
        _log.warning("envelope dropped", extra={"reason": refusal.error.name})
        return None
    return checked.document.type


def _checked(genesis: Body[Genesis], raw: bytes, now_s: int) -> Authentic[Envelope]:
    """Rule 1."""
    received = open_envelope(raw)
    envelope = received.document
    if envelope.genesis != genesis.digest:
        raise Refusal(SignerErrorId.ENVELOPE_OTHER_GENESIS, envelope.genesis.hex())
    if envelope.recipient != genesis.document.coordinator_key:
        raise Refusal(SignerErrorId.ENVELOPE_OTHER_RECIPIENT, envelope.recipient.hex())
    _check_entitled(genesis.document, received)
    authentic = authenticate(received, SignerErrorId.ENVELOPE_SIGNATURE_INVALID)
    if now_s > envelope.expires_at_s:
        raise Refusal(SignerErrorId.ENVELOPE_EXPIRED, f"{envelope.type.name} {envelope.sequence}")
    return authentic


def _check_entitled(genesis: Genesis, received: Received[Envelope]) -> None:
    envelope = received.document
    if genesis.signer_by_key(envelope.sender) is not None:
        role = Sender.SIGNER
    elif genesis.operator_by_key(envelope.sender) is not None:
        role = Sender.OPERATOR
    else:
        raise Refusal(SignerErrorId.ENVELOPE_SENDER_UNKNOWN, envelope.sender.hex())
    if envelope.type not in ENTITLED[role]:
        raise Refusal(
            SignerErrorId.ENVELOPE_SENDER_UNENTITLED, f"{role.name} sends {envelope.type.name}"
        )


def _handle(
    connection: Connection, genesis: Body[Genesis], envelope: Authentic[Envelope], now_s: int
) -> None:
    seat = genesis.document.signer_by_key(envelope.document.sender)
    delivered = Delivered(
        node="" if seat is None else seat.name,
        payload=envelope.document.payload,
        envelope=envelope.raw,
        now_s=now_s,
    )
    if envelope.document.type is PayloadType.HEARTBEAT:
        liveness.note_heartbeat(connection, delivered)
    elif _is_new(connection, envelope, delivered):
        _HANDLERS[envelope.document.type](connection, genesis, delivered)


def _is_new(connection: Connection, envelope: Authentic[Envelope], delivered: Delivered) -> bool:
    """Rule 2."""
    document = envelope.document
    known = connection.execute(
        select(INBOX.c.digest).where(
            INBOX.c.sender == document.sender,
            INBOX.c.incarnation == document.incarnation,
            INBOX.c.sequence == document.sequence,
        )
    ).scalar_one_or_none()
    if known is None:
        connection.execute(
            insert(INBOX).values(
                digest=envelope.digest,
                sender=document.sender,
                incarnation=document.incarnation,
                sequence=document.sequence,
                received_at_s=delivered.now_s,
            )
        )
        return True
    if bytes(known) != envelope.digest:
        fault = answers.Fault("EQUIVOCATION", f"sequence {document.sequence} twice", None)
        answers.keep_evidence(connection, delivered, fault)
    return False


@dataclass(frozen=True, slots=True)
class _Plain:
    """A handler that needs no genesis."""

    store: Callable[[Connection, Delivered], None]

    def __call__(
        self, connection: Connection, _genesis: Body[Genesis], delivered: Delivered
    ) -> None:
        self.store(connection, delivered)


def _keep_verdict(connection: Connection, delivered: Delivered) -> None:
    """Of a key generation's message, or of a manifest or package."""
    if not keygen.keep_refusal(connection, delivered):
        answers.keep_verdict(connection, delivered)


_Handler = Callable[[Connection, Body[Genesis], Delivered], None]

_HANDLERS: Final[dict[PayloadType, _Handler]] = {
    PayloadType.COSIGNER_KEY: keep_cosigner_key,
    PayloadType.CERTIFICATE_SIGNATURE: keep_certificate_signature,
    PayloadType.KEYGEN_STEP1: keygen.keep_step1,
    PayloadType.KEYGEN_STEP2: keygen.keep_step2,
    PayloadType.RECOVERY_ACKNOWLEDGEMENT: keygen.keep_acknowledgement,
    PayloadType.VERDICT: _Plain(_keep_verdict),
    PayloadType.APPROVAL: lambda connection, genesis, delivered: keep_decision(
        connection, genesis, delivered.payload, delivered.now_s
    ),
    PayloadType.COMMITMENT_SET: _Plain(answers.keep_commitments),
    PayloadType.SHARE_SET: _Plain(answers.keep_shares),
}
