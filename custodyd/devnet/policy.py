"""Rules that look at one transaction and the coins it spends: pure, no mempool, no clock.

Consensus rules outside scripts (`CheckTransaction`, `CheckTxInputs`, BIP-113, BIP-68) and the
standardness of Bitcoin Core 28 with its default settings, in its order and with its reasons.
Stricter than Core: version 3 (BIP-431), one output of dust in a transaction without fee, and
bare multisig outputs are refused. Looser than Core: of the script flags that are policy only,
just low S in witness version 0 and legacy signatures is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from custodyd.devnet.blocks import COINBASE_MATURITY, MAX_BLOCK_WEIGHT
from custodyd.devnet.coins import Coin
from custodyd.devnet.rejection import Rejected
from custodyd.devnet.script import (
    MAX_NULL_DATA_SIZE,
    ScriptKind,
    dust_limit_sat,
    is_push_only,
    kind_of,
    last_push,
    sigop_count,
    witness_program,
)
from custodyd.devnet.transactions import (
    FINAL_SEQUENCE,
    NULL_TXID,
    NULL_VOUT,
    Transaction,
    TxInput,
)

MAX_MONEY_SAT = 21_000_000 * 100_000_000
MAX_STANDARD_WEIGHT = 400_000
MAX_STANDARD_VERSION = 2
MIN_STANDARD_BASE_SIZE = 65
MAX_STANDARD_SCRIPTSIG = 1650
MAX_STANDARD_SIGOPS_COST = 16_000
MAX_P2SH_SIGOPS = 15
MAX_WSH_SCRIPT = 3600
MAX_WSH_ITEMS = 100
MAX_WSH_ITEM = 80
MAX_TAPSCRIPT_ITEM = 80
ANNEX_TAG = 0x50
TAPSCRIPT_LEAF = 0xC0
LOCKTIME_THRESHOLD = 500_000_000
SEQUENCE_DISABLED = 1 << 31
SEQUENCE_BY_TIME = 1 << 22
SEQUENCE_MASK = 0xFFFF
SEQUENCE_GRANULARITY = 9
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


@dataclass(frozen=True, slots=True)
class NextBlock:
    """What a transaction is judged against: the block that could include it."""

    height: int
    median_time_s: int  # of the current tip


# --- consensus, without a look at coins ---------------------------------------------------------


def check_transaction(tx: Transaction) -> None:
    """Context-free consensus rules; raises Rejected."""
    if not tx.inputs:
        raise Rejected("bad-txns-vin-empty")
    if not tx.outputs:
        raise Rejected("bad-txns-vout-empty")
    if tx.base_size * 4 > MAX_BLOCK_WEIGHT:
        raise Rejected("bad-txns-oversize")
    _check_output_amounts(tx)
    if len({item.outpoint for item in tx.inputs}) != len(tx.inputs):
        raise Rejected("bad-txns-inputs-duplicate")
    if tx.is_coinbase:
        raise Rejected("coinbase")
    if any(item.outpoint == (NULL_TXID, NULL_VOUT) for item in tx.inputs):
        raise Rejected("bad-txns-prevout-null")


def _check_output_amounts(tx: Transaction) -> None:
    total = 0
    for output in tx.outputs:
        if output.amount_sat < 0:
            raise Rejected("bad-txns-vout-negative")
        if output.amount_sat > MAX_MONEY_SAT:
            raise Rejected("bad-txns-vout-toolarge")
        total += output.amount_sat
        if total > MAX_MONEY_SAT:
            raise Rejected("bad-txns-txouttotal-toolarge")


def check_final(tx: Transaction, at: NextBlock) -> None:
    """BIP-113: the lock time has passed, or no input obeys it; raises Rejected."""
    limit = at.height if tx.locktime < LOCKTIME_THRESHOLD else at.median_time_s
    if tx.locktime == 0 or tx.locktime < limit:
        return
    if any(item.sequence != FINAL_SEQUENCE for item in tx.inputs):
        raise Rejected("non-final")


# --- standardness, without a look at coins ------------------------------------------------------


def check_standard(tx: Transaction) -> None:
    """`IsStandardTx`; raises Rejected."""
    if not 1 <= tx.version <= MAX_STANDARD_VERSION:
        raise Rejected("version")
    if tx.weight > MAX_STANDARD_WEIGHT:
        raise Rejected("tx-size")
    for item in tx.inputs:
        if len(item.script_sig) > MAX_STANDARD_SCRIPTSIG:
            raise Rejected("scriptsig-size")
        if not is_push_only(item.script_sig):
            raise Rejected("scriptsig-not-pushonly")
    _check_standard_outputs(tx)
    if tx.base_size < MIN_STANDARD_BASE_SIZE:
        raise Rejected("tx-size-small")


def _check_standard_outputs(tx: Transaction) -> None:
    data_outputs = 0
    for output in tx.outputs:
        kind = kind_of(output.script)
        if kind is ScriptKind.UNKNOWN:
            raise Rejected("scriptpubkey")
        if kind is ScriptKind.NULL_DATA:
            data_outputs += 1
            if len(output.script) > MAX_NULL_DATA_SIZE:
                raise Rejected("scriptpubkey")
        elif kind is ScriptKind.MULTISIG:
            raise Rejected("bare-multisig")
        elif output.amount_sat < dust_limit_sat(output):
            raise Rejected("dust")
    if data_outputs > 1:
        raise Rejected("multi-op-return")


# --- with the coins that are spent --------------------------------------------------------------


def check_inputs(tx: Transaction, coins: Sequence[Coin], at: NextBlock) -> int:
    """`CheckTxInputs`: maturity and amounts. Returns the fee in satoshi; raises Rejected."""
    for coin in coins:
        age = at.height - coin.height
        if coin.is_coinbase and age < COINBASE_MATURITY:
            raise Rejected(
                "bad-txns-premature-spend-of-coinbase",
                f"tried to spend coinbase at depth {age}",
            )
    paid_in = sum(coin.output.amount_sat for coin in coins)
    paid_out = sum(output.amount_sat for output in tx.outputs)
    if paid_in > MAX_MONEY_SAT:
        raise Rejected("bad-txns-inputvalues-outofrange")
    if paid_in < paid_out:
        raise Rejected("bad-txns-in-belowout", f"value in ({paid_in}) < value out ({paid_out})")
    return paid_in - paid_out


def check_sequence_locks(
    tx: Transaction, coins: Sequence[Coin], coin_times_s: Sequence[int], at: NextBlock
) -> None:
    """BIP-68. `coin_times_s`: median time of the block before each coin's; raises Rejected."""
    if tx.version < 2:
        return
    for item, coin, time_s in zip(tx.inputs, coins, coin_times_s, strict=True):
        if item.sequence & SEQUENCE_DISABLED:
            continue
        span = item.sequence & SEQUENCE_MASK
        if item.sequence & SEQUENCE_BY_TIME:
            ripe = at.median_time_s >= time_s + (span << SEQUENCE_GRANULARITY)
        else:
            ripe = at.height >= coin.height + span
        if not ripe:
            raise Rejected("non-BIP68-final")


