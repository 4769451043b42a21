"""Somebody bends key generation over the mailbox: no honest node ends it, and the culprit is named
as far as a participant can tell. The next attempt, bent by nobody, ends well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from signer_node import wire
from signer_node.core.ledger import Node
from signer_node.kernel.dkg import chilldkg
from signer_node.kernel.dkg.group import add_scalars
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.manifest import Verdict
from signer_node.kernel.documents.vault import KeygenMessage, VaultCertificate
from tests.world.keygen import Keygen
from tests.world.quorum import World

COLD = "cold"
POINT, SCALAR, SIGNATURE = 33, 32, 64


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def joined(world: World) -> Keygen:
    """Everybody's first message is there."""
    keygen = Keygen(world, COLD)
    keygen.propose()
    keygen.confirm()
    return keygen


@pytest.fixture
def shared(joined: Keygen) -> Keygen:
    """Everybody's second message too."""
    joined.sum_up()
    joined.share()
    return joined


def refusals(sent: dict[str, list[Envelope]]) -> dict[str, tuple[str, str]]:
    """Error and detail of each node's refusal."""
    found = {}
    for name, envelopes in sent.items():
        for one in envelopes:
            assert one.type is PayloadType.VERDICT, f"{name} went on with {one.type.name}"
            verdict = wire.decode(Verdict, one.payload)
            found[name] = (verdict.error, verdict.detail)
    return found


def ends_well_in_the_next_attempt(keygen: Keygen) -> None:
    again = keygen.again()
    again.propose()
    again.carry_on()
    keygen.world.certify(again.draft())


def copied_proof(pmsgs1: dict[str, bytes], threshold: int) -> bytes:
    """s3 gives s1's commitments with s1's proof of possession."""
    size = POINT * threshold + SIGNATURE
    return pmsgs1["s1"][:size] + pmsgs1["s3"][size:]


def rogue_key(pmsgs1: dict[str, bytes], threshold: int) -> bytes:
    """s3's contribution is the negation of s1's: together they are nothing."""
    theirs, mine = pmsgs1["s1"], pmsgs1["s3"]
    negated = bytes([theirs[0] ^ 1]) + theirs[1:POINT]
    return negated + mine[POINT:]


def other_proof(pmsgs1: dict[str, bytes], threshold: int) -> bytes:
    """s3's own commitments with the proof of another's."""
    size = POINT * threshold
    mine, theirs = pmsgs1["s3"], pmsgs1["s2"]
    return mine[:size] + theirs[size : size + SIGNATURE] + mine[size + SIGNATURE :]


@pytest.mark.parametrize("bend", [copied_proof, rogue_key, other_proof])
def test_a_key_without_its_own_proof_of_possession_is_named(
    joined: Keygen, bend: Callable[[dict[str, bytes], int], bytes]
) -> None:
    joined.pmsgs1["s3"] = bend(joined.pmsgs1, 2)
    joined.sum_up()
    found = refusals(joined.share("s1", "s2"))
    for error, detail in found.values():
        assert error == "KEYGEN_PARTICIPANT_OR_COORDINATOR_FAULTY"
        assert detail.startswith("s3 or the coordinator")
    assert set(found) == {"s1", "s2"}
    ends_well_in_the_next_attempt(joined)


def test_a_first_message_that_was_replaced_is_the_coordinators_fault(joined: Keygen) -> None:
    """s3 finds in the sum another message than its own."""
    joined.pmsgs1["s3"] = copied_proof(joined.pmsgs1, 2)
    joined.sum_up()
    assert refusals(joined.share("s3"))["s3"][0] == "KEYGEN_COORDINATOR_FAULTY"


def test_a_wrong_share_for_one_node_is_seen_by_it(joined: Keygen) -> None:
    """The last 32 n bytes of a first message are the encrypted shares, in the roster's order."""
    honest = joined.pmsgs1["s3"]
    start = len(honest) - SCALAR * 3
    wrong = add_scalars(honest[start : start + SCALAR], bytes(31) + b"\x01")
    joined.pmsgs1["s3"] = honest[:start] + wrong + honest[start + SCALAR :]
    joined.sum_up()
    found = refusals(joined.share("s1"))
    assert found["s1"][0] == "KEYGEN_PARTICIPANT_OR_COORDINATOR_FAULTY"
    assert "coordinator" in found["s1"][1]
    ends_well_in_the_next_attempt(joined)


@pytest.mark.parametrize("length", [1, 100, 10_000])
def test_a_sum_of_another_length_is_the_coordinators_fault(joined: Keygen, length: int) -> None:
    joined.cmsg1 = bytes(length)
    for error, _detail in refusals(joined.share()).values():
        assert error == "KEYGEN_COORDINATOR_FAULTY"
    ends_well_in_the_next_attempt(joined)


