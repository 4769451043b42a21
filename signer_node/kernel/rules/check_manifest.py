"""What a signer checks of a payout before anybody is asked to approve it (PROTOCOL.md section 3).

The rules, in the order in which they are applied; the first one broken names the refusal:

 1. Of this genesis, a certified vault, the policy in force, a kind that is signed here.
 2. Lives no longer than the policy allows. (An expired manifest is judged as of its last moment,
    so that what it used of the change chain is known; `expired` tells that it is not signable.)
 3. Its PSBT is strict, its transaction version 2, locktime a height up to the verified tip, every
    sequence 0xfffffffd, sighash the vault's, no output twice in the manifest.
 4. Every input spends an output of the vault, proved by its whole previous transaction and a
    Merkle branch into the verified chain, deep enough; or change of a manifest checked before.
 5. Every output is a payout that equals its request 1:1 by index, or declared change.
 6. Every request is signed, valid, of this vault, not twice here, and the first one with its id;
    all are by one key where the policy asks for a payer's confirmation: each ledger knows its own.
 7. Change: internal chain, fresh index within the gap, few and large enough.
 8. The fee is below the manifest's ceilings, which are below the policy's, and below the share.
 9. A replacement pays what its parent pays from at least its inputs to the same change.
10. Paid once: `paid_once` holds against everything released here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from signer_node.kernel.bitcoin.address import is_dust
from signer_node.kernel.bitcoin.faults import BitcoinFault, InvalidPsbt, UnknownPsbtField
from signer_node.kernel.bitcoin.psbt import Psbt, parse_psbt
from signer_node.kernel.bitcoin.transaction import Outpoint, Transaction, TxOut
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.genesis import Genesis, Rules
from signer_node.kernel.documents.manifest import Change, Manifest, ManifestKind, Payout
from signer_node.kernel.documents.request import Request
from signer_node.kernel.documents.signed import Body, Received
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.certify import CertifiedVault
from signer_node.kernel.rules.check_input import CheckedInput, InputFacts, check_input
from signer_node.kernel.rules.facts import PaidManifest
from signer_node.kernel.rules.paid_once import check_paid_once
from signer_node.kernel.rules.requests import CheckedRequest, check_request
from signer_node.kernel.units import vbytes_from_weight
from signer_node.kernel.vault.interface import INTERNAL_CHAIN, InvalidSession

TRANSACTION_VERSION: Final = 2
SEQUENCE: Final = 0xFFFFFFFD
LOCKTIME_THRESHOLD: Final = 500_000_000
MAX_WEIGHT: Final = 400_000
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ReceivedManifest:
    """A manifest as it came, with the requests that came along; nothing is verified."""

    body: Body[Manifest]
    requests: tuple[Received[Request], ...]


@dataclass(frozen=True, slots=True)
class Parent:
    """What a manifest checked before says, for its replacement."""

    withdrawals: Mapping[str, bytes]
    inputs: frozenset[Outpoint]
    change_indices: frozenset[int]


@dataclass(frozen=True, slots=True)
class ManifestFacts:
    """All that the rules ask of the node, fetched for the ids that the manifest names.

    `first_requests`: withdrawal id -> digest of the request first seen with it.
    `used_change`: which of the manifest's change indices an earlier manifest used.
    """

    genesis: Body[Genesis]
    vault: CertifiedVault | None
    inputs: InputFacts
    first_requests: Mapping[str, bytes]
    released: tuple[PaidManifest, ...]
    highest_change_index: int
    used_change: frozenset[int]
    parent: Parent | None
    now_s: int


@dataclass(frozen=True, slots=True)
class CheckedPayout:
    """An output that pays a checked request."""

    output: int
    request: CheckedRequest


@dataclass(frozen=True, slots=True)
class CheckedChange:
    """An output that returns to the vault, re-derived here."""

    output: int
    index: int
    value_sat: int


@dataclass(frozen=True, slots=True)
class CheckedManifest:
    """A manifest for which every rule holds; only this type reaches the signing machine.

    `weight` is the worst case of the signed transaction, in weight units.
    """

    body: Body[Manifest]
    genesis: Genesis
    vault: CertifiedVault
    psbt: Psbt
    inputs: tuple[CheckedInput, ...]
    payouts: tuple[CheckedPayout, ...]
    changes: tuple[CheckedChange, ...]
    fee_sat: int
    weight: int
    expired: bool

    @property
    def digest(self) -> bytes:
        """The manifest's digest, 32 bytes."""
        return self.body.digest

    @property
    def transaction(self) -> Transaction:
        """The unsigned transaction."""
        return self.psbt.transaction

    @property
    def paid_sat(self) -> int:
        """What leaves to others, without fee."""
        return sum(payout.request.request.amount_sat for payout in self.payouts)

    @property
    def request_keys(self) -> frozenset[bytes]:
        """The request keys behind the payouts."""
        return frozenset(payout.request.request.key for payout in self.payouts)

    @property
    def as_paid(self) -> PaidManifest:
        """This manifest as `paid_once` sees it."""
        return PaidManifest(
            self.digest,
            frozenset(payout.request.request.withdrawal_id for payout in self.payouts),
            frozenset(one.outpoint for one in self.inputs),
        )


