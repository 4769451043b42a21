"""May this transaction enter the mempool? Bitcoin Core 28's order of checks and reject reasons.

1. Context-free consensus rules, standardness, lock time.
2. Already here, already in the chain, inputs missing.
3. Maturity, amounts, BIP-68, standardness of the inputs, sigops.
4. Minimum relay fee.
5. Limits on chains of unconfirmed transactions (25 and 101 kvB each way).
6. Full replacement by fee: BIP-125's rules 2 to 5, without its signalling rule, as Core 28 has it.
7. Scripts, by the consensus library.

Nothing is changed here: the result says what would enter and what would leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from custodyd.devnet import policy
from custodyd.devnet.bytesio import display
from custodyd.devnet.coins import Coin, CoinView
from custodyd.devnet.consensus import ScriptInvalid, verify_scripts
from custodyd.devnet.mempool import Entry, Mempool
from custodyd.devnet.policy import NextBlock
from custodyd.devnet.rejection import Rejected, RejectKind
from custodyd.devnet.transactions import Transaction, TxOutput

MIN_RELAY_SAT_KVB = 1000
INCREMENTAL_RELAY_SAT_KVB = 1000
ANCESTOR_LIMIT = 25
DESCENDANT_LIMIT = 25
CHAIN_VSIZE_LIMIT = 101_000
MAX_REPLACEMENT_CANDIDATES = 100
MAX_POOL_ENTRIES = 20_000  # Core bounds the pool's memory instead, and evicts the cheapest


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What the chain says at this moment; nothing here changes it."""

    coins: CoinView
    next_block: NextBlock
    median_time_before: Callable[[int], int]  # height -> median time of the block before it
    now_s: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """What entering means: the entry, and the txids that it replaces (descendants included)."""

    entry: Entry
    replaced: frozenset[bytes]


ScriptCheck = Callable[[Transaction, Sequence[TxOutput]], None]


