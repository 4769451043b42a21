"""RPC methods about the chain: blocks, headers, unspent outputs, proofs."""

from __future__ import annotations

from custodyd.devnet.blocks import merkle_proof
from custodyd.devnet.bytesio import display
from custodyd.devnet.chain_index import IndexedBlock
from custodyd.devnet.coins import Coin
from custodyd.devnet.node import Node
from custodyd.devnet.rpc_arguments import (
    Arguments,
    Json,
    Kind,
    Method,
    Param,
    btc,
    parse_hash,
)
from custodyd.devnet.rpc_faults import invalid, not_found
from custodyd.devnet.rpc_views import (
    REGTEST_DIFFICULTY,
    block_view,
    confirmations,
    header_view,
    script_view,
    transaction_view,
)
from custodyd.devnet.script import AddressInvalid, kind_of, script_of_address, witness_program
from custodyd.devnet.transactions import Outpoint, Transaction, TxOutput

MAX_PROOF_TXIDS = 1000


def block_of(node: Node, block_hash: bytes, message: str = "Block not found") -> IndexedBlock:
    entry = node.index.get(block_hash)
    if entry is None:
        raise not_found(message)
    return entry


def _blockchain_info(node: Node, _: Arguments) -> Json:
    tip = node.index.tip
    header = tip.block.header
    return {
        "chain": "regtest",
        "blocks": tip.height,
        "headers": tip.height,
        "bestblockhash": display(tip.hash),
        "bits": f"{header.bits:08x}",
        "difficulty": REGTEST_DIFFICULTY,
        "time": header.time_s,
        "mediantime": node.index.median_time(tip),
        "verificationprogress": 1.0,
        "initialblockdownload": False,
        "chainwork": f"{tip.chain_work:064x}",
        "size_on_disk": node.size_on_disk(),
        "pruned": False,
        "warnings": [],
    }


def _block_hash(node: Node, given: Arguments) -> Json:
    height = given.whole("height")
    if not 0 <= height <= node.index.height:
        raise invalid("Block height out of range")
    return display(node.index.at(height).hash)


def _block_header(node: Node, given: Arguments) -> Json:
    entry = block_of(node, given.hash32("blockhash"))
    return header_view(node, entry) if given.flag("verbose") else entry.block.header.raw.hex()


def _block(node: Node, given: Arguments) -> Json:
    entry = block_of(node, given.hash32("blockhash"))
    verbosity = int(given.whole("verbosity"))
    if verbosity <= 0:
        return entry.block.raw.hex()
    return block_view(node, entry, with_transactions=verbosity > 1)


def _chain_tips(node: Node, _: Arguments) -> Json:
    return [
        {
            "height": tip.height,
            "hash": display(tip.hash),
            "branchlen": tip.branch_length,
            "status": "active" if tip.branch_length == 0 else "valid-fork",
        }
        for tip in node.index.tips()
    ]


def _raw_transaction(node: Node, given: Arguments) -> Json:
    txid = given.hash32("txid")
    verbose = bool(given.whole("verbosity"))
    if given.has("blockhash"):
        entry = block_of(node, given.hash32("blockhash"), "Block hash not found")
        tx = _find(entry, txid)
        if tx is None:
            raise not_found(
                "No such transaction found in the provided block. "
                "Use gettransaction for wallet transactions."
            )
        return _confirmed_view(node, entry, tx) if verbose else tx.raw.hex()
    waiting = node.pool.get(txid)
    if waiting is None:
        raise not_found(
            "No such mempool transaction. Use -txindex or provide a block hash to enable "
            "blockchain transaction queries. Use gettransaction for wallet transactions."
        )
    raw = waiting.tx.raw.hex()
    return {**transaction_view(waiting.tx), "hex": raw} if verbose else raw


def _find(entry: IndexedBlock, txid: bytes) -> Transaction | None:
    return next((tx for tx in entry.block.transactions if tx.txid == txid), None)


def _confirmed_view(node: Node, entry: IndexedBlock, tx: Transaction) -> Json:
    active = node.index.is_active(entry)
    view = {"in_active_chain": active, **transaction_view(tx), "hex": tx.raw.hex()}
    view["blockhash"] = display(entry.hash)
    view["confirmations"] = confirmations(node, entry) if active else 0
    if active:
        view["time"] = view["blocktime"] = entry.block.header.time_s
    return view


