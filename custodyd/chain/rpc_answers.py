"""Bitcoin Core's RPC answers as frozen records: hashes in internal order, amounts in satoshi.

A reader raises KeyError, TypeError, ValueError or ArithmeticError when an answer is not what the
documents of Bitcoin Core 28 to 31 say (docs/reference/chain-rpc.md); `rpc` makes one error of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

HASH_BYTES: Final = 32
SATOSHI_PER_BITCOIN: Final = 100_000_000
MAX_MONEY_SAT: Final = 21_000_000 * SATOSHI_PER_BITCOIN


@dataclass(frozen=True, slots=True)
class BlockchainInfo:
    """getblockchaininfo. `chain` is Core's name: main, signet, regtest, test, testnet4."""

    chain: str
    blocks: int
    headers: int
    best_block_hash: bytes
    median_time_s: int
    initial_block_download: bool
    pruned: bool


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """getblockheader, verbose. `confirmations` is -1 outside the active chain."""

    hash: bytes
    confirmations: int
    height: int
    version: int
    merkle_root: bytes
    time_s: int
    median_time_s: int
    bits: int
    nonce: int
    transactions: int
    previous: bytes | None
    next: bytes | None


@dataclass(frozen=True, slots=True)
class MempoolAcceptance:
    """One result of testmempoolaccept. `allowed` is None where Core did not come to judge it."""

    txid: bytes
    allowed: bool | None
    reject_reason: str
    vsize: int | None
    fee_sat: int | None


@dataclass(frozen=True, slots=True)
class MempoolEntry:
    """getmempoolentry; ancestors and descendants count the transaction itself."""

    vsize: int
    weight: int
    time_s: int
    height: int
    fee_sat: int
    ancestors: int
    ancestors_vsize: int
    ancestors_fee_sat: int
    descendants: int
    descendants_vsize: int
    descendants_fee_sat: int
    depends: tuple[bytes, ...]
    spent_by: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class MempoolInfo:
    """getmempoolinfo; rates in satoshi for 1,000 vbytes, rounded up."""

    loaded: bool
    transactions: int
    vsize: int
    min_fee_sat_kvb: int
    min_relay_fee_sat_kvb: int


@dataclass(frozen=True, slots=True)
class UnspentOutput:
    """gettxout. `confirmations` is 0 for an output of the mempool."""

    best_block: bytes
    confirmations: int
    amount_sat: int
    script: bytes
    is_coinbase: bool


@dataclass(frozen=True, slots=True)
class FeeEstimate:
    """estimatesmartfee: rounded up; None when the node has no estimate."""

    fee_rate_sat_kvb: int | None
    blocks: int


# --- readers ------------------------------------------------------------------------------------


def display_hash(hash32: bytes) -> str:
    if len(hash32) != HASH_BYTES:
        raise ValueError("a hash has 32 bytes")
    return hash32[::-1].hex()


def read_hash(text: Any) -> bytes:
    raw = read_hex(text)
    if len(raw) != HASH_BYTES:
        raise ValueError("a hash has 32 bytes")
    return raw[::-1]


def read_hex(text: Any) -> bytes:
    return bytes.fromhex(_text(text))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no string")
    return value


def read_whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("no integer")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("no boolean")
    return value


def read_hashes(value: Any) -> tuple[bytes, ...]:
    return tuple(read_hash(one) for one in _list(value))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("no array")
    return value


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("no object")
    return value


def _satoshi(value: Any) -> Decimal:
    if type(value) not in (int, Decimal):
        raise TypeError("no amount")
    exact = Decimal(value) * SATOSHI_PER_BITCOIN
    if abs(exact) > MAX_MONEY_SAT:
        raise ValueError("more than all bitcoin")
    return exact


def _amount_sat(value: Any) -> int:
    """An amount in BTC as satoshi; ValueError when it has more than eight decimals."""
    exact = _satoshi(value)
    if exact != exact.to_integral_value():
        raise ValueError("no whole number of satoshi")
    return int(exact)


def _rate_sat_kvb(value: Any) -> int:
    return int(_satoshi(value).to_integral_value(ROUND_CEILING))