def fee_at_rate(vsize: int, rate_sat_kvb: int) -> int:
    """The fee for a size at a rate, rounded up."""
    return -(-vsize * rate_sat_kvb // 1000)


def judge(
    tx: Transaction,
    pool: Mempool,
    chain: ChainFacts,
    *,
    returning: bool = False,
    check_scripts: ScriptCheck = verify_scripts,
) -> Accepted:
    """Accepted, or Rejected is raised.

    `returning`: the transaction was accepted before (a reorganisation or a restart brings it
    back), so fee and chain limits are not applied again.
    """
    if len(pool) >= MAX_POOL_ENTRIES:
        raise Rejected("mempool full")
    policy.check_transaction(tx)
    policy.check_standard(tx)
    policy.check_final(tx, chain.next_block)
    _check_unknown(tx, pool)
    coins = _spent_coins(tx, pool, chain)
    times = [chain.median_time_before(coin.height) for coin in coins]
    fee_sat = policy.check_inputs(tx, coins, chain.next_block)
    policy.check_sequence_locks(tx, coins, times, chain.next_block)
    policy.check_inputs_standard(tx, coins)
    cost = policy.check_sigops(tx, coins)
    entry = Entry(tx, fee_sat, cost, chain.now_s, chain.next_block.height - 1)
    conflicts = pool.conflicts(tx)
    if not returning:
        _check_fee(entry)
        _check_chain_limits(entry, pool, conflicts)
    elif conflicts:
        raise Rejected("txn-mempool-conflict")
    replaced = _check_replacement(entry, pool, conflicts)
    _check_scripts(tx, coins, check_scripts)
    return Accepted(entry, replaced)


def _check_unknown(tx: Transaction, pool: Mempool) -> None:
    known = pool.get(tx.txid)
    if known is None:
        return
    if known.tx.wtxid == tx.wtxid:
        raise Rejected("txn-already-in-mempool", kind=RejectKind.IN_MEMPOOL)
    raise Rejected("txn-same-nonwitness-data-in-mempool", kind=RejectKind.IN_MEMPOOL)


def _spent_coins(tx: Transaction, pool: Mempool, chain: ChainFacts) -> list[Coin]:
    coins: list[Coin] = []
    for item in tx.inputs:
        coin = chain.coins.get(item.outpoint)
        if coin is None:
            output = pool.output(item.outpoint)
            if output is None:
                raise _missing(tx, chain)
            # An unconfirmed coin counts as made in the next block, as in Core.
            coin = Coin(output, chain.next_block.height, False)
        coins.append(coin)
    return coins


def _missing(tx: Transaction, chain: ChainFacts) -> Rejected:
    own = ((tx.txid, vout) for vout in range(len(tx.outputs)))
    if any(chain.coins.get(outpoint) is not None for outpoint in own):
        return Rejected("txn-already-known", kind=RejectKind.IN_CHAIN)
    return Rejected("bad-txns-inputs-missingorspent", kind=RejectKind.MISSING_INPUTS)


def _check_fee(entry: Entry) -> None:
    least = fee_at_rate(entry.vsize, MIN_RELAY_SAT_KVB)
    if entry.fee_sat < least:
        raise Rejected("min relay fee not met", f"{entry.fee_sat} < {least}")


def _check_chain_limits(entry: Entry, pool: Mempool, conflicts: set[bytes]) -> None:
    ancestors = pool.ancestors(entry.tx)
    sums = pool.sums(ancestors)
    if sums.count + 1 > ANCESTOR_LIMIT:
        raise Rejected(
            "too-long-mempool-chain", f"too many unconfirmed ancestors [limit: {ANCESTOR_LIMIT}]"
        )
    if sums.vsize + entry.vsize > CHAIN_VSIZE_LIMIT:
        raise Rejected("too-long-mempool-chain", "exceeds ancestor size limit")
    leaving = pool.descendants(conflicts)
    for ancestor in ancestors:
        below = pool.sums(pool.descendants([ancestor]) - leaving)
        if below.count + 1 > DESCENDANT_LIMIT:
            raise Rejected(
                "too-long-mempool-chain",
                f"too many descendants for tx {display(ancestor)} [limit: {DESCENDANT_LIMIT}]",
            )
        if below.vsize + entry.vsize > CHAIN_VSIZE_LIMIT:
            raise Rejected(
                "too-long-mempool-chain",
                f"exceeds descendant size limit for tx {display(ancestor)}",
            )


def _check_replacement(entry: Entry, pool: Mempool, conflicts: set[bytes]) -> frozenset[bytes]:
    """The txids that leave; Rejected when the replacement does not pay for itself."""
    if not conflicts:
        return frozenset()
    name = display(entry.tx.txid)
    if pool.ancestors(entry.tx) & conflicts:
        raise Rejected("bad-txns-spends-conflicting-tx", f"{name} spends conflicting transaction")
    leaving = pool.descendants(conflicts)
    if len(leaving) > MAX_REPLACEMENT_CANDIDATES:
        raise Rejected("too many potential replacements", f"rejecting replacement {name}")
    _check_no_new_unconfirmed(entry, pool, conflicts)
    _check_higher_rate(entry, pool, conflicts)
    _check_pays_more(entry, pool.sums(leaving).fee_sat)
    return frozenset(leaving)


def _check_no_new_unconfirmed(entry: Entry, pool: Mempool, conflicts: set[bytes]) -> None:
    """Rule 2: unconfirmed inputs are those of what is replaced."""
    allowed: set[bytes] = set()
    for txid in conflicts:
        conflict = pool.get(txid)
        if conflict is not None:
            allowed |= pool.parents(conflict.tx)
    if pool.parents(entry.tx) - allowed:
        raise Rejected(
            "replacement-adds-unconfirmed",
            f"replacement {display(entry.tx.txid)} adds unconfirmed input",
        )


def _check_higher_rate(entry: Entry, pool: Mempool, conflicts: set[bytes]) -> None:
    for txid in conflicts:
        old = pool.sums([txid])
        if entry.fee_sat * old.vsize <= old.fee_sat * entry.vsize:
            raise Rejected(
                "insufficient fee",
                f"rejecting replacement {display(entry.tx.txid)}; new feerate is not above the "
                f"old feerate ({entry.fee_sat} sat for {entry.vsize} vB, "
                f"{old.fee_sat} sat for {old.vsize} vB)",
            )


def _check_pays_more(entry: Entry, replaced_fee_sat: int) -> None:
    """Rules 3 and 4: the whole old fee, and its own relay on top."""
    name = display(entry.tx.txid)
    if entry.fee_sat < replaced_fee_sat:
        raise Rejected(
            "insufficient fee",
            f"rejecting replacement {name}, less fees than conflicting txs; "
            f"{entry.fee_sat} < {replaced_fee_sat}",
        )
    relay = fee_at_rate(entry.vsize, INCREMENTAL_RELAY_SAT_KVB)
    if entry.fee_sat - replaced_fee_sat < relay:
        raise Rejected(
            "insufficient fee",
            f"rejecting replacement {name}, not enough additional fees to relay; "
            f"{entry.fee_sat - replaced_fee_sat} < {relay}",
        )


def _check_scripts(tx: Transaction, coins: Sequence[Coin], check: ScriptCheck) -> None:
    try:
        check(tx, [coin.output for coin in coins])
    except ScriptInvalid as error:
        index = error.input_index
        spent = tx.inputs[index]
        raise Rejected(
            "mandatory-script-verify-flag-failed (script does not hold)",
            f"input {index} of {display(tx.txid)} (wtxid {display(tx.wtxid)}), "
            f"spending {display(spent.txid)}:{spent.vout}",
        ) from error