def test_a_split_view_ends_in_no_certificate(joined: Keygen) -> None:
    """s3 is shown another encrypted share for s1 than the others see: each signs what it saw."""
    joined.sum_up()
    joined.share("s1", "s2")
    honest = joined.cmsg1
    start = len(honest) - SCALAR * 3
    other = add_scalars(honest[start : start + SCALAR], bytes(31) + b"\x01")
    joined.cmsg1 = honest[:start] + other + honest[start + SCALAR :]
    joined.share("s3")
    assert set(joined.pmsgs2) == set(joined.world.nodes)
    joined.cmsg2 = b"".join(joined.in_order(joined.pmsgs2))
    for error, detail in refusals(joined.finish()).values():
        assert error == "KEYGEN_COORDINATOR_FAULTY"
        assert "certificate" in detail
    assert all(not sim.shares.kept for sim in joined.world.nodes.values())
    ends_well_in_the_next_attempt(joined)


@pytest.mark.parametrize("who", [0, 1, 2])
def test_a_certificate_without_a_signature_is_refused_by_all(shared: Keygen, who: int) -> None:
    messages = shared.in_order(shared.pmsgs2)
    messages[who] = messages[who - 1]
    shared.cmsg2 = b"".join(messages)
    for error, _detail in refusals(shared.finish()).values():
        assert error == "KEYGEN_COORDINATOR_FAULTY"
    ends_well_in_the_next_attempt(shared)


def test_a_message_of_another_attempt_is_refused(shared: Keygen) -> None:
    again = shared.again()
    again.propose()
    found = refusals(shared.share())
    assert {error for error, _detail in found.values()} == {"KEYGEN_ATTEMPT_OLD"}
    again.carry_on()


def test_an_old_attempt_is_not_joined_again(shared: Keygen) -> None:
    shared.again().propose()
    assert shared.propose() == {name: [] for name in shared.world.nodes}
    for sim in shared.world.nodes.values():
        assert sim.journal.refusals()[0][1] == "KEYGEN_ATTEMPT_OLD"


def test_a_message_of_another_quorum_is_refused(shared: Keygen) -> None:
    shared.certify()
    frame = wire.decode(KeygenMessage, shared.framed(shared.cmsg2))
    bent = wire.encode(replace(frame, genesis=bytes(32)))
    sent = {"s1": shared.world.send("s1", PayloadType.KEYGEN_BROADCAST2, bent)}
    assert refusals(sent)["s1"][0] == "ENVELOPE_OTHER_GENESIS"


def test_a_broadcast_before_the_operator_confirmed_moves_nothing(world: World) -> None:
    keygen = Keygen(world, COLD)
    keygen.propose()
    keygen.cmsg1 = bytes(chilldkg.CoordinatorMsg1.len_bytes(2, 3))
    found = refusals(keygen.share())
    assert {error for error, _detail in found.values()} == {"KEYGEN_ATTEMPT_OLD"}


# --- drafts ---


def draft_refused(world: World, name: str, draft: VaultCertificate) -> str:
    assert world.send(name, PayloadType.CERTIFICATE_DRAFT, wire.encode(draft)) == []
    return world.nodes[name].journal.refusals()[0][1]


def test_a_draft_before_the_end_of_key_generation_is_not_signed(shared: Keygen) -> None:
    shared.certify()
    shared.finish("s2", "s3")
    assert draft_refused(shared.world, "s1", shared.draft()) == "CERTIFICATE_NOT_MINE"


def test_a_draft_with_another_generations_key_is_not_signed(shared: Keygen) -> None:
    shared.certify()
    shared.finish()
    warm = Keygen(shared.world, "warm")
    frost = warm.run()
    shared.frost = frost
    assert draft_refused(shared.world, "s1", shared.draft()) == "CERTIFICATE_NOT_MINE"


def test_a_draft_of_an_earlier_attempt_is_not_signed(shared: Keygen) -> None:
    shared.certify()
    shared.finish()
    again = shared.again()
    again.propose()
    again.carry_on()
    assert draft_refused(shared.world, "s1", shared.draft()) == "CERTIFICATE_NOT_MINE"
    shared.world.certify(again.draft())


def test_a_draft_is_not_signed_without_the_share_at_hand(shared: Keygen) -> None:
    shared.certify()
    shared.finish()
    shared.world.nodes["s1"].shares.kept.clear()
    assert draft_refused(shared.world, "s1", shared.draft()) == "SHARE_MISSING"


def test_another_chain_code_or_member_is_not_signed(shared: Keygen) -> None:
    shared.certify()
    shared.finish()
    honest = shared.frost
    assert honest is not None
    one, two, three = honest.pubshares
    for bent in (
        replace(honest, chain_code=bytes(32)),
        replace(honest, pubshares=(replace(one, pubshare=two.pubshare), two, three)),
        replace(honest, recovery=bytes(32)),
    ):
        draft = replace(shared.draft(), frost=bent)
        assert draft_refused(shared.world, "s1", draft).startswith("CERTIFICATE_")
    shared.world.certify(shared.draft())


def test_no_capability_gives_a_host_key_or_a_state_away(shared: Keygen) -> None:
    sim = shared.world.nodes["s1"]
    node: Node = sim.node
    ceremony = sim.secrets._ceremonies[COLD, 0]
    shown = repr(node) + repr(sim.secrets) + repr(ceremony) + str(ceremony)
    assert ceremony.host_secret.hex() not in shown
    assert repr(ceremony.host_secret) not in shown
