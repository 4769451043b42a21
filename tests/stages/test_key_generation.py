"""The coordinator's end of key generation: it waits by name, names who is at fault, begins again,
survives its own death at every step, and in the end knows nothing that it should not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from custodyd.rpc.v1 import admin_pb2
from custodyd.signing import mailbox, vaults
from custodyd.signing.rules import KEYGEN_TRANSITIONS, KeygenState, keygen_transition
from custodyd.signing.tables import COSIGNER_KEYS, EVIDENCE, KEYGEN_MESSAGES
from custodyd.store.context import StageSettings
from signer_node import wire
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.curve import xonly_from_secret
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.vault import (
    CosignerKey,
    KeygenMessage,
    RecoveryAcknowledgement,
    VaultProposal,
)
from signer_node.kernel.vault.interface import VaultKindId
from tests.stages.house import House, Options
from tests.world.keygen import unconfirmed
from tests.world.quorum import VAULT, Messenger, secret, sign_document

KIND = VaultKindId.TAPROOT_FROST
SETTINGS = StageSettings(keygen_timeout_s=5, signer_offline_after_s=10)
STEPS = (
    PayloadType.KEYGEN_STEP1,
    PayloadType.KEYGEN_STEP2,
    PayloadType.RECOVERY_ACKNOWLEDGEMENT,
)


@pytest.fixture
def house() -> House:
    return House(options=Options(settings=SETTINGS, kind=KIND))


def vault(house: House) -> admin_pb2.Vault:
    with house.store.reading() as connection:
        return vaults.get_vault(connection, VAULT)


def is_certified(house: House) -> bool:
    return vault(house).state == admin_pb2.VAULT_STATE_CERTIFIED


def evidence(house: House) -> list[tuple[str, str]]:
    with house.store.reading() as connection:
        return [(row.node, row.fault) for row in connection.execute(select(EVIDENCE))]


def bend(kind: PayloadType, change: Callable[[bytes], bytes]) -> Callable[[Envelope], bytes]:
    """A node that changes what it sends in one step, and signs it."""

    def tamper(envelope: Envelope) -> bytes:
        node = next(n for n in ("s1", "s2", "s3") if _key(n) == envelope.sender)
        if envelope.type is not kind:
            return sign_document(envelope, secret(f"{node} identity"))
        said = wire.decode(KeygenMessage, envelope.payload)
        bent = KeygenMessage(
            said.genesis, said.vault, said.epoch, said.attempt, change(said.message)
        )
        messenger = Messenger(secret(f"{node} identity"), envelope.genesis)
        messenger.sequence = 10_000 + envelope.sequence
        return messenger.envelope(
            envelope.recipient, envelope.type, wire.encode(bent), envelope.expires_at_s
        )

    return tamper


def _key(node: str) -> bytes:
    return xonly_from_secret(secret(f"{node} identity"))


def test_a_vault_is_made_when_every_operator_confirmed(house: House) -> None:
    house.propose_vault()
    house.settle(4)
    assert list(vault(house).waiting_for) == ["s1", "s2", "s3"]
    house.confirm_keygen("s1", "s3")
    house.settle(30)
    assert list(vault(house).waiting_for) == ["s2"], "people are waited for without a limit"
    assert vault(house).attempt == 1
    house.confirm_keygen("s2")
    house.settle(6)
    assert is_certified(house)
    assert vault(house).descriptor.startswith("tr(")


def test_the_messages_are_forgotten_when_the_vault_is_drafted(house: House) -> None:
    """Together they are the recovery data, which is confidential."""
    house.make_vault()
    with house.store.reading() as connection:
        assert connection.execute(select(KEYGEN_MESSAGES)).first() is None


@pytest.mark.parametrize("step", STEPS[1:], ids=lambda one: one.name)
def test_a_node_that_stops_in_a_step_is_named_and_the_next_attempt_ends_well(
    house: House, step: PayloadType
) -> None:
    house.propose_vault()
    house.settle(3)
    house.tampers["s2"] = lambda envelope: (
        None if envelope.type is step else sign_document(envelope, secret("s2 identity"))
    )
    house.confirm_keygen()
    house.settle(9)
    assert "silent" in vault(house).trouble
    assert "s2" in vault(house).trouble
    assert not is_certified(house)
    house.tampers.clear()
    house.settle(30)
    assert is_certified(house)
    assert vault(house).attempt > 1


def test_a_node_that_is_away_is_waited_for_by_name(house: House) -> None:
    house.away.add("s3")
    house.propose_vault()
    house.settle(3)
    house.confirm_keygen("s1", "s2")
    house.settle(20)
    assert list(vault(house).waiting_for) == ["s3"]
    house.away.clear()
    house.settle(2)
    house.confirm_keygen("s3")
    house.settle(6)
    assert is_certified(house)


def test_a_malformed_first_message_names_its_sender_with_evidence(house: House) -> None:
    house.propose_vault()
    house.settle(3)
    house.tampers["s2"] = bend(PayloadType.KEYGEN_STEP1, lambda message: message[:-1])
    house.confirm_keygen()
    house.settle(3)
    assert "KEYGEN_PARTICIPANT_FAULTY: s2" in vault(house).trouble
    assert ("s2", "KEYGEN_PARTICIPANT_FAULTY") in evidence(house)
    house.tampers.clear()
    house.settle(20)
    assert is_certified(house)


def test_a_bad_signature_of_the_transcript_names_its_sender(house: House) -> None:
    house.propose_vault()
    house.settle(3)
    house.tampers["s3"] = bend(PayloadType.KEYGEN_STEP2, lambda _message: bytes(64))
    house.confirm_keygen()
    house.settle(4)
    assert "KEYGEN_PARTICIPANT_FAULTY: s3" in vault(house).trouble
    assert ("s3", "KEYGEN_PARTICIPANT_FAULTY") in evidence(house)


def test_a_bad_proof_is_said_by_those_who_see_it(house: House) -> None:
    house.propose_vault()
    house.settle(3)

    def other_proof(message: bytes) -> bytes:
        return message[:66] + bytes(32) + message[98:]

    house.tampers["s3"] = bend(PayloadType.KEYGEN_STEP1, other_proof)
    house.confirm_keygen()
    house.settle(4)
    trouble = vault(house).trouble
    assert "s1 says KEYGEN_PARTICIPANT_OR_COORDINATOR_FAULTY: s3 or the coordinator" in trouble


def test_an_acknowledgement_of_other_recovery_data_drafts_nothing(house: House) -> None:
    house.propose_vault()
    house.settle(3)

    def tamper(envelope: Envelope) -> bytes:
        if envelope.type is not PayloadType.RECOVERY_ACKNOWLEDGEMENT:
            return sign_document(envelope, secret("s1 identity"))
        said = wire.decode(RecoveryAcknowledgement, envelope.payload)
        bent = RecoveryAcknowledgement(
            said.genesis, said.vault, said.epoch, said.attempt, bytes(32)
        )
        messenger = Messenger(secret("s1 identity"), envelope.genesis)
        messenger.sequence = 10_000
        return messenger.envelope(
            envelope.recipient, envelope.type, wire.encode(bent), envelope.expires_at_s
        )

    house.tampers["s1"] = tamper
    house.confirm_keygen()
    house.settle(4)
    assert "KEYGEN_PARTICIPANT_FAULTY: s1" in vault(house).trouble
    house.tampers.clear()
    house.settle(20)
    assert is_certified(house)


def test_a_restarted_node_is_named_and_its_operator_waited_for(house: House) -> None:
    house.propose_vault()
    house.settle(3)
    house.confirm_keygen("s1", "s2")
    house.settle(1)
    house.crash_node("s1")
    house.confirm_keygen("s3")
    house.settle(10)
    assert "s1 says KEYGEN_INTERRUPTED" in vault(house).trouble
    assert list(vault(house).waiting_for) == ["s1"]
    house.confirm_keygen("s1")
    house.settle(8)
    assert is_certified(house)


class Died(Exception):
    """The coordinator's process ends here."""


