"""Key generation by real nodes: it ends in a vault, through restarts, and never twice the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from signer_node import wire
from signer_node.core import ceremony
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.journal import RecordKind
from signer_node.kernel.documents.manifest import Verdict
from signer_node.kernel.errors import ErrorId, Refusal
from tests.world.keygen import KIND, Keygen, confirm
from tests.world.quorum import RULES, VAULT, World, secret

COLD = "cold"


@pytest.fixture
def world() -> World:
    return World()


def says(envelopes: list[Envelope]) -> list[str]:
    """The refusals among what a node sent."""
    verdicts = [one for one in envelopes if one.type is PayloadType.VERDICT]
    return [wire.decode(Verdict, one.payload).error for one in verdicts]


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (2, 3), (3, 5), (5, 5)])
def test_t_of_n_nodes_make_a_vault(threshold: int, count: int) -> None:
    approvals = replace(RULES, approvals_required=min(threshold, count))
    world = World(threshold, count, threshold - 1, approvals, KIND)
    certificate = world.vault.certificate.document
    assert certificate.frost is not None
    assert [one.node for one in certificate.frost.pubshares] == list(world.nodes)
    assert certificate.transcript == certificate.frost.recovery
    for sim in world.nodes.values():
        assert sim.journal.certificate(world.vault.certificate.digest) is not None


def test_two_key_generations_give_different_keys() -> None:
    first, second = (World(kind=KIND).vault.certificate.document.frost for _run in range(2))
    assert first is not None
    assert second is not None
    assert first.threshold_key != second.threshold_key
    assert first.chain_code != second.chain_code


def test_two_vaults_of_one_quorum_have_different_keys(world: World) -> None:
    keys = {Keygen(world, name).run().threshold_key for name in (COLD, "warm")}
    assert len(keys) == 2


def test_nothing_leaves_a_node_before_its_operator_confirmed(world: World) -> None:
    keygen = Keygen(world, COLD)
    assert keygen.propose() == {name: [] for name in world.nodes}
    sent = keygen.confirm("s2")["s2"]
    assert [one.type for one in sent] == [PayloadType.KEYGEN_STEP1]


def test_the_operators_word_stays_in_the_journal(world: World) -> None:
    keygen = Keygen(world, COLD)
    keygen.run()
    entry = world.nodes["s1"].journal.keygen(COLD, 0)
    assert entry is not None
    assert entry.confirmed
    assert entry.outcome is not None
    assert entry.outcome.frost == keygen.frost


def test_the_host_key_is_forgotten_when_the_vault_is_certified(world: World) -> None:
    keygen = Keygen(world, COLD)
    keygen.run()
    assert all(sim.secrets.keygen_ready(COLD, 0) for sim in world.nodes.values())
    world.certify(keygen.draft())
    assert not any(sim.secrets.keygen_ready(COLD, 0) for sim in world.nodes.values())


def test_the_host_key_is_held_for_a_day_at_most(world: World) -> None:
    secrets = world.nodes["s1"].secrets
    now = [0.0]
    secrets._clock = lambda: now[0]
    Keygen(world, COLD).propose()
    confirm(world, "s1", COLD)
    assert secrets.keygen_ready(COLD, 0)
    now[0] += 86_401
    assert not secrets.keygen_ready(COLD, 0)


def test_another_host_key_is_refused(world: World) -> None:
    sim = world.nodes["s1"]
    for wrong in (secret("s2 host"), bytes(32), b"short"):
        with pytest.raises(Refusal) as caught:
            sim.secrets.admit_host((COLD, 0), wrong, b"", sim.host_key)
        assert caught.value.error is ErrorId.HOST_KEY_WRONG
    assert not sim.secrets.keygen_ready(COLD, 0)


def test_what_an_operator_adds_changes_the_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a system that always gives the same randomness, the operator's alone decides."""
    monkeypatch.setattr("signer_node.adapters.keygen.fresh", lambda count: b"\x07" * count)
    firsts = set()
    for vault, entropy in ((COLD, b""), ("warm", b""), ("other", b"6 1 4 4 2 3 5 5 1 6 3 2 4")):
        keygen = Keygen(world, vault)
        keygen.propose("s1")
        firsts.add(keygen.confirm("s1", entropy=entropy) and keygen.pmsgs1["s1"])
    assert len(firsts) == 2


# --- asked again, restarted ---


def test_a_node_asked_again_sends_the_same_messages(world: World) -> None:
    keygen = Keygen(world, COLD)
    keygen.propose()
    first = keygen.confirm("s1")["s1"][0].payload
    assert [one.payload for one in keygen.propose("s1")["s1"]] == [first]
    assert [one.payload for one in keygen.confirm("s1")["s1"]] == [first]
    keygen.confirm("s2", "s3")
    keygen.sum_up()
    second = keygen.share("s1")["s1"][0].payload
    assert [one.payload for one in keygen.share("s1")["s1"]] == [second]
    assert [one.payload for one in keygen.propose("s1")["s1"]] == [second]
    keygen.share("s2", "s3")
    keygen.certify()
    last = keygen.finish()["s1"][0].payload
    assert [one.payload for one in keygen.finish("s1")["s1"]] == [last]
    assert [one.payload for one in keygen.propose("s1")["s1"]] == [last]


