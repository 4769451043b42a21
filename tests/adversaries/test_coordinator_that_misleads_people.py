"""A coordinator that would have operators decide over something else than they think, or not be
heard: names that pass for digests, replacements that replace nothing, a chain that turns while
somebody says no, a genesis with more in it than its words tell (PROTOCOL.md G3, section 3)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from signer_node import wire
from signer_node.adapters.clock import Clock
from signer_node.console.messages import PendingGenesis, Shown, ShowRequest
from signer_node.console.view import View, view_of
from signer_node.daemon.answers import Console
from signer_node.daemon.look_commands import _genesis_text
from signer_node.daemon.notice import Notifier, Waiting
from signer_node.daemon.operator_commands import _require_whole_digest
from signer_node.daemon.service import Service
from signer_node.kernel.bitcoin.psbt import parse_psbt
from signer_node.kernel.bitcoin.transaction import Outpoint, stripped_bytes
from signer_node.kernel.curve import xonly_from_secret
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.genesis import Genesis, RequestKey
from signer_node.kernel.documents.manifest import Headers, InputEvidence
from signer_node.kernel.errors import ErrorId, Refusal
from tests.world.payouts import (
    Coin,
    Draft,
    coin,
    draft,
    open_round,
    operator_envelope,
    propose,
    rejection,
    request,
)
from tests.world.quorum import World, secret


def console(world: World, name: str = "s1") -> Console:
    sim = world.nodes[name]
    clock = Clock(wall=lambda: float(world.now_s))
    return Console(Service(sim.node, sim.journal, clock, Notifier([], None)), lambda: 0)


def screen(world: World, name: str, at: str = "s1") -> View:
    answer = console(world, at).answer(ShowRequest(name))
    assert isinstance(answer, Shown), answer
    return view_of(answer)


def test_a_batch_named_like_another_manifests_digest() -> None:
    world = World()
    wanted = draft(world, "w-1")
    propose(world, wanted)
    digits = wanted.digest.hex()[:16]
    other = draft(world, "w-2", change_index=1, overrides={"batch_id": digits})
    propose(world, other)
    for name in (digits, digits.upper(), wanted.digest.hex()):
        assert screen(world, name).review.digest == wanted.digest
    assert screen(world, "b1").review.digest == wanted.digest


def test_a_second_manifest_of_the_same_batch_id_between_look_and_word() -> None:
    """Somebody looks at b1 and then says yes to b1 without looking again: b1 is another one now,
    which pays the same largest address and others besides."""
    world = World()
    seen = draft(world, "w-1")
    propose(world, seen)
    looked = screen(world, "b1")
    more = request(world, "w-2", 999_999)
    swapped = Draft(world, [coin(world)], [*seen.requests, more], change_index=1)
    propose(world, swapped)
    now = screen(world, "b1")
    assert now.review.digest != looked.review.digest
    assert now.review.largest.address == looked.review.largest.address
    for name in ("b1", now.review.digest.hex()[:16]):
        with pytest.raises(Refusal) as refused:
            _require_whole_digest(name, now)
        assert refused.value.error is ErrorId.DECISION_NOT_CONFIRMED
    with pytest.raises(Refusal):
        _require_whole_digest(looked.review.digest.hex(), now)
    _require_whole_digest(now.review.digest.hex(), now)


def test_a_replacement_of_a_manifest_that_this_node_never_saw() -> None:
    """It spends another coin than the one it says it replaces: both could be paid."""
    world = World()
    first = draft(world, "w-1")
    world.send("s1", PayloadType.MANIFEST_PROPOSAL, first.proposal())
    second = Draft(world, [coin(world)], first.requests, overrides={"replaces": first.digest})
    assert world.refusal("s1", PayloadType.MANIFEST_PROPOSAL, second.proposal()) is (
        ErrorId.REPLACEMENT_INVALID
    )
    assert world.refusal("s2", PayloadType.MANIFEST_PROPOSAL, second.proposal()) is None
    shown = screen(world, second.digest.hex(), "s2").text
    assert "only one of the two can" not in shown
    assert "that one was never checked here: both might be paid   [node]" in shown
    assert "says that it replaces" in shown


def test_a_true_replacement_is_shown_as_what_this_node_knows() -> None:
    world = World()
    first = draft(world, "w-1")
    propose(world, first)
    second = Draft(
        world, first.coins, first.requests, fee_sat=3_000, overrides={"replaces": first.digest}
    )
    assert set(propose(world, second).values()) == {None}
    shown = screen(world, second.digest.hex()).text
    assert "only one of the two can confirm   [node]" in shown
    assert "never checked here" not in shown


def test_a_no_is_heard_while_the_chain_is_turned_under_the_manifest() -> None:
    """The block of the input leaves the best chain for a moment, just when bob says no."""
    world = World()
    one = draft(world)
    propose(world, one)
    fork = world.chain.fork(1)
    fork.mine()
    fork.mine()
    turned = Headers(fork.headers(world.chain.height - 1))
    world.send("s2", PayloadType.HEADERS, wire.encode(turned))
    assert open_round(world, one.digest, ["s2"])["s2"] is ErrorId.INPUT_BLOCK_UNKNOWN
    no = rejection(world, one.digest, "bob")
    world.deliver("s2", operator_envelope(world, "s2", "bob", no))
    world.mine()
    world.mine()
    answers = open_round(world, one.digest, ["s2"], number=2)
    assert answers["s2"] is ErrorId.MANIFEST_REJECTED


def test_a_genesis_with_another_payer_and_a_chain_of_its_own_shows_both() -> None:
    """Whoever compares words compares what stands in the genesis: who may ask, from which block."""

    class Slipped(World):
        def _genesis(self) -> Genesis:
            honest = World._genesis(self)
            mallory = RequestKey(xonly_from_secret(secret("mallory")), ("mallory",))
            return replace(honest, request_keys=(*honest.request_keys, mallory))

    genesis = Slipped().genesis
    text = _genesis_text(genesis, PendingGenesis(genesis.raw, "a b", False))
    assert f"mallory by key {xonly_from_secret(secret('mallory')).hex()}" in text
    block = genesis.document.genesis_block[::-1].hex()
    assert f"CHAIN    from block 0, {block}" in text


def test_a_batch_id_that_would_be_an_option_of_the_notice_command(tmp_path: Path) -> None:
    told, script = tmp_path / "told", tmp_path / "hook"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {told}\n')
    script.chmod(0o700)
    notifier = Notifier([str(script)], None)
    notifier.start()
    for name in ("--output=/etc/passwd", "b-1"):
        notifier.tell(Waiting(name, bytes(32), 0))
    notifier.stop()
    assert told.read_text().splitlines() == ["\\x2d-output=/etc/passwd", "b-1"]


def test_change_of_a_rejected_manifest_bears_no_other() -> None:
    """Operators said no to a payout; another one is built on its change, which will not come to be:
    whoever is paid by it could never be paid again."""
    world = World()
    first = draft(world, "w-1")
    propose(world, first)
    transaction = parse_psbt(first.manifest().psbt).transaction
    (change,) = first.changes
    value_sat = transaction.outputs[change.output].value_sat
    evidence = InputEvidence(stripped_bytes(transaction), 1, change.index, None)
    sand = Coin(Outpoint(transaction.txid, change.output), value_sat, evidence)
    payout = request(world, "w-2", 500_000)
    second = Draft(world, [sand], [payout], change_index=1)
    assert world.refusal("s1", PayloadType.MANIFEST_PROPOSAL, second.proposal()) is None
    no = rejection(world, first.digest, "bob")
    world.deliver("s2", operator_envelope(world, "s2", "bob", no))
    assert propose(world, second)["s2"] is ErrorId.INPUT_UNCONFIRMED
    # What was accepted before the no is not signed after it.
    no = rejection(world, first.digest, "alice")
    world.deliver("s1", operator_envelope(world, "s1", "alice", no))
    assert open_round(world, second.digest, ["s1"])["s1"] is ErrorId.INPUT_UNCONFIRMED
