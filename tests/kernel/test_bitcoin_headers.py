"""headers: the chain with the most work, verified from a checkpoint, in small steps."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.kernel.bitcoin import headers as chain
from signer_node.kernel.bitcoin.faults import InvalidHeader, UnknownParent
from signer_node.kernel.bitcoin.headers import (
    MAX_FORK_DEPTH,
    MAX_FUTURE_S,
    MAX_HEADERS,
    StoredHeader,
    accept_headers,
    bits_from_target,
    confirmations,
    height_of,
    locator,
    median_time_past,
    parse_header,
    start_chain,
    target_from_bits,
)
from signer_node.kernel.bitcoin.network import Network

GENESIS = Network.REGTEST.parameters.genesis_header
START_S = parse_header(GENESIS).time_s
NOW_S = START_S + 10_000_000
REGTEST_BITS = 0x207FFFFF

# Blocks 1 and 2 of the main chain.
MAIN = [
    (
        "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e"
        "1fee14677ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299"
    ),
    (
        "010000004860eb18bf1b1620e37e9490fc8a427514416fd75159ab86688e9a8300000000d5fdcc541e25de1c7a5added"
        "f24858b8bb665c9f36ef744ee42c316022c90f9bb0bc6649ffff001d08d2bd61"
    ),
]


class Store:
    """A store of headers in memory, as the journal keeps one in SQLite."""

    def __init__(self, root: StoredHeader, network: Network = Network.REGTEST) -> None:
        self.network = network
        self.all = {root.hash: root}
        self.best = {root.height: root}
        self.last = root
        self.reads = 0

    def get(self, block_hash: bytes) -> StoredHeader | None:
        self.reads += 1
        return self.all.get(block_hash)

    def at_height(self, height: int) -> StoredHeader | None:
        self.reads += 1
        return self.best.get(height)

    def tip(self) -> StoredHeader:
        return self.last

    def take(self, raws: Sequence[bytes], now_s: int = NOW_S) -> chain.AcceptedHeaders:
        accepted = accept_headers(self, raws, now_s, self.network)
        self.all.update((each.hash, each) for each in accepted.new)
        for lost in accepted.disconnected:
            del self.best[lost.height]
        self.best.update((each.height, each) for each in accepted.connected)
        self.last = accepted.new_tip
        return accepted


def regtest_store() -> Store:
    return Store(start_chain(Network.REGTEST, GENESIS, 0))


def mine(
    previous: bytes, time_s: int, bits: int = REGTEST_BITS, salt: int = 0, good: bool = True
) -> bytes:
    """A header after `previous` (raw) whose hash is (or is not) below its target."""
    root = salt.to_bytes(32, "little")
    head = struct.pack("<i32s32sII", 0x20000000, parse_header(previous).hash, root, time_s, bits)
    target = target_from_bits(bits)
    for nonce in range(1 << 20):
        raw = head + struct.pack("<I", nonce)
        if (int.from_bytes(parse_header(raw).hash, "little") <= target) is good:
            return raw
    raise AssertionError("no nonce found")


def grow(previous: bytes, count: int, salt: int = 0, step_s: int = 600) -> list[bytes]:
    raws = []
    for _ in range(count):
        previous = mine(previous, parse_header(previous).time_s + step_s, salt=salt)
        raws.append(previous)
    return raws


def test_the_main_chain_begins_as_everybody_knows() -> None:
    root = start_chain(Network.MAIN, Network.MAIN.parameters.genesis_header, 0)
    store = Store(root, Network.MAIN)
    accepted = store.take([bytes.fromhex(raw) for raw in MAIN])
    assert accepted.new_tip.height == 2
    assert accepted.new_tip.hash[::-1].hex() == (
        "000000006a625f06636b8bb6ac7b960a8d03705d1ace08b1a19da3fdcc99ddbd"
    )
    assert accepted.new_tip.chainwork == 3 * 0x100010001
    assert accepted.disconnected == ()


@pytest.mark.parametrize("network", [Network.MAIN, Network.SIGNET, Network.REGTEST])
def test_a_chain_starts_at_its_networks_genesis_block(network: Network) -> None:
    assert start_chain(network, network.parameters.genesis_header, 0).height == 0
    for other in (Network.MAIN, Network.SIGNET, Network.REGTEST):
        if other is not network:
            with pytest.raises(InvalidHeader):
                start_chain(network, other.parameters.genesis_header, 0)


def test_a_checkpoint_inside_a_difficulty_period_is_refused() -> None:
    raw = bytes.fromhex(MAIN[0])
    with pytest.raises(InvalidHeader, match="multiple"):
        start_chain(Network.MAIN, raw, 1)
    with pytest.raises(InvalidHeader, match="negative"):
        start_chain(Network.MAIN, raw, -2016)
    assert start_chain(Network.MAIN, raw, 2016).height == 2016
    assert start_chain(Network.REGTEST, mine(GENESIS, START_S), 7).height == 7


def test_headers_extend_the_chain_and_known_ones_change_nothing() -> None:
    store = regtest_store()
    raws = grow(GENESIS, 5)
    accepted = store.take(raws)
    assert [each.height for each in accepted.connected] == [1, 2, 3, 4, 5]
    again = store.take(raws)
    assert (again.new, again.connected, again.disconnected) == ((), (), ())
    assert again.new_tip == accepted.new_tip
    assert [confirmations(store, parse_header(raw).hash) for raw in raws] == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("length", [0, 79, 81, 160])
def test_a_header_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidHeader, match="80 bytes"):
        regtest_store().take([bytes(length)])


def test_a_header_without_its_work_is_refused() -> None:
    with pytest.raises(InvalidHeader, match="proof of work"):
        regtest_store().take([mine(GENESIS, START_S + 1, good=False)])


@pytest.mark.parametrize("bits", [0x207FFFFE, 0x2100FFFF, 0x1F7FFFFF])
def test_another_difficulty_than_the_rules_demand_is_refused(bits: int) -> None:
    with pytest.raises(InvalidHeader):
        regtest_store().take([mine(GENESIS, START_S + 1, bits=bits)])


@pytest.mark.parametrize("bits", [0, 0x00FFFFFF, 0x04800001, 0x01003456, 0x23000100, 0xFF7FFFFF])
def test_bits_that_are_no_target_are_refused(bits: int) -> None:
    with pytest.raises(InvalidHeader, match="no target"):
        target_from_bits(bits)


@given(st.integers(1, (1 << 256) - 1))
def test_compact_targets_round_down_and_read_back(target: int) -> None:
    bits = bits_from_target(target)
    rounded = target_from_bits(bits)
    assert rounded <= target < rounded + (1 << max(0, target.bit_length() - 15))
    assert bits_from_target(rounded) == bits


def test_headers_that_do_not_follow_each_other_are_refused() -> None:
    first, second, third = grow(GENESIS, 3)
    with pytest.raises(InvalidHeader, match="consecutive"):
        regtest_store().take([first, third])
    with pytest.raises(UnknownParent):
        regtest_store().take([second, third])


def test_too_many_headers_in_a_message_are_refused() -> None:
    with pytest.raises(InvalidHeader, match="at most"):
        regtest_store().take([GENESIS] * (MAX_HEADERS + 1))


def test_all_headers_of_a_message_are_accepted_or_none() -> None:
    store = regtest_store()
    good = grow(GENESIS, 3)
    bad = mine(good[-1], START_S + 5_000, good=False)
    with pytest.raises(InvalidHeader):
        store.take([*good, bad])
    assert store.tip().height == 0
    assert len(store.all) == 1


def test_a_time_at_or_before_the_median_of_eleven_is_refused() -> None:
    store = regtest_store()
    raws = grow(GENESIS, 20)
    store.take(raws)
    median_s = median_time_past(store)
    assert median_s == parse_header(raws[-6]).time_s
    with pytest.raises(InvalidHeader, match="median"):
        store.take([mine(raws[-1], median_s)])
    assert store.take([mine(raws[-1], median_s + 1)]).new_tip.height == 21


def test_a_time_more_than_two_hours_ahead_is_refused() -> None:
    store = regtest_store()
    with pytest.raises(InvalidHeader, match="future"):
        store.take([mine(GENESIS, NOW_S + MAX_FUTURE_S + 1)])
    assert store.take([mine(GENESIS, NOW_S + MAX_FUTURE_S)]).new_tip.height == 1


def test_right_after_a_checkpoint_the_median_rule_waits_for_eleven_headers() -> None:
    """A real block may be older than the checkpoint; whether it is too old cannot be known yet."""
    early = mine(GENESIS, START_S + 50_000)
    store = Store(start_chain(Network.REGTEST, early, 500))
    store.take([mine(early, START_S + 40_000)])
    assert median_time_past(store) == START_S + 50_000


def test_the_branch_with_more_work_wins_and_the_first_seen_of_two_equal_ones() -> None:
    store = regtest_store()
    old, new = grow(GENESIS, 3), grow(GENESIS, 4, salt=1)
    store.take(old)
    equal = store.take(new[:3])
    assert equal.new_tip.hash == parse_header(old[-1]).hash
    assert (equal.connected, equal.disconnected) == ((), ())
    assert height_of(store, parse_header(new[2]).hash) is None
    assert confirmations(store, parse_header(new[2]).hash) == 0
    turned = store.take(new[3:])
    assert [each.height for each in turned.disconnected] == [3, 2, 1]
    assert [each.height for each in turned.connected] == [1, 2, 3, 4]
    assert confirmations(store, parse_header(old[0]).hash) == 0
    assert height_of(store, parse_header(new[0]).hash) == 1
    back = store.take(grow(old[-1], 2))
    assert back.new_tip.height == 5
    assert [each.height for each in back.disconnected] == [4, 3, 2, 1]
    assert [each.height for each in back.connected] == [1, 2, 3, 4, 5]


def test_a_fork_too_far_below_the_tip_is_refused() -> None:
    store = regtest_store()
    raws = grow(GENESIS, MAX_FORK_DEPTH + 2)
    store.take(raws)
    with pytest.raises(InvalidHeader, match="below the tip"):
        store.take(grow(raws[0], 3, salt=1))
    assert store.take(grow(raws[1], 3, salt=1)).connected == ()


def test_one_more_header_on_a_long_chain_reads_only_a_few() -> None:
    store = regtest_store()
    raws = grow(GENESIS, 1000)
    store.take(raws)
    store.reads = 0
    store.take(grow(raws[-1], 1))
    assert store.reads < 30


def test_the_difficulty_is_set_anew_every_2016_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a network of regtest's work with main's rule; the expected values are worked out here."""
    monkeypatch.setattr(Network, "parameters", property(_retargeting))
    store = Store(start_chain(Network.REGTEST, GENESIS, 0))
    raws = grow(GENESIS, 2015, step_s=300)
    store.take(raws[:2000])
    store.take(raws[2000:])
    taken_s = parse_header(raws[-1]).time_s - START_S
    expected = bits_from_target(target_from_bits(REGTEST_BITS) * taken_s // 1_209_600)
    assert expected != REGTEST_BITS
    time_s = parse_header(raws[-1]).time_s + 300
    with pytest.raises(InvalidHeader, match="difficulty"):
        store.take([mine(raws[-1], time_s)])
    harder = mine(raws[-1], time_s, bits=expected)
    assert store.take([harder]).new_tip.height == 2016
    with pytest.raises(InvalidHeader, match="difficulty"):
        store.take([mine(harder, time_s + 300)])
    fork = mine(raws[-2], parse_header(raws[-1]).time_s + 150, salt=3)
    store.take([fork])
    taken_s = parse_header(fork).time_s - START_S
    other = bits_from_target(target_from_bits(REGTEST_BITS) * taken_s // 1_209_600)
    assert other != expected
    store.take([mine(fork, time_s + 600, bits=other)])


def _retargeting(network: Network) -> object:
    import dataclasses

    from signer_node.kernel.bitcoin import network as networks

    return dataclasses.replace(networks._PARAMETERS[network], retargets=True)


def test_a_retarget_of_the_main_chain_gives_the_known_bits() -> None:
    """Bitcoin Core's pow_tests.cpp: blocks 32255, 68543 and 46367, and the clamp both ways."""
    cases = [
        (1261130161, 1262152739, 0x1D00FFFF, 0x1D00D86A),
        (1231006505, 1233061996, 0x1D00FFFF, 0x1D00FFFF),
        (1279008237, 1279297671, 0x1C05A3F4, 0x1C0168FD),
        (1263163443, 1269211443, 0x1C387F6F, 0x1D00E1FD),
    ]
    for first_s, last_s, bits, expected in cases:
        assert chain.retarget(Network.MAIN, bits, last_s - first_s) == expected


@given(st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_a_locator_begins_at_the_tip_and_ends_near_the_checkpoint(length: int) -> None:
    store = regtest_store()
    store.take(grow(GENESIS, length))
    hashes = locator(store)
    assert hashes[0] == store.tip().hash
    heights = [height_of(store, block_hash) for block_hash in hashes]
    assert heights == sorted(heights, key=lambda height: -(height or 0))
    assert hashes[-1] == parse_header(GENESIS).hash
