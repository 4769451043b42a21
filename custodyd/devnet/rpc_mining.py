"""RPC methods that make blocks, and those that only the devnet has (their names say so)."""

from __future__ import annotations

from custodyd.devnet.blocks import Block
from custodyd.devnet.bytesio import FormatError, display
from custodyd.devnet.faucet import FaucetDry
from custodyd.devnet.node import BlockRefused, ForkPlan, Node
from custodyd.devnet.rejection import Rejected
from custodyd.devnet.rpc_arguments import (
    HASH_HEX,
    Arguments,
    Json,
    Kind,
    Method,
    Param,
    parse_hash,
    parse_hex,
)
from custodyd.devnet.rpc_faults import RpcCode, RpcFault, invalid, not_found
from custodyd.devnet.rpc_mempool import decode
from custodyd.devnet.script import (
    AddressInvalid,
    address_of_script,
    dust_limit_sat,
    script_of_address,
)
from custodyd.devnet.transactions import Transaction, TxOutput

MAX_BLOCKS_PER_CALL = 1000
MAX_BLOCK_TRANSACTIONS = 10_000
SAT_VB_TO_KVB = 1000


def _script(text: str, message: str) -> bytes:
    try:
        return script_of_address(text)
    except AddressInvalid as error:
        raise not_found(message) from error


def _count(given: Arguments, name: str) -> int:
    count = given.whole(name)
    if not 0 < count <= MAX_BLOCKS_PER_CALL:
        raise invalid(f"{name} must be 1 to {MAX_BLOCKS_PER_CALL}")
    return count


def _refused(error: BlockRefused) -> RpcFault:
    return RpcFault(RpcCode.VERIFY_ERROR, f"TestBlockValidity failed: {error.reason}")


def _generate(node: Node, count: int, script: bytes) -> Json:
    try:
        return [display(block_hash) for block_hash in node.generate(count, script)]
    except BlockRefused as error:
        raise _refused(error) from error


def _generate_to_address(node: Node, given: Arguments) -> Json:
    script = _script(given.text("address"), "Error: Invalid address")
    return _generate(node, _count(given, "nblocks"), script)


def _chosen(node: Node, texts: list[Json]) -> list[Transaction]:
    """Transactions by txid (from the mempool) or by hex, in the given order."""
    if len(texts) > MAX_BLOCK_TRANSACTIONS:
        raise invalid(f"more than {MAX_BLOCK_TRANSACTIONS} transactions")
    return [_one_chosen(node, str(text)) for text in texts]


def _one_chosen(node: Node, text: str) -> Transaction:
    if len(text) != HASH_HEX:
        return decode(text)
    entry = node.pool.get(parse_hash(text, "txid"))
    if entry is None:
        raise not_found(f"Transaction {text} not in mempool.")
    return entry.tx


def _generate_block(node: Node, given: Arguments) -> Json:
    script = _script(given.text("output"), "Error: Invalid address or descriptor")
    transactions = _chosen(node, given.items("transactions"))
    try:
        if given.flag("submit"):
            return {"hash": display(node.generate_block(transactions, script).hash)}
        block: Block = node.build_block(transactions, script)
    except BlockRefused as error:
        raise _refused(error) from error
    return {"hash": display(block.hash), "hex": block.raw.hex()}


def _submit_block(node: Node, given: Arguments) -> Json:
    try:
        return node.submit_block(parse_hex(given.text("hexdata"))).result
    except (FormatError, ValueError) as error:
        raise RpcFault(RpcCode.DESERIALIZATION_ERROR, "Block decode failed") from error


# --- devnet only --------------------------------------------------------------------------------


def _faucet(node: Node, given: Arguments) -> Json:
    script = _script(given.text("address"), "Invalid address")
    payment = TxOutput(given.amount_sat("amount"), script)
    if payment.amount_sat < dust_limit_sat(payment):
        raise invalid("amount is dust")
    try:
        return display(node.pay_from_faucet((payment,)).txid)
    except FaucetDry as error:
        raise RpcFault(
            RpcCode.INSUFFICIENT_FUNDS, f"{error}; devnet_mine makes more of them mature"
        ) from error
    except Rejected as error:
        raise RpcFault(RpcCode.VERIFY_REJECTED, str(error)) from error


