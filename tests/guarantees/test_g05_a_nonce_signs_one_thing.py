"""G5: fresh, in memory, made for one boot and one manifest, consumed by one package.

The coordinator may do anything in any order: open rounds, exchange commitments between packages,
replay them, change signer sets and approvals; nodes crash, their disks are copied and put back.
Whatever it does, all shares that a node ever sends for one commitment are one share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signer_node import wire
from signer_node.adapters.journal import Journal
from signer_node.core.signing import on_package
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.journal import RecordKind
from signer_node.kernel.documents.signing import (
    CommitmentSet,
    RoundOpening,
    ShareSet,
    SignerCommitments,
    SigningPackage,
)
from signer_node.kernel.vault.interface import VaultKindId
from tests.world.payouts import Draft, approval, coin, package, propose, request
from tests.world.quorum import World

NODES = ("s1", "s2", "s3")
PEOPLE = (("alice", "bob"), ("alice", "carol"), ("bob", "carol"))
ROUNDS = st.integers(1, 3)
MANIFESTS = st.integers(0, 1)

ACTIONS = st.one_of(
    st.tuples(st.just("open"), MANIFESTS, ROUNDS, st.sampled_from(NODES)),
    st.tuples(
        st.just("package"),
        MANIFESTS,
        ROUNDS,
        st.sampled_from([("s1", "s2"), ("s1", "s3"), ("s2", "s3")]),
        st.sampled_from(PEOPLE),
        st.integers(0, 3),
    ),
    st.tuples(st.just("replay"), st.integers(0, 20)),
    st.tuples(st.just("crash"), st.sampled_from(NODES)),
    st.tuples(st.just("copy"), st.sampled_from(NODES)),
    st.tuples(st.just("put back"), st.sampled_from(NODES)),
)


@dataclass
class Adversary:
    """A coordinator that remembers everything it ever heard."""

    world: World
    drafts: Sequence[Draft]
    heard: dict[tuple[int, str], list[CommitmentSet]] = field(default_factory=dict)
    sent: list[tuple[str, SigningPackage]] = field(default_factory=list)
    shares: dict[bytes, set[tuple[bytes, ...]]] = field(default_factory=dict)
    copies: dict[str, bytes] = field(default_factory=dict)

    def act(self, action: tuple[object, ...]) -> None:
        match action:
            case "open", int(manifest), int(number), str(name):
                self.open(manifest, number, name)
            case "package", int(manifest), int(number), (str(one), str(two)), people, int(which):
                self.package(manifest, number, (one, two), people, which)  # type: ignore[arg-type]
            case "replay", int(which) if self.sent:
                self.send(*self.sent[which % len(self.sent)])
            case "crash", str(name):
                self.world.nodes[name].crash()
            case "copy", str(name):
                self.copies[name] = self.world.nodes[name].disk()
            case "put back", str(name) if name in self.copies:
                self.world.nodes[name].start(self.copies[name])

    def open(self, manifest: int, number: int, name: str) -> None:
        opening = wire.encode(RoundOpening(self.drafts[manifest].digest, number))
        for envelope in self.world.send(name, PayloadType.ROUND_OPENING, opening):
            if envelope.type is PayloadType.COMMITMENT_SET:
                made = wire.decode(CommitmentSet, envelope.payload)
                kept = self.heard.setdefault((manifest, name), [])
                if made not in kept:
                    kept.append(made)

    def package(
        self,
        manifest: int,
        number: int,
        names: tuple[str, str],
        people: tuple[str, str],
        which: int,
    ) -> None:
        """A package of whatever commitments it likes, of any round and even of other manifests."""
        chosen = {}
        for name in names:
            kept = self.heard.get((manifest, name)) or self.heard.get((1 - manifest, name))
            if not kept:
                return
            chosen[name] = kept[which % len(kept)]
        digest = self.drafts[manifest].digest
        approvals = tuple(approval(self.world, digest, person) for person in people)
        built = package(self.world, digest, chosen, round=number, approvals=approvals)
        for name in names:
            self.send(name, built)

    def send(self, name: str, built: SigningPackage) -> None:
        self.sent.append((name, built))
        own = next(one for one in built.signers if one.node == name)
        payload = wire.encode(built)
        for envelope in self.world.send(name, PayloadType.SIGNING_PACKAGE, payload):
            if envelope.type is PayloadType.SHARE_SET:
                self.note(own, wire.decode(ShareSet, envelope.payload))

    def note(self, own: SignerCommitments, given: ShareSet) -> None:
        """A share that a node gave, under each commitment that it belongs to."""
        for commitment in own.commitments:
            self.shares.setdefault(commitment, set()).add((given.package, *given.shares))


def adversary() -> Adversary:
    world = World(kind=VaultKindId.TAPROOT_FROST)
    drafts = [
        Draft(
            world,
            [coin(world, index=at)],
            [request(world, f"w-{at}", 1_000_000)],
            change_index=at,
            overrides={"batch_id": f"b{at}"},
        )
        for at in range(2)
    ]
    for one in drafts:
        if set(propose(world, one).values()) != {None}:
            raise AssertionError("an honest payout was refused")
    return Adversary(world, drafts)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, min_size=8, max_size=40))
def test_a_commitment_has_one_share_whatever_the_coordinator_does(
    actions: list[tuple[object, ...]],
) -> None:
    coordinator = adversary()
    for name in NODES:
        for manifest in (0, 1):
            coordinator.open(manifest, 1, name)
    for action in actions:
        coordinator.act(action)
    assert all(len(given) == 1 for given in coordinator.shares.values())


def test_the_adversary_gets_shares_where_it_plays_by_the_rules() -> None:
    """Else the test above would hold of nodes that never sign."""
    coordinator = adversary()
    for action in (
        ("open", 0, 1, "s1"),
        ("open", 0, 1, "s2"),
        ("package", 0, 1, ("s1", "s2"), PEOPLE[0], 0),
        ("replay", 0),
        ("package", 0, 1, ("s1", "s2"), PEOPLE[1], 0),
    ):
        coordinator.act(action)
    assert [len(given) for given in coordinator.shares.values()] == [1, 1]


def test_mark_share_and_record_are_one_commit_before_the_share_leaves() -> None:
    """The step that carries the share carries its record; neither exists without the other."""
    coordinator = adversary()
    for name in ("s1", "s2"):
        coordinator.open(0, 1, name)
    world, one = coordinator.world, coordinator.drafts[0]
    chosen = {name: coordinator.heard[0, name][0] for name in ("s1", "s2")}
    payload = wire.encode(package(world, one.digest, chosen))
    sim = world.nodes["s1"]
    step = on_package(sim.node, world.genesis, payload, world.now_s)
    assert [record.kind for record in step.records] == [RecordKind.RELEASED]
    assert [sent.type for sent in step.outbox] == [PayloadType.SHARE_SET]
    assert _released(sim.journal, one.digest) is None
    sim.commit(step, world.now_s)
    assert _released(sim.journal, one.digest) is not None


def _released(journal: Journal, manifest: bytes) -> bytes | None:
    entry = journal.commitment(manifest, 1)
    return None if entry is None else entry.released


def test_no_secret_nonce_is_in_the_journal() -> None:
    """What a copied disk holds: the commitments, and nothing that signs with them."""
    coordinator = adversary()
    coordinator.open(0, 1, "s1")
    sim = coordinator.world.nodes["s1"]
    (held,) = sim.secrets._open_sessions.values()
    image = sim.disk()
    (nonce,) = held.nonces.take()  # type: ignore[attr-defined]
    halves = [half.reveal() for half in nonce.take()]
    assert all(half not in image and half.hex().encode() not in image for half in halves)
    assert nonce.pubnonce.encoded in image
