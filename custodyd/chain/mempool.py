"""Reads the node's mempool for payments to watched external scripts: deposits that are only seen.

Each transaction is looked at once. What leaves the mempool leaves the tables; whether it came into
a block is the follower's business. Nothing seen here is ever credited or spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from custodyd.chain import source
from custodyd.chain.tables import CHAIN_VIEW, MEMPOOL_OUTPUTS, MEMPOOL_SEEN, VAULTS
from custodyd.chain.vaults import chunks, watched_among
from custodyd.chain.work import Work, working
from custodyd.store import Store
from custodyd.store.context import StageContext
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.transaction import Transaction, parse_transaction
from signer_node.kernel.vault.interface import EXTERNAL_CHAIN

READ_EVERY_S: Final = 2
MAX_NEW_PER_PASS: Final = 500
"""Transactions fetched in one pass; the rest waits for the next."""


def read_mempool(store: Store, context: StageContext) -> None:
    """Look at what is new in the mempool, forget what left it."""
    now_s = context.now_s()
    with store.reading() as connection:
        view = connection.execute(select(CHAIN_VIEW.c.mempool_at_s)).scalar_one()
        if connection.execute(select(VAULTS.c.vault)).first() is None or (
            view <= now_s < view + READ_EVERY_S
        ):
            return
        known = set(map(bytes, connection.execute(select(MEMPOOL_SEEN.c.txid)).scalars()))
    present = set(source.mempool_txids(context.node))
    fresh = [
        transaction
        for txid in sorted(present - known)[:MAX_NEW_PER_PASS]
        if (transaction := _fetch(context, txid)) is not None
    ]
    with working(store, context) as work:
        _forget(work.connection, known - present)
        _note(work, fresh)
        work.connection.execute(update(CHAIN_VIEW).values(mempool_at_s=now_s))
        if fresh or known - present:
            work.moved("chain.mempool-read")


def _fetch(context: StageContext, txid: bytes) -> Transaction | None:
    raw = source.transaction(context.node, txid, None)
    if raw is None:
        return None
    try:
        found = parse_transaction(raw)
    except BitcoinFault:
        return None
    return found if found.txid == txid else None


def _forget(connection: Connection, gone: set[bytes]) -> None:
    for table in (MEMPOOL_OUTPUTS, MEMPOOL_SEEN):
        for chunk in chunks(gone):
            connection.execute(delete(table).where(table.c.txid.in_(chunk)))


def _note(work: Work, fresh: Sequence[Transaction]) -> None:
    if not fresh:
        return
    scripts = {output.script for one in fresh for output in one.outputs}
    watched = watched_among(work.connection, scripts)
    rows = [
        {
            "txid": one.txid,
            "vout": vout,
            "vault": watched[output.script].vault,
            "chain": watched[output.script].chain,
            "child": watched[output.script].index,
            "value_sat": output.value_sat,
        }
        for one in fresh
        for vout, output in enumerate(one.outputs)
        if output.script in watched and watched[output.script].chain == EXTERNAL_CHAIN
    ]
    work.connection.execute(insert(MEMPOOL_SEEN), [{"txid": one.txid} for one in fresh])
    if rows:
        work.connection.execute(insert(MEMPOOL_OUTPUTS), rows)
