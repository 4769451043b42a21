"""Honest payouts, in parts that an attack can change, and the way of one to its signatures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from signer_node import wire
from signer_node.kernel.bitcoin.psbt import NewOutput, PsbtOutput, SpentCoin, build_psbt, parse_psbt
from signer_node.kernel.bitcoin.transaction import Outpoint, TxOut
from signer_node.kernel.curve import xonly_from_secret
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.manifest import (
    Approval,
    Change,
    Decision,
    InputEvidence,
    Manifest,
    ManifestKind,
    ManifestProposal,
    Payout,
    RejectReason,
    Verdict,
)
from signer_node.kernel.documents.request import PayerConfirmation, Request
from signer_node.kernel.documents.signed import document_digest
from signer_node.kernel.documents.signing import (
    CommitmentSet,
    RoundOpening,
    ShareSet,
    SignerCommitments,
    SigningPackage,
)
from signer_node.kernel.errors import ErrorId
from signer_node.kernel.vault import interface
from signer_node.kernel.vault.interface import INTERNAL_CHAIN, SignedTransaction
from tests.world.quorum import RITA, VAULT, Messenger, World, secret, sign_document

SEQUENCE = 0xFFFFFFFD


def p2wpkh(number: int) -> bytes:
    """Somebody's script."""
    return b"\x00\x14" + number.to_bytes(20, "big")


def request(world: World, withdrawal_id: str, amount_sat: int, **changes: Any) -> Request:
    """A request that the exchange would make."""
    honest = Request(
        genesis=world.genesis.digest,
        vault=VAULT,
        key=xonly_from_secret(secret("backend")),
        withdrawal_id=withdrawal_id,
        script=p2wpkh(sum(withdrawal_id.encode())),
        amount_sat=amount_sat,
        account="acme",
        initiator=RITA,
        issued_at_s=world.now_s,
        valid_until_s=world.now_s + 86_400,
        memo_hash=ZERO_DIGEST,
    )
    return replace(honest, **changes)


@dataclass(slots=True)
class Coin:
    """A coin of the vault and how its existence is proved."""

    outpoint: Outpoint
    value_sat: int
    evidence: InputEvidence


@dataclass(slots=True)
class Draft:
    """A payout in parts. `outputs` and `changes` may be set to anything; `manifest` overrides."""

    world: World
    coins: list[Coin]
    requests: list[Request]
    fee_sat: int = 2_000
    change_index: int = 0
    outputs: list[TxOut] = field(init=False)
    changes: tuple[Change, ...] = field(init=False, default=())
    payouts: tuple[Payout, ...] = field(init=False, default=())
    signed_requests: list[bytes] = field(init=False)
    request_key: bytes = field(default_factory=lambda: secret("backend"))
    version: int = 2
    sequence: int = SEQUENCE
    locktime: int | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    psbt: bytes | None = None
    _made: Manifest | None = None

    def __post_init__(self) -> None:
        self.signed_requests = [sign_document(one, self.request_key) for one in self.requests]
        self.payouts = tuple(
            Payout(at, document_digest(Request, wire.encode(one)))
            for at, one in enumerate(self.requests)
        )
        self.outputs = [TxOut(one.amount_sat, one.script) for one in self.requests]
        total = sum(coin.value_sat for coin in self.coins)
        rest = total - sum(one.amount_sat for one in self.requests) - self.fee_sat
        if rest > 0:
            kind = self.world.vault.kind
            self.outputs.append(TxOut(rest, kind.script(INTERNAL_CHAIN, self.change_index)))
            self.changes = (Change(len(self.requests), self.change_index),)

    def build_psbt(self) -> bytes:
        kind = self.world.vault.kind
        coins = [
            SpentCoin(
                coin.outpoint,
                self.sequence,
                kind.psbt_input_fields(
                    coin.evidence.chain,
                    coin.evidence.index,
                    TxOut(coin.value_sat, kind.script(coin.evidence.chain, coin.evidence.index)),
                ),
            )
            for coin in self.coins
        ]
        outputs = [NewOutput(output, PsbtOutput()) for output in self.outputs]
        locktime = self.world.chain.height if self.locktime is None else self.locktime
        return build_psbt(coins, outputs, locktime, self.version).raw

    def manifest(self) -> Manifest:
        """The manifest of these parts, fixed by the first look at it."""
        if self._made is None:
            self._made = self._make_manifest()
        return self._made

    def _make_manifest(self) -> Manifest:
        world = self.world
        honest = Manifest(
            genesis=world.genesis.digest,
            certificate=world.vault.certificate.digest,
            policy=world.genesis.digest,
            kind=ManifestKind.PAYOUT,
            batch_id="b1",
            psbt=self.psbt if self.psbt is not None else self.build_psbt(),
            payouts=self.payouts,
            changes=self.changes,
            evidence=tuple(coin.evidence for coin in self.coins),
            max_fee_sat=world.rules.max_fee_sat,
            max_fee_rate_sat_vb=world.rules.max_fee_rate_sat_vb,
            replaces=ZERO_DIGEST,
            not_before_s=world.now_s,
            expires_at_s=world.now_s + 7_200,
        )
        return replace(honest, **self.overrides)

    def proposal(self) -> bytes:
        manifest = wire.encode(self.manifest())
        return wire.encode(ManifestProposal(manifest, tuple(self.signed_requests)))

    @property
    def digest(self) -> bytes:
        return document_digest(Manifest, wire.encode(self.manifest()))


