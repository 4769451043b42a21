"""The approver's screen: worked out from the bytes, and nothing that does not fit is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from signer_node.adapters.keystore import Secret
from signer_node.console.decision import (
    APPROVE,
    Addressed,
    Word,
    check_word,
    decision_envelope,
    require_typed,
)
from signer_node.console.facts import Review, review
from signer_node.console.messages import Shown
from signer_node.console.screen import (
    NodeFacts,
    bitcoin,
    digest_groups,
    duration,
    groups,
    last_group,
    render,
)
from signer_node.console.view import as_json, view_of
from signer_node.core import node as core
from signer_node.kernel.bitcoin.transaction import TxOut
from signer_node.kernel.curve import xonly_from_secret
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.journal import RecordKind
from signer_node.kernel.documents.manifest import (
    Approval,
    Change,
    Decision,
    InputEvidence,
    Payout,
    RejectReason,
)
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.wire import open_envelope, open_signed
from tests.world.payouts import Draft, approval, coin, draft, propose, request
from tests.world.quorum import World, secret


def reviewed(world: World, one: Draft) -> Review:
    return review(one.proposal(), world.genesis, world.vault.certificate)


def refused(world: World, one: Draft) -> ErrorId:
    with pytest.raises(Refusal) as caught:
        reviewed(world, one)
    return caught.value.error


def node_facts(world: World, decisions: tuple[bytes, ...] = ()) -> NodeFacts:
    return NodeFacts("s1", decisions, world.now_s, 7, "waiting", world.now_s)


def screen_of(world: World, one: Draft, decisions: tuple[bytes, ...] = ()) -> str:
    return render(reviewed(world, one), world.genesis.document, node_facts(world, decisions))


def test_sums_fee_and_change_are_those_of_the_bytes() -> None:
    world = World()
    batch = draft(world, "w-1", "w-2", amount_sat=1_000_000, fee_sat=2_500)
    facts = reviewed(world, batch)
    assert facts.digest == batch.digest
    assert (facts.paid_sat, facts.fee_sat) == (2_000_000, 2_500)
    assert facts.input_sat == facts.paid_sat + facts.fee_sat + facts.change_sat
    assert [one.index for one in facts.changes] == [0]
    assert facts.requesters == frozenset({"rita"})


def _swapped(batch: Draft) -> None:
    batch.outputs[0], batch.outputs[1] = batch.outputs[1], TxOut(1, batch.outputs[0].script)


def _raised(batch: Draft) -> None:
    batch.outputs[0] = TxOut(batch.outputs[0].value_sat + 1, batch.outputs[0].script)


def _extra(batch: Draft) -> None:
    batch.outputs.append(TxOut(5_000, b"\x00\x14" + bytes(20)))


def _foreign_change(batch: Draft) -> None:
    batch.outputs[-1] = TxOut(batch.outputs[-1].value_sat, b"\x00\x14" + bytes(20))


def _external_change(batch: Draft) -> None:
    script = batch.world.vault.kind.script(0, 0)
    batch.outputs[-1] = TxOut(batch.outputs[-1].value_sat, script)


def _claimed_twice(batch: Draft) -> None:
    batch.changes = (*batch.changes, Change(batch.changes[0].output, 0))


def _paid_twice(batch: Draft) -> None:
    batch.payouts = (batch.payouts[0], batch.payouts[0])


def _nowhere(batch: Draft) -> None:
    batch.payouts = (batch.payouts[0], Payout(99, batch.payouts[1].request))


def _no_request(batch: Draft) -> None:
    batch.signed_requests = batch.signed_requests[:1]


def _no_evidence(batch: Draft) -> None:
    batch.overrides["evidence"] = ()


def _foreign_input(batch: Draft) -> None:
    batch.overrides["evidence"] = (replace(batch.coins[0].evidence, index=1),)


def _other_evidence(batch: Draft) -> None:
    evidence = coin(batch.world, 5).evidence
    batch.overrides["evidence"] = (evidence,)


@pytest.mark.parametrize(
    ("attack", "error"),
    [
        (_swapped, ErrorId.MANIFEST_OUTPUT_MISMATCH),
        (_raised, ErrorId.MANIFEST_OUTPUT_MISMATCH),
        (_extra, ErrorId.MANIFEST_OUTPUT_UNREQUESTED),
        (_foreign_change, ErrorId.CHANGE_SCRIPT_FOREIGN),
        (_external_change, ErrorId.CHANGE_SCRIPT_FOREIGN),
        (_claimed_twice, ErrorId.MANIFEST_OUTPUT_CLAIMED_TWICE),
        (_paid_twice, ErrorId.MANIFEST_OUTPUT_CLAIMED_TWICE),
        (_nowhere, ErrorId.MANIFEST_OUTPUT_MISMATCH),
        (_no_request, ErrorId.REQUEST_MISSING),
        (_no_evidence, ErrorId.INPUT_EVIDENCE_MISSING),
        (_foreign_input, ErrorId.INPUT_NOT_OURS),
        (_other_evidence, ErrorId.INPUT_EVIDENCE_INVALID),
    ],
    ids=lambda value: getattr(value, "__name__", "").strip("_") or value.name.lower(),
)
def test_a_daemon_that_lies_about_the_bytes_is_not_shown(attack: object, error: ErrorId) -> None:
    world = World()
    batch = draft(world)
    attack(batch)  # type: ignore[operator]
    assert refused(world, batch) is error


def test_a_request_by_a_key_that_is_not_in_the_genesis_is_not_shown() -> None:
    world = World()
    stranger = secret("stranger")
    asked = request(world, "w-1", 1_000_000, key=xonly_from_secret(stranger))
    batch = Draft(world, [coin(world)], [asked], request_key=stranger)
    assert refused(world, batch) is ErrorId.REQUEST_KEY_UNKNOWN


def test_a_manifest_of_another_quorum_or_vault_is_not_shown() -> None:
    world, other = World(), World(corrupt_max=0)
    batch = draft(world)
    with pytest.raises(Refusal) as caught:
        review(batch.proposal(), other.genesis, world.vault.certificate)
    assert caught.value.error is ErrorId.MANIFEST_OTHER_GENESIS
    with pytest.raises(Refusal) as caught:
        review(batch.proposal(), world.genesis, other.vault.certificate)
    assert caught.value.error is ErrorId.MANIFEST_OTHER_VAULT


def test_every_line_with_a_fact_says_where_it_is_known_from() -> None:
    world = World()
    batch = draft(world)
    lines = screen_of(world, batch, (approval(world, batch.digest, "alice"),)).splitlines()
    marks = ("[bytes]", "[node]", "[claimed]")
    heads = [line for line in lines if line[:1].strip() and not line.startswith(" ")]
    assert len(heads) >= 8
    assert [line for line in heads if not any(mark in line for mark in marks)] == []
    claimed = [line for line in lines if "[claimed]" in line]
    assert all("withdrawal" in line for line in claimed)


def test_foreign_text_reaches_the_screen_escaped() -> None:
    world = World()
    asked = request(world, "w-1", 1_000_000, account="\u0430cme\\n é")
    batch = Draft(world, [coin(world)], [asked], overrides={"batch_id": "b\u0435"})
    screen = screen_of(world, batch)
    assert screen.isascii()
    assert "\\u0430cme\\\\n \\xe9" in screen
    assert "batch b\\u0435 " in screen


def test_flags_are_words() -> None:
    world = World()
    first = request(world, "w-1", 4_000_000)
    same = request(world, "w-2", 500_000, script=first.script)
    batch = Draft(world, [coin(world)], [first, same], fee_sat=60_000)
    batch.overrides["replaces"] = bytes(31) + b"\x01"
    flags = " | ".join(reviewed(world, batch).flags)
    for words in (
        "says that it replaces an earlier",
        "#0 and #1 pay the same",
        "#0 is 88 %",
        "more than 1 %",
    ):
        assert words in flags
    unconfirmed = draft(world)
    evidence = unconfirmed.coins[0].evidence
    bare = InputEvidence(evidence.previous_transaction, evidence.chain, evidence.index, None)
    unconfirmed.overrides["evidence"] = (bare,)
    assert "not confirmed yet" in reviewed(world, unconfirmed).flags[0]
    world.now_s = batch.manifest().expires_at_s + 1
    assert "HAS EXPIRED" in screen_of(world, batch)


def test_who_decided_and_who_may_still_is_said() -> None:
    world = World()
    batch = draft(world)
    said = approval(world, batch.digest, "alice")
    screen = screen_of(world, batch, (said,))
    assert "WHO      alice approved" in screen
    assert "may still decide: bob (treasury, s2), carol (treasury, s3)" in screen


def test_numbers_are_grouped_to_be_read_aloud() -> None:
    assert bitcoin(321_400_000) == "3.214 000 00"
    assert bitcoin(1) == "0.000 000 01"
    assert groups("abcdefghij") == "abcd efgh ij"
    assert (last_group("abcdefgh"), last_group("abcdefghij")) == ("efgh", "ij")
    assert digest_groups(bytes(32)).count(" ") == 15
    assert (duration(6_190), duration(-1)) == ("01:43:10", "over")


# --- deciding ---


def test_only_the_last_group_of_the_largest_payout_approves() -> None:
    world = World()
    small = request(world, "w-1", 900_000)
    large = request(world, "w-2", 1_000_000)
    facts = reviewed(world, Draft(world, [coin(world)], [small, large]))
    assert facts.largest.output == 1
    require_typed(facts, last_group(facts.largest.address))
    require_typed(facts, f" {last_group(facts.largest.address)}\n")
    for typed in ("", "y", "yes", last_group(facts.payouts[0].address), facts.largest.address):
        with pytest.raises(Refusal) as caught:
            require_typed(facts, typed)
        assert caught.value.error is ErrorId.DECISION_NOT_CONFIRMED


def test_a_decision_is_an_envelope_that_the_node_takes() -> None:
    world = World()
    batch = draft(world)
    propose(world, batch)
    sim = world.nodes["s1"]
    operator = Secret(
        "operator/alice/treasury", xonly_from_secret(secret("alice")), secret("alice")
    )
    addressed = Addressed(sim.identity_key, world.now_s)
    facts = reviewed(world, batch)
    raw = decision_envelope(facts, world.genesis, operator, APPROVE, addressed)
    step = core.deliver(sim.node, raw, world.now_s)
    assert [record.kind for record in step.records] == [RecordKind.DECISION]
    envelope = open_envelope(raw).document
    assert envelope.type is PayloadType.APPROVAL
    assert open_signed(Approval, envelope.payload).document.manifest == batch.digest

    word = Word(Decision.REJECT, RejectReason.FEE, "too dear", (1,))
    check_word(facts, word)
    raw = decision_envelope(facts, world.genesis, operator, word, addressed)
    world.deliver("s1", raw)
    entry = sim.journal.manifest(batch.digest)
    assert entry is not None
    assert entry.rejected
    with pytest.raises(Refusal):
        check_word(facts, replace(word, outputs=(2,)))


def test_a_key_that_is_no_operators_decides_nothing() -> None:
    world = World()
    batch = draft(world)
    stranger = Secret("operator/eve/x", xonly_from_secret(secret("eve")), secret("eve"))
    addressed = Addressed(world.nodes["s1"].identity_key, world.now_s)
    with pytest.raises(Refusal) as caught:
        decision_envelope(reviewed(world, batch), world.genesis, stranger, APPROVE, addressed)
    assert caught.value.error is ErrorId.OPERATOR_KEY_UNKNOWN


def test_a_view_is_the_same_as_text_and_as_json() -> None:
    world = World()
    batch = draft(world)
    shown = Shown(
        proposal=batch.proposal(),
        genesis=world.genesis.raw,
        certificate=world.vault.certificate.raw,
        decisions=[],
        identity_key=world.nodes["s1"].identity_key,
        journaled_at_s=world.now_s,
        tip_height=1,
        state="waiting",
        now_s=world.now_s,
        knows_replaced=False,
    )
    view = view_of(shown)
    document = as_json(view)
    assert document["digest"] == batch.digest.hex()
    assert [one["amount_sat"] for one in document["payouts"]] == [1_000_000, 1_000_000]
    assert groups(document["largest"]["address"]) in view.text
    shown.identity_key = bytes(32)
    with pytest.raises(Refusal):
        view_of(shown)
