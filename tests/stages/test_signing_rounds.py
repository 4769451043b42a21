"""Rounds and ceremony: completes whenever t honest signers can talk, names who does harm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from custodyd.batches.rules import BatchState
from custodyd.chain.tables import OUTBOX, SIGNERS
from custodyd.errors import CustodydError, ErrorId
from custodyd.signing import liveness, mailbox, vaults
from custodyd.signing.rounds import rounds_of
from custodyd.signing.rules import Candidate, RoundState, choose_signers
from custodyd.signing.tables import EVIDENCE, INBOX
from custodyd.store import Store
from custodyd.withdrawals.rules import BlockedReason, WithdrawalState
from signer_node import wire
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.signing import CommitmentSet, ShareSet
from signer_node.kernel.errors import ErrorId as SignerErrorId
from signer_node.kernel.errors import Refusal
from signer_node.kernel.vault.interface import VaultKindId
from tests.stages.house import House, Options
from tests.world.quorum import KINDS, VAULT, Messenger, secret, sign_document

Tamper = Callable[[Envelope], bytes | None]


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def either(request: pytest.FixtureRequest) -> House:
    """A house whose vault is of either kind: rounds take the same course."""
    return House(options=Options(kind=request.param))


def resealed(name: str, envelope: Envelope) -> bytes:
    return sign_document(envelope, secret(f"{name} identity"))


def silent(kind: PayloadType, name: str) -> Tamper:
    return lambda envelope: None if envelope.type is kind else resealed(name, envelope)


def bad_shares(name: str) -> Tamper:
    def tamper(envelope: Envelope) -> bytes | None:
        if envelope.type is not PayloadType.SHARE_SET:
            return resealed(name, envelope)
        share_set = wire.decode(ShareSet, envelope.payload)
        wrong = tuple(share[:-8] + bytes(7) + b"\x01" for share in share_set.shares)
        payload = wire.encode(replace(share_set, shares=wrong))
        return resealed(name, replace(envelope, payload=payload))

    return tamper


def bad_commitments(name: str, bent: str) -> Tamper:
    def tamper(envelope: Envelope) -> bytes | None:
        if envelope.type is not PayloadType.COMMITMENT_SET:
            return resealed(name, envelope)
        made = wire.decode(CommitmentSet, envelope.payload)
        nonces = {
            "infinity": tuple(bytes(66) for _one in made.commitments),
            "short": tuple(one[:65] for one in made.commitments),
            "fewer": made.commitments[1:],
            "none": (),
        }[bent]
        payload = wire.encode(replace(made, commitments=nonces))
        return resealed(name, replace(envelope, payload=payload))

    return tamper


def first_shares_for_ever(name: str) -> Tamper:
    """The shares of the first package, in answer to every package."""
    first: list[tuple[bytes, ...]] = []

    def tamper(envelope: Envelope) -> bytes | None:
        if envelope.type is not PayloadType.SHARE_SET:
            return resealed(name, envelope)
        share_set = wire.decode(ShareSet, envelope.payload)
        first.append(share_set.shares)
        payload = wire.encode(replace(share_set, shares=first[0]))
        return resealed(name, replace(envelope, payload=payload))

    return tamper


def ready(house: House) -> None:
    """Approved and confirmed; the signers were not asked yet."""
    batch = house.up_to_approval()
    house.approve(batch)
    house.confirm(batch)


def evidence(house: House) -> list[tuple[str, str]]:
    with house.store.reading() as connection:
        return [
            (row.node, row.fault)
            for row in connection.execute(select(EVIDENCE).order_by(EVIDENCE.c.number))
        ]


# --- the vault ---


def test_a_vault_waits_for_every_signer_by_name(house: House) -> None:
    house.away = {"s2"}
    with house.store.transaction() as connection:
        vaults.propose(connection, house.context, "cold", "wsh-sortedmulti")
    house.settle(3)
    with house.store.reading() as connection:
        assert list(vaults.get_vault(connection, "cold").waiting_for) == ["s2"]
    house.away = set()
    house.settle(4)
    with house.store.reading() as connection:
        found = vaults.get_vault(connection, "cold")
    assert list(found.waiting_for) == []
    assert found.certificate
    assert found.descriptor.startswith("wsh(sortedmulti(2,")


def test_a_node_that_read_everything_without_an_answer_is_asked_again(house: House) -> None:
    house.tampers["s3"] = silent(PayloadType.COSIGNER_KEY, "s3")
    with house.store.transaction() as connection:
        vaults.propose(connection, house.context, "cold", "wsh-sortedmulti")
    house.settle(4)
    house.tampers.clear()
    house.settle(10)
    with house.store.reading() as connection:
        assert list(vaults.get_vault(connection, "cold").waiting_for) == []


@pytest.mark.parametrize(
    ("name", "kind", "error"),
    [
        ("Hot", "wsh-sortedmulti", ErrorId.ARGUMENT_INVALID),
        ("cold", "paper", ErrorId.VAULT_KIND_UNKNOWN),
        ("hot", "wsh-sortedmulti", ErrorId.VAULT_EXISTS),
    ],
)
def test_a_vault_that_cannot_be_made_is_refused(
    house: House, name: str, kind: str, error: ErrorId
) -> None:
    house.make_vault()
    with pytest.raises(CustodydError) as refused, house.store.transaction() as connection:
        vaults.propose(connection, house.context, name, kind)
    assert refused.value.error is error


# --- rounds ---


def test_a_batch_is_signed_by_t_of_n(either: House) -> None:
    house = either
    ready(house)
    house.settle(5)
    batch = house.batch()
    assert batch.state is BatchState.BROADCAST
    with house.store.reading() as connection:
        (only,) = rounds_of(connection, batch.digest)
    assert only.state is RoundState.DONE
    assert len(only.members) == 2


@pytest.mark.parametrize("kind", [PayloadType.COMMITMENT_SET, PayloadType.SHARE_SET])
def test_a_silent_signer_is_left_out_of_the_next_round(either: House, kind: PayloadType) -> None:
    house = either
    ready(house)
    house.tampers["s1"] = silent(kind, "s1")
    house.settle(14)
    batch = house.batch()
    assert batch.state is BatchState.BROADCAST
    with house.store.reading() as connection:
        first, second = rounds_of(connection, batch.digest)
    assert first.state is RoundState.FAILED
    assert first.spoilt_by == ("s1",)
    assert second.members == ("s2", "s3")
    assert evidence(house) == [], "silence is no evidence"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_bad_share_names_its_sender_with_evidence_and_the_rest_signs(
    store: Store, kind: VaultKindId
) -> None:
    house = House(store, Options(kind=kind))
    ready(house)
    house.tampers["s2"] = bad_shares("s2")
    house.settle(8)
    batch = house.batch()
    assert batch.state is BatchState.BROADCAST
    assert evidence(house) == [("s2", "SHARE_INVALID")]
    with house.store.reading() as connection:
        first, second = rounds_of(connection, batch.digest)
        envelope = connection.execute(select(EVIDENCE.c.envelope)).scalar_one()
    assert first.spoilt_by == ("s2",)
    assert second.members == ("s1", "s3")
    received = wire.open_envelope(bytes(envelope))
    assert received.document.sender == house.world.nodes["s2"].identity_key


def test_with_fewer_than_t_signers_it_waits_and_says_for_whom(either: House) -> None:
    house = either
    ready(house)
    house.away = {"s2", "s3"}
    house.world.now_s += 20
    house.settle(3)
    batch = house.batch()
    assert batch.state is BatchState.APPROVED
    assert batch.blocked_reason is BlockedReason.SIGNERS
    assert "s2, s3" in batch.blocked_detail
    assert house.withdrawal("w-1").blocked_detail == batch.blocked_detail
    house.away = {"s2"}
    house.settle(6)
    assert house.batch().state is BatchState.BROADCAST


@pytest.mark.parametrize("name", ["s1", "s2"])
def test_a_signer_that_dies_between_commitments_and_package_is_replaced(
    either: House, name: str
) -> None:
    house = either
    ready(house)
    house.reconcile()
    for one in house.world.nodes:
        house.sync(one)
    house.crash_node(name)
    house.settle(12)
    assert house.batch().state is BatchState.BROADCAST


def test_shares_that_come_late_still_make_the_signature(either: House) -> None:
    house = either
    ready(house)
    house.tampers["s1"] = silent(PayloadType.SHARE_SET, "s1")
    house.away = {"s3"}
    house.settle(10)
    assert house.batch().state is BatchState.COMMITTED
    with house.store.reading() as connection:
        failed = [
            one
            for one in rounds_of(connection, house.batch().digest)
            if one.state is RoundState.FAILED
        ]
    assert failed
    house.tampers.clear()
    late = house.world.nodes["s1"].journal.commitment(house.batch().digest, failed[0].number)
    assert late is not None
    assert late.share_set is not None
    messenger = Messenger(secret("s1 identity"), house.world.genesis.digest, b"\x09" * 16)
    raw = messenger.envelope(
        house.world.genesis.document.coordinator_key,
        PayloadType.SHARE_SET,
        late.share_set,
        house.world.now_s + 60,
    )
    mailbox.receive(house.store, house.context, "s1", [raw], house.cursors["s1"])
    house.reconcile()
    assert house.batch().state in (BatchState.SIGNED, BatchState.BROADCAST)


def test_the_package_and_the_withdrawals_are_committed_together(either: House) -> None:
    house = either
    ready(house)
    seen: list[tuple[BatchState, WithdrawalState]] = []

    def look(name: str) -> None:
        if name == "batch.committed":
            seen.append((house.batch().state, house.withdrawal("w-1").state))

    house.on_commit = look
    house.settle(4)
    assert seen == [(BatchState.COMMITTED, WithdrawalState.COMMITTED)]


@pytest.mark.parametrize("bent", ["infinity", "short", "fewer", "none"])
def test_a_bad_commitment_names_its_sender_and_the_rest_signs(bent: str) -> None:
    house = House(options=Options(kind=VaultKindId.TAPROOT_FROST))
    ready(house)
    house.tampers["s2"] = bad_commitments("s2", bent)
    house.settle(8)
    batch = house.batch()
    assert batch.state is BatchState.BROADCAST
    assert evidence(house) == [("s2", "COMMITMENT_INVALID")]
    with house.store.reading() as connection:
        first, second = rounds_of(connection, batch.digest)
    assert first.package is None, "nobody was asked for a share"
    assert first.spoilt_by == ("s2",)
    assert second.members == ("s1", "s3")


def test_a_share_for_another_round_names_its_sender_and_the_rest_signs() -> None:
    """A signer sends a share that was right in an earlier round, under the new package's name."""
    house = House(options=Options(kind=VaultKindId.TAPROOT_FROST))
    ready(house)
    house.tampers["s1"] = silent(PayloadType.SHARE_SET, "s1")
    house.tampers["s2"] = first_shares_for_ever("s2")
    house.away = {"s3"}
    house.settle(12)
    assert house.batch().state is BatchState.COMMITTED
    house.tampers.pop("s1")
    house.settle(8)
    house.away = set()
    house.settle(12)
    assert house.batch().state is BatchState.BROADCAST
    assert set(evidence(house)) <= {("s2", "SHARE_INVALID")}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_larger_quorum_signs_with_two_signers_away(kind: VaultKindId) -> None:
    house = House(options=Options(threshold=3, count=5, kind=kind))
    house.make_vault()
    house.fund(5_000_000)
    house.withdraw("w-1", 1_000_000)
    house.settle(4)
    house.approve(house.batch())
    house.confirm(house.batch())
    house.away = {"s1", "s4"}
    house.world.now_s += 20
    house.settle(8)
    assert house.batch().state is BatchState.BROADCAST