def btc_text(amount_sat: int) -> str:
    """An amount as Core takes it: a decimal text, free of floating point."""
    return f"{Decimal(amount_sat) / SATOSHI_PER_BITCOIN:.8f}"


def read_blockchain_info(answer: Any) -> BlockchainInfo:
    seen = _object(answer)
    return BlockchainInfo(
        chain=_text(seen["chain"]),
        blocks=read_whole(seen["blocks"]),
        headers=read_whole(seen["headers"]),
        best_block_hash=read_hash(seen["bestblockhash"]),
        median_time_s=read_whole(seen["mediantime"]),
        initial_block_download=_flag(seen["initialblockdownload"]),
        pruned=_flag(seen["pruned"]),
    )


def read_header(answer: Any) -> BlockHeader:
    seen = _object(answer)
    previous, following = seen.get("previousblockhash"), seen.get("nextblockhash")
    return BlockHeader(
        hash=read_hash(seen["hash"]),
        confirmations=read_whole(seen["confirmations"]),
        height=read_whole(seen["height"]),
        version=read_whole(seen["version"]),
        merkle_root=read_hash(seen["merkleroot"]),
        time_s=read_whole(seen["time"]),
        median_time_s=read_whole(seen["mediantime"]),
        bits=int(_text(seen["bits"]), 16),
        nonce=read_whole(seen["nonce"]),
        transactions=read_whole(seen["nTx"]),
        previous=None if previous is None else read_hash(previous),
        next=None if following is None else read_hash(following),
    )


def read_acceptances(answer: Any) -> tuple[MempoolAcceptance, ...]:
    return tuple(_acceptance(_object(one)) for one in _list(answer))


def _acceptance(seen: Mapping[str, Any]) -> MempoolAcceptance:
    allowed = seen.get("allowed")
    reason = seen.get("reject-reason") or seen.get("package-error") or ""
    return MempoolAcceptance(
        txid=read_hash(seen["txid"]),
        allowed=None if allowed is None else _flag(allowed),
        reject_reason=_text(reason),
        vsize=read_whole(seen["vsize"]) if allowed else None,
        fee_sat=_amount_sat(_object(seen["fees"])["base"]) if allowed else None,
    )


def read_mempool_entry(answer: Any) -> MempoolEntry:
    seen = _object(answer)
    fees = _object(seen["fees"])
    return MempoolEntry(
        vsize=read_whole(seen["vsize"]),
        weight=read_whole(seen["weight"]),
        time_s=read_whole(seen["time"]),
        height=read_whole(seen["height"]),
        fee_sat=_amount_sat(fees["base"]),
        ancestors=read_whole(seen["ancestorcount"]),
        ancestors_vsize=read_whole(seen["ancestorsize"]),
        ancestors_fee_sat=_amount_sat(fees["ancestor"]),
        descendants=read_whole(seen["descendantcount"]),
        descendants_vsize=read_whole(seen["descendantsize"]),
        descendants_fee_sat=_amount_sat(fees["descendant"]),
        depends=read_hashes(seen["depends"]),
        spent_by=read_hashes(seen["spentby"]),
    )


def read_mempool_info(answer: Any) -> MempoolInfo:
    seen = _object(answer)
    return MempoolInfo(
        loaded=_flag(seen["loaded"]),
        transactions=read_whole(seen["size"]),
        vsize=read_whole(seen["bytes"]),
        min_fee_sat_kvb=_rate_sat_kvb(seen["mempoolminfee"]),
        min_relay_fee_sat_kvb=_rate_sat_kvb(seen["minrelaytxfee"]),
    )


def read_unspent(answer: Any) -> UnspentOutput:
    seen = _object(answer)
    return UnspentOutput(
        best_block=read_hash(seen["bestblock"]),
        confirmations=read_whole(seen["confirmations"]),
        amount_sat=_amount_sat(seen["value"]),
        script=read_hex(_object(seen["scriptPubKey"])["hex"]),
        is_coinbase=_flag(seen["coinbase"]),
    )


def read_fee_estimate(answer: Any) -> FeeEstimate:
    seen = _object(answer)
    rate = seen.get("feerate")
    known = None if rate is None else _rate_sat_kvb(rate)
    return FeeEstimate(known if known is None or known > 0 else None, read_whole(seen["blocks"]))
