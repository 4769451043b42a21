"""What the stages ask of a chain node, in bytes and satoshi, over Bitcoin Core's documented RPC.

Hashes and txids are in internal order here, reversed hex only in the calls. An answer that does not
come raises CHAIN_UNREACHABLE, one that the documentation does not allow CHAIN_REFUSED: then nothing
is known, and whoever asked asks again later. What the node does not have is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from custodyd.errors import CustodydError, ErrorId
from custodyd.store.context import ChainNode
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.transaction import txid_from_hex, txid_to_hex

_VBYTES_PER_KVB: Final = 1_000
_SATOSHI_PER_BITCOIN: Final = 100_000_000
_VERBOSITY_RAW: Final = 0


@dataclass(frozen=True, slots=True)
class ChainTip:
    """The last block of the node's best chain."""

    height: int
    hash: bytes


def tip(node: ChainNode) -> ChainTip:
    """The best chain's last block (getblockchaininfo)."""
    answer = node.call("getblockchaininfo")
    try:
        return ChainTip(int(answer["blocks"]), _hash(answer["bestblockhash"]))
    except (KeyError, TypeError, ValueError) as bad:
        raise _strange("getblockchaininfo") from bad


def block_hash(node: ChainNode, height: int) -> bytes | None:
    """The best chain's block at a height, or None above the tip (getblockhash)."""
    try:
        return _hash(node.call("getblockhash", height))
    except CustodydError as refused:
        _only_refusals(refused)
        return None


def block(node: ChainNode, wanted: bytes) -> bytes:
    """A whole block as on the wire (getblock, verbosity 0)."""
    return _bytes(node.call("getblock", txid_to_hex(wanted), _VERBOSITY_RAW), "getblock")


def fee_rate_sat_vb(node: ChainNode, target_blocks: int) -> int | None:
    """Fee rate for a target, rounded up; None without an estimate (estimatesmartfee)."""
    answer = node.call("estimatesmartfee", target_blocks)
    if not isinstance(answer, dict) or "feerate" not in answer:
        return None
    try:
        btc_kvb = Decimal(str(answer["feerate"]))
    except ArithmeticError as bad:
        raise _strange("estimatesmartfee") from bad
    if not btc_kvb.is_finite() or btc_kvb <= 0:
        return None
    exact = btc_kvb * _SATOSHI_PER_BITCOIN / _VBYTES_PER_KVB
    return int(exact.to_integral_value(ROUND_CEILING))


def broadcast(node: ChainNode, raw: bytes) -> None:
    """Give a signed transaction to the node (sendrawtransaction); raises as `call` does."""
    node.call("sendrawtransaction", raw.hex())


def in_mempool(node: ChainNode, txid: bytes) -> bool:
    """Whether the node's mempool holds a transaction (getmempoolentry)."""
    try:
        return node.call("getmempoolentry", txid_to_hex(txid)) is not None
    except CustodydError as refused:
        _only_refusals(refused)
        return False


def mempool_txids(node: ChainNode) -> tuple[bytes, ...]:
    """All txids of the node's mempool (getrawmempool)."""
    answer = node.call("getrawmempool")
    if not isinstance(answer, list):
        raise _strange("getrawmempool")
    return tuple(_hash(one) for one in answer)


def transaction(node: ChainNode, txid: bytes, in_block: bytes | None) -> bytes | None:
    """A transaction of the mempool, or of the block given; None where there is none.

    getrawtransaction with a block hash needs no transaction index.
    """
    where = () if in_block is None else (txid_to_hex(in_block),)
    try:
        answer = node.call("getrawtransaction", txid_to_hex(txid), False, *where)
    except CustodydError as refused:
        _only_refusals(refused)
        return None
    return _bytes(answer, "getrawtransaction")


def _only_refusals(error: CustodydError) -> None:
    """Go on only if the node answered (with an error); else nothing is known: raise."""
    if error.error is not ErrorId.CHAIN_REFUSED:
        raise error


def _hash(text: Any) -> bytes:
    try:
        return txid_from_hex(text)
    except (BitcoinFault, TypeError) as bad:
        raise _strange("a hash") from bad


def _bytes(text: Any, method: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except (ValueError, TypeError) as bad:
        raise _strange(method) from bad


def _strange(method: str) -> CustodydError:
    return CustodydError(ErrorId.CHAIN_REFUSED, f"{method} answered what is not documented")