def check_inputs_standard(tx: Transaction, coins: Sequence[Coin]) -> None:
    """`AreInputsStandard` and `IsWitnessStandard`; raises Rejected."""
    for index, (item, coin) in enumerate(zip(tx.inputs, coins, strict=True)):
        kind = kind_of(coin.output.script)
        if kind in (ScriptKind.UNKNOWN, ScriptKind.WITNESS_FUTURE, ScriptKind.NULL_DATA):
            raise Rejected("bad-txns-nonstandard-inputs")
        if kind is ScriptKind.SCRIPT_HASH:
            redeem = last_push(item.script_sig)
            if redeem is None or sigop_count(redeem, accurate=True) > MAX_P2SH_SIGOPS:
                raise Rejected("bad-txns-nonstandard-inputs")
        if not _witness_is_standard(item, coin.output.script, kind):
            raise Rejected("bad-witness-nonstandard")
        _check_low_s(item, coin.output.script, index)


def _inner_script(item: TxInput, script: bytes, kind: ScriptKind) -> bytes:
    """The script whose witness program counts: the redeem script for P2SH."""
    if kind is ScriptKind.SCRIPT_HASH:
        return last_push(item.script_sig) or b""
    return script


def _witness_is_standard(item: TxInput, script: bytes, kind: ScriptKind) -> bool:
    if not item.witness:
        return True
    program = witness_program(_inner_script(item, script, kind))
    if program is None or kind is ScriptKind.ANCHOR:
        return False
    if program[0] == 0 and len(program[1]) == 32:
        *items, witness_script = item.witness
        return (
            len(witness_script) <= MAX_WSH_SCRIPT
            and len(items) <= MAX_WSH_ITEMS
            and all(len(element) <= MAX_WSH_ITEM for element in items)
        )
    if kind is ScriptKind.TAPROOT:
        return _taproot_witness_is_standard(item.witness)
    return True