def test_choosing_prefers_who_spoilt_nothing_and_keeps_the_rosters_order() -> None:
    def candidate(node: str, failures: int = 0, **marks: bool) -> Candidate:
        marks = {"online": True, "refused": False, "culprit": False} | marks
        return Candidate(node, failures=failures, **marks)

    four = [candidate("a", 2), candidate("b"), candidate("c", refused=True), candidate("d", 1)]
    assert choose_signers(four, 2).members == ("b", "d")
    assert choose_signers(four, 3).members == ("a", "b", "d")
    assert choose_signers(four, 4).members == ()
    away = [candidate("a", online=False), candidate("b"), candidate("c", culprit=True)]
    assert choose_signers(away, 2).waiting_for == ("a",)


# --- the mailbox ---


def test_an_outbox_is_numbered_without_gaps_and_sent_in_order(house: House) -> None:
    house.sign(house.up_to_approval())
    with house.store.reading() as connection:
        for name in house.world.nodes:
            sequences = connection.execute(
                select(OUTBOX.c.sequence).where(OUTBOX.c.node == name).order_by(OUTBOX.c.sequence)
            ).scalars()
            numbers = list(sequences)
            assert numbers == list(range(1, len(numbers) + 1))
            last = select(SIGNERS.c.last_sequence).where(SIGNERS.c.node == name)
            assert connection.execute(last).scalar_one() == len(numbers)
            assert len(mailbox.fetch(connection, name, 3, 2)) == 2


