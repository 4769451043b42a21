"""merkle: a branch proves a transaction's place in a block, and nothing else passes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer_node.kernel.bitcoin.faults import BitcoinFault, InvalidBranch, InvalidTransaction
from signer_node.kernel.bitcoin.merkle import (
    Leaf,
    branch,
    merkle_root,
    root_from_branch,
    verify_inclusion,
)
from signer_node.kernel.bitcoin.serial import sha256d
from signer_node.kernel.bitcoin.transaction import (
    COINBASE_VOUT,
    Outpoint,
    TxIn,
    TxOut,
    build_transaction,
)
from tests.kernel.bitcoin_samples import outpoint, p2wpkh
from tests.kernel.test_bitcoin_transaction import GENESIS_COINBASE

leaves = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40, unique=True)


def block_of(size: int) -> list[bytes]:
    """Raw transactions of a block: a coinbase, then payments."""
    null = Outpoint(bytes(32), COINBASE_VOUT)
    coinbase = build_transaction([TxIn(null, b"\x51\x51", 0xFFFFFFFF)], [TxOut(50, p2wpkh(0))], 0)
    payments = [
        build_transaction([TxIn(outpoint(at), b"", 0)], [TxOut(at, p2wpkh(at))], 0)
        for at in range(1, size)
    ]
    return [coinbase.raw, *(payment.raw for payment in payments)]


def test_the_genesis_block_has_one_transaction_and_its_txid_is_the_root() -> None:
    txid = sha256d(GENESIS_COINBASE)
    assert merkle_root([txid]) == txid
    assert branch([txid], 0) == ()


@given(leaves, st.data())
def test_every_leafs_branch_leads_to_the_root(txids: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(txids) - 1))
    siblings = branch(txids, index)
    assert root_from_branch(txids[index], index, siblings) == merkle_root(txids)


@given(leaves, st.data())
def test_no_other_position_of_the_same_branch_leads_to_the_root(
    txids: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(txids) - 1))
    siblings = branch(txids, index)
    for other in range(1 << len(siblings)):
        if other == index:
            continue
        with contextlib.suppress(InvalidBranch):
            assert root_from_branch(txids[index], other, siblings) != merkle_root(txids)


@given(leaves)
def test_a_list_with_its_end_repeated_is_refused(txids: list[bytes]) -> None:
    """CVE-2012-2459: it would have the root of the shorter list."""
    if len(txids) % 2:
        with pytest.raises(InvalidBranch, match="equal neighbours"):
            merkle_root([*txids, txids[-1]])


def test_the_repeated_half_of_a_pair_is_no_position() -> None:
    txids = [sha256d(bytes([at])) for at in range(3)]
    siblings = branch(txids, 2)
    assert root_from_branch(txids[2], 2, siblings) == merkle_root(txids)
    with pytest.raises(InvalidBranch, match="repeated"):
        root_from_branch(txids[2], 3, siblings)


@pytest.mark.parametrize(("index", "length"), [(1, 0), (2, 1), (4, 2), (-1, 3)])
def test_a_position_beyond_the_branch_is_refused(index: int, length: int) -> None:
    with pytest.raises(InvalidBranch, match="does not fit"):
        root_from_branch(bytes(32), index, [sha256d(bytes([at])) for at in range(length)])


def test_a_branch_longer_than_any_blocks_and_short_nodes_are_refused() -> None:
    with pytest.raises(InvalidBranch, match="longer"):
        root_from_branch(bytes(32), 0, [bytes(32)] * 25)
    with pytest.raises(InvalidBranch, match="32 bytes"):
        root_from_branch(bytes(32), 0, [bytes(31)])
    with pytest.raises(InvalidBranch, match="at least one"):
        merkle_root([])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
def test_inclusion_is_proved_by_both_branches(size: int) -> None:
    raws = block_of(size)
    txids = [sha256d(raw) for raw in raws]
    root = merkle_root(txids)
    for at, raw in enumerate(raws):
        proof = (Leaf(raw, at, branch(txids, at)), Leaf(raws[0], 0, branch(txids, 0)))
        assert verify_inclusion(*proof, root).txid == txids[at]
        with pytest.raises(InvalidBranch):
            verify_inclusion(*proof, bytes(32))


def test_a_coinbase_branch_of_another_length_is_refused() -> None:
    raws = block_of(5)
    txids = [sha256d(raw) for raw in raws]
    with pytest.raises(InvalidBranch, match="as long as"):
        verify_inclusion(
            Leaf(raws[2], 2, branch(txids, 2)),
            Leaf(raws[0], 0, branch(txids, 0)[:-1]),
            merkle_root(txids),
        )


def test_a_foreign_coinbase_is_refused() -> None:
    raws = block_of(4)
    txids = [sha256d(raw) for raw in raws]
    root = merkle_root(txids)
    with pytest.raises(InvalidBranch, match="coinbase's branch"):
        verify_inclusion(
            Leaf(raws[2], 2, branch(txids, 2)), Leaf(GENESIS_COINBASE, 0, branch(txids, 0)), root
        )
    with pytest.raises(InvalidTransaction, match="no coinbase"):
        verify_inclusion(
            Leaf(raws[2], 2, branch(txids, 2)), Leaf(raws[1], 1, branch(txids, 1)), root
        )


def test_an_inner_node_cannot_pass_as_a_transaction() -> None:
    """CVE-2017-12842: 64 bytes are refused, and one level too many is refused as well."""
    forged = build_transaction([TxIn(outpoint(1), b"", 0)], [TxOut(1, b"\x51\x51\x51\x51")], 0).raw
    left, right = forged[:32], forged[32:]
    coinbase = block_of(1)[0]
    top = [sha256d(coinbase), sha256d(b"x"), left, right]
    root = merkle_root(top)
    assert sha256d(forged) == root_from_branch(left, 0, [right])
    siblings = (root_from_branch(top[0], 0, [top[1]]),)
    with pytest.raises(InvalidTransaction, match="64 bytes"):
        verify_inclusion(Leaf(forged, 1, siblings), Leaf(coinbase, 0, branch(top, 0)), root)
    # A transaction hidden below a leaf: its branch is too long.
    hidden = block_of(2)[1]
    deeper = (sha256d(b"sibling"), *siblings)
    with pytest.raises(BitcoinFault):
        verify_inclusion(
            Leaf(hidden, 2, (*deeper, bytes(32))), Leaf(coinbase, 0, branch(top, 0)), root
        )
