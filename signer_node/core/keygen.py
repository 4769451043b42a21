"""Key generation: this node's part in making a vault's key together (ChillDKG, kernel.dkg).

proposal     -> waits for an operator; with the confirmation the first message leaves, and so for
                every later attempt as long as the host key is in memory
broadcast 1  -> the second message
broadcast 2  -> share and recovery data durable, outcome journaled, then the acknowledgement

1. An attempt is taken part in once, in one boot: the record is durable before the first message
   leaves, so that after a restart no second first message can exist. A node that lost its state
   says so (KEYGEN_INTERRUPTED), and the coordinator begins the next attempt.
2. A message sent is sent again when asked for again; it is never made again.
3. After this node signed a certificate for a vault and epoch there is no further attempt.
4. Faults are named as far as a participant can tell; each ends the attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from signer_node import wire
from signer_node.core.ledger import KeygenEntry, KeygenKey, Node
from signer_node.core.review import verdict
from signer_node.core.step import Notice, Outgoing, Record, Step
from signer_node.kernel.dkg.faults import ProtocolFault
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.journal import RecordKind
from signer_node.kernel.documents.signed import Body, document_digest
from signer_node.kernel.documents.vault import (
    MAX_ATTEMPTS,
    KeygenMessage,
    KeygenOutcome,
    RecoveryAcknowledgement,
    VaultCertificate,
    VaultProposal,
)
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.certify import check_certificate, check_countersignatures
from signer_node.kernel.rules.keygen import named

KEYGEN_LIFETIME_S: Final = 7 * 86_400
_FIRST_STEP: Final = 1

_T = TypeVar("_T")


def on_proposal(node: Node, genesis: Body[Genesis], proposal: VaultProposal) -> Step:
    """An attempt is proposed: join it if an operator confirmed; else wait for one."""
    entry = node.ledger.keygen(proposal.vault, proposal.epoch)
    if node.ledger.cosigner_key(proposal.vault, proposal.epoch) is not None:
        raise Refusal(ErrorId.VAULT_ALREADY_CERTIFIED, f"{proposal.vault} is of another kind")
    if entry is not None and proposal.attempt <= entry.proposal.attempt:
        return _asked_again(node, genesis, entry, proposal)
    _require_uncertified(node, proposal)
    record = Record(RecordKind.KEYGEN_PROPOSED, wire.encode(proposal))
    if not node.secrets.keygen_ready(proposal.vault, proposal.epoch):
        digest = document_digest(VaultProposal, record.body)
        return Step(records=(record,), notices=(Notice(digest, proposal.vault),))
    joined = _join(node, genesis, proposal)
    return replace(joined, records=(record, *joined.records))


def confirm(node: Node, genesis: Body[Genesis], vault: str, epoch: int) -> Step:
    """An operator confirmed, and the host key is in memory: join the latest attempt."""
    entry = node.ledger.keygen(vault, epoch)
    if entry is None:
        raise Refusal(ErrorId.SUBJECT_NOT_FOUND, f"no key generation of {vault}")
    _require_uncertified(node, entry.proposal)
    record = Record(RecordKind.KEYGEN_CONFIRMED, wire.encode(entry.proposal))
    again = _asked_again(node, genesis, entry, entry.proposal)
    return replace(again, records=(record, *again.records))


def on_broadcast1(node: Node, genesis: Body[Genesis], payload: bytes) -> Step:
    """Everybody's first message, summed: verify own share, sign the transcript."""
    message, key = _open(node, genesis, payload)
    said = node.secrets.keygen_said(key)
    if said is not None and said[0] > _FIRST_STEP:
        return Step(outbox=(_say(PayloadType.KEYGEN_STEP2, message, said[1]),))
    answer = _step(key, lambda: node.secrets.advance_keygen(key, message.message))
    return Step(outbox=(_say(PayloadType.KEYGEN_STEP2, message, answer),))


def on_broadcast2(node: Node, genesis: Body[Genesis], payload: bytes) -> Step:
    """Everybody's signature: keep the share, then acknowledge."""
    message, key = _open(node, genesis, payload)
    entry = node.ledger.keygen(key.vault, key.epoch)
    if entry is not None and entry.outcome is not None and entry.outcome.attempt == key.attempt:
        return Step(outbox=(acknowledgement(entry.outcome),))
    frost = _step(key, lambda: node.secrets.finish_keygen(key, message.message))
    outcome = KeygenOutcome(genesis.digest, key.vault, key.epoch, key.attempt, frost)
    return Step(
        records=(Record(RecordKind.KEYGEN_FINISHED, wire.encode(outcome)),),
        outbox=(acknowledgement(outcome),),
    )


def check_own_outcome(node: Node, certificate: VaultCertificate) -> None:
    """Raise Refusal unless a certificate says this node's own outcome, and its share is there."""
    entry = node.ledger.keygen(certificate.vault, certificate.epoch)
    if entry is None or entry.outcome is None:
        raise Refusal(ErrorId.CERTIFICATE_NOT_MINE, "this node finished no key generation of it")
    if certificate.frost != entry.outcome.frost or entry.proposal.kind is not certificate.kind:
        raise Refusal(ErrorId.CERTIFICATE_NOT_MINE, "its key is not the one made here")
    node.secrets.check_share(certificate.vault, certificate.epoch, entry.outcome.frost)


