"""Key generation in a world: shares in memory, operators who confirm, an honest coordinator.

`Keygen` carries the messages of one attempt, step by step, so that a test can bend any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from signer_node import wire
from signer_node.adapters.shares import ShareName
from signer_node.core import ceremony
from signer_node.core.step import Step
from signer_node.kernel.dkg import chilldkg
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.vault import (
    FrostKey,
    KeygenMessage,
    RecoveryAcknowledgement,
    VaultCertificate,
    VaultProposal,
)
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.certify import draft_certificate
from signer_node.kernel.rules.keygen import frost_key, session_params
from signer_node.kernel.vault.interface import VaultKindId

if TYPE_CHECKING:
    from tests.world.quorum import SimNode, World

KIND = VaultKindId.TAPROOT_FROST


@dataclass(slots=True)
class MemoryShares:
    """A node's shares without a disk; what is kept survives its crashes."""

    kept: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)

    def keep(self, name: ShareName, secshare: bytes, recovery_data: bytes) -> None:
        self.kept[name.text] = (secshare, recovery_data)

    def secshare(self, name: ShareName) -> bytes:
        return self._of(name)[0]

    def recovery_data(self, name: ShareName) -> bytes:
        return self._of(name)[1]

    def _of(self, name: ShareName) -> tuple[bytes, bytes]:
        if name.text not in self.kept:
            raise Refusal(ErrorId.SHARE_MISSING, name.text)
        return self.kept[name.text]


@dataclass(slots=True)
class Keygen:
    """One attempt, as an honest coordinator carries it."""

    world: World
    vault: str
    attempt: int = 1
    epoch: int = 0
    pmsgs1: dict[str, bytes] = field(default_factory=dict)
    pmsgs2: dict[str, bytes] = field(default_factory=dict)
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    cmsg1: bytes = b""
    cmsg2: bytes = b""
    frost: FrostKey | None = None
    recovery_data: bytes = b""

    @property
    def params(self) -> chilldkg.SessionParams:
        return session_params(self.world.genesis.document)

    @property
    def proposal(self) -> VaultProposal:
        genesis = self.world.genesis.digest
        return VaultProposal(genesis, self.vault, KIND, self.epoch, self.attempt)

    def in_order(self, messages: Mapping[str, bytes]) -> list[bytes]:
        return [messages[name] for name in self.world.nodes]

    def framed(self, message: bytes) -> bytes:
        """A coordinator's message of this attempt."""
        document = KeygenMessage(
            self.world.genesis.digest, self.vault, self.epoch, self.attempt, message
        )
        return wire.encode(document)

    # --- steps; each returns what the nodes sent ---

    def propose(self, *names: str) -> dict[str, list[Envelope]]:
        asked = wire.encode(self.proposal)
        return {
            name: self.hear(name, self.world.send(name, PayloadType.VAULT_PROPOSAL, asked))
            for name in names or self.world.nodes
        }

    def confirm(self, *names: str, entropy: bytes = b"") -> dict[str, list[Envelope]]:
        return {
            name: self.hear(name, confirm(self.world, name, self.vault, entropy))
            for name in names or self.world.nodes
        }

    def sum_up(self) -> None:
        _state, self.cmsg1 = chilldkg.coordinator_step1(self.in_order(self.pmsgs1), self.params)

    def share(self, *names: str) -> dict[str, list[Envelope]]:
        return self.broadcast(PayloadType.KEYGEN_BROADCAST1, self.cmsg1, *names)

    def certify(self) -> None:
        state, _cmsg1 = chilldkg.coordinator_step1(self.in_order(self.pmsgs1), self.params)
        self.cmsg2, output, self.recovery_data = chilldkg.coordinator_finalize(
            state, self.in_order(self.pmsgs2)
        )
        self.frost = frost_key(self.world.genesis.document, output, self.recovery_data)

    def finish(self, *names: str) -> dict[str, list[Envelope]]:
        return self.broadcast(PayloadType.KEYGEN_BROADCAST2, self.cmsg2, *names)

    def broadcast(
        self, kind: PayloadType, message: bytes, *names: str
    ) -> dict[str, list[Envelope]]:
        payload = self.framed(message)
        return {
            name: self.hear(name, self.world.send(name, kind, payload))
            for name in names or self.world.nodes
        }

    def hear(self, name: str, envelopes: list[Envelope]) -> list[Envelope]:
        """Keep what a node sent for this attempt, the first of each kind."""
        for envelope in envelopes:
            match envelope.type:
                case PayloadType.KEYGEN_STEP1:
                    self.pmsgs1.setdefault(name, self._message(envelope))
                case PayloadType.KEYGEN_STEP2:
                    self.pmsgs2.setdefault(name, self._message(envelope))
                case PayloadType.RECOVERY_ACKNOWLEDGEMENT:
                    said = wire.decode(RecoveryAcknowledgement, envelope.payload)
                    self.acknowledged[name] = said.recovery
        return envelopes

    def _message(self, envelope: Envelope) -> bytes:
        return wire.decode(KeygenMessage, envelope.payload).message

    def run(self) -> FrostKey:
        """Every step, honestly."""
        self.propose()
        self.confirm()
        return self.carry_on()

    def carry_on(self) -> FrostKey:
        """From everybody's first message on."""
        self.sum_up()
        self.share()
        self.certify()
        self.finish()
        if self.frost is None or set(self.acknowledged.values()) != {self.frost.recovery}:
            raise AssertionError(f"not acknowledged by all: {list(self.acknowledged)}")
        return self.frost

    def again(self) -> Keygen:
        """The next attempt."""
        return Keygen(self.world, self.vault, self.attempt + 1, self.epoch)

    def draft(self) -> VaultCertificate:
        return draft_certificate(
            self.world.genesis, replace(self.proposal, attempt=1), (), self.frost
        )


def confirm(world: World, name: str, vault: str, entropy: bytes = b"") -> list[Envelope]:
    """What an operator does at a node, as the console's request does it."""
    sim = world.nodes[name]
    return sim.commit(confirmed(sim, vault, entropy), world.now_s)


def confirmed(sim: SimNode, vault: str, entropy: bytes = b"") -> Step:
    """The step of an operator's confirmation, not committed."""
    sim.admit_host(vault, entropy)
    return ceremony.confirm(sim.node, vault, 0)


def unconfirmed(sim: SimNode) -> list[str]:
    """Vaults whose key generation waits for this node's operator, anew after a restart."""
    return [
        one.proposal.vault
        for one in sim.journal.keygens()
        if not sim.secrets.keygen_ready(one.proposal.vault, one.proposal.epoch)
        and sim.journal.certificate_of(one.proposal.vault, one.proposal.epoch) is None
    ]