def envelope_of(house: House, name: str, **changes: object) -> Envelope:
    """A commitment set from a node for a manifest that nobody knows."""
    payload = wire.encode(CommitmentSet(bytes(32), 1, bytes(16), ()))
    honest = Envelope(
        type=PayloadType.COMMITMENT_SET,
        genesis=house.world.genesis.digest,
        sender=house.world.nodes[name].identity_key,
        incarnation=b"\x07" * 16,
        sequence=1,
        previous=bytes(32),
        recipient=house.world.genesis.document.coordinator_key,
        expires_at_s=house.world.now_s + 60,
        payload=payload,
    )
    return replace(honest, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"genesis": bytes(32)}, SignerErrorId.ENVELOPE_OTHER_GENESIS),
        ({"recipient": bytes(32)}, SignerErrorId.ENVELOPE_OTHER_RECIPIENT),
        ({"type": PayloadType.SIGNING_PACKAGE}, SignerErrorId.ENVELOPE_SENDER_UNENTITLED),
        ({"expires_at_s": 1}, SignerErrorId.ENVELOPE_EXPIRED),
    ],
)
def test_an_envelope_that_breaks_a_rule_is_refused(
    house: House, changes: dict[str, object], error: SignerErrorId
) -> None:
    raw = resealed("s1", envelope_of(house, "s1", **changes))
    with pytest.raises(Refusal) as refused, house.store.transaction() as connection:
        mailbox.deliver(connection, "s1", raw, house.world.now_s)
    assert refused.value.error is error


