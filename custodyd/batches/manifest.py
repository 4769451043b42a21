"""The one builder of manifests: a plan of payouts and coins becomes a proposal. Pure.

What is built here is what every signer checks alone (kernel.rules.check_manifest): version 2,
locktime the tip, every sequence 0xfffffffd, for each input its whole previous transaction with the
branch that proves it, ceilings no higher than the fee that is paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from custodyd.coins.rules import Coin, Costs
from signer_node.kernel.bitcoin.psbt import NewOutput, Psbt, SpentCoin, build_psbt
from signer_node.kernel.bitcoin.serial import compact_size
from signer_node.kernel.bitcoin.transaction import TxOut
from signer_node.kernel.documents.fields import MAX_ENVELOPE, ZERO_DIGEST
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.manifest import (
    Change,
    InputEvidence,
    Manifest,
    ManifestKind,
    ManifestProposal,
    Payout,
)
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.rules.certify import CertifiedVault
from signer_node.kernel.rules.check_manifest import SEQUENCE
from signer_node.kernel.units import fee_rate_sat_vb
from signer_node.kernel.vault.interface import INTERNAL_CHAIN
from signer_node.wire import decode_body, encode

MAX_PROPOSAL_BYTES = MAX_ENVELOPE - 4_096
"""What an envelope still carries with its own fields."""
_WITNESS_SCALE = 4
_FIXED_BYTES = 8
_MARKER_AND_FLAG_WEIGHT = 2
_VALUE_BYTES = 8
_INPUTS_COUNT_BYTES = 1


class ProposalTooLong(Exception):
    """The proposal does not fit into an envelope: make more batches."""


@dataclass(frozen=True, slots=True)
class PlannedPayout:
    """A withdrawal to pay, with its signed request."""

    external_id: str
    request_digest: bytes
    signed_request: bytes
    script: bytes
    amount_sat: int

    @property
    def output(self) -> TxOut:
        """What it is paid by."""
        return TxOut(self.amount_sat, self.script)


@dataclass(frozen=True, slots=True)
class PlannedCoin:
    """A coin to spend, with what proves it to the signers."""

    coin: Coin
    evidence: InputEvidence


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """Change at a fresh index of the internal chain."""

    index: int
    value_sat: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a manifest is a function of. `seed` decides where change stands."""

    genesis: Body[Genesis]
    vault: CertifiedVault
    batch_id: str
    payouts: tuple[PlannedPayout, ...]
    coins: tuple[PlannedCoin, ...]
    change: PlannedChange | None
    locktime: int
    not_before_s: int
    expires_at_s: int
    seed: bytes


@dataclass(frozen=True, slots=True)
class BuiltManifest:
    """A manifest with the proposal that carries it."""

    body: Body[Manifest]
    proposal: bytes
    psbt: Psbt


def costs(vault: CertifiedVault, payouts: Sequence[PlannedPayout], rules: CostRules) -> Costs:
    """What paying these costs at a rate, for coin selection."""
    outputs_bytes = sum(len(one.output.serialize()) for one in payouts)
    counts_bytes = _INPUTS_COUNT_BYTES + len(compact_size(len(payouts) + 1))
    base = (_FIXED_BYTES + counts_bytes + outputs_bytes) * _WITNESS_SCALE + _MARKER_AND_FLAG_WEIGHT
    change = TxOut(0, vault.kind.script(INTERNAL_CHAIN, 0))
    return Costs(
        target_sat=sum(one.amount_sat for one in payouts),
        base_weight=base,
        input_weight=vault.kind.input_weight,
        change_weight=len(change.serialize()) * _WITNESS_SCALE,
        min_change_sat=rules.min_change_sat,
        fee_rate_sat_vb=rules.fee_rate_sat_vb,
    )


@dataclass(frozen=True, slots=True)
class CostRules:
    """The rate to pay and the smallest change."""

    fee_rate_sat_vb: int
    min_change_sat: int


def build(plan: Plan) -> BuiltManifest:
    """The manifest of a plan; raises ProposalTooLong, or BitcoinFault for an impossible plan."""
    outputs, change_at = _outputs(plan)
    psbt = build_psbt([_spent(plan, one) for one in plan.coins], outputs, plan.locktime)
    payout_places = [at for at in range(len(outputs)) if at != change_at]
    changes = () if plan.change is None else (Change(change_at, plan.change.index),)
    fee_sat = sum(one.coin.value_sat for one in plan.coins) - sum(
        new.output.value_sat for new in outputs
    )
    manifest = Manifest(
        genesis=plan.genesis.digest,
        certificate=plan.vault.certificate.digest,
        policy=plan.genesis.digest,
        kind=ManifestKind.PAYOUT,
        batch_id=plan.batch_id,
        psbt=psbt.raw,
        payouts=tuple(
            Payout(at, one.request_digest)
            for at, one in zip(payout_places, plan.payouts, strict=True)
        ),
        changes=changes,
        evidence=tuple(one.evidence for one in plan.coins),
        max_fee_sat=fee_sat,
        max_fee_rate_sat_vb=_rate(plan.vault, psbt, fee_sat),
        replaces=ZERO_DIGEST,
        not_before_s=plan.not_before_s,
        expires_at_s=plan.expires_at_s,
    )
    return _proposed(manifest, tuple(one.signed_request for one in plan.payouts), psbt)


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a replacement says anew; all else stays as the parent says."""

    batch_id: str
    evidence: tuple[InputEvidence, ...]
    not_before_s: int
    expires_at_s: int


def rebuild(
    parent: Body[Manifest], requests: tuple[bytes, ...], psbt: Psbt, renewal: Renewal
) -> BuiltManifest:
    """A replacement: same transaction, new life, `replaces` the parent."""
    manifest = replace(
        parent.document,
        batch_id=renewal.batch_id,
        evidence=renewal.evidence,
        replaces=parent.digest,
        not_before_s=renewal.not_before_s,
        expires_at_s=renewal.expires_at_s,
    )
    return _proposed(manifest, requests, psbt)


def _proposed(manifest: Manifest, requests: tuple[bytes, ...], psbt: Psbt) -> BuiltManifest:
    body = decode_body(Manifest, encode(manifest))
    proposal = encode(ManifestProposal(body.raw, requests))
    if len(proposal) > MAX_PROPOSAL_BYTES:
        raise ProposalTooLong(f"{len(proposal)} bytes, at most {MAX_PROPOSAL_BYTES}")
    return BuiltManifest(body, proposal, psbt)


def _rate(vault: CertifiedVault, psbt: Psbt, fee_sat: int) -> int:
    return fee_rate_sat_vb(fee_sat, vault.kind.signed_weight(psbt.transaction))


def _outputs(plan: Plan) -> tuple[list[NewOutput], int]:
    """The outputs in order, and where change stands among them (-1: none)."""
    outputs = [NewOutput(one.output) for one in plan.payouts]
    if plan.change is None:
        return outputs, -1
    index = plan.change.index
    script = plan.vault.kind.script(INTERNAL_CHAIN, index)
    fields = plan.vault.kind.psbt_output_fields(INTERNAL_CHAIN, index)
    at = int.from_bytes(sha256(plan.seed).digest()[:8], "big") % (len(outputs) + 1)
    outputs.insert(at, NewOutput(TxOut(plan.change.value_sat, script), fields))
    return outputs, at


def _spent(plan: Plan, planned: PlannedCoin) -> SpentCoin:
    coin = planned.coin
    spent = TxOut(coin.value_sat, coin.script)
    fields = plan.vault.kind.psbt_input_fields(coin.chain, coin.index, spent)
    return SpentCoin(coin.outpoint, SEQUENCE, fields)
