"""A lost node comes back from its host key and recovery data, and takes nothing on trust: neither
the data nor, being without its journal, what it may sign."""

from __future__ import annotations

import pytest

from signer_node.core import ceremony
from signer_node.core import node as core
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.vault.interface import VaultKindId
from tests.world.keygen import Keygen
from tests.world.payouts import draft, propose
from tests.world.quorum import START_S, SimNode, World, secret

HOUR_S = 3_600


@pytest.fixture
def world() -> World:
    return World(kind=VaultKindId.TAPROOT_FROST)


def recovery_data(world: World) -> bytes:
    """As another node gives it."""
    (kept,) = world.nodes["s2"].shares.kept.values()
    return kept[1]


def lost(world: World, name: str = "s1") -> SimNode:
    """A node that has its keys and the confirmed genesis, and nothing else."""
    sim = SimNode(name)
    words = " ".join(words_from_digest(world.genesis.digest))
    sim.commit(core.confirm_genesis(sim.node, world.genesis.raw, words), world.now_s)
    return sim


def recover(world: World, sim: SimNode, data: bytes, host: str = "") -> None:
    host_secret = secret(f"{host or sim.name} host")
    sim.commit(ceremony.recover(sim.node, world.certificate, data, host_secret), world.now_s)


def recovered(world: World) -> SimNode:
    sim = lost(world)
    recover(world, sim, recovery_data(world))
    before = world.nodes["s1"]
    world.nodes["s1"] = sim
    world.tell_headers(["s1"])
    assert sim.shares.kept == before.shares.kept, "the very same share"
    return sim


def refused(world: World, sim: SimNode, data: bytes, host: str = "") -> ErrorId:
    with pytest.raises(Refusal) as caught:
        recover(world, sim, data, host)
    assert not sim.secrets.keygen_ready("hot", 0), "the host key is gone"
    return caught.value.error


def test_the_share_is_the_one_that_was_lost(world: World) -> None:
    sim = recovered(world)
    assert sim.journal.certificate(world.vault.certificate.digest) is not None
    assert not sim.secrets.keygen_ready("hot", 0)


def test_what_is_no_recovery_data_of_this_vault_is_refused(world: World) -> None:
    data, sim = recovery_data(world), lost(world)
    for bad in (b"", data[:-1], data[:-1] + bytes([data[-1] ^ 1]), bytes(len(data))):
        assert refused(world, sim, bad) is ErrorId.RECOVERY_DATA_INVALID
    cold = Keygen(world, "cold")
    cold.run()
    assert refused(world, sim, cold.recovery_data) is ErrorId.RECOVERY_DATA_INVALID
    stranger = World(kind=VaultKindId.TAPROOT_FROST, now_s=START_S + 1)
    assert refused(world, sim, recovery_data(stranger)) is ErrorId.RECOVERY_DATA_INVALID


def test_another_nodes_host_key_is_refused(world: World) -> None:
    sim = lost(world)
    assert refused(world, sim, recovery_data(world), host="s2") is ErrorId.HOST_KEY_WRONG


def test_before_the_genesis_is_confirmed_nothing_is_recovered(world: World) -> None:
    assert refused(world, SimNode("s1"), recovery_data(world)) is ErrorId.GENESIS_NOT_CONFIRMED


def test_a_recovered_node_signs_only_what_was_asked_for_afterwards(world: World) -> None:
    old = draft(world)
    recovered(world)
    assert propose(world, old) == {"s1": ErrorId.QUARANTINED, "s2": None, "s3": None}
    world.now_s += HOUR_S
    assert propose(world, draft(world, "w-3", change_index=1)) == {
        "s1": None,
        "s2": None,
        "s3": None,
    }


def test_a_recovered_node_reads_what_it_does_not_sign(world: World) -> None:
    """So that it knows change indices again."""
    old = draft(world, change_index=7)
    sim = recovered(world)
    propose(world, old)
    assert sim.journal.highest_change_index(world.vault.certificate.digest) == 7


def test_the_mailbox_read_again_from_its_beginning_changes_nothing(world: World) -> None:
    """A node without a journal gets every old message again."""
    sim = recovered(world)
    (share,) = sim.shares.kept
    keygen = Keygen(world, "hot")
    assert keygen.propose("s1") == {"s1": []}
    world.send("s1", PayloadType.CERTIFICATE, world.certificate)
    assert list(sim.shares.kept) == [share]
    assert sim.journal.certificate(world.vault.certificate.digest) is not None


def test_the_journal_of_a_recovered_node_replays(world: World) -> None:
    journal = recovered(world).journal
    before = [journal.table(name) for name in ("keygen", "quarantine", "certificate")]
    journal.replay()
    assert [journal.table(name) for name in ("keygen", "quarantine", "certificate")] == before
    assert journal.quarantined_since_s() == START_S
