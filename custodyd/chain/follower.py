"""Follows the node's best chain block by block, from the genesis's checkpoint on.

 1. A block is connected, or taken back, in one transaction with everything that it changes: a
    process that dies anywhere starts again where the database stands.
 2. What a block changed carries its hash; taking the block back removes exactly that.
 3. A block is connected only on the block before it. When the node's chain has left ours, blocks
    are taken back until both agree, at most MAX_REORG_DEPTH of them: more is for people to look at.
 4. Headers reach each signer node from the tip that it told, in order, before any later envelope.

Nothing is decided here about deposits or payments: their stages read what stands in the tables.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update

from custodyd.chain import source
from custodyd.chain.block import Block, parse_block, place
from custodyd.chain.mempool import read_mempool
from custodyd.chain.outbox import ensure_signers
from custodyd.chain.relay import relay_headers
from custodyd.chain.rules import (
    MAX_REORG_DEPTH,
    FoundOutput,
    FoundSpend,
    find_outputs,
    find_spends,
    scripts_of,
    spent_txids_of,
)
from custodyd.chain.tables import (
    BLOCKS,
    CHAIN_VIEW,
    OUTPUTS,
    SPENDS,
    TRANSACTIONS,
    VAULTS,
)
from custodyd.chain.vaults import chunks, skip_change_indices, watched_among
from custodyd.chain.work import Work, working
from custodyd.errors import CustodydError, ErrorId
from custodyd.store import Store
from custodyd.store.context import MAX_STEPS_PER_RECONCILE, StageContext
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.headers import parse_header
from signer_node.kernel.bitcoin.transaction import Outpoint, stripped_bytes
from signer_node.kernel.vault.interface import INTERNAL_CHAIN

_log = logging.getLogger(__name__)

RESCAN_BLOCKS_PER_PASS: Final = 200
_VIEW_ID: Final = 1


def reconcile(store: Store, context: StageContext) -> None:
    """Bring the tables to the node's tip and the signers' mailboxes to ours.

    Raises CHAIN_UNREACHABLE or CHAIN_REFUSED; what was committed until then stays.
    """
    if context.genesis is None:
        return
    _start(store, context)
    wanted = source.tip(context.node)
    for _step in range(MAX_STEPS_PER_RECONCILE):
        ours = _tip(store)
        if ours.hash == wanted.hash or not _step_towards(store, context, ours, wanted.height):
            break
    _note_view(store, context, wanted.height, wanted.hash)
    _rescan(store, context)
    relay_headers(store, context)
    read_mempool(store, context)


def _start(store: Store, context: StageContext) -> None:
    """Begin at the checkpoint, which everybody who knows the genesis trusts to be buried."""
    with store.reading() as connection:
        if connection.execute(select(CHAIN_VIEW.c.id)).one_or_none() is not None:
            return
    with working(store, context) as work:
        ensure_signers(work)
        checkpoint = work.genesis.document.checkpoint
        header = parse_header(checkpoint.header)
        work.connection.execute(
            insert(BLOCKS).values(
                hash=header.hash,
                height=checkpoint.height,
                previous=header.previous,
                header=header.raw,
                connected=True,
            )
        )
        work.connection.execute(
            insert(CHAIN_VIEW).values(
                id=_VIEW_ID,
                tip_hash=header.hash,
                tip_height=checkpoint.height,
                seen_at_s=0,
                mempool_at_s=0,
                rescan_height=None,
            )
        )
        work.moved("chain.started")


def _tip(store: Store) -> source.ChainTip:
    with store.reading() as connection:
        return connected_tip(connection)


def connected_tip(connection: Connection) -> source.ChainTip:
    """The last block that the follower connected; LookupError before it began."""
    row = connection.execute(
        select(BLOCKS.c.height, BLOCKS.c.hash)
        .where(BLOCKS.c.connected)
        .order_by(BLOCKS.c.height.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise LookupError("the follower has not begun")
    return source.ChainTip(row.height, row.hash)


def _step_towards(
    store: Store, context: StageContext, ours: source.ChainTip, node_height: int
) -> bool:
    """Connect or take back one block; False when there is nothing to do."""
    if source.block_hash(context.node, ours.height) != ours.hash:
        _check_reorg_depth(store, context, ours, node_height)
        with working(store, context) as work:
            _disconnect(work, ours)
        return True
    following = source.block_hash(context.node, ours.height + 1)
    if following is None:
        return False
    block = _fetch(context, following)
    if block.header.previous != ours.hash:
        return True  # the node moved between two calls: look again
    with working(store, context) as work:
        _connect(work, block, ours.height + 1)
    return True


def _fetch(context: StageContext, wanted: bytes) -> Block:
    try:
        block = parse_block(source.block(context.node, wanted))
    except BitcoinFault as fault:
        raise CustodydError(ErrorId.CHAIN_REFUSED, f"getblock: {fault}") from fault
    if block.header.hash != wanted:
        raise CustodydError(ErrorId.CHAIN_REFUSED, "getblock answered another block")
    return block


def _check_reorg_depth(
    store: Store, context: StageContext, ours: source.ChainTip, node_height: int
) -> None:
    """Refuse to leave more blocks than MAX_REORG_DEPTH below the highest ever connected."""
    checkpoint = context.genesis.document.checkpoint.height if context.genesis else 0
    with store.reading() as connection:
        highest = int(connection.execute(select(func.max(BLOCKS.c.height))).scalar_one())
    if ours.height <= checkpoint or highest - ours.height >= MAX_REORG_DEPTH:
        raise CustodydError(
            ErrorId.CHAIN_REFUSED,
            f"the node's chain of height {node_height} left ours below height {ours.height}: "
            f"more than {MAX_REORG_DEPTH} blocks or the checkpoint",
        )


def _connect(work: Work, block: Block, height: int) -> None:
    header = block.header
    known = work.connection.execute(
        update(BLOCKS).where(BLOCKS.c.hash == header.hash).values(connected=True)
    ).rowcount
    if not known:
        work.connection.execute(
            insert(BLOCKS).values(
                hash=header.hash,
                height=height,
                previous=header.previous,
                header=header.raw,
                connected=True,
            )
        )
    _scan(work, block, height)
    work.moved("chain.connected")


def _disconnect(work: Work, lost: source.ChainTip) -> None:
    for table in (OUTPUTS, SPENDS, TRANSACTIONS):
        work.connection.execute(delete(table).where(table.c.block == lost.hash))
    work.connection.execute(
        update(BLOCKS).where(BLOCKS.c.hash == lost.hash).values(connected=False)
    )
    _log.warning(
        "block disconnected", extra={"height": lost.height, "block": lost.hash[::-1].hex()}
    )
    work.moved("chain.disconnected")


def _scan(work: Work, block: Block, height: int) -> None:
    """Store the block's outputs to watched scripts and spends of them; may be repeated."""
    watched = watched_among(work.connection, scripts_of(block))
    outputs = find_outputs(block, watched)
    known = _known_outpoints(work.connection, spent_txids_of(block))
    spends = find_spends(block, known | {found.outpoint for found in outputs})
    positions = {one.position for one in outputs} | {one.position for one in spends}
    _store_outputs(work, block, height, outputs)
    _store_spends(work, block, height, spends)
    _store_transactions(work, block, height, positions)
    _note_change(work, outputs)


