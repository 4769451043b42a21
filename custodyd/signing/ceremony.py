"""How a vault comes into being: proposal, keys, draft, signatures, certificate.

PROPOSED until every signer sent a key with proof of possession, or until the key generation in
which they make one key together is done (custodyd.signing.keygen); DRAFTED until every signer
signed the one certificate that follows from the keys; then CERTIFIED, sent to all, and watched. The
first key of a node counts. Nothing times out here: a node that is away is waited for by name, and
one that read everything without an answer is asked again, after longer and longer pauses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from custodyd.chain.outbox import all_nodes, ensure_signers, post_bytes, post_to_all
from custodyd.chain.rules import VaultState
from custodyd.chain.tables import SIGNERS, VAULTS
from custodyd.chain.vaults import begin_watching
from custodyd.chain.work import Work, working
from custodyd.signing import keygen
from custodyd.signing.answers import Delivered, Fault, keep_evidence
from custodyd.signing.tables import CERTIFICATE_SIGNATURES, COSIGNER_KEYS
from custodyd.store import Store
from custodyd.store.context import StageContext
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.signed import Body, authenticate, document_digest, require_key
from signer_node.kernel.documents.vault import (
    CertificateSignature,
    Cosigner,
    CosignerKey,
    KeySignature,
    VaultCertificate,
    VaultProposal,
)
from signer_node.kernel.errors import ErrorId as SignerErrorId
from signer_node.kernel.errors import Refusal
from signer_node.kernel.rules.certify import (
    check_countersignature,
    check_possession,
    draft_certificate,
)
from signer_node.kernel.vault.interface import VaultKindId
from signer_node.kernel.vault.making import is_made_together, kind_name
from signer_node.wire import countersigned_bytes, decode, encode, open_signed

FIRST_EPOCH: Final = 0
ASK_AGAIN_AFTER_S: Final = 10
ASK_AGAIN_WITHIN_S: Final = 600


def reconcile(store: Store, context: StageContext) -> None:
    """Bring every vault a step on, and the genesis to nodes that were not sent it."""
    with store.reading() as connection:
        posted = connection.execute(select(SIGNERS.c.genesis_posted)).scalars().all()
    if len(posted) < len(context.genesis.document.signers if context.genesis else ()) or (
        False in posted
    ):
        with working(store, context) as work:
            ensure_signers(work)
            _post_genesis(work)
    with store.reading() as connection:
        names = connection.execute(
            select(VAULTS.c.vault).where(VAULTS.c.state != VaultState.CERTIFIED)
        ).scalars()
        open_vaults = list(names)
    for name in open_vaults:
        for step in (_draft, _certify, _ask_again):
            with working(store, context) as work:
                step(work, name)


def _post_genesis(work: Work) -> None:
    waiting = work.connection.execute(
        select(SIGNERS.c.node).where(~SIGNERS.c.genesis_posted)
    ).scalars()
    for node in list(waiting):
        post_bytes(work, node, PayloadType.GENESIS, work.genesis.raw)
        work.connection.execute(
            update(SIGNERS).where(SIGNERS.c.node == node).values(genesis_posted=True)
        )
        work.moved("genesis.posted")


def propose(work: Work, name: str, kind: VaultKindId) -> None:
    """A new vault: asks every signer for its key."""
    work.connection.execute(
        insert(VAULTS).values(
            vault=name,
            kind=kind_name(kind),
            epoch=FIRST_EPOCH,
            state=VaultState.PROPOSED,
            draft=None,
            digest=None,
            certificate=None,
            created_at_s=work.now_s,
            asked_at_s=work.now_s,
            birth_height=0,
            deposit_count=0,
            external_watched=0,
            internal_watched=0,
            next_change=0,
        )
    )
    ensure_signers(work)
    proposal = VaultProposal(work.genesis.digest, name, kind, FIRST_EPOCH)
    work.moved("vault.proposed")
    if is_made_together(kind):
        keygen.begin(work, proposal)
    else:
        post_to_all(work, PayloadType.VAULT_PROPOSAL, proposal)


def keep_cosigner_key(connection: Connection, genesis: Body[Genesis], delivered: Delivered) -> None:
    """A node's key for a vault that is proposed; a key that proves nothing is evidence."""
    received = open_signed(CosignerKey, delivered.payload)
    key = received.document
    seat = genesis.document.signer(key.cosigner.node)
    require_key(
        received.key,
        [seat.identity_key] if seat is not None else [],
        SignerErrorId.ENVELOPE_SENDER_UNKNOWN,
    )
    authenticate(received, SignerErrorId.ENVELOPE_SIGNATURE_INVALID)
    row = connection.execute(select(VAULTS).where(VAULTS.c.vault == key.vault)).one_or_none()
    if row is None or key.genesis != genesis.digest or key.epoch != row.epoch:
        return
    if kind_name(key.kind) != row.kind or is_made_together(key.kind):
        return
    if _key_of(connection, key.vault, key.cosigner.node):
        return
    try:
        proposal = VaultProposal(key.genesis, key.vault, key.kind, key.epoch)
        check_possession(proposal, key.cosigner, genesis.document.network)
    except Refusal as refusal:
        keep_evidence(connection, delivered, Fault(refusal.error.name, refusal.detail, None))
        return
    connection.execute(
        insert(COSIGNER_KEYS).values(
            vault=key.vault, node=key.cosigner.node, signed=delivered.payload
        )
    )


def _key_of(connection: Connection, vault: str, node: str) -> bool:
    found = select(COSIGNER_KEYS.c.node).where(
        COSIGNER_KEYS.c.vault == vault, COSIGNER_KEYS.c.node == node
    )
    return connection.execute(found).first() is not None


