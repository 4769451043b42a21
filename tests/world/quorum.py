"""A quorum in one process: real signer nodes on journals in memory, and the keys of everybody.

The coordinator here is whoever drives the test: it holds the coordinator's envelope key and can
send anything. `World` builds what an honest one would send; an attack changes that and looks at
what the nodes answer. Time passes only when the world says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from signer_node import wire
from signer_node.adapters.journal import Journal, Writer, connect_memory
from signer_node.adapters.keystore import Secret
from signer_node.adapters.secrets import NodeSecrets
from signer_node.core import node as core
from signer_node.core.ledger import Node
from signer_node.core.step import Step
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.serial import sha256d
from signer_node.kernel.bitcoin.transaction import (
    Outpoint,
    Transaction,
    TxIn,
    TxOut,
    build_transaction,
)
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.curve import (
    point_from_secret,
    sign_schnorr,
    tagged_hash,
    xonly_from_secret,
)
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.genesis import (
    Checkpoint,
    Genesis,
    OperatorSeat,
    RequestKey,
    Rules,
    SignerSeat,
)
from signer_node.kernel.documents.manifest import Headers, Verdict
from signer_node.kernel.documents.signed import Body, Document, document_digest
from signer_node.kernel.documents.vault import (
    CertificateSignature,
    CosignerKey,
    KeySignature,
    VaultCertificate,
    VaultProposal,
)
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.certify import CertifiedVault, check_certificate, draft_certificate
from signer_node.kernel.vault.interface import VaultKindId
from signer_node.kernel.vault.making import is_made_together
from tests.world.chain import Chain
from tests.world.keygen import Keygen, MemoryShares

# In the past: Bitcoin Core's consensus code holds blocks against its own clock.
START_S = 1_750_000_000
AUX = bytes(32)
VAULT = "hot"
RITA = "rita"
KINDS = (VaultKindId.WSH_SORTEDMULTI, VaultKindId.TAPROOT_FROST)
PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank", "grace")

RULES = Rules(
    approvals_required=2,
    payer_confirmation_required=True,
    max_fee_sat=100_000,
    max_fee_rate_sat_vb=100,
    max_fee_share_ppm=50_000,
    max_change_outputs=2,
    min_change_sat=10_000,
    change_index_gap=20,
    max_manifest_lifetime_s=86_400,
    approval_lifetime_s=7_200,
    min_input_confirmations=1,
)


def secret(name: str) -> bytes:
    """A key that the world knows by name."""
    return hashlib.sha256(b"world " + name.encode()).digest()


def sign_document(document: Document, key: bytes) -> bytes:
    """Signed bytes of a document by a secret key."""
    body = wire.encode(document)
    digest = document_digest(type(document), body)
    return wire.signed_bytes(body, xonly_from_secret(key), sign_schnorr(key, digest, AUX))


@dataclass(slots=True)
class Messenger:
    """A sender of envelopes with its key, incarnation and sequence."""

    key: bytes
    genesis: bytes
    incarnation: bytes = b"\x01" * 16
    sequence: int = 0
    previous: bytes = ZERO_DIGEST

    def envelope(
        self, recipient: bytes, kind: PayloadType, payload: bytes, expires_at_s: int
    ) -> bytes:
        self.sequence += 1
        document = Envelope(
            type=kind,
            genesis=self.genesis,
            sender=xonly_from_secret(self.key),
            incarnation=self.incarnation,
            sequence=self.sequence,
            previous=self.previous,
            recipient=recipient,
            expires_at_s=expires_at_s,
            payload=payload,
        )
        raw = sign_document(document, self.key)
        self.previous = document_digest(Envelope, wire.encode(document))
        return raw


@dataclass(slots=True)
class SimNode:
    """A signer node with its journal in memory; `disk` images bring an old one back."""

    name: str
    boots: int = 0
    shares: MemoryShares = field(default_factory=MemoryShares)
    secrets: NodeSecrets = field(init=False)
    node: Node = field(init=False)
    journal: Journal = field(init=False)
    notices: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    @property
    def identity_key(self) -> bytes:
        return xonly_from_secret(secret(f"{self.name} identity"))

    @property
    def host_key(self) -> bytes:
        return point_from_secret(secret(f"{self.name} host"))

    def start(self, image: bytes = b"") -> None:
        self.boots += 1
        boot = tagged_hash("world/boot", f"{self.name} {self.boots}".encode())[:16]
        keys = NodeSecrets(
            Secret("identity", self.identity_key, secret(f"{self.name} identity")),
            Secret("vault-root", b"", secret(f"{self.name} vault root")),
            self.shares,
        )
        self.secrets = keys
        self.journal = Journal(
            connect_memory(image), Writer(self.identity_key, keys.sign_identity, boot)
        )
        self.node = Node(self.identity_key, self.host_key, boot, self.journal, keys)

    def admit_host(self, vault: str, entropy: bytes = b"") -> None:
        """An operator opened the host key for a key generation."""
        opened = secret(f"{self.name} host")
        self.secrets.admit_host((vault, 0), opened, entropy, self.host_key)

    def disk(self) -> bytes:
        """The image of the journal as it is now."""
        return bytes(self.journal._connection.serialize())

    def crash(self) -> None:
        """kill -9: only what is on the disk comes back."""
        self.start(self.disk())

    def commit(self, step: Step, now_s: int) -> list[Envelope]:
        """Make a step durable, then send what the outbox holds, as the link does."""
        self.journal.commit(step, now_s)
        self.notices.extend(notice.manifest for notice in step.notices if not notice.vault)
        sent = self.journal.unsent(1_000, 64 * 1024 * 1024, now_s)
        self.journal.mark_sent([position for position, _raw in sent], now_s)
        return [wire.open_envelope(raw).document for _position, raw in sent]


@dataclass(slots=True)
class World:
    """The quorum, its chain, its clock, and an honest coordinator's knowledge."""

    threshold: int = 2
    count: int = 3
    corrupt_max: int = 1
    rules: Rules = RULES
    kind: VaultKindId = VaultKindId.WSH_SORTEDMULTI
    now_s: int = START_S
    chain: Chain = field(default_factory=Chain)
    nodes: dict[str, SimNode] = field(init=False)
    genesis: Body[Genesis] = field(init=False)
    coordinator: Messenger = field(init=False)
    vault: CertifiedVault = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = {f"s{n}": SimNode(f"s{n}") for n in range(1, self.count + 1)}
        raw = wire.encode(self._genesis())
        self.genesis = wire.decode_body(Genesis, raw)
        self.coordinator = Messenger(secret("coordinator"), self.genesis.digest)
        words = " ".join(words_from_digest(self.genesis.digest))
        for sim in self.nodes.values():
            sim.commit(core.confirm_genesis(sim.node, raw, words), self.now_s)
        self.vault = self._make_vault()

    def _genesis(self) -> Genesis:
        names = list(self.nodes)
        return Genesis(
            label="world",
            network=Network.REGTEST,
            genesis_block=sha256d(Network.REGTEST.parameters.genesis_header),
            threshold=self.threshold,
            corrupt_max=self.corrupt_max,
            coordinator_key=xonly_from_secret(secret("coordinator")),
            signers=tuple(
                SignerSeat(sim.name, sim.identity_key, sim.host_key) for sim in self.nodes.values()
            ),
            operators=tuple(
                OperatorSeat(person, name, "treasury", xonly_from_secret(secret(person)))
                for person, name in zip(PEOPLE, (*names, "s1"), strict=False)
            ),
            request_keys=(RequestKey(xonly_from_secret(secret("backend")), (RITA,)),),
            rules=self.rules,
            checkpoint=Checkpoint(0, Network.REGTEST.parameters.genesis_header, 1_296_688_602),
            created_at_s=self.now_s,
        )

    # --- talking ---

    def send(self, name: str, kind: PayloadType, payload: bytes) -> list[Envelope]:
        """The coordinator's envelope to a node; what the node sends for it."""
        sim = self.nodes[name]
        raw = self.coordinator.envelope(sim.identity_key, kind, payload, self.now_s + 3_600)
        return self.deliver(name, raw)

    def deliver(self, name: str, raw: bytes) -> list[Envelope]:
        """Any envelope to a node; raises Refusal where the node does not even journal it."""
        sim = self.nodes[name]
        return sim.commit(core.deliver(sim.node, raw, self.now_s), self.now_s)

    def send_all(self, kind: PayloadType, payload: bytes) -> dict[str, list[Envelope]]:
        return {name: self.send(name, kind, payload) for name in self.nodes}

    def refusal(self, name: str, kind: PayloadType, payload: bytes) -> ErrorId | None:
        """The error id with which a node refuses a payload, or None when it accepts."""
        for envelope in self.send(name, kind, payload):
            if envelope.type is PayloadType.VERDICT:
                verdict = wire.decode(Verdict, envelope.payload)
                return None if verdict.accepted else ErrorId[verdict.error]
        return None

    def refused_envelope(self, name: str, raw: bytes) -> ErrorId:
        """The error id with which a node turns an envelope away unjournaled."""
        try:
            self.deliver(name, raw)
        except Refusal as refusal:
            return refusal.error
        raise AssertionError("the envelope was taken")

    # --- chain ---

    def mine(self, *transactions: Transaction, tell: Sequence[str] | None = None) -> None:
        """A block with these transactions, whose header the nodes learn."""
        self.chain.mine(*transactions)
        self.tell_headers(tell)

    def tell_headers(self, names: Sequence[str] | None = None) -> None:
        for name in names if names is not None else self.nodes:
            source = self.nodes[name].journal.headers()
            known = [source.get(block.header.hash) is not None for block in self.chain.blocks]
            headers = self.chain.headers(known.index(False) - 1) if False in known else ()
            if headers:
                self.send(name, PayloadType.HEADERS, wire.encode(Headers(headers)))

    def fund(self, amount_sat: int, index: int = 0, chain: int = 0) -> Outpoint:
        """A deposit to the vault in a new block."""
        payment = self.foreign_transaction(TxOut(amount_sat, self.vault.kind.script(chain, index)))
        self.mine(payment)
        return Outpoint(payment.txid, 0)

    def foreign_transaction(self, *outputs: TxOut) -> Transaction:
        """A transaction by somebody else; blocks here are not checked for what it spends."""
        nonce = tagged_hash("world/foreign", str((self.chain.height, outputs)).encode())
        return build_transaction([TxIn(Outpoint(nonce, 0), b"", 0xFFFFFFFD)], list(outputs), 0)

    # --- the vault ---

    def _make_vault(self) -> CertifiedVault:
        proposal = VaultProposal(self.genesis.digest, VAULT, self.kind, 0)
        if is_made_together(self.kind):
            keygen = Keygen(self, VAULT)
            keygen.run()
            return self.certify(keygen.draft())
        keys = {}
        for name, answer in self.send_all(
            PayloadType.VAULT_PROPOSAL, wire.encode(proposal)
        ).items():
            keys[name] = wire.open_signed(CosignerKey, answer[0].payload).document.cosigner
        return self.certify(
            draft_certificate(self.genesis, proposal, [keys[name] for name in self.nodes])
        )

    def certify(self, draft: VaultCertificate) -> CertifiedVault:
        """Have all nodes sign a draft, and take the vault into use."""
        body = wire.encode(draft)
        signatures = tuple(
            KeySignature(
                self.nodes[name].identity_key,
                wire.decode(CertificateSignature, answer[0].payload).signature,
            )
            for name, answer in self.send_all(PayloadType.CERTIFICATE_DRAFT, body).items()
        )
        self.certificate = wire.countersigned_bytes(body, signatures)
        self.send_all(PayloadType.CERTIFICATE, self.certificate)
        return check_certificate(wire.decode_body(VaultCertificate, body), self.genesis)

    certificate: bytes = field(init=False, default=b"")
