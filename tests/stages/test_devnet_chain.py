"""The devnet's chain: reorganisations, invalid blocks, and what a restart finds again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from custodyd.devnet.blocks import (
    Block,
    coinbase,
    merkle_proof,
    merkle_root,
    mine,
    parse_block,
    subsidy_sat,
)
from custodyd.devnet.bytesio import Cursor, FormatError, sha256d
from custodyd.devnet.coins import CoinView
from custodyd.devnet.journal import Journal, JournalError, RecordKind
from custodyd.devnet.node import JOURNAL_FILE, PREMINED_BLOCKS, BlockRefused, ForkPlan, Node
from custodyd.devnet.transactions import Transaction, TxOutput
from tests.stages.devnet_process import ANYONE, COIN_SAT, fund, output_of, pass_on, spend


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    opened = Node(tmp_path / "data")
    yield opened
    opened.close()


def state(node: Node) -> tuple[object, ...]:
    """Everything that must come back after a restart."""
    coins = sorted(outpoint for outpoint, _ in every_coin(node.coins))
    return node.index.tip.hash, coins, sorted(entry.tx.txid for entry in node.pool)


def every_coin(view: CoinView) -> list[tuple[tuple[bytes, int], int]]:
    return [(outpoint, coin.output.amount_sat) for outpoint, coin in view._coins.items()]


def child_block(
    node: Node, *transactions: Transaction, parent: bytes | None = None, extra_sat: int = 0
) -> Block:
    """A block on `parent` (the tip when None) that claims the subsidy and `extra_sat`."""
    entry = node.index.tip if parent is None else node.index.get(parent)
    assert entry is not None
    height = entry.height + 1
    wtxids = [tx.wtxid for tx in transactions]
    first = coinbase(height, subsidy_sat(height) + extra_sat, ANYONE, wtxids, bytes(8))
    return mine(entry.hash, node.index.median_time(entry) + 1, [first, *transactions])


def test_a_new_devnet_has_coins_that_can_be_spent_at_once(node: Node) -> None:
    assert node.index.height == PREMINED_BLOCKS
    assert node.faucet_balance_sat() == (PREMINED_BLOCKS - 99) * 50 * COIN_SAT


def test_a_reorganisation_returns_transactions_to_the_mempool(node: Node) -> None:
    coin = fund(node)[0]
    parent = pass_on(coin)
    child = pass_on(output_of(parent))
    node.accept(parent)
    node.generate(1, ANYONE)
    node.accept(child)
    node.generate(1, ANYONE)
    _, gone = node.fork(ForkPlan(depth=2, blocks=3))
    assert len(gone) == 2
    assert [entry.tx.txid for entry in node.pool] == [parent.txid, child.txid]
    node.generate(1, ANYONE)
    assert len(node.pool) == 0
    assert node.coins.get((child.txid, 0)) is not None


def test_a_branch_that_is_not_longer_changes_nothing(node: Node) -> None:
    coin = fund(node)[0]
    node.accept(pass_on(coin))
    node.generate(1, ANYONE)
    before = state(node)
    made, gone = node.fork(ForkPlan(depth=1, blocks=1))
    assert (len(made), gone, state(node)) == (1, [], before)
    assert [tip.branch_length for tip in node.index.tips()] == [0, 1]


def test_a_double_spend_on_the_new_branch_drops_the_first_and_what_builds_on_it(
    node: Node,
) -> None:
    coin = fund(node)[0]
    first = pass_on(coin)
    node.accept(first)
    node.generate(1, ANYONE)
    node.accept(pass_on(output_of(first)))
    other = pass_on(coin, fee_sat=7000)
    node.fork(ForkPlan(depth=1, blocks=2, transactions=(other,)))
    assert len(node.pool) == 0
    assert node.coins.get((other.txid, 0)) is not None
    assert node.coins.get((first.txid, 0)) is None


def test_coinbases_of_a_lost_branch_take_their_spenders_along(node: Node) -> None:
    node.generate(1, ANYONE)
    made = output_of(node.index.tip.block.transactions[0])
    node.generate(99, node.faucet.script)
    spender = pass_on(made)
    node.accept(spender)
    node.fork(ForkPlan(depth=1, blocks=2))
    assert spender.txid in node.pool, "still mature on the longer branch"
    node.fork(ForkPlan(depth=102, blocks=103))
    assert spender.txid not in node.pool


def test_a_fork_to_the_first_block_and_impossible_depths(node: Node) -> None:
    with pytest.raises(ValueError, match="depth"):
        node.fork(ForkPlan(depth=node.index.height + 1, blocks=1))
    node.fork(ForkPlan(depth=node.index.height, blocks=node.index.height + 1))
    assert node.index.height == PREMINED_BLOCKS + 1


def test_blocks_that_break_a_rule_are_refused_with_their_reason(node: Node) -> None:
    coin = fund(node)[0]
    before = state(node)
    missing = pass_on(output_of(pass_on(coin)))
    forged = pass_on(coin, witness=(b"\x52",))
    orphan = child_block(node)
    stranger = mine(b"\x11" * 32, 2_000_000_000, orphan.transactions)
    refused = {
        "bad-cb-amount": child_block(node, extra_sat=1),
        "bad-txns-inputs-missingorspent": child_block(node, missing),
        "block-script-verify-flag-failed": child_block(node, forged),
        "prev-blk-not-found": stranger,
        "bad-cb-height": mine(
            node.index.tip.hash,
            node.index.median_time(node.index.tip) + 1,
            node.index.tip.block.transactions,
        ),
        "time-too-old": mine(node.index.tip.hash, 1, orphan.transactions),
    }
    for reason, block in refused.items():
        seen = node.submit_block(block.raw).result
        assert (seen or "").split(" (")[0] == reason
        assert state(node) == before


def test_a_block_that_builds_on_an_invalid_one_is_refused(node: Node) -> None:
    bad = child_block(node, extra_sat=1)
    assert node.submit_block(bad.raw).result is not None
    height = node.index.height + 2
    first = coinbase(height, subsidy_sat(height), ANYONE, [], bytes(8))
    above = mine(bad.hash, node.index.median_time(node.index.tip) + 2, [first])
    assert node.submit_block(above.raw).result is not None
    assert node.index.get(above.hash) is None


def test_submitting_twice_and_beside_the_tip(node: Node) -> None:
    block = child_block(node)
    assert node.submit_block(block.raw).result is None
    assert node.submit_block(block.raw).result == "duplicate"
    sibling = child_block(node, parent=block.header.previous, extra_sat=-1)
    assert node.submit_block(sibling.raw).result == "inconclusive"
    assert node.submit_block(sibling.raw).result == "duplicate-inconclusive"
    assert node.index.tip.hash == block.hash
    above = child_block(node, parent=sibling.hash)
    assert node.submit_block(above.raw).result is None
    assert node.index.tip.hash == above.hash
    with pytest.raises(FormatError):
        node.submit_block(block.raw + b"\x00")


def test_a_branch_with_an_invalid_block_loses_and_the_old_chain_stays(node: Node) -> None:
    fund(node)
    before = state(node)
    fork = node.index.at(node.index.height - 1).hash
    bad = child_block(node, parent=fork, extra_sat=1)
    assert node.submit_block(bad.raw).result == "inconclusive"
    height = node.index.height + 1
    first = coinbase(height, subsidy_sat(height), ANYONE, [], bytes(8))
    above = mine(bad.hash, bad.header.time_s + 1, [first])
    assert node.submit_block(above.raw).result is not None
    assert state(node) == before
    node.generate(1, ANYONE)
    assert node.index.height == height


def test_a_block_made_of_invalid_transactions_is_refused_and_changes_nothing(node: Node) -> None:
    coin = fund(node)[0]
    before = state(node)
    with pytest.raises(BlockRefused, match="bad-txns-inputs-missingorspent"):
        node.generate_block([pass_on(coin), pass_on(coin, fee_sat=2000)], ANYONE)
    assert state(node) == before


def test_the_view_equals_one_made_from_scratch_after_random_forks(node: Node) -> None:
    dice = random.Random(7)
    money = fund(node, 10)
    for _ in range(60):
        spent = dice.choice(money)
        if node.coins.get(spent.outpoint) is not None:
            tx = spend([spent], [TxOutput((spent.amount_sat - 1000) // 2, ANYONE)] * 2)
            if tx.txid not in node.pool and not node.pool.conflicts(tx):
                node.accept(tx)
                money += [output_of(tx, 0), output_of(tx, 1)]
        if dice.random() < 0.3:
            depth = dice.randint(1, 4)
            node.fork(ForkPlan(depth, depth + dice.randint(0, 1)))
        else:
            node.generate(1, ANYONE)
    fresh = CoinView()
    for height in range(1, node.index.height + 1):
        fresh.connect(node.index.at(height).block, height)
    assert sorted(every_coin(fresh)) == sorted(every_coin(node.coins))
    assert {e.tx.txid for e in node.pool} <= {m.outpoint[0] for m in money}


# --- the journal --------------------------------------------------------------------------------


def test_a_restart_finds_chain_coins_and_mempool_again(tmp_path: Path) -> None:
    node = Node(tmp_path)
    coins = fund(node, 3)
    node.accept(pass_on(coins[0]))
    node.generate(1, ANYONE)
    replaced = pass_on(coins[1])
    node.accept(replaced)
    node.accept(pass_on(coins[1], fee_sat=9000))
    node.accept(pass_on(coins[2]))
    node.fork(ForkPlan(depth=1, blocks=2))
    before = state(node)
    assert len(node.pool) == 3
    node.close()
    for _ in range(2):
        node = Node(tmp_path)
        assert state(node) == before
        node.close()


def test_no_torn_tail_loses_a_transaction_that_was_answered(tmp_path: Path) -> None:
    node = Node(tmp_path / "whole")
    start = node.size_on_disk()
    marks: list[tuple[int, bytes]] = []
    for coin in fund(node, 6):
        tx = pass_on(coin)
        node.accept(tx)
        marks.append((node.size_on_disk(), tx.txid))
        if len(marks) % 2:
            node.generate(1, ANYONE)
    node.fork(ForkPlan(depth=3, blocks=4))
    node.close()
    whole = (tmp_path / "whole" / JOURNAL_FILE).read_bytes()
    key = (tmp_path / "whole" / "faucet-key").read_bytes()
    dice = random.Random(3)
    for number in range(12):
        folder = tmp_path / f"torn-{number}"
        folder.mkdir()
        (folder / "faucet-key").write_bytes(key)
        cut = dice.randrange(start, len(whole))
        (folder / JOURNAL_FILE).write_bytes(whole[:cut])
        reopened = Node(folder)
        assert all(mined(reopened, tx) or tx in reopened.pool for tx in answered_before(marks, cut))
        reopened.generate(1, ANYONE)
        again = state(reopened)
        reopened.close()
        reopened = Node(folder)
        assert state(reopened) == again
        reopened.close()


def answered_before(marks: list[tuple[int, bytes]], cut: int) -> list[bytes]:
    """The transactions whose commit lay wholly before the cut."""
    return [txid for end, txid in marks if end <= cut]


def mined(node: Node, txid: bytes) -> bool:
    chain = (node.index.at(height).block for height in range(node.index.height + 1))
    return any(tx.txid == txid for block in chain for tx in block.transactions)


def test_a_second_process_cannot_open_the_same_folder(tmp_path: Path, node: Node) -> None:
    with pytest.raises(JournalError, match="another process"):
        Node(tmp_path / "data")


def test_a_foreign_file_is_not_taken_for_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"something else entirely, and long enough")
    with pytest.raises(JournalError, match="not a devnet journal"):
        Journal(path)
    assert path.read_bytes().startswith(b"something else")


def test_a_record_with_a_flipped_bit_ends_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    for payload in (b"one", b"two", b"three"):
        journal.stage(RecordKind.LEFT, payload)
    journal.commit()
    journal.close()
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"two")] ^= 1
    path.write_bytes(raw)
    journal = Journal(path)
    assert [record.payload for record in journal.replay()] == [b"one"]
    journal.stage(RecordKind.LEFT, b"four")
    journal.commit()
    assert [record.payload for record in journal.replay()] == [b"one", b"four"]
    journal.close()


# --- blocks -------------------------------------------------------------------------------------


def test_a_block_is_read_as_it_was_written_and_nothing_else_is(node: Node) -> None:
    raw = node.index.tip.block.raw
    assert parse_block(raw).hash == node.index.tip.hash
    for wrong in (raw + b"\x00", raw[:-1], raw[:79], b""):
        with pytest.raises(FormatError):
            parse_block(wrong)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 13])
def test_a_merkle_proof_leads_to_the_header(node: Node, size: int) -> None:
    leaves = [bytes([n]) * 32 for n in range(size)]
    header = node.index.tip.block.header
    for wanted in ({leaves[0]}, {leaves[-1]}, set(leaves), {leaves[0], leaves[size // 2]}):
        raw = merkle_proof(header, leaves, frozenset(wanted))
        root, proved = read_proof(raw)
        assert (root, proved) == (merkle_root(leaves), wanted)


def read_proof(raw: bytes) -> tuple[bytes, set[bytes]]:
    """BIP-37's verifier, from the BIP: the root, and the leaves that are proved."""
    cursor = Cursor(raw)
    cursor.take(80)
    total = cursor.uint(4)
    hashes = [cursor.take(32) for _ in range(cursor.count())]
    flag_bytes = cursor.var_bytes()
    assert cursor.at_end
    bits = [(byte >> n) & 1 for byte in flag_bytes for n in range(8)]
    height = (total - 1).bit_length()
    proved: set[bytes] = set()

    def walk(depth: int, position: int) -> bytes:
        marked = bits.pop(0)
        if depth == 0 or not marked:
            taken = hashes.pop(0)
            if depth == 0 and marked:
                proved.add(taken)
            return taken
        left = walk(depth - 1, 2 * position)
        width = (total + (1 << (depth - 1)) - 1) >> (depth - 1)
        right = walk(depth - 1, 2 * position + 1) if 2 * position + 1 < width else left
        return sha256d(left + right)

    root = walk(height, 0)
    assert not hashes
    return root, proved