def _unspent(node: Node, outpoint: Outpoint, *, include_mempool: bool) -> tuple[Coin, int] | None:
    """The coin and its confirmations; None when it does not exist or is spent."""
    coin = node.coins.get(outpoint)
    if include_mempool:
        if node.pool.spender(outpoint) is not None:
            return None
        output: TxOutput | None = node.pool.output(outpoint)
        if coin is None and output is not None:
            return Coin(output, node.index.height + 1, False), 0
    if coin is None:
        return None
    return coin, node.index.height - coin.height + 1


def _tx_out(node: Node, given: Arguments) -> Json:
    outpoint = (given.hash32("txid"), given.whole("n"))
    found = _unspent(node, outpoint, include_mempool=given.flag("include_mempool"))
    if found is None:
        return None
    coin, confirmed = found
    return {
        "bestblock": display(node.index.tip.hash),
        "confirmations": confirmed,
        "value": btc(coin.output.amount_sat),
        "scriptPubKey": script_view(coin.output.script),
        "coinbase": coin.is_coinbase,
    }


def _tx_out_proof(node: Node, given: Arguments) -> Json:
    texts = given.items("txids")
    if not texts:
        raise invalid("Parameter 'txids' cannot be empty")
    if len(texts) > MAX_PROOF_TXIDS:
        raise invalid(f"Parameter 'txids' has more than {MAX_PROOF_TXIDS} entries")
    txids = [parse_hash(str(text), "txid") for text in texts]
    if len(set(txids)) != len(txids):
        raise invalid("Invalid parameter, duplicated txid")
    entry = _proof_block(node, given, txids)
    leaves = [tx.txid for tx in entry.block.transactions]
    if not set(txids) <= set(leaves):
        raise not_found("Not all transactions found in specified or retrieved block")
    return merkle_proof(entry.block.header, leaves, frozenset(txids)).hex()


def _proof_block(node: Node, given: Arguments, txids: list[bytes]) -> IndexedBlock:
    if given.has("blockhash"):
        return block_of(node, given.hash32("blockhash"))
    # Without a block and without an index, Core finds a transaction by its unspent outputs.
    for height in range(node.index.height, -1, -1):
        entry = node.index.at(height)
        tx = _find(entry, txids[0])
        if tx is not None:
            if any(node.coins.get((tx.txid, n)) for n in range(len(tx.outputs))):
                return entry
            break
    raise not_found("Transaction not yet in block")


def _validate_address(_node: Node, given: Arguments) -> Json:
    text = given.text("address")
    try:
        script = script_of_address(text)
    except AddressInvalid:
        return {"isvalid": False, "error_locations": [], "error": "Invalid or unsupported address"}
    view: dict[str, Json] = {
        "isvalid": True,
        "address": text,
        "scriptPubKey": script.hex(),
        "isscript": kind_of(script).value in ("scripthash", "witness_v0_scripthash"),
    }
    program = witness_program(script)
    view["iswitness"] = program is not None
    if program is not None:
        view["witness_version"], view["witness_program"] = program[0], program[1].hex()
    return view


_BLOCKHASH = Param("blockhash", Kind.TEXT)

METHODS = (
    Method("getblockchaininfo", (), _blockchain_info),
    Method("getblockcount", (), lambda node, _: node.index.height),
    Method("getbestblockhash", (), lambda node, _: display(node.index.tip.hash)),
    Method("getblockhash", (Param("height", Kind.NUMBER),), _block_hash),
    Method("getblockheader", (_BLOCKHASH, Param("verbose", Kind.FLAG, True)), _block_header),
    Method("getblock", (_BLOCKHASH, Param("verbosity", Kind.FLAG_OR_NUMBER, 1)), _block),
    Method("getchaintips", (), _chain_tips),
    Method("getdifficulty", (), lambda _node, _: REGTEST_DIFFICULTY),
    Method(
        "getrawtransaction",
        (
            Param("txid", Kind.TEXT),
            Param("verbosity", Kind.FLAG_OR_NUMBER, 0),
            Param("blockhash", Kind.TEXT, None),
        ),
        _raw_transaction,
    ),
    Method(
        "gettxout",
        (
            Param("txid", Kind.TEXT),
            Param("n", Kind.NUMBER),
            Param("include_mempool", Kind.FLAG, True),
        ),
        _tx_out,
    ),
    Method(
        "gettxoutproof",
        (Param("txids", Kind.LIST), Param("blockhash", Kind.TEXT, None)),
        _tx_out_proof,
    ),
    Method("validateaddress", (Param("address", Kind.TEXT),), _validate_address),
)