def check_manifest(received: ReceivedManifest, facts: ManifestFacts) -> CheckedManifest:
    """Apply the rules above; raises Refusal with the id of the first one broken."""
    manifest = received.body.document
    vault = _check_belonging(manifest, facts)
    _check_lifetime(manifest, facts)
    psbt = _check_shape(manifest, vault, facts)
    inputs = _check_inputs(manifest, psbt, vault, facts)
    _check_output_claims(manifest, psbt.transaction)
    payouts = _check_payouts(received, psbt.transaction, facts)
    changes = _check_changes(manifest, psbt.transaction, vault, facts)
    fee_sat = sum(one.value_sat for one in inputs) - _sum_outputs(psbt.transaction)
    checked = CheckedManifest(
        body=received.body,
        genesis=facts.genesis.document,
        vault=vault,
        psbt=psbt,
        inputs=inputs,
        payouts=payouts,
        changes=changes,
        fee_sat=fee_sat,
        weight=vault.kind.signed_weight(psbt.transaction),
        expired=facts.now_s > manifest.expires_at_s,
    )
    _check_fee(checked)
    _check_replacement(checked, facts)
    check_paid_once(checked.as_paid, facts.released)
    return checked


def _judged_at_s(manifest: Manifest, now_s: int) -> int:
    return min(now_s, manifest.expires_at_s)


def _check_belonging(manifest: Manifest, facts: ManifestFacts) -> CertifiedVault:
    if manifest.genesis != facts.genesis.digest:
        raise Refusal(ErrorId.MANIFEST_OTHER_GENESIS, manifest.genesis.hex())
    if facts.vault is None or facts.vault.certificate.digest != manifest.certificate:
        raise Refusal(ErrorId.MANIFEST_OTHER_VAULT, manifest.certificate.hex())
    if manifest.policy != facts.genesis.digest:
        raise Refusal(ErrorId.MANIFEST_OTHER_POLICY, manifest.policy.hex())
    if manifest.kind is not ManifestKind.PAYOUT:
        raise Refusal(ErrorId.MANIFEST_KIND_UNSUPPORTED, manifest.kind.name)
    return facts.vault


def _check_lifetime(manifest: Manifest, facts: ManifestFacts) -> None:
    life_s = manifest.expires_at_s - manifest.not_before_s
    longest_s = facts.genesis.document.rules.max_manifest_lifetime_s
    if not 0 < life_s <= longest_s or manifest.expires_at_s > facts.now_s + longest_s:
        raise Refusal(ErrorId.MANIFEST_LIFETIME_TOO_LONG, f"{life_s} s, at most {longest_s} s")


def _check_shape(manifest: Manifest, vault: CertifiedVault, facts: ManifestFacts) -> Psbt:
    psbt = _parse(manifest.psbt)
    transaction = psbt.transaction
    if transaction.version != TRANSACTION_VERSION:
        raise Refusal(ErrorId.MANIFEST_VERSION_FORBIDDEN, str(transaction.version))
    if transaction.locktime >= LOCKTIME_THRESHOLD or transaction.locktime > facts.inputs.tip_height:
        raise Refusal(
            ErrorId.MANIFEST_LOCKTIME_FORBIDDEN,
            f"{transaction.locktime} with the tip at {facts.inputs.tip_height}",
        )
    for number, txin in enumerate(transaction.inputs):
        if txin.sequence != SEQUENCE:
            raise Refusal(
                ErrorId.MANIFEST_SEQUENCE_FORBIDDEN, f"input {number}: {txin.sequence:#010x}"
            )
    for number, fields in enumerate(psbt.inputs):
        if fields.sighash not in vault.kind.sighash_types:
            raise Refusal(ErrorId.MANIFEST_SIGHASH_FORBIDDEN, f"input {number}: {fields.sighash}")
    return psbt


