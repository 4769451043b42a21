"""The way out to the signer nodes: envelopes become durable with what causes them.

Here, below all stages, since each of them posts: headers, manifests, rounds. A row is sealed and
stored in the caller's transaction; the mailbox server sends only what it reads back from the table.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert, select, update

from custodyd.chain.tables import OUTBOX, SIGNERS
from custodyd.chain.work import Work
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.wire import encode

_NO_SEQUENCE = 0


def ensure_signers(work: Work) -> None:
    """One row for each signer node of the genesis."""
    known = set(work.connection.execute(select(SIGNERS.c.node)).scalars())
    rows = [
        {
            "node": seat.name,
            "last_sequence": _NO_SEQUENCE,
            "acknowledged": _NO_SEQUENCE,
            "last_seen_s": 0,
            "tip_height": 0,
            "tip_hash": None,
            "journal_sequence": 0,
            "journal_head": None,
            "genesis_posted": False,
            "relayed": None,
            "headers_sequence": _NO_SEQUENCE,
            "headers_posted_at_s": 0,
        }
        for seat in work.genesis.document.signers
        if seat.name not in known
    ]
    if rows:
        work.connection.execute(insert(SIGNERS), rows)


def post(work: Work, node: str, kind: PayloadType, document: object) -> int:
    """Seal a document for a node and put it into its mailbox; returns its sequence there."""
    return post_bytes(work, node, kind, encode(document))


def post_to_all(work: Work, kind: PayloadType, document: object) -> None:
    """The same document to every signer node of the genesis."""
    payload = encode(document)
    for seat in work.genesis.document.signers:
        post_bytes(work, seat.name, kind, payload)


def post_bytes(work: Work, node: str, kind: PayloadType, payload: bytes) -> int:
    """As `post`, for bytes that are a document's already."""
    seat = work.genesis.document.signer(node)
    if seat is None:
        raise LookupError(f"no signer node called {node}")
    envelope = work.context.seal(work.connection, kind, seat.identity_key, payload)
    sequence = int(
        work.connection.execute(
            update(SIGNERS)
            .where(SIGNERS.c.node == node)
            .values(last_sequence=SIGNERS.c.last_sequence + 1)
            .returning(SIGNERS.c.last_sequence)
        ).scalar_one()
    )
    work.connection.execute(
        insert(OUTBOX).values(
            node=node, sequence=sequence, envelope=envelope, posted_at_s=work.now_s
        )
    )
    return sequence


def all_nodes(work: Work) -> Sequence[str]:
    """The nodes of the genesis, in its order."""
    return [seat.name for seat in work.genesis.document.signers]
