"""Key generation, the coordinator's end: it carries and sums ChillDKG's messages, knows no secret.

1. The attempts at a vault's key generation follow one another; one is open. Everything in it is a
   function of the messages stored, so the coordinator may die at any moment.
2. JOINING waits for people without a limit: every operator must confirm. From then on nobody is
   asked anything: a silence of `keygen_timeout_s`, a refusal, a fault ends the attempt, and the
   next begins after a pause.
3. A fault that is seen here names its participant, with the envelope as evidence. What a
   participant accuses is shown as its word, with {participant, coordinator} as it said.
4. The messages together are the recovery data, which is confidential: they are deleted, also from
   the nodes' mailboxes, when the vault is drafted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from custodyd.chain.outbox import all_nodes, post_bytes, post_to_all
from custodyd.chain.tables import OUTBOX, VAULTS
from custodyd.chain.work import Work
from custodyd.rpc.v1 import admin_pb2
from custodyd.signing.answers import Delivered, Fault, keep_evidence
from custodyd.signing.rules import KeygenState, keygen_pause_s, keygen_transition
from custodyd.signing.tables import KEYGEN_MESSAGES, KEYGEN_REFUSALS, KEYGENS
from signer_node.kernel.dkg import chilldkg
from signer_node.kernel.dkg.faults import FaultyParticipant
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.manifest import Verdict
from signer_node.kernel.documents.signed import Body, document_digest
from signer_node.kernel.documents.vault import (
    MAX_ATTEMPTS,
    FrostKey,
    KeygenMessage,
    RecoveryAcknowledgement,
    VaultProposal,
)
from signer_node.kernel.rules.keygen import frost_key, named, session_params
from signer_node.wire import decode, encode, open_envelope

_log = logging.getLogger(__name__)

_STEP1: Final = PayloadType.KEYGEN_STEP1
_STEP2: Final = PayloadType.KEYGEN_STEP2
_ACKNOWLEDGED: Final = PayloadType.RECOVERY_ACKNOWLEDGEMENT
_BROADCASTS: Final = (PayloadType.KEYGEN_BROADCAST1, PayloadType.KEYGEN_BROADCAST2)
_AWAITED: Final = {
    KeygenState.JOINING: _STEP1,
    KeygenState.SHARED: _STEP2,
    KeygenState.SEALED: _ACKNOWLEDGED,
}


# --- what nodes send ---


def keep_step1(connection: Connection, genesis: Body[Genesis], delivered: Delivered) -> None:
    """A node's first message."""
    _keep_message(connection, genesis, delivered, _STEP1)


def keep_step2(connection: Connection, genesis: Body[Genesis], delivered: Delivered) -> None:
    """A node's second message."""
    _keep_message(connection, genesis, delivered, _STEP2)


def _keep_message(
    connection: Connection, genesis: Body[Genesis], delivered: Delivered, step_type: PayloadType
) -> None:
    said = decode(KeygenMessage, delivered.payload)
    if _is_current(connection, genesis, said):
        _keep(connection, delivered, said, (step_type, said.message))


def keep_acknowledgement(
    connection: Connection, genesis: Body[Genesis], delivered: Delivered
) -> None:
    """A node's word that share and recovery data are durable there."""
    said = decode(RecoveryAcknowledgement, delivered.payload)
    if _is_current(connection, genesis, said):
        _keep(connection, delivered, said, (_ACKNOWLEDGED, said.recovery))


def _is_current(
    connection: Connection, genesis: Body[Genesis], said: KeygenMessage | RecoveryAcknowledgement
) -> bool:
    row = _find(connection, said.vault)
    if row is None or said.genesis != genesis.digest:
        return False
    epoch = connection.execute(select(VAULTS.c.epoch).where(VAULTS.c.vault == said.vault))
    return bool(row.attempt == said.attempt and epoch.scalar_one() == said.epoch)