def coin(world: World, amount_sat: int = 10_000_000, index: int = 0) -> Coin:
    """A fresh deposit of the vault with its evidence."""
    outpoint = world.fund(amount_sat, index)
    return Coin(outpoint, amount_sat, world.chain.evidence(outpoint, 0, index))


def draft(world: World, *ids: str, amount_sat: int = 1_000_000, **fields: Any) -> Draft:
    """An honest payout of a fresh coin to the given withdrawal ids (default: w-1, w-2)."""
    requests = [request(world, one, amount_sat) for one in ids or ("w-1", "w-2")]
    return Draft(world, [coin(world, amount_sat * len(requests) * 2)], requests, **fields)


def verdict_of(envelopes: list[Envelope]) -> ErrorId | None:
    """The error id of the verdict among these, None for an acceptance."""
    for envelope in envelopes:
        if envelope.type is PayloadType.VERDICT:
            verdict = wire.decode(Verdict, envelope.payload)
            return None if verdict.accepted else ErrorId[verdict.error]
    raise AssertionError("no verdict was sent")


def propose(world: World, one: Draft) -> dict[str, ErrorId | None]:
    """Propose to every node; their verdicts."""
    payload = one.proposal()
    return {
        name: verdict_of(envelopes)
        for name, envelopes in world.send_all(PayloadType.MANIFEST_PROPOSAL, payload).items()
    }


def approval(world: World, manifest: bytes, person: str, **changes: Any) -> bytes:
    """Signed approval of a person over a manifest."""
    key = changes.pop("key", secret(person))
    honest = Approval(
        genesis=world.genesis.digest,
        policy=world.genesis.digest,
        manifest=manifest,
        decision=Decision.APPROVE,
        reason=RejectReason.NONE,
        text="",
        outputs=(),
        person=person,
        decided_at_s=world.now_s,
    )
    return sign_document(replace(honest, **changes), key)


def rejection(world: World, manifest: bytes, person: str) -> bytes:
    """Signed rejection of a person over a manifest."""
    return approval(
        world,
        manifest,
        person,
        decision=Decision.REJECT,
        reason=RejectReason.OTHER,
        text="no",
    )


def operator_envelope(world: World, node: str, person: str, payload: bytes) -> bytes:
    """An operator's envelope to a node, as the console makes it."""
    messenger = Messenger(secret(person), world.genesis.digest)
    recipient = world.nodes[node].identity_key
    return messenger.envelope(recipient, PayloadType.APPROVAL, payload, world.now_s + 600)


def confirmation(world: World, manifest: bytes, **changes: Any) -> bytes:
    """The payer's signed confirmation."""
    key = changes.pop("signer", secret("backend"))
    honest = PayerConfirmation(
        world.genesis.digest, manifest, xonly_from_secret(secret("backend")), world.now_s
    )
    return sign_document(replace(honest, **changes), key)


def open_round(world: World, manifest: bytes, names: list[str], number: int = 1) -> dict[str, Any]:
    """Open a round at these nodes: commitment sets, or the error ids of refusals."""
    opening = wire.encode(RoundOpening(manifest, number))
    answers: dict[str, Any] = {}
    for name in names:
        envelope = world.send(name, PayloadType.ROUND_OPENING, opening)[-1]
        if envelope.type is PayloadType.COMMITMENT_SET:
            answers[name] = wire.decode(CommitmentSet, envelope.payload)
        else:
            answers[name] = verdict_of([envelope])
    return answers


def package(
    world: World, manifest: bytes, commitments: dict[str, CommitmentSet], **changes: Any
) -> SigningPackage:
    """The package that an honest coordinator makes, with approvals of alice and bob."""
    honest = SigningPackage(
        manifest=manifest,
        round=next(iter(commitments.values())).round,
        approvals=(approval(world, manifest, "alice"), approval(world, manifest, "bob")),
        payer_confirmation=confirmation(world, manifest),
        signers=tuple(
            SignerCommitments(name, commitments[name].boot, commitments[name].commitments)
            for name in world.nodes
            if name in commitments
        ),
    )
    return replace(honest, **changes)


def send_package(world: World, one: SigningPackage, name: str) -> ShareSet | ErrorId | None:
    """Send a package to a node: its shares, or the error id of its refusal."""
    envelope = world.send(name, PayloadType.SIGNING_PACKAGE, wire.encode(one))[-1]
    if envelope.type is PayloadType.SHARE_SET:
        return wire.decode(ShareSet, envelope.payload)
    return verdict_of([envelope])


def sign(world: World, one: Draft, names: list[str], number: int = 1) -> SignedTransaction:
    """The whole way of an accepted draft to its signed transaction."""
    commitments = open_round(world, one.digest, names, number)
    built = package(world, one.digest, commitments)
    shares = {}
    for name in names:
        answer = send_package(world, built, name)
        if not isinstance(answer, ShareSet):
            raise AssertionError(f"{name} refused: {answer}")
        shares[name] = answer.shares
    return world.vault.kind.aggregate(session_of(world, one, built), shares)


def session_of(world: World, one: Draft, built: SigningPackage) -> interface.SigningSession:
    """The session that a package describes, as the coordinator opens it."""
    return world.vault.kind.open_session(
        parse_psbt(one.manifest().psbt),
        [
            interface.SessionInput(coin.evidence.chain, coin.evidence.index, coin.value_sat)
            for coin in one.coins
        ],
        [interface.SignerCommitments(member.node, member.commitments) for member in built.signers],
    )