def after_the_proposal(keygen: Keygen) -> None:
    keygen.propose()


def after_the_first_message(keygen: Keygen) -> None:
    keygen.propose()
    keygen.confirm()
    keygen.sum_up()


def after_the_second_message(keygen: Keygen) -> None:
    after_the_first_message(keygen)
    keygen.share()
    keygen.certify()


def after_the_acknowledgement(keygen: Keygen) -> None:
    after_the_second_message(keygen)
    keygen.finish()


@pytest.mark.parametrize("reach", [after_the_first_message, after_the_second_message])
def test_a_node_that_restarts_says_so_and_the_next_attempt_ends_well(
    world: World, reach: Callable[[Keygen], None]
) -> None:
    keygen = Keygen(world, COLD)
    reach(keygen)
    world.nodes["s2"].crash()
    assert says(keygen.share("s2")["s2"]) == ["KEYGEN_INTERRUPTED"]
    assert says(keygen.propose("s2")["s2"]) == ["KEYGEN_INTERRUPTED"]
    assert says(keygen.confirm("s2")["s2"]) == ["KEYGEN_INTERRUPTED"]
    again = keygen.again()
    again.propose()
    assert set(again.pmsgs1) == set(world.nodes), "confirmed nodes join by themselves"
    again.carry_on()
    world.certify(again.draft())


def test_a_node_that_restarts_before_it_took_part_confirms_and_goes_on(world: World) -> None:
    keygen = Keygen(world, COLD)
    after_the_proposal(keygen)
    world.nodes["s2"].crash()
    keygen.confirm()
    keygen.carry_on()


def test_a_node_that_restarts_after_its_acknowledgement_still_signs(world: World) -> None:
    keygen = Keygen(world, COLD)
    after_the_acknowledgement(keygen)
    for sim in world.nodes.values():
        sim.crash()
    assert [one.type for one in keygen.finish("s1")["s1"]] == [PayloadType.RECOVERY_ACKNOWLEDGEMENT]
    world.certify(keygen.draft())


def test_a_share_sealed_without_its_record_means_nothing(world: World) -> None:
    """kill -9 between the sealed file and the journal: another attempt, another file."""
    keygen = Keygen(world, COLD)
    after_the_second_message(keygen)
    sim = world.nodes["s2"]
    raw = world.coordinator.envelope(
        sim.identity_key,
        PayloadType.KEYGEN_BROADCAST2,
        keygen.framed(keygen.cmsg2),
        world.now_s + 60,
    )
    from signer_node.core import node as core

    core.deliver(sim.node, raw, world.now_s)
    assert len(sim.shares.kept) == 1
    sim.crash()
    entry = sim.journal.keygen(COLD, 0)
    assert entry is not None
    assert entry.outcome is None
    assert says(keygen.finish("s2")["s2"]) == ["KEYGEN_INTERRUPTED"]
    keygen.finish("s1", "s3")
    again = keygen.again()
    again.propose()
    again.confirm("s2")
    again.carry_on()
    world.certify(again.draft())
    assert len(sim.shares.kept) == 2


def test_attempts_end_with_the_signature_of_a_certificate(world: World) -> None:
    keygen = Keygen(world, COLD)
    keygen.run()
    world.send("s1", PayloadType.CERTIFICATE_DRAFT, wire.encode(keygen.draft()))
    assert keygen.again().propose("s1")["s1"] == []
    assert world.nodes["s1"].journal.refusals()[0][1] == "VAULT_ALREADY_CERTIFIED"


def test_the_journal_replays_to_the_same_tables(world: World) -> None:
    Keygen(world, COLD).run()
    journal = world.nodes["s1"].journal
    before = journal.table("keygen")
    journal.replay()
    assert journal.table("keygen") == before
    assert before


def test_a_confirmation_of_nothing_is_refused(world: World) -> None:
    with pytest.raises(Refusal) as caught:
        ceremony.confirm(world.nodes["s1"].node, "nothing", 0)
    assert caught.value.error is ErrorId.SUBJECT_NOT_FOUND


def test_the_share_is_durable_before_the_acknowledgement_is_made(world: World) -> None:
    keygen = Keygen(world, COLD)
    after_the_second_message(keygen)
    sim = world.nodes["s1"]
    order: list[str] = []
    keep, commit = sim.shares.keep, sim.journal.commit

    def kept(*what: object) -> None:
        order.append("share")
        keep(*what)  # type: ignore[arg-type]

    def committed(step: object, *more: object) -> None:
        kinds = [record.kind for record in step.records]  # type: ignore[attr-defined]
        order.append("record" if RecordKind.KEYGEN_FINISHED in kinds else "other")
        commit(step, *more)  # type: ignore[arg-type]

    sim.secrets._shares = type("Watched", (), {"keep": staticmethod(kept)})()
    sim.journal.commit = committed  # type: ignore[method-assign,assignment]
    keygen.finish("s1")
    assert order[:2] == ["share", "record"]


def test_a_multisig_vault_keeps_its_name(world: World) -> None:
    assert Keygen(world, VAULT).propose("s1")["s1"] == []
    assert world.nodes["s1"].journal.refusals()[0][1] == "VAULT_ALREADY_CERTIFIED"