def nothing(_house: House) -> None:
    """Nobody stands in the way."""


def spoil_once(kind: PayloadType) -> Callable[[House], None]:
    """s2's message of a step is lost, until an attempt failed by it."""

    def spoil(house: House) -> None:
        def tamper(envelope: Envelope) -> bytes | None:
            has_failed = any(name.startswith("keygen.failed") for name in house.committed)
            if envelope.type is kind and not has_failed:
                return None
            return sign_document(envelope, secret("s2 identity"))

        house.tampers["s2"] = tamper

    return spoil


def malformed_once(house: House) -> None:
    """s2's first message is malformed, until an attempt failed by it."""
    bent = bend(PayloadType.KEYGEN_STEP1, lambda message: message[:-1])

    def tamper(envelope: Envelope) -> bytes:
        if any(name.startswith("keygen.failed") for name in house.committed):
            return sign_document(envelope, secret("s2 identity"))
        return bent(envelope)

    house.tampers["s2"] = tamper


WAYS = {
    nothing: {"keygen.shared", "keygen.sealed", "keygen.done"},
    malformed_once: {"keygen.failed-joining", "keygen.again"},
    spoil_once(PayloadType.KEYGEN_STEP2): {"keygen.failed-shared", "keygen.again"},
    spoil_once(PayloadType.RECOVERY_ACKNOWLEDGEMENT): {"keygen.failed-sealed", "keygen.again"},
}