def recover(node: Node, genesis: Body[Genesis], countersigned: bytes, recovery_data: bytes) -> Step:
    """A lost node comes back: its share from the host key in memory and the recovery data.

    The vault's certificate says which share it has to be. Later proposals of attempts that lie in
    the mailbox are all older than this outcome.
    """
    body, signatures = wire.open_countersigned(countersigned)
    certificate = wire.decode_body(VaultCertificate, body)
    check_certificate(certificate, genesis)
    check_countersignatures(certificate, genesis, signatures)
    document = certificate.document
    key = KeygenKey(document.vault, document.epoch, MAX_ATTEMPTS, genesis.document)
    frost = node.secrets.recover_share(key, recovery_data)
    if frost != document.frost:
        raise Refusal(ErrorId.RECOVERY_DATA_INVALID, f"of another vault than {document.vault}")
    outcome = KeygenOutcome(genesis.digest, key.vault, key.epoch, key.attempt, frost)
    records = [Record(RecordKind.SHARE_RECOVERED, wire.encode(outcome))]
    if node.ledger.certificate(certificate.digest) is None:
        records.append(Record(RecordKind.VAULT_CERTIFIED, countersigned))
    return Step(records=tuple(records))


def acknowledgement(outcome: KeygenOutcome) -> Outgoing:
    """Says that share and recovery data are durable here."""
    document = RecoveryAcknowledgement(
        outcome.genesis, outcome.vault, outcome.epoch, outcome.attempt, outcome.frost.recovery
    )
    payload = wire.encode(document)
    return Outgoing(PayloadType.RECOVERY_ACKNOWLEDGEMENT, payload, KEYGEN_LIFETIME_S)


def _asked_again(
    node: Node, genesis: Body[Genesis], entry: KeygenEntry, proposal: VaultProposal
) -> Step:
    """Rule 2 for the latest attempt; an older one is refused."""
    if proposal != entry.proposal:
        raise Refusal(ErrorId.KEYGEN_ATTEMPT_OLD, f"{proposal.vault}, attempt {proposal.attempt}")
    if entry.outcome is not None and entry.outcome.attempt == proposal.attempt:
        return Step(outbox=(acknowledgement(entry.outcome),))
    said = node.secrets.keygen_said(_key(genesis, proposal))
    if said is not None:
        step = PayloadType.KEYGEN_STEP1 if said[0] == _FIRST_STEP else PayloadType.KEYGEN_STEP2
        return Step(outbox=(_say(step, proposal, said[1]),))
    if entry.started == proposal.attempt:
        return Step(outbox=(_interrupted(proposal),))
    if not node.secrets.keygen_ready(proposal.vault, proposal.epoch):
        return Step()
    return _join(node, genesis, proposal)


def _join(node: Node, genesis: Body[Genesis], proposal: VaultProposal) -> Step:
    """Rule 1."""
    key = _key(genesis, proposal)
    message = _step(key, lambda: node.secrets.begin_keygen(key))
    return Step(
        records=(Record(RecordKind.KEYGEN_STARTED, wire.encode(proposal)),),
        outbox=(_say(PayloadType.KEYGEN_STEP1, proposal, message),),
    )


def _open(node: Node, genesis: Body[Genesis], payload: bytes) -> tuple[KeygenMessage, KeygenKey]:
    """A broadcast of the latest attempt, which this node takes part in."""
    message = wire.decode(KeygenMessage, payload)
    if message.genesis != genesis.digest:
        raise Refusal(ErrorId.ENVELOPE_OTHER_GENESIS, message.genesis.hex())
    entry = node.ledger.keygen(message.vault, message.epoch)
    if entry is None or entry.started != message.attempt:
        raise Refusal(ErrorId.KEYGEN_ATTEMPT_OLD, f"{message.vault}, attempt {message.attempt}")
    return message, _key(genesis, entry.proposal)


def _step(key: KeygenKey, take: Callable[[], _T]) -> _T:
    """Rule 4."""
    try:
        return take()
    except ProtocolFault as fault:
        raise named(key.genesis, fault) from None


def _key(genesis: Body[Genesis], proposal: VaultProposal) -> KeygenKey:
    return KeygenKey(proposal.vault, proposal.epoch, proposal.attempt, genesis.document)


def _say(kind: PayloadType, about: VaultProposal | KeygenMessage, message: bytes) -> Outgoing:
    document = KeygenMessage(about.genesis, about.vault, about.epoch, about.attempt, message)
    return Outgoing(kind, wire.encode(document), KEYGEN_LIFETIME_S)


def _interrupted(proposal: VaultProposal) -> Outgoing:
    detail = f"{proposal.vault}, attempt {proposal.attempt}: this node restarted"
    refusal = Refusal(ErrorId.KEYGEN_INTERRUPTED, detail)
    return verdict(document_digest(VaultProposal, wire.encode(proposal)), refusal)


def _require_uncertified(node: Node, proposal: VaultProposal) -> None:
    """Rule 3."""
    if node.ledger.certificate_of(proposal.vault, proposal.epoch) is not None:
        raise Refusal(ErrorId.VAULT_ALREADY_CERTIFIED, proposal.vault)