def _taproot_witness_is_standard(witness: tuple[bytes, ...]) -> bool:
    if len(witness) >= 2 and witness[-1][:1] == bytes([ANNEX_TAG]):
        return False
    if len(witness) < 2:
        return True
    *items, _script, control = witness
    if not control:
        return False
    if control[0] & 0xFE == TAPSCRIPT_LEAF:
        return all(len(element) <= MAX_TAPSCRIPT_ITEM for element in items)
    return True


def _check_low_s(item: TxInput, script: bytes, index: int) -> None:
    """BIP-146's LOW_S for what looks like an ECDSA signature; Schnorr signatures have no DER."""
    if kind_of(script) is ScriptKind.TAPROOT:
        return
    for element in item.witness:
        s = _der_s(element)
        if s is not None and s > HALF_ORDER:
            raise Rejected(
                "non-mandatory-script-verify-flag (Non-canonical signature: S value is "
                "unnecessarily high)",
                f"input {index}",
            )


def _der_s(element: bytes) -> int | None:
    """S of a DER signature with its sighash byte; None when it is none."""
    if not 9 <= len(element) <= 73 or element[0] != 0x30 or element[1] != len(element) - 3:
        return None
    r_size = element[3]
    if element[2] != 0x02 or 5 + r_size >= len(element) or element[4 + r_size] != 0x02:
        return None
    s_size = element[5 + r_size]
    if r_size + s_size + 7 != len(element):
        return None
    return int.from_bytes(element[6 + r_size : -1], "big")


def sigops_cost(tx: Transaction, coins: Sequence[Coin]) -> int:
    """`GetTransactionSigOpCost`: legacy and P2SH checks count four times, witness ones once."""
    cost = 4 * sum(sigop_count(item.script_sig, accurate=False) for item in tx.inputs)
    cost += 4 * sum(sigop_count(output.script, accurate=False) for output in tx.outputs)
    for item, coin in zip(tx.inputs, coins, strict=True):
        kind = kind_of(coin.output.script)
        inner = _inner_script(item, coin.output.script, kind)
        if kind is ScriptKind.SCRIPT_HASH:
            cost += 4 * sigop_count(inner, accurate=True)
        program = witness_program(inner)
        if program is not None and program[0] == 0:
            is_key = len(program[1]) == 20
            script = item.witness[-1] if item.witness else b""
            cost += 1 if is_key else sigop_count(script, accurate=True)
    return cost


def check_sigops(tx: Transaction, coins: Sequence[Coin]) -> int:
    """The cost, or Rejected when it is above what relays."""
    cost = sigops_cost(tx, coins)
    if cost > MAX_STANDARD_SIGOPS_COST:
        raise Rejected("bad-txns-too-many-sigops", str(cost))
    return cost