def test_an_envelope_of_a_stranger_or_with_a_wrong_signature_is_refused(house: House) -> None:
    honest = envelope_of(house, "s1")
    forged = bytearray(resealed("s1", honest))
    forged[-1] ^= 1
    stranger = sign_document(
        replace(honest, sender=wire.open_signed(Envelope, sign_document(honest, b"\x05" * 32)).key),
        b"\x05" * 32,
    )
    for raw, error in (
        (bytes(forged), SignerErrorId.ENVELOPE_SIGNATURE_INVALID),
        (stranger, SignerErrorId.ENVELOPE_SENDER_UNKNOWN),
        (resealed("s2", honest), SignerErrorId.ENVELOPE_SIGNATURE_INVALID),
    ):
        with pytest.raises(Refusal) as refused, house.store.transaction() as connection:
            mailbox.deliver(connection, "s1", raw, house.world.now_s)
        assert refused.value.error is error


def test_rubbish_does_not_clog_a_nodes_mailbox(house: House) -> None:
    house.make_vault()
    good = resealed("s1", envelope_of(house, "s1"))
    mailbox.receive(house.store, house.context, "s1", [b"rubbish", b"", good], 0)
    with house.store.reading() as connection:
        known = select(func.count()).where(INBOX.c.incarnation == b"\x07" * 16)
        assert connection.execute(known).scalar_one() == 1


def test_the_same_envelope_twice_changes_nothing_and_another_one_is_equivocation(
    house: House,
) -> None:
    house.make_vault()
    one = resealed("s1", envelope_of(house, "s1"))
    other = resealed("s1", envelope_of(house, "s1", previous=b"\x01" * 32))
    mailbox.receive(house.store, house.context, "s1", [one, one], 0)
    assert evidence(house) == []
    mailbox.receive(house.store, house.context, "s1", [other], 0)
    assert evidence(house) == [("s1", "EQUIVOCATION")]


def test_a_nodes_status_follows_its_polls(house: House) -> None:
    house.make_vault()
    house.away = {"s3"}
    house.settle(12)
    with house.store.reading() as connection:
        status = {one.node: one for one in liveness.signer_status(connection, house.context)}
    assert status["s1"].online
    assert not status["s3"].online
    assert status["s3"].last_seen_s > 0
    assert VAULT == "hot"
