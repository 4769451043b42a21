"""RPC methods about unconfirmed transactions."""

from __future__ import annotations

from custodyd.devnet.acceptance import (
    INCREMENTAL_RELAY_SAT_KVB,
    MIN_RELAY_SAT_KVB,
    Accepted,
)
from custodyd.devnet.bytesio import FormatError, display
from custodyd.devnet.mempool import Mempool
from custodyd.devnet.node import Node
from custodyd.devnet.rejection import Rejected, RejectKind
from custodyd.devnet.rpc_arguments import (
    Arguments,
    Json,
    Kind,
    Method,
    Param,
    btc,
    parse_hex,
)
from custodyd.devnet.rpc_faults import RpcCode, RpcFault, invalid, not_found
from custodyd.devnet.rpc_views import entry_view, transaction_view
from custodyd.devnet.script import is_unspendable
from custodyd.devnet.transactions import Transaction, parse_transaction

MAX_TEST_PACKAGE = 25
DEFAULT_MAX_FEE_RATE = "0.10"
MAX_MAX_FEE_RATE_SAT_KVB = 100_000_000
MIN_CONF_TARGET, MAX_CONF_TARGET = 1, 1008
NO_ESTIMATE = "Insufficient data or no feerate found"
CODE_OF_KIND = {
    RejectKind.RULE: RpcCode.VERIFY_REJECTED,
    RejectKind.MISSING_INPUTS: RpcCode.VERIFY_ERROR,
}


def decode(text: str) -> Transaction:
    """A transaction of a call's hex; RpcFault -22 as Core words it."""
    try:
        return parse_transaction(parse_hex(text))
    except (FormatError, ValueError) as error:
        raise RpcFault(
            RpcCode.DESERIALIZATION_ERROR,
            "TX decode failed. Make sure the tx has at least one input.",
        ) from error


def _max_fee_rate(given: Arguments) -> int:
    """The call's limit in satoshi for 1,000 vbytes; 0 for none."""
    limit = given.amount_sat("maxfeerate")
    if limit >= MAX_MAX_FEE_RATE_SAT_KVB:
        raise invalid("Fee rates larger than or equal to 1BTC/kvB are not accepted")
    return limit


def _exceeds_fee_rate(accepted: Accepted, max_sat_kvb: int) -> bool:
    entry = accepted.entry
    return max_sat_kvb > 0 and entry.fee_sat * 1000 > max_sat_kvb * entry.vsize


def _check_burn(tx: Transaction, limit_sat: int) -> None:
    if any(is_unspendable(o.script) and o.amount_sat > limit_sat for o in tx.outputs):
        raise RpcFault(
            RpcCode.VERIFY_ERROR,
            "Unspendable output exceeds maximum configured by user (maxburnamount)",
        )


def _send(node: Node, given: Arguments) -> Json:
    tx = decode(given.text("hexstring"))
    max_sat_kvb = _max_fee_rate(given)
    _check_burn(tx, given.amount_sat("maxburnamount"))
    if any(node.coins.get((tx.txid, vout)) for vout in range(len(tx.outputs))):
        raise RpcFault(RpcCode.ALREADY_IN_UTXO_SET, "Transaction outputs already in utxo set")
    if tx.txid in node.pool:
        return display(tx.txid)
    try:
        accepted = node.judge(tx, node.pool)
        if _exceeds_fee_rate(accepted, max_sat_kvb):
            raise RpcFault(
                RpcCode.VERIFY_ERROR,
                "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)",
            )
        node.enter(accepted)
    except Rejected as error:
        raise RpcFault(CODE_OF_KIND[error.kind], str(error)) from error
    return display(tx.txid)


def _test_accept(node: Node, given: Arguments) -> Json:
    texts = given.items("rawtxs")
    if not 0 < len(texts) <= MAX_TEST_PACKAGE:
        raise invalid(f"Array must contain between 1 and {MAX_TEST_PACKAGE} transactions.")
    txs = [decode(str(text)) for text in texts]
    spent = [item.outpoint for tx in txs for item in tx.inputs]
    if len(txs) > 1 and len(set(spent)) != len(spent):
        return [{**_ids(tx), "package-error": "conflict-in-package"} for tx in txs]
    pool = node.pool.copy()
    max_sat_kvb = _max_fee_rate(given)
    if len(txs) > 1 and any(node.pool.conflicts(tx) for tx in txs):
        refused = {"allowed": False, "reject-reason": "bip125-replacement-disallowed"}
        return [{**_ids(tx), **(refused if node.pool.conflicts(tx) else {})} for tx in txs]
    return [_test_one(node, tx, pool, max_sat_kvb) for tx in txs]


