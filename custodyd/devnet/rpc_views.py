"""Blocks, headers, transactions and scripts as the JSON objects of Bitcoin Core."""

from __future__ import annotations

from custodyd.devnet.blocks import REGTEST_TARGET
from custodyd.devnet.bytesio import display
from custodyd.devnet.chain_index import IndexedBlock
from custodyd.devnet.mempool import Entry
from custodyd.devnet.node import Node
from custodyd.devnet.rpc_arguments import Json, btc
from custodyd.devnet.script import address_of_script, kind_of
from custodyd.devnet.transactions import Transaction, TxInput

# Core divides by the target of difficulty 1, 0xffff * 2^208; regtest's is 2^31 times easier.
REGTEST_DIFFICULTY = (0xFFFF << 208) / REGTEST_TARGET
REPLACEABLE_BELOW = 0xFFFFFFFE


def script_view(script: bytes) -> Json:
    """`scriptPubKey`, without the assembly and the descriptor that Core adds."""
    view: dict[str, Json] = {"hex": script.hex(), "type": kind_of(script).value}
    address = address_of_script(script)
    if address is not None:
        view["address"] = address
    return view


def _input_view(item: TxInput, *, is_coinbase: bool) -> Json:
    view: dict[str, Json] = {}
    if is_coinbase:
        view["coinbase"] = item.script_sig.hex()
    else:
        view["txid"] = display(item.txid)
        view["vout"] = item.vout
        view["scriptSig"] = {"hex": item.script_sig.hex()}
    if item.witness:
        view["txinwitness"] = [element.hex() for element in item.witness]
    view["sequence"] = item.sequence
    return view


def transaction_view(tx: Transaction) -> Json:
    """What `decoderawtransaction` shows."""
    return {
        "txid": display(tx.txid),
        "hash": display(tx.wtxid),
        "version": tx.version,
        "size": len(tx.raw),
        "vsize": tx.vsize,
        "weight": tx.weight,
        "locktime": tx.locktime,
        "vin": [_input_view(item, is_coinbase=tx.is_coinbase) for item in tx.inputs],
        "vout": [
            {"value": btc(o.amount_sat), "n": n, "scriptPubKey": script_view(o.script)}
            for n, o in enumerate(tx.outputs)
        ],
    }


def confirmations(node: Node, entry: IndexedBlock) -> int:
    """1 for the tip; -1 for a block outside the active chain."""
    return node.index.height - entry.height + 1 if node.index.is_active(entry) else -1


def header_view(node: Node, entry: IndexedBlock) -> Json:
    """What verbose `getblockheader` shows."""
    header = entry.block.header
    view: dict[str, Json] = {
        "hash": display(entry.hash),
        "confirmations": confirmations(node, entry),
        "height": entry.height,
        "version": header.version,
        "versionHex": f"{header.version & 0xFFFFFFFF:08x}",
        "merkleroot": display(header.merkle_root),
        "time": header.time_s,
        "mediantime": node.index.median_time(entry),
        "nonce": header.nonce,
        "bits": f"{header.bits:08x}",
        "target": f"{REGTEST_TARGET:064x}",
        "difficulty": REGTEST_DIFFICULTY,
        "chainwork": f"{entry.chain_work:064x}",
        "nTx": len(entry.block.transactions),
    }
    if entry.height > 0:
        view["previousblockhash"] = display(header.previous)
    following = node.index.next_of(entry)
    if following is not None:
        view["nextblockhash"] = display(following.hash)
    return view


def block_view(node: Node, entry: IndexedBlock, *, with_transactions: bool) -> Json:
    """`getblock` at verbosity 1, or 2 with whole transactions."""
    block = entry.block
    view: dict[str, Json] = header_view(node, entry)
    view["strippedsize"] = block.stripped_size
    view["size"] = len(block.raw)
    view["weight"] = block.weight
    if with_transactions:
        view["tx"] = [{**transaction_view(tx), "hex": tx.raw.hex()} for tx in block.transactions]
    else:
        view["tx"] = [display(tx.txid) for tx in block.transactions]
    return view


def entry_view(node: Node, entry: Entry) -> Json:
    """What `getmempoolentry` shows."""
    pool = node.pool
    txid = entry.tx.txid
    above = pool.sums(pool.ancestors(entry.tx) | {txid})
    below = pool.sums(pool.descendants([txid]))
    return {
        "vsize": entry.vsize,
        "weight": entry.tx.weight,
        "time": entry.entered_s,
        "height": entry.entered_height,
        "descendantcount": below.count,
        "descendantsize": below.vsize,
        "ancestorcount": above.count,
        "ancestorsize": above.vsize,
        "wtxid": display(entry.tx.wtxid),
        "fees": {
            "base": btc(entry.fee_sat),
            "modified": btc(entry.fee_sat),
            "ancestor": btc(above.fee_sat),
            "descendant": btc(below.fee_sat),
        },
        "depends": sorted(display(parent) for parent in pool.parents(entry.tx)),
        "spentby": sorted(display(child) for child in pool.children(txid)),
        "bip125-replaceable": _signals_replacement(node, entry),
        "unbroadcast": False,
    }


def _signals_replacement(node: Node, entry: Entry) -> bool:
    ancestors = (node.pool.get(txid) for txid in node.pool.ancestors(entry.tx))
    family = [entry, *(a for a in ancestors if a is not None)]
    return any(i.sequence < REPLACEABLE_BELOW for e in family for i in e.tx.inputs)
