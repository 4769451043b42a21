"""G4: a withdrawal is paid at most once, whatever the coordinator proposes and whoever is away.

`paid_once` against an oracle: of all manifests that a signer released, no two that pay one
withdrawal can both confirm, because a chain confirms no outpoint twice. Then the same through real
nodes, with the payer's confirmation where signers alone are too few (f_once = 0 in 2-of-3).
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.kernel.bitcoin.transaction import Outpoint
from signer_node.kernel.documents.genesis import quorum_figures
from signer_node.kernel.documents.signing import ShareSet
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.facts import PaidManifest
from signer_node.kernel.rules.paid_once import check_paid_once
from tests.world.payouts import Draft, coin, draft, open_round, package, propose, send_package, sign
from tests.world.quorum import World

IDS = ("w1", "w2", "w3", "w4")
manifests = st.lists(
    st.tuples(
        st.sets(st.sampled_from(IDS), min_size=1),
        st.sets(st.integers(0, 5), min_size=1),
    ),
    max_size=14,
)


def manifest(number: int, ids: set[str], coins: set[int]) -> PaidManifest:
    tokens = frozenset(Outpoint(hashlib.sha256(bytes([one])).digest(), 0) for one in coins)
    return PaidManifest(number.to_bytes(32, "big"), frozenset(ids), tokens)


@settings(max_examples=500, deadline=None)
@given(manifests)
def test_no_two_released_manifests_pay_one_withdrawal_and_both_confirm(
    proposals: list[tuple[set[str], set[int]]],
) -> None:
    released: list[PaidManifest] = []
    for number, (ids, coins) in enumerate(proposals):
        one = manifest(number, ids, coins)
        with contextlib.suppress(Refusal):
            check_paid_once(one, released)
            released.append(one)
    for first, second in combinations(released, 2):
        if first.withdrawal_ids & second.withdrawal_ids:
            assert first.conflict_tokens & second.conflict_tokens
            assert first.withdrawal_ids == second.withdrawal_ids


@given(st.sets(st.sampled_from(IDS), min_size=1), st.sets(st.integers(0, 5), min_size=1))
def test_a_manifest_may_always_be_signed_again(ids: set[str], coins: set[int]) -> None:
    one = manifest(1, ids, coins)
    check_paid_once(one, [one])


def test_a_replacement_must_conflict_with_every_earlier_attempt() -> None:
    first, second = manifest(1, {"w1"}, {1, 2}), manifest(2, {"w1"}, {2, 3})
    check_paid_once(second, [first])
    check_paid_once(manifest(3, {"w1"}, {2}), [first, second])
    with pytest.raises(Refusal) as caught:
        check_paid_once(manifest(3, {"w1"}, {3}), [first, second])
    assert caught.value.error is ErrorId.WITHDRAWAL_ALREADY_PAID


def test_the_figures_say_when_signers_alone_are_enough() -> None:
    """PROTOCOL.md section 1: 2-of-3: 1, 0, 1. 3-of-4: 2, 1, 1. 3-of-5: 2, 0, 2. 5-of-7: 4, 2, 2."""
    expected = {(2, 3): (1, 0, 1), (3, 4): (2, 1, 1), (3, 5): (2, 0, 2), (5, 7): (4, 2, 2)}
    for (threshold, count), figures in expected.items():
        got = quorum_figures(threshold, count)
        assert (got.f_theft, got.f_once, got.f_live) == figures


def test_a_replacement_from_the_same_coins_is_signed() -> None:
    world = World()
    first = draft(world, "w-1")
    propose(world, first)
    signed = sign(world, first, ["s1", "s2"])
    again = Draft(world, first.coins, first.requests, fee_sat=4_000)
    again.overrides["replaces"] = first.digest
    assert set(propose(world, again).values()) == {None}
    replacement = sign(world, again, ["s1", "s3"])
    assert replacement.txid != signed.txid
    spent = [{txin.outpoint for txin in one.transaction.inputs} for one in (signed, replacement)]
    assert spent[0] & spent[1]


def test_a_replacement_that_leaves_out_a_payout_is_refused() -> None:
    world = World()
    first = draft(world, "w-1", "w-2")
    propose(world, first)
    fewer = Draft(world, first.coins, first.requests[:1], change_index=1)
    fewer.overrides["replaces"] = first.digest
    assert set(propose(world, fewer).values()) == {ErrorId.REPLACEMENT_INVALID}


def test_a_replacement_that_leaves_out_an_input_is_refused() -> None:
    world = World()
    first = draft(world, "w-1")
    first.coins.append(coin(world))
    two = Draft(world, first.coins, first.requests)
    propose(world, two)
    fewer = Draft(world, two.coins[:1], two.requests, change_index=1)
    fewer.overrides["replaces"] = two.digest
    assert set(propose(world, fewer).values()) == {ErrorId.REPLACEMENT_INVALID}


def test_with_one_corrupt_signer_of_three_only_the_payer_stands_between() -> None:
    """f_once = 0: s1 lies, s2 signs one manifest, s3 another; the payer confirms one alone.

    The payer's own refusal of the second is its client's test; here its missing confirmation
    makes s3 refuse.
    """
    world = World()
    first = draft(world, "w-1")
    propose(world, first)
    sign(world, first, ["s1", "s2"])
    second = Draft(world, [coin(world)], first.requests, change_index=1)
    assert propose(world, second)["s3"] is None
    opened = open_round(world, second.digest, ["s3"])
    liar = replace(opened["s3"], boot=bytes(16))
    built = package(world, second.digest, {"s1": liar, **opened}, payer_confirmation=b"")
    assert send_package(world, built, "s3") is ErrorId.PAYER_CONFIRMATION_MISSING


def test_a_signer_keeps_its_word_over_a_crash() -> None:
    world = World()
    first = draft(world, "w-1")
    propose(world, first)
    sign(world, first, ["s1", "s2"])
    world.nodes["s1"].crash()
    again = Draft(world, [coin(world)], first.requests, change_index=1)
    assert propose(world, again)["s1"] is ErrorId.WITHDRAWAL_ALREADY_PAID


def test_two_manifests_reviewed_before_either_is_released() -> None:
    """Both pass review; the release of one makes the other unsignable."""
    world = World()
    first = draft(world, "w-1")
    second = Draft(world, [coin(world)], first.requests, change_index=1)
    assert set(propose(world, first).values()) == {None}
    assert set(propose(world, second).values()) == {None}
    commitments = open_round(world, second.digest, ["s1", "s2"])
    sign(world, first, ["s1", "s2"])
    built = package(world, second.digest, commitments)
    for name in ("s1", "s2"):
        assert send_package(world, built, name) is ErrorId.WITHDRAWAL_ALREADY_PAID
    opened = open_round(world, second.digest, ["s1"], number=2)
    assert opened == {"s1": ErrorId.WITHDRAWAL_ALREADY_PAID}
    assert not isinstance(send_package(world, built, "s1"), ShareSet)