def _ids(tx: Transaction) -> dict[str, Json]:
    return {"txid": display(tx.txid), "wtxid": display(tx.wtxid)}


def _test_one(node: Node, tx: Transaction, pool: Mempool, max_sat_kvb: int) -> Json:
    """One result; an accepted transaction enters the trial pool, so that the next may spend it."""
    try:
        accepted = node.judge(tx, pool)
    except Rejected as error:
        missing = error.kind is RejectKind.MISSING_INPUTS
        reason = "missing-inputs" if missing else error.reason
        refused = {**_ids(tx), "allowed": False, "reject-reason": reason}
        return {**refused, "reject-details": str(error)}
    entry = accepted.entry
    if _exceeds_fee_rate(accepted, max_sat_kvb):
        return {**_ids(tx), "allowed": False, "reject-reason": "max-fee-exceeded"}
    for txid in accepted.replaced:
        pool.remove(txid)
    pool.add(entry)
    return {
        **_ids(tx),
        "allowed": True,
        "vsize": entry.vsize,
        "fees": {
            "base": btc(entry.fee_sat),
            "effective-feerate": btc(entry.fee_sat * 1000 // entry.vsize),
            "effective-includes": [display(tx.wtxid)],
        },
    }


def _entry(node: Node, given: Arguments) -> Json:
    entry = node.pool.get(given.hash32("txid"))
    if entry is None:
        raise not_found("Transaction not in mempool")
    return entry_view(node, entry)


def _raw_mempool(node: Node, given: Arguments) -> Json:
    if given.flag("verbose"):
        return {display(entry.tx.txid): entry_view(node, entry) for entry in node.pool}
    return [display(entry.tx.txid) for entry in node.pool]


def _info(node: Node, _: Arguments) -> Json:
    entries = list(node.pool)
    return {
        "loaded": True,
        "size": len(entries),
        "bytes": sum(entry.vsize for entry in entries),
        "usage": sum(len(entry.tx.raw) for entry in entries),
        "total_fee": btc(sum(entry.fee_sat for entry in entries)),
        "maxmempool": 300_000_000,
        "mempoolminfee": btc(MIN_RELAY_SAT_KVB),
        "minrelaytxfee": btc(MIN_RELAY_SAT_KVB),
        "incrementalrelayfee": btc(INCREMENTAL_RELAY_SAT_KVB),
        "unbroadcastcount": 0,
        "fullrbf": True,
    }


def _estimate_fee(node: Node, given: Arguments) -> Json:
    """As a Core node without history answers, unless `devnet_setfeerate` set a rate."""
    target = given.whole("conf_target")
    if not MIN_CONF_TARGET <= target <= MAX_CONF_TARGET:
        raise invalid(f"Invalid conf_target, must be between {MIN_CONF_TARGET} and 1008")
    if node.fee_rate_sat_kvb is None:
        return {"errors": [NO_ESTIMATE], "blocks": max(target, 2)}
    return {"feerate": btc(node.fee_rate_sat_kvb), "blocks": max(target, 2)}


METHODS = (
    Method(
        "sendrawtransaction",
        (
            Param("hexstring", Kind.TEXT),
            Param("maxfeerate", Kind.AMOUNT, DEFAULT_MAX_FEE_RATE),
            Param("maxburnamount", Kind.AMOUNT, 0),
        ),
        _send,
    ),
    Method(
        "testmempoolaccept",
        (
            Param("rawtxs", Kind.LIST),
            Param("maxfeerate", Kind.AMOUNT, DEFAULT_MAX_FEE_RATE),
        ),
        _test_accept,
    ),
    Method("getmempoolentry", (Param("txid", Kind.TEXT),), _entry),
    Method("getrawmempool", (Param("verbose", Kind.FLAG, False),), _raw_mempool),
    Method("getmempoolinfo", (), _info),
    Method(
        "estimatesmartfee",
        (Param("conf_target", Kind.NUMBER), Param("estimate_mode", Kind.TEXT, "economical")),
        _estimate_fee,
    ),
    Method(
        "decoderawtransaction",
        (Param("hexstring", Kind.TEXT),),
        lambda _node, given: transaction_view(decode(given.text("hexstring"))),
    ),
)