def _keep(
    connection: Connection,
    delivered: Delivered,
    said: KeygenMessage | RecoveryAcknowledgement,
    sent: tuple[PayloadType, bytes],
) -> None:
    """The first one counts; a second that differs is evidence."""
    step_type, message = sent
    key = {"vault": said.vault, "attempt": said.attempt, "step": step_type.value}
    key["node"] = delivered.node
    where = [KEYGEN_MESSAGES.c[name] == value for name, value in key.items()]
    known = connection.execute(select(KEYGEN_MESSAGES.c.message).where(*where)).scalar()
    if known is None:
        values = {"message": message, "envelope": delivered.envelope}
        connection.execute(insert(KEYGEN_MESSAGES).values(**key, **values))
    elif bytes(known) != message:
        what = f"{step_type.name} of {said.vault}, attempt {said.attempt}, twice"
        keep_evidence(connection, delivered, Fault("EQUIVOCATION", what, None))


def keep_refusal(connection: Connection, delivered: Delivered) -> bool:
    """A verdict over what was sent last in some key generation; False: it is over another thing."""
    verdict = decode(Verdict, delivered.payload)
    row = connection.execute(
        select(KEYGENS).where(KEYGENS.c.asked == verdict.subject)
    ).one_or_none()
    if row is None:
        return False
    key = {"vault": row.vault, "attempt": row.attempt, "node": delivered.node}
    where = [KEYGEN_REFUSALS.c[name] == value for name, value in key.items()]
    if (
        not verdict.accepted
        and connection.execute(select(KEYGEN_REFUSALS).where(*where)).first() is None
    ):
        values = {"error": verdict.error, "detail": verdict.detail}
        connection.execute(insert(KEYGEN_REFUSALS).values(**key, **values))
    return True


# --- attempts ---


def begin(work: Work, proposal: VaultProposal) -> None:
    """The first attempt."""
    work.connection.execute(
        insert(KEYGENS).values(
            vault=proposal.vault,
            attempt=proposal.attempt,
            state=KeygenState.JOINING,
            begun_at_s=work.now_s,
            since_s=work.now_s,
            asked=document_digest(VaultProposal, encode(proposal)),
            frost=None,
            trouble="",
        )
    )
    post_to_all(work, PayloadType.VAULT_PROPOSAL, proposal)
    work.moved(keygen_transition(None, KeygenState.JOINING))


def step(work: Work, proposal: VaultProposal) -> FrostKey | None:
    """Bring the open attempt a step on; the key, once all acknowledged its recovery data."""
    row = _find(work.connection, proposal.vault)
    if row is None:
        return None
    if row.state is KeygenState.DONE:
        return decode(FrostKey, bytes(row.frost))
    if row.state is KeygenState.FAILED:
        _begin_next(work, proposal, row)
        return None
    trouble = _trouble(work, row)
    if trouble:
        _fail(work, row, trouble)
        return None
    messages = _messages(work.connection, row, _AWAITED[row.state])
    if len(messages) < len(all_nodes(work)):
        return None
    try:
        return _STEPS[row.state](work, proposal, row, messages)
    except FaultyParticipant as fault:
        _name_participant(work, row, fault)
        return None


def _share(
    work: Work, proposal: VaultProposal, row: Row[Any], pmsgs1: Mapping[str, bytes]
) -> FrostKey | None:
    _state, cmsg1 = _summed(work, pmsgs1)
    asked = _broadcast(work, proposal, row, (PayloadType.KEYGEN_BROADCAST1, cmsg1))
    _move(work, row, KeygenState.SHARED, asked=asked)
    return None


def _seal(
    work: Work, proposal: VaultProposal, row: Row[Any], pmsgs2: Mapping[str, bytes]
) -> FrostKey | None:
    state, _cmsg1 = _summed(work, _messages(work.connection, row, _STEP1))
    in_order = [pmsgs2[node] for node in all_nodes(work)]
    cmsg2, output, recovery_data = chilldkg.coordinator_finalize(state, in_order)
    frost = frost_key(work.genesis.document, output, recovery_data)
    asked = _broadcast(work, proposal, row, (PayloadType.KEYGEN_BROADCAST2, cmsg2))
    _move(work, row, KeygenState.SEALED, asked=asked, frost=encode(frost))
    return None