def _known_outpoints(connection: Connection, txids: Iterable[bytes]) -> set[Outpoint]:
    return {
        Outpoint(bytes(row.txid), row.vout)
        for chunk in chunks(txids)
        for row in connection.execute(
            select(OUTPUTS.c.txid, OUTPUTS.c.vout).where(OUTPUTS.c.txid.in_(chunk))
        )
    }


def _insert_new(connection: Connection, table: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows whose key is not there yet (a rescan meets most of them again)."""
    keys = [column.name for column in table.primary_key.columns]
    present = set()
    for chunk in chunks({row["txid"] for row in rows}):
        found = connection.execute(
            select(*(table.c[key] for key in keys)).where(table.c.txid.in_(chunk))
        )
        present |= {tuple(row) for row in found}
    new = [row for row in rows if tuple(row[key] for key in keys) not in present]
    if new:
        connection.execute(insert(table), new)


def _store_outputs(work: Work, block: Block, height: int, outputs: Sequence[FoundOutput]) -> None:
    rows = [
        {
            "txid": found.outpoint.txid,
            "vout": found.outpoint.vout,
            "vault": found.watched.vault,
            "chain": found.watched.chain,
            "child": found.watched.index,
            "value_sat": found.value_sat,
            "script": found.script,
            "block": block.header.hash,
            "height": height,
            "coinbase": found.position == 0,
        }
        for found in outputs
    ]
    _insert_new(work.connection, OUTPUTS, rows)


def _store_spends(work: Work, block: Block, height: int, spends: Sequence[FoundSpend]) -> None:
    rows = [
        {
            "txid": found.outpoint.txid,
            "vout": found.outpoint.vout,
            "spender": found.spender,
            "block": block.header.hash,
            "height": height,
        }
        for found in spends
    ]
    _insert_new(work.connection, SPENDS, rows)


def _store_transactions(work: Work, block: Block, height: int, positions: set[int]) -> None:
    rows = []
    for position in sorted(positions):
        placement = place(block, position)
        rows.append(
            {
                "txid": block.transactions[position].txid,
                "block": block.header.hash,
                "height": height,
                "position": position,
                "stripped": stripped_bytes(block.transactions[position]),
                "branch": b"".join(placement.branch),
                "coinbase": placement.coinbase,
                "coinbase_branch": b"".join(placement.coinbase_branch),
            }
        )
    _insert_new(work.connection, TRANSACTIONS, rows)


def _note_change(work: Work, outputs: Sequence[FoundOutput]) -> None:
    """Never allocate an index that the chain shows in use, though we may have forgotten it."""
    highest: dict[str, int] = {}
    for found in outputs:
        if found.watched.chain == INTERNAL_CHAIN:
            name = found.watched.vault
            highest[name] = max(found.watched.index, highest.get(name, 0))
    for name, index in highest.items():
        next_change = work.connection.execute(
            select(VAULTS.c.next_change).where(VAULTS.c.vault == name)
        ).scalar_one()
        if index >= next_change:
            skip_change_indices(work.connection, work.context.network, name, index + 1)


def _note_view(store: Store, context: StageContext, height: int, tip: bytes) -> None:
    """What the node said last; nothing is written more than once in a second."""
    with store.reading() as connection:
        view = connection.execute(select(CHAIN_VIEW)).one()
    if view.seen_at_s == context.now_s() and bytes(view.tip_hash) == tip:
        return
    with working(store, context) as work:
        work.connection.execute(
            update(CHAIN_VIEW).values(tip_height=height, tip_hash=tip, seen_at_s=work.now_s)
        )


def _rescan(store: Store, context: StageContext) -> None:
    """Read blocks again for scripts that were not watched when they were connected."""
    for _step in range(RESCAN_BLOCKS_PER_PASS):
        with store.reading() as connection:
            height = connection.execute(select(CHAIN_VIEW.c.rescan_height)).scalar_one()
            row = connection.execute(
                select(BLOCKS.c.hash).where(BLOCKS.c.connected, BLOCKS.c.height == height)
            ).one_or_none()
            checkpoint = connection.execute(select(func.min(BLOCKS.c.height))).scalar_one()
        if height is None:
            return
        block = None
        if row is not None and height > checkpoint:
            block = _fetch(context, bytes(row.hash))
        with working(store, context) as work:
            _rescan_step(work, block, height, done=row is None)


def _rescan_step(work: Work, block: Block | None, height: int, *, done: bool) -> None:
    """Scan one block again if it is still connected and no lower height was asked for since."""
    current = work.connection.execute(select(CHAIN_VIEW.c.rescan_height)).scalar_one()
    if current != height:
        return
    if block is not None:
        still = work.connection.execute(
            select(BLOCKS.c.connected).where(BLOCKS.c.hash == block.header.hash)
        ).scalar_one_or_none()
        if not still:
            return
        _scan(work, block, height)
    work.connection.execute(update(CHAIN_VIEW).values(rescan_height=None if done else height + 1))
    if done:
        work.moved("chain.rescanned")
