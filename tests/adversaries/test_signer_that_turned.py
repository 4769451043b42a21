"""One corrupt signer node with its operator, against an honest coordinator: the others' batches go
on (PROTOCOL.md G9: signing completes whenever t honest signers can talk)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from custodyd.batches import decisions
from custodyd.batches.rules import BatchState
from custodyd.signing import mailbox
from custodyd.signing.tables import ROUNDS
from signer_node import wire
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.manifest import Verdict
from tests.world.payouts import approval
from tests.world.quorum import Messenger, secret
from tests.world.whole import TURN_S, Whole


def say(whole: Whole, payloads: list[bytes], kind: PayloadType = PayloadType.APPROVAL) -> None:
    """The corrupt node s3 delivers payloads of its choice to the coordinator."""
    messenger = Messenger(secret("s3 identity"), whole.genesis.digest)
    recipient = whole.genesis.document.coordinator_key
    envelopes = [
        messenger.envelope(recipient, kind, payload, whole.now_s + 600) for payload in payloads
    ]
    coordinator = whole.coordinator
    mailbox.receive(coordinator.store, coordinator.context, "s3", envelopes, 0)


@pytest.fixture
def whole(tmp_path: Path) -> Whole:
    """A batch is proposed, and nobody has decided yet; s3 does nothing of use any more."""
    made = Whole(tmp_path)
    made.deposit(50_000_000)
    made.mine(2)
    made.approvers = ()
    made.withdraw("w-1", "w-2")
    made.run(lambda: BatchState.PROPOSED in made.batch_states())
    made.asleep.add("s3")
    return made


@pytest.mark.parametrize("person", ["alice", "mallory", "carol"])
def test_decisions_without_end_leave_room_for_those_that_count(
    whole: Whole, monkeypatch: pytest.MonkeyPatch, person: str
) -> None:
    """Forged ones in alice's name, some of a stranger, and true ones of its own operator."""
    monkeypatch.setattr(decisions, "MAX_DECISIONS", 5)
    digest = whole.last_batch().digest
    key = secret("mallory" if person == "mallory" else "carol")
    say(
        whole,
        [
            approval(whole, digest, person, decided_at_s=whole.now_s - age_s, key=key)  # type: ignore[arg-type]
            for age_s in range(60)
        ],
    )
    whole.approvers = ("alice", "bob")
    whole.run(whole.all_final)


def test_a_forged_decision_does_not_take_the_place_of_the_true_one(whole: Whole) -> None:
    """Its body is guessed, to the second; only the signature is not alice's."""
    digest = whole.last_batch().digest
    true = approval(whole, digest, "alice")  # type: ignore[arg-type]
    forged = approval(whole, digest, "alice", key=secret("carol"))  # type: ignore[arg-type]
    split = wire.split_signed(true)
    bent = wire.signed_bytes(split.body, split.key_id, wire.split_signed(forged).signature)
    say(whole, [bent, forged])
    whole.now_s -= TURN_S
    whole.approvers = ("alice", "bob")
    whole.run(whole.all_final)


def test_a_word_of_a_node_that_has_no_part_in_a_round_does_not_spoil_it(whole: Whole) -> None:
    """s3 heard of the package of s1 and s2, and refuses it."""

    def refuse() -> None:
        (row,) = _rounds(whole)
        said = Verdict(row.package_digest, accepted=False, error="REQUEST_EXPIRED", detail="")
        say(whole, [wire.encode(said)], PayloadType.VERDICT)
        (row,) = _rounds(whole)
        assert row.spoilt_by == ""
        refused.append(row.round)

    refused: list[int] = []
    whole.at["round.packaged"] = refuse
    whole.approvers = ("alice", "bob")
    whole.run(whole.all_final)
    assert refused == [1]


def _rounds(whole: Whole) -> list[Any]:
    with whole.coordinator.store.reading() as connection:
        return list(connection.execute(select(ROUNDS)).all())