def _end(
    work: Work, _proposal: VaultProposal, row: Row[Any], acknowledged: Mapping[str, bytes]
) -> FrostKey | None:
    frost = decode(FrostKey, bytes(row.frost))
    for number, node in enumerate(all_nodes(work)):
        if acknowledged[node] != frost.recovery:
            raise FaultyParticipant(number, "it acknowledged other recovery data")
    _move(work, row, KeygenState.DONE)
    _forget(work, row)
    return frost


def _forget(work: Work, row: Row[Any]) -> None:
    """Rule 4: nobody needs them any more, since everybody acknowledged."""
    work.connection.execute(delete(KEYGEN_MESSAGES).where(KEYGEN_MESSAGES.c.vault == row.vault))
    created = select(VAULTS.c.created_at_s).where(VAULTS.c.vault == row.vault).scalar_subquery()
    posted = work.connection.execute(
        select(OUTBOX.c.node, OUTBOX.c.sequence, OUTBOX.c.envelope).where(
            OUTBOX.c.posted_at_s >= created
        )
    )
    for one in posted.all():
        if _carries(bytes(one.envelope), row.vault):
            work.connection.execute(
                delete(OUTBOX).where(OUTBOX.c.node == one.node, OUTBOX.c.sequence == one.sequence)
            )


def _carries(raw: bytes, vault: str) -> bool:
    """Whether an envelope of ours is a broadcast of a vault's key generation."""
    envelope = open_envelope(raw).document
    if envelope.type not in _BROADCASTS:
        return False
    return decode(KeygenMessage, envelope.payload).vault == vault


_Step = Callable[[Work, VaultProposal, Row[Any], Mapping[str, bytes]], FrostKey | None]
_STEPS: Final[dict[KeygenState, _Step]] = {
    KeygenState.JOINING: _share,
    KeygenState.SHARED: _seal,
    KeygenState.SEALED: _end,
}


def _summed(work: Work, pmsgs1: Mapping[str, bytes]) -> tuple[chilldkg.CoordinatorState, bytes]:
    """Rule 1: made again from what is stored, whenever it is needed."""
    in_order = [pmsgs1[node] for node in all_nodes(work)]
    return chilldkg.coordinator_step1(in_order, session_params(work.genesis.document))


def _broadcast(
    work: Work, proposal: VaultProposal, row: Row[Any], message: tuple[PayloadType, bytes]
) -> bytes:
    """The same message to all; returns its digest."""
    kind, raw = message
    document = KeygenMessage(proposal.genesis, proposal.vault, proposal.epoch, row.attempt, raw)
    payload = encode(document)
    for node in all_nodes(work):
        post_bytes(work, node, kind, payload)
    return document_digest(KeygenMessage, payload)


# --- attempts that fail ---


def _trouble(work: Work, row: Row[Any]) -> str:
    """Why the open attempt cannot go on; empty: it can."""
    refusals = work.connection.execute(
        select(KEYGEN_REFUSALS)
        .where(KEYGEN_REFUSALS.c.vault == row.vault, KEYGEN_REFUSALS.c.attempt == row.attempt)
        .order_by(KEYGEN_REFUSALS.c.node)
    ).all()
    if refusals:
        return "; ".join(f"{one.node} says {one.error}: {one.detail}" for one in refusals)
    waited_s = work.now_s - row.since_s
    if row.state is KeygenState.JOINING or waited_s <= work.context.settings.keygen_timeout_s:
        return ""
    there = _messages(work.connection, row, _AWAITED[row.state])
    silent = [node for node in all_nodes(work) if node not in there]
    return f"silent for {waited_s} s: {', '.join(silent)}" if silent else ""