@pytest.mark.parametrize("way", WAYS, ids=["well", "joining", "shared", "sealed"])
def test_the_coordinator_may_die_at_every_transition(
    house: House, way: Callable[[House], None]
) -> None:
    seen: set[str] = set()

    def die(name: str) -> None:
        if name.startswith(("keygen.", "vault.")) and name not in seen:
            seen.add(name)
            raise Died(name)

    house.on_commit = die
    house.propose_vault()
    way(house)
    for _pass in range(40):
        try:
            house.settle(1)
        except Died:
            house.restart()
        for name, sim in house.world.nodes.items():
            if VAULT in unconfirmed(sim):
                house.confirm_keygen(name)
    assert is_certified(house)
    assert WAYS[way] | WAYS[nothing] <= seen


def test_the_deaths_are_all_there() -> None:
    reached = {name for names in WAYS.values() for name in names}
    assert reached | {"keygen.begun"} == set(KEYGEN_TRANSITIONS)


def test_a_cosigners_key_is_not_taken_for_a_vault_made_together(house: House) -> None:
    house.propose_vault()
    house.settle(2)
    genesis = house.world.genesis.digest
    asked = VaultProposal(genesis, VAULT, VaultKindId.WSH_SORTEDMULTI, 0)
    for name, sim in house.world.nodes.items():
        cosigner = sim.secrets.make_cosigner(asked, name, Network.REGTEST)
        key = sign_document(
            CosignerKey(genesis, VAULT, KIND, 0, cosigner), secret(f"{name} identity")
        )
        messenger = Messenger(secret(f"{name} identity"), genesis, sequence=10_000)
        raw = messenger.envelope(
            xonly_from_secret(secret("coordinator")),
            PayloadType.COSIGNER_KEY,
            key,
            house.world.now_s + 60,
        )
        mailbox.receive(house.store, house.context, name, [raw], house.cursors[name])
    house.settle(2)
    assert list(vault(house).waiting_for) == ["s1", "s2", "s3"]
    with house.store.reading() as connection:
        assert connection.execute(select(COSIGNER_KEYS)).first() is None


def test_every_way_of_an_attempt_has_a_name() -> None:
    assert len(set(KEYGEN_TRANSITIONS.values())) == len(KEYGEN_TRANSITIONS)
    with pytest.raises(ValueError, match="no key generation goes"):
        keygen_transition(KeygenState.DONE, KeygenState.JOINING)
