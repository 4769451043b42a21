"""The follower: whatever the chain does and wherever the process dies, the tables end up right."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from custodyd.chain import follower, relay
from custodyd.chain.block import InvalidBlock, parse_block, place
from custodyd.chain.rules import MAX_HEADERS
from custodyd.chain.tables import BLOCKS, OUTBOX, OUTPUTS, SIGNERS, SPENDS, TRANSACTIONS, VAULTS
from custodyd.chain.vaults import watch_deposits
from custodyd.errors import CustodydError, ErrorId
from custodyd.store import Store
from signer_node import wire
from signer_node.kernel.bitcoin import merkle
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.serial import compact_size
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.manifest import Headers
from tests.stages.house import House
from tests.world.quorum import VAULT


@pytest.fixture
def house() -> House:
    return House()


def tip(house: House) -> tuple[int, bytes]:
    with house.store.reading() as connection:
        found = follower.connected_tip(connection)
    return found.height, found.hash


def chain_tip(house: House) -> tuple[int, bytes]:
    return house.world.chain.height, house.world.chain.blocks[-1].header.hash


def follow(house: House) -> None:
    follower.reconcile(house.store, house.context)


def tables(house: House) -> dict[str, list[tuple[object, ...]]]:
    with house.store.reading() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))))
            for table in (OUTPUTS, SPENDS, TRANSACTIONS)
        }


def test_it_comes_to_the_tip_from_the_checkpoint(house: House) -> None:
    house.mine(30)
    follow(house)
    assert tip(house) == chain_tip(house)
    with house.store.reading() as connection:
        count = connection.execute(select(func.count()).where(BLOCKS.c.connected)).scalar_one()
    assert count == 31


def test_after_a_reorganisation_the_tables_are_as_if_it_had_never_been(store: Store) -> None:
    house = House(store)
    house.make_vault()
    house.fund(1_000_000)
    follow(house)
    before = tables(house)
    house.deposit(2_000_000, 1)
    house.mine(4)
    follow(house)
    assert tables(house) != before
    house.reorganise(4)
    follow(house)
    assert tip(house) == chain_tip(house)
    assert tables(house) == before


def test_a_transaction_that_another_block_holds_is_proved_by_that_block(house: House) -> None:
    house.make_vault()
    payment = house.deposit(1_000_000)
    house.mine()
    follow(house)
    house.reorganise(1, payment)
    follow(house)
    with house.store.reading() as connection:
        row = connection.execute(select(TRANSACTIONS)).one()
    block = house.world.chain.block_of(payment.txid)
    assert bytes(row.block) == block.header.hash
    siblings = [bytes(row.branch[at : at + 32]) for at in range(0, len(row.branch), 32)]
    root = merkle.root_from_branch(payment.txid, row.position, siblings)
    assert root == block.header.merkle_root


def test_a_reorganisation_that_is_too_deep_is_for_people(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "MAX_REORG_DEPTH", 5)
    house.mine(20)
    follow(house)
    house.reorganise(6)
    with pytest.raises(CustodydError) as refused:
        follow(house)
    assert refused.value.error is ErrorId.CHAIN_REFUSED
    assert "left ours" in refused.value.detail


class Killed(BaseException):
    """The process dies."""


def test_it_may_die_after_any_block_in_either_direction(house: House) -> None:
    house.make_vault()
    house.deposit(1_000_000)
    house.mine(3)
    for turn in range(2):
        if turn:
            house.reorganise(2, extra=2)
        for _attempt in range(20):

            def die(name: str) -> None:
                if name.startswith("chain."):
                    raise Killed

            house.on_commit = die
            try:
                follow(house)
            except Killed:
                house.restart()
            else:
                break
        house.on_commit = lambda _name: None
        follow(house)
        assert tip(house) == chain_tip(house)


def test_an_unreachable_node_changes_nothing(house: House) -> None:
    house.mine(2)
    follow(house)
    before = tip(house)
    house.node.down = True
    house.mine()
    with pytest.raises(CustodydError) as failed:
        follow(house)
    assert failed.value.error is ErrorId.CHAIN_UNREACHABLE
    assert tip(house) == before


def test_a_node_that_answers_another_block_is_not_believed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.mine(2)
    other = house.world.chain.blocks[1].header.hash[::-1].hex()
    right = type(house.node).getblock
    monkeypatch.setattr(
        type(house.node), "getblock", lambda node, _hash, verbosity: right(node, other, verbosity)
    )
    with pytest.raises(CustodydError) as refused:
        follow(house)
    assert refused.value.error is ErrorId.CHAIN_REFUSED


# --- blocks ---


def raw_block(house: House, number: int = -1) -> bytes:
    block = house.world.chain.blocks[number]
    parts = [block.header.raw, compact_size(len(block.transactions))]
    return b"".join([*parts, *(one.raw for one in block.transactions)])


def test_a_block_is_read_with_proofs_of_its_transactions(house: House) -> None:
    house.make_vault()
    payments = [house.deposit(1_000_000 + at, at) for at in range(5)]
    house.mine()
    block = parse_block(raw_block(house))
    assert [one.txid for one in block.transactions[1:]] == [one.txid for one in payments]
    for position in range(1, 6):
        found = place(block, position)
        leaf = merkle.Leaf(payments[position - 1].raw, position, found.branch)
        coinbase = merkle.Leaf(found.coinbase, 0, found.coinbase_branch)
        merkle.verify_inclusion(leaf, coinbase, block.header.merkle_root)


@pytest.mark.parametrize("damage", ["short", "long", "other-root", "no-transactions", "empty"])
def test_a_block_that_is_not_whole_is_refused(house: House, damage: str) -> None:
    house.mine(2)
    raw = raw_block(house)
    damaged = {
        "short": raw[:-1],
        "long": raw + b"\x00",
        "other-root": raw_block(house, 1)[:80] + raw[80:],
        "no-transactions": raw[:80] + b"\x00",
        "empty": b"",
    }[damage]
    with pytest.raises(InvalidBlock):
        parse_block(damaged)


# --- headers to the signers ---


def test_signers_have_every_header_before_a_manifest_that_needs_it(house: House) -> None:
    house.up_to_approval()
    for sim in house.world.nodes.values():
        assert sim.journal.headers().tip().hash == chain_tip(house)[1]
    with house.store.reading() as connection:
        rows = connection.execute(
            select(OUTBOX.c.envelope).where(OUTBOX.c.node == "s1").order_by(OUTBOX.c.sequence)
        ).scalars()
        kinds = [wire.open_envelope(bytes(raw)).document.type for raw in rows]
    last_headers = max(at for at, kind in enumerate(kinds) if kind is PayloadType.HEADERS)
    assert last_headers < kinds.index(PayloadType.MANIFEST_PROPOSAL)


def test_no_batch_is_proposed_while_headers_are_on_their_way(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.make_vault()
    house.fund(5_000_000)
    house.withdraw("w-1", 1_000_000)
    monkeypatch.setattr(relay, "MAX_ENVELOPES_PER_PASS", 0)
    house.mine()
    house.settle(3)
    assert house.batches() == []
    assert "headers" in house.withdrawal("w-1").blocked_detail


def test_signers_follow_a_reorganisation(house: House) -> None:
    house.make_vault()
    house.mine(5)
    house.settle(2)
    house.reorganise(3)
    house.settle(2)
    for sim in house.world.nodes.values():
        assert sim.journal.headers().tip().hash == chain_tip(house)[1]


def test_a_signer_far_behind_gets_headers_in_envelopes_of_bounded_length(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MAX_HEADERS", 7)
    house.mine(20)
    house.settle(3)
    with house.store.reading() as connection:
        rows = connection.execute(
            select(OUTBOX.c.envelope).where(OUTBOX.c.node == "s1").order_by(OUTBOX.c.sequence)
        ).scalars()
        envelopes = [wire.open_envelope(bytes(raw)).document for raw in rows]
    counts = [
        len(wire.decode(Headers, one.payload).headers)
        for one in envelopes
        if one.type is PayloadType.HEADERS
    ]
    assert counts == [7, 7, 6]
    assert MAX_HEADERS == 2_000


def test_a_signer_that_lost_its_disk_gets_the_headers_again(house: House) -> None:
    old = house.world.nodes["s2"].disk()
    house.make_vault()
    house.mine(5)
    house.settle(3)
    house.world.nodes["s2"].start(old)
    assert house.world.nodes["s2"].journal.headers().tip().height == 0
    house.settle(14)
    assert house.world.nodes["s2"].journal.headers().tip().hash == chain_tip(house)[1]


# --- watching ---


def test_addresses_that_nobody_watched_are_found_by_reading_blocks_again(house: House) -> None:
    house.make_vault()
    house.deposit(1_000_000, 500)
    house.mine(3)
    follow(house)
    assert tables(house)["chain_outputs"] == []
    with house.store.transaction() as connection:
        assert watch_deposits(connection, Network.REGTEST, VAULT, 501) == 501
        assert watch_deposits(connection, Network.REGTEST, VAULT, 3) == 501
    follow(house)
    assert len(tables(house)["chain_outputs"]) == 1
    with house.store.reading() as connection:
        assert connection.execute(select(VAULTS.c.deposit_count)).scalar_one() == 501


def test_a_change_index_that_the_chain_shows_in_use_is_never_allocated(house: House) -> None:
    house.make_vault()
    house.deposit(1_000_000, 41, chain=1)
    house.mine()
    follow(house)
    with house.store.reading() as connection:
        assert connection.execute(select(VAULTS.c.next_change)).scalar_one() == 42


def test_signers_have_one_row_each(house: House) -> None:
    house.settle(2)
    with house.store.reading() as connection:
        nodes = connection.execute(select(SIGNERS.c.node).order_by(SIGNERS.c.node)).scalars()
        assert list(nodes) == ["s1", "s2", "s3"]