def _parse(raw: bytes) -> Psbt:
    try:
        return parse_psbt(raw)
    except UnknownPsbtField as fault:
        raise Refusal(ErrorId.MANIFEST_PSBT_FIELD_UNKNOWN, str(fault)) from fault
    except (InvalidPsbt, BitcoinFault) as fault:
        raise Refusal(ErrorId.MANIFEST_PSBT_INVALID, str(fault)) from fault


def _check_inputs(
    manifest: Manifest, psbt: Psbt, vault: CertifiedVault, facts: ManifestFacts
) -> tuple[CheckedInput, ...]:
    if len(manifest.evidence) != len(psbt.transaction.inputs):
        raise Refusal(
            ErrorId.INPUT_EVIDENCE_MISSING,
            f"{len(manifest.evidence)} for {len(psbt.transaction.inputs)} inputs",
        )
    checked = tuple(
        check_input(txin.outpoint, evidence, fields.witness_utxo, vault.kind, facts.inputs)
        for txin, evidence, fields in zip(
            psbt.transaction.inputs, manifest.evidence, psbt.inputs, strict=True
        )
    )
    try:
        for fields, coin in zip(psbt.inputs, checked, strict=True):
            vault.kind.check_psbt_input(fields, coin.as_session_input)
    except InvalidSession as fault:
        raise Refusal(ErrorId.MANIFEST_PSBT_INVALID, str(fault)) from fault
    return checked


def _check_output_claims(manifest: Manifest, transaction: Transaction) -> None:
    """Every output is claimed exactly once, as a payout or as change."""
    claims = [payout.output for payout in manifest.payouts]
    claims += [change.output for change in manifest.changes]
    if len(set(claims)) != len(claims):
        raise Refusal(ErrorId.MANIFEST_OUTPUT_CLAIMED_TWICE)
    unclaimed = set(range(len(transaction.outputs))) ^ set(claims)
    if unclaimed:
        raise Refusal(ErrorId.MANIFEST_OUTPUT_UNREQUESTED, f"output {min(unclaimed)}")
    if not manifest.payouts:
        raise Refusal(ErrorId.MANIFEST_PAYS_NOBODY)


def _check_payouts(
    received: ReceivedManifest, transaction: Transaction, facts: ManifestFacts
) -> tuple[CheckedPayout, ...]:
    manifest = received.body.document
    by_digest = {request.digest: request for request in received.requests}
    if len(received.requests) != len(manifest.payouts) or len(by_digest) != len(manifest.payouts):
        raise _requests_do_not_match(received, by_digest)
    payouts = tuple(
        _check_payout(payout, by_digest, transaction, manifest, facts)
        for payout in manifest.payouts
    )
    _check_ids(payouts, facts)
    keys = {payout.request.request.key for payout in payouts}
    if len(keys) > 1 and facts.genesis.document.rules.payer_confirmation_required:
        raise Refusal(ErrorId.REQUEST_KEYS_MIXED, f"{len(keys)} request keys")
    return payouts


def _requests_do_not_match(
    received: ReceivedManifest, by_digest: Mapping[bytes, Received[Request]]
) -> Refusal:
    wanted = [payout.request for payout in received.body.document.payouts]
    if len(set(wanted)) != len(wanted):
        return Refusal(ErrorId.REQUEST_TWICE, "two outputs pay one request")
    missing = [digest.hex() for digest in wanted if digest not in by_digest]
    return Refusal(ErrorId.REQUEST_MISSING, ", ".join(missing[:3]) or "more came than are paid")


def _check_payout(
    payout: Payout,
    by_digest: Mapping[bytes, Received[Request]],
    transaction: Transaction,
    manifest: Manifest,
    facts: ManifestFacts,
) -> CheckedPayout:
    received = by_digest.get(payout.request)
    if received is None:
        raise Refusal(ErrorId.REQUEST_MISSING, f"output {payout.output}")
    vault = facts.vault
    name = vault.certificate.document.vault if vault is not None else ""
    request = check_request(received, facts.genesis, name, _judged_at_s(manifest, facts.now_s))
    wanted = TxOut(request.request.amount_sat, request.request.script)
    if transaction.outputs[payout.output] != wanted:
        raise Refusal(ErrorId.MANIFEST_OUTPUT_MISMATCH, f"output {payout.output}")
    return CheckedPayout(payout.output, request)