def _mine(node: Node, given: Arguments) -> Json:
    return _generate(node, _count(given, "nblocks"), node.faucet.script)


def _fork(node: Node, given: Arguments) -> Json:
    depth, blocks = given.whole("depth"), _count(given, "blocks")
    if not 0 < depth <= node.index.height:
        raise invalid(f"depth must be 1 to {node.index.height}")
    transactions = tuple(_fork_transactions(node, depth, given.items("transactions")))
    try:
        made, gone = node.fork(ForkPlan(depth, blocks, transactions))
    except BlockRefused as error:
        raise _refused(error) from error
    return {"blocks": [display(h) for h in made], "disconnected": [display(h) for h in gone]}


def _fork_transactions(node: Node, depth: int, texts: list[Json]) -> list[Transaction]:
    """As `_chosen`, but a txid may also name a transaction of a block that will be left behind."""
    heights = range(node.index.height - depth + 1, node.index.height + 1)
    confirmed = {
        display(tx.txid): tx for h in heights for tx in node.index.at(h).block.transactions[1:]
    }
    if len(texts) > MAX_BLOCK_TRANSACTIONS:
        raise invalid(f"more than {MAX_BLOCK_TRANSACTIONS} transactions")
    return [confirmed.get(str(text)) or _one_chosen(node, str(text)) for text in texts]


def _set_fee_rate(node: Node, given: Arguments) -> Json:
    rate = given.whole("sat_vb")
    if rate < 0:
        raise invalid("sat_vb must not be negative")
    node.fee_rate_sat_kvb = rate * SAT_VB_TO_KVB if rate else None


def _devnet_info(node: Node, _: Arguments) -> Json:
    return {
        "faucet_address": address_of_script(node.faucet.script),
        "faucet_spendable_sat": node.faucet_balance_sat(),
        "height": node.index.height,
        "mempool": len(node.pool),
    }


METHODS = (
    Method(
        "generatetoaddress",
        (
            Param("nblocks", Kind.NUMBER),
            Param("address", Kind.TEXT),
            Param("maxtries", Kind.NUMBER, 1_000_000),
        ),
        _generate_to_address,
    ),
    Method(
        "generateblock",
        (
            Param("output", Kind.TEXT),
            Param("transactions", Kind.LIST),
            Param("submit", Kind.FLAG, True),
        ),
        _generate_block,
    ),
    Method(
        "submitblock",
        (Param("hexdata", Kind.TEXT), Param("dummy", Kind.TEXT, "")),
        _submit_block,
    ),
    Method(
        "devnet_faucet",
        (Param("address", Kind.TEXT), Param("amount", Kind.AMOUNT)),
        _faucet,
        "Devnet only: pay an amount in BTC from the devnet's own coins; returns the txid.",
    ),
    Method(
        "devnet_mine",
        (Param("nblocks", Kind.NUMBER, 1),),
        _mine,
        "Devnet only: mine blocks whose coinbases fill the faucet; returns their hashes.",
    ),
    Method(
        "devnet_fork",
        (
            Param("depth", Kind.NUMBER),
            Param("blocks", Kind.NUMBER),
            Param("transactions", Kind.LIST, ()),
        ),
        _fork,
        "Devnet only: mine a competing branch from `depth` blocks below the tip. Its first block "
        "holds the given transactions (txids or hex). It wins when it is longer.",
    ),
    Method(
        "devnet_setfeerate",
        (Param("sat_vb", Kind.NUMBER),),
        _set_fee_rate,
        "Devnet only: what estimatesmartfee answers until restart; 0 for no estimate.",
    ),
    Method("devnet_info", (), _devnet_info, "Devnet only: the faucet and the chain in short."),
)