def _draft(work: Work, name: str) -> None:
    row = work.connection.execute(select(VAULTS).where(VAULTS.c.vault == name)).one()
    if row.state is not VaultState.PROPOSED:
        return
    proposal = VaultProposal(work.genesis.digest, name, _kind(row.kind), row.epoch)
    certificate = _drafted(work, proposal)
    if certificate is None:
        return
    draft = encode(certificate)
    work.connection.execute(
        update(VAULTS)
        .where(VAULTS.c.vault == name)
        .values(
            state=VaultState.DRAFTED,
            draft=draft,
            digest=document_digest(VaultCertificate, draft),
            asked_at_s=work.now_s,
        )
    )
    for node in all_nodes(work):
        post_bytes(work, node, PayloadType.CERTIFICATE_DRAFT, draft)
    work.moved("vault.drafted")


def _drafted(work: Work, proposal: VaultProposal) -> VaultCertificate | None:
    """The certificate that follows from what the nodes sent, once all have."""
    if is_made_together(proposal.kind):
        frost = keygen.step(work, proposal)
        return None if frost is None else draft_certificate(work.genesis, proposal, (), frost)
    keys = cosigners(work.connection, proposal.vault)
    if len(keys) < len(all_nodes(work)):
        return None
    return draft_certificate(work.genesis, proposal, [keys[node] for node in all_nodes(work)])


def _kind(name: str) -> VaultKindId:
    return next(kind for kind in VaultKindId if kind_name(kind) == name)


def cosigners(connection: Connection, vault: str) -> Mapping[str, Cosigner]:
    """The cosigners' keys that are there, by node."""
    rows = connection.execute(select(COSIGNER_KEYS).where(COSIGNER_KEYS.c.vault == vault))
    return {row.node: open_signed(CosignerKey, bytes(row.signed)).document.cosigner for row in rows}


def keep_certificate_signature(
    connection: Connection, genesis: Body[Genesis], delivered: Delivered
) -> None:
    """A node's signature over a draft; one that does not verify is evidence."""
    document = decode(CertificateSignature, delivered.payload)
    seat = genesis.document.signer(delivered.node)
    known = select(VAULTS.c.vault).where(VAULTS.c.digest == document.certificate)
    if seat is None or connection.execute(known).first() is None:
        return
    if delivered.node in certificate_signatures(connection, document.certificate):
        return
    try:
        signature = KeySignature(seat.identity_key, document.signature)
        check_countersignature(document.certificate, signature)
    except Refusal as refusal:
        keep_evidence(connection, delivered, Fault(refusal.error.name, refusal.detail, None))
        return
    connection.execute(
        insert(CERTIFICATE_SIGNATURES).values(
            certificate=document.certificate, node=delivered.node, signature=document.signature
        )
    )


def certificate_signatures(connection: Connection, certificate: bytes) -> Mapping[str, bytes]:
    """The signatures that are there, by node."""
    rows = connection.execute(
        select(CERTIFICATE_SIGNATURES).where(CERTIFICATE_SIGNATURES.c.certificate == certificate)
    )
    return {row.node: bytes(row.signature) for row in rows}


def _certify(work: Work, name: str) -> None:
    row = work.connection.execute(select(VAULTS).where(VAULTS.c.vault == name)).one()
    if row.state is not VaultState.DRAFTED:
        return
    signed = certificate_signatures(work.connection, bytes(row.digest))
    if len(signed) < len(all_nodes(work)):
        return
    signatures = tuple(
        KeySignature(seat.identity_key, signed[seat.name]) for seat in work.genesis.document.signers
    )
    certificate = countersigned_bytes(bytes(row.draft), signatures)
    work.connection.execute(
        update(VAULTS)
        .where(VAULTS.c.vault == name)
        .values(state=VaultState.CERTIFIED, certificate=certificate)
    )
    begin_watching(work.connection, work.context.network, name)
    for node in all_nodes(work):
        post_bytes(work, node, PayloadType.CERTIFICATE, certificate)
    work.moved("vault.certified")


def _ask_again(work: Work, name: str) -> None:
    row = work.connection.execute(select(VAULTS).where(VAULTS.c.vault == name)).one()
    waited_s = row.asked_at_s - row.created_at_s
    pause_s = min(max(ASK_AGAIN_AFTER_S, waited_s), ASK_AGAIN_WITHIN_S)
    if row.state is VaultState.CERTIFIED or row.asked_at_s + pause_s > work.now_s:
        return
    silent = set(_idle_nodes(work.connection)) - answered(work.connection, row)
    for node in sorted(silent):
        if row.state is VaultState.PROPOSED:
            attempt = keygen.latest_attempt(work.connection, name)
            kind = _kind(row.kind)
            proposal = VaultProposal(work.genesis.digest, name, kind, row.epoch, attempt)
            post_bytes(work, node, PayloadType.VAULT_PROPOSAL, encode(proposal))
        else:
            post_bytes(work, node, PayloadType.CERTIFICATE_DRAFT, bytes(row.draft))
    work.connection.execute(
        update(VAULTS).where(VAULTS.c.vault == name).values(asked_at_s=work.now_s)
    )


def answered(connection: Connection, row: Row[Any]) -> set[str]:
    """Nodes whose answer to what a vault waits for is there."""
    if row.state is VaultState.PROPOSED:
        if is_made_together(_kind(row.kind)):
            return keygen.answered(connection, row.vault)
        return set(cosigners(connection, row.vault))
    return set(certificate_signatures(connection, bytes(row.digest)))


def _idle_nodes(connection: Connection) -> Sequence[str]:
    """Nodes that read everything that was posted to them."""
    rows = connection.execute(
        select(SIGNERS.c.node).where(SIGNERS.c.acknowledged >= SIGNERS.c.last_sequence)
    )
    return list(rows.scalars())