def _check_ids(payouts: tuple[CheckedPayout, ...], facts: ManifestFacts) -> None:
    seen: set[str] = set()
    for payout in payouts:
        withdrawal_id = payout.request.request.withdrawal_id
        if withdrawal_id in seen:
            raise Refusal(ErrorId.REQUEST_TWICE, withdrawal_id)
        seen.add(withdrawal_id)
        if facts.first_requests.get(withdrawal_id, payout.request.digest) != payout.request.digest:
            raise Refusal(ErrorId.REQUEST_ID_CONFLICT, withdrawal_id)


def _check_changes(
    manifest: Manifest, transaction: Transaction, vault: CertifiedVault, facts: ManifestFacts
) -> tuple[CheckedChange, ...]:
    rules = facts.genesis.document.rules
    if len(manifest.changes) > rules.max_change_outputs:
        raise Refusal(ErrorId.CHANGE_TOO_MANY, f"{len(manifest.changes)} change outputs")
    indices = [change.index for change in manifest.changes]
    if len(set(indices)) != len(indices):
        raise Refusal(ErrorId.CHANGE_INDEX_INVALID, "one index twice")
    return tuple(
        _check_change(change, transaction.outputs[change.output], vault, facts)
        for change in manifest.changes
    )


def _check_change(
    change: Change, output: TxOut, vault: CertifiedVault, facts: ManifestFacts
) -> CheckedChange:
    rules = facts.genesis.document.rules
    _check_change_index(change, facts, rules)
    if output.script != vault.kind.script(INTERNAL_CHAIN, change.index):
        raise Refusal(ErrorId.CHANGE_SCRIPT_FOREIGN, f"output {change.output}")
    if output.value_sat < rules.min_change_sat or is_dust(output):
        raise Refusal(ErrorId.CHANGE_TOO_SMALL, f"output {change.output}: {output.value_sat} sat")
    return CheckedChange(change.output, change.index, output.value_sat)


def _check_change_index(change: Change, facts: ManifestFacts, rules: Rules) -> None:
    if facts.parent is not None and change.index in facts.parent.change_indices:
        return
    if change.index in facts.used_change:
        raise Refusal(ErrorId.CHANGE_INDEX_INVALID, f"{change.index} was used before")
    if change.index > facts.highest_change_index + rules.change_index_gap:
        raise Refusal(
            ErrorId.CHANGE_INDEX_INVALID,
            f"{change.index} lies more than {rules.change_index_gap} beyond "
            f"{facts.highest_change_index}",
        )


def _sum_outputs(transaction: Transaction) -> int:
    return sum(output.value_sat for output in transaction.outputs)


def _check_fee(checked: CheckedManifest) -> None:
    rules, manifest = checked.genesis.rules, checked.body.document
    vbytes = vbytes_from_weight(checked.weight)
    if checked.fee_sat < 0:
        raise Refusal(ErrorId.MANIFEST_AMOUNTS_INVALID, f"fee of {checked.fee_sat} sat")
    if checked.weight > MAX_WEIGHT:
        raise Refusal(ErrorId.MANIFEST_WEIGHT_EXCEEDED, f"{checked.weight} weight units")
    if (
        manifest.max_fee_sat > rules.max_fee_sat
        or manifest.max_fee_rate_sat_vb > rules.max_fee_rate_sat_vb
    ):
        raise Refusal(ErrorId.FEE_CEILING_EXCEEDS_POLICY)
    if checked.fee_sat > manifest.max_fee_sat:
        raise Refusal(ErrorId.FEE_EXCEEDS_ABSOLUTE, f"{checked.fee_sat} sat")
    if checked.fee_sat > manifest.max_fee_rate_sat_vb * vbytes:
        raise Refusal(ErrorId.FEE_EXCEEDS_RATE, f"{checked.fee_sat} sat for {vbytes} vbytes")
    if checked.fee_sat * MILLION > rules.max_fee_share_ppm * checked.paid_sat:
        raise Refusal(ErrorId.FEE_EXCEEDS_SHARE, f"{checked.fee_sat} of {checked.paid_sat} sat")


def _check_replacement(checked: CheckedManifest, facts: ManifestFacts) -> None:
    if checked.body.document.replaces == ZERO_DIGEST or facts.parent is None:
        return
    parent = facts.parent
    pays = {
        payout.request.request.withdrawal_id: payout.request.digest for payout in checked.payouts
    }
    if pays != dict(parent.withdrawals):
        raise Refusal(ErrorId.REPLACEMENT_INVALID, "it pays other withdrawals than its parent")
    if not parent.inputs <= {one.outpoint for one in checked.inputs}:
        raise Refusal(ErrorId.REPLACEMENT_INVALID, "it leaves out an input of its parent")