def _name_participant(work: Work, row: Row[Any], fault: FaultyParticipant) -> None:
    """Rule 3."""
    node = all_nodes(work)[fault.participant_id]
    refusal = named(work.genesis.document, fault)
    envelope = work.connection.execute(
        select(KEYGEN_MESSAGES.c.envelope).where(
            KEYGEN_MESSAGES.c.vault == row.vault,
            KEYGEN_MESSAGES.c.attempt == row.attempt,
            KEYGEN_MESSAGES.c.step == _AWAITED[row.state].value,
            KEYGEN_MESSAGES.c.node == node,
        )
    ).scalar_one()
    delivered = Delivered(node, b"", bytes(envelope), work.now_s)
    keep_evidence(work.connection, delivered, Fault(refusal.error.name, refusal.detail, None))
    _fail(work, row, f"{refusal.error.name}: {refusal.detail}")


def _fail(work: Work, row: Row[Any], trouble: str) -> None:
    text = f"attempt {row.attempt}: {trouble}"
    _log.warning("key generation failed", extra={"vault": row.vault, "trouble": text})
    _move(work, row, KeygenState.FAILED, trouble=text)


def _begin_next(work: Work, proposal: VaultProposal, row: Row[Any]) -> None:
    """Rule 2: after a pause; never more than `MAX_ATTEMPTS`."""
    if row.attempt >= MAX_ATTEMPTS or work.now_s < row.begun_at_s + keygen_pause_s(row.attempt):
        return
    attempt = row.attempt + 1
    again = VaultProposal(proposal.genesis, proposal.vault, proposal.kind, proposal.epoch, attempt)
    work.connection.execute(delete(KEYGEN_MESSAGES).where(KEYGEN_MESSAGES.c.vault == row.vault))
    work.connection.execute(delete(KEYGEN_REFUSALS).where(KEYGEN_REFUSALS.c.vault == row.vault))
    post_to_all(work, PayloadType.VAULT_PROPOSAL, again)
    asked = document_digest(VaultProposal, encode(again))
    _move(
        work,
        row,
        KeygenState.JOINING,
        asked=asked,
        attempt=attempt,
        begun_at_s=work.now_s,
        frost=None,
    )


# --- rows ---


def describe(connection: Connection, vault: admin_pb2.Vault) -> None:
    """How far a vault's key generation is, if it has one."""
    row = _find(connection, vault.vault)
    if row is not None:
        vault.trouble = row.trouble
        vault.attempt = row.attempt


def latest_attempt(connection: Connection, vault: str) -> int:
    """The number of the open attempt; 1 for a kind without key generation."""
    row = _find(connection, vault)
    return 1 if row is None else int(row.attempt)


def answered(connection: Connection, vault: str) -> set[str]:
    """Nodes whose message of the present step is there."""
    row = _find(connection, vault)
    if row is None or row.state not in _AWAITED:
        return set()
    return set(_messages(connection, row, _AWAITED[row.state]))


def _find(connection: Connection, vault: str) -> Row[Any] | None:
    return connection.execute(select(KEYGENS).where(KEYGENS.c.vault == vault)).one_or_none()


def _messages(connection: Connection, row: Row[Any], kind: PayloadType) -> Mapping[str, bytes]:
    rows = connection.execute(
        select(KEYGEN_MESSAGES.c.node, KEYGEN_MESSAGES.c.message).where(
            KEYGEN_MESSAGES.c.vault == row.vault,
            KEYGEN_MESSAGES.c.attempt == row.attempt,
            KEYGEN_MESSAGES.c.step == kind.value,
        )
    )
    return {one.node: bytes(one.message) for one in rows}


def _move(work: Work, row: Row[Any], state: KeygenState, **values: Any) -> None:
    work.connection.execute(
        update(KEYGENS)
        .where(KEYGENS.c.vault == row.vault)
        .values(state=state, since_s=work.now_s, **values)
    )
    work.moved(keygen_transition(row.state, state))
