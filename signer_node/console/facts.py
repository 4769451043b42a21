"""What an operator decides over, computed here from the manifest's bytes.

Nothing is taken from the daemon but the bytes, the genesis and the vault certificate: the digest,
amounts, addresses, fee and change are worked out again in the process that holds the operator's
key. A manifest whose parts do not fit raises instead of being shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from signer_node import wire
from signer_node.core.projection import open_proposal
from signer_node.kernel.bitcoin.address import address_from_script
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.psbt import Psbt, parse_psbt
from signer_node.kernel.bitcoin.transaction import TxOut, parse_stripped
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.manifest import Manifest
from signer_node.kernel.documents.request import Request
from signer_node.kernel.documents.signed import Body, Received, authenticate
from signer_node.kernel.documents.vault import VaultCertificate
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.certify import check_certificate
from signer_node.kernel.rules.decide import requesters_of
from signer_node.kernel.units import share_ppm, vbytes_from_weight
from signer_node.kernel.vault.interface import INTERNAL_CHAIN, VaultKind

_LARGE_SHARE_PPM: Final = 500_000
_HIGH_FEE_PPM: Final = 10_000


@dataclass(frozen=True, slots=True)
class PayoutFact:
    """An output that pays a request; account and initiator are what the requester says."""

    output: int
    amount_sat: int
    address: str
    withdrawal_id: str
    account: str
    initiator: str


@dataclass(frozen=True, slots=True)
class ChangeFact:
    """An output that returns to the vault, its script derived here at the internal index."""

    output: int
    amount_sat: int
    address: str
    index: int


@dataclass(frozen=True, slots=True)
class Review:
    """The facts of one manifest. `flags` are words that call for attention."""

    digest: bytes
    batch_id: str
    vault: str
    threshold: int
    cosigners: int
    descriptor_checksum: str
    replaces: bytes
    not_before_s: int
    expires_at_s: int
    txid: bytes
    inputs: int
    input_sat: int
    fee_sat: int
    vbytes: int
    payouts: tuple[PayoutFact, ...]
    changes: tuple[ChangeFact, ...]
    flags: tuple[str, ...]
    requesters: frozenset[str]
    policy: bytes

    @property
    def paid_sat(self) -> int:
        """What goes to others."""
        return sum(payout.amount_sat for payout in self.payouts)

    @property
    def change_sat(self) -> int:
        """What comes back."""
        return sum(change.amount_sat for change in self.changes)

    @property
    def largest(self) -> PayoutFact:
        """The payout whose address has to be read aloud."""
        return max(self.payouts, key=lambda payout: payout.amount_sat)


def review(raw: bytes, genesis: Body[Genesis], certificate: Body[VaultCertificate]) -> Review:
    """Work out the facts of a proposal; raises Refusal where its parts do not fit."""
    received = open_proposal(raw)
    manifest = received.body.document
    if manifest.genesis != genesis.digest:
        raise Refusal(ErrorId.MANIFEST_OTHER_GENESIS, manifest.genesis.hex())
    if manifest.certificate != certificate.digest:
        raise Refusal(ErrorId.MANIFEST_OTHER_VAULT, manifest.certificate.hex())
    vault = check_certificate(certificate, genesis).kind
    psbt = _psbt(manifest)
    outputs = psbt.transaction.outputs
    input_sat = sum(spent.value_sat for spent in _spent(manifest, psbt, vault))
    payouts = _payouts(manifest, received.requests, outputs, genesis.document)
    changes = _changes(manifest, outputs, vault)
    if len(payouts) + len(changes) != len(outputs) or not payouts:
        raise Refusal(ErrorId.MANIFEST_OUTPUT_UNREQUESTED, "an output is nobody's")
    document = certificate.document
    return Review(
        digest=received.body.digest,
        batch_id=manifest.batch_id,
        vault=document.vault,
        threshold=document.threshold,
        cosigners=len(document.members),
        descriptor_checksum=document.descriptor.rpartition("#")[2],
        replaces=manifest.replaces,
        not_before_s=manifest.not_before_s,
        expires_at_s=manifest.expires_at_s,
        txid=psbt.transaction.txid,
        inputs=len(psbt.inputs),
        input_sat=input_sat,
        fee_sat=input_sat - sum(output.value_sat for output in outputs),
        vbytes=vbytes_from_weight(vault.signed_weight(psbt.transaction)),
        payouts=payouts,
        changes=changes,
        flags=_flags(manifest, payouts, input_sat - sum(one.value_sat for one in outputs)),
        requesters=requesters_of(genesis.document, [one.key for one in received.requests]),
        policy=manifest.policy,
    )


def addresses(raw: bytes, network: Network) -> list[tuple[int, str]]:
    """Amount and address (or script in hex) of every output of a PSBT."""
    found = []
    for output in _parse(raw).transaction.outputs:
        try:
            text = address_from_script(output.script, network)
        except BitcoinFault:
            text = f"script {output.script.hex()}"
        found.append((output.value_sat, text))
    return found


def psbt_txid(raw: bytes) -> bytes:
    """The transaction id that a PSBT will have when it is signed, internal byte order."""
    return _parse(raw).transaction.txid


def _psbt(manifest: Manifest) -> Psbt:
    psbt = _parse(manifest.psbt)
    if len(manifest.evidence) != len(psbt.inputs):
        raise Refusal(ErrorId.INPUT_EVIDENCE_MISSING, f"{len(psbt.inputs)} inputs")
    return psbt


def _parse(raw: bytes) -> Psbt:
    try:
        return parse_psbt(raw)
    except BitcoinFault as fault:
        raise Refusal(ErrorId.MANIFEST_PSBT_INVALID, str(fault)) from None


def _spent(manifest: Manifest, psbt: Psbt, vault: VaultKind) -> list[TxOut]:
    """The outputs spent, from the whole previous transactions: their ids are what is signed."""
    spent = []
    for txin, evidence in zip(psbt.transaction.inputs, manifest.evidence, strict=True):
        previous = parse_stripped(evidence.previous_transaction)
        if previous.txid != txin.outpoint.txid or txin.outpoint.vout >= len(previous.outputs):
            raise Refusal(ErrorId.INPUT_EVIDENCE_INVALID, str(txin.outpoint))
        output = previous.outputs[txin.outpoint.vout]
        if output.script != vault.script(evidence.chain, evidence.index):
            raise Refusal(ErrorId.INPUT_NOT_OURS, str(txin.outpoint))
        spent.append(output)
    return spent


def _payouts(
    manifest: Manifest,
    requests: tuple[Received[Request], ...],
    outputs: tuple[TxOut, ...],
    genesis: Genesis,
) -> tuple[PayoutFact, ...]:
    by_digest = {one.digest: one for one in requests}
    facts = []
    for payout in manifest.payouts:
        request = by_digest.get(payout.request)
        if request is None:
            raise Refusal(ErrorId.REQUEST_MISSING, f"output {payout.output}")
        if genesis.request_key(request.key) is None or request.key != request.document.key:
            raise Refusal(ErrorId.REQUEST_KEY_UNKNOWN, request.key.hex())
        asked = authenticate(request, ErrorId.REQUEST_SIGNATURE_INVALID).document
        output = _output(outputs, payout.output)
        if output != TxOut(asked.amount_sat, asked.script):
            raise Refusal(ErrorId.MANIFEST_OUTPUT_MISMATCH, f"output {payout.output}")
        facts.append(
            PayoutFact(
                payout.output,
                output.value_sat,
                address_from_script(output.script, genesis.network),
                asked.withdrawal_id,
                asked.account,
                asked.initiator,
            )
        )
    _require_distinct([fact.output for fact in facts])
    return tuple(facts)


def _changes(
    manifest: Manifest, outputs: tuple[TxOut, ...], vault: VaultKind
) -> tuple[ChangeFact, ...]:
    facts = []
    for change in manifest.changes:
        output = _output(outputs, change.output)
        if output.script != vault.script(INTERNAL_CHAIN, change.index):
            raise Refusal(ErrorId.CHANGE_SCRIPT_FOREIGN, f"output {change.output}")
        address = vault.address(INTERNAL_CHAIN, change.index)
        facts.append(ChangeFact(change.output, output.value_sat, address, change.index))
    _require_distinct(
        [fact.output for fact in facts] + [payout.output for payout in manifest.payouts]
    )
    return tuple(facts)


def _output(outputs: tuple[TxOut, ...], number: int) -> TxOut:
    if number >= len(outputs):
        raise Refusal(ErrorId.MANIFEST_OUTPUT_MISMATCH, f"there is no output {number}")
    return outputs[number]


def _require_distinct(numbers: list[int]) -> None:
    if len(set(numbers)) != len(numbers):
        raise Refusal(ErrorId.MANIFEST_OUTPUT_CLAIMED_TWICE, str(sorted(numbers)))


def _flags(manifest: Manifest, payouts: tuple[PayoutFact, ...], fee_sat: int) -> tuple[str, ...]:
    paid_sat = sum(payout.amount_sat for payout in payouts)
    flags = []
    if manifest.replaces != ZERO_DIGEST:
        flags.append("says that it replaces an earlier manifest")
    if any(evidence.inclusion is None for evidence in manifest.evidence):
        flags.append("spends change that is not confirmed yet")
    seen: dict[str, int] = {}
    for payout in payouts:
        first = seen.setdefault(payout.address, payout.output)
        if first != payout.output:
            flags.append(f"#{first} and #{payout.output} pay the same address")
        share = share_ppm(payout.amount_sat, paid_sat)
        if len(payouts) > 1 and share > _LARGE_SHARE_PPM:
            flags.append(f"#{payout.output} is {share // 10_000} % of what is paid")
    if share_ppm(fee_sat, paid_sat) > _HIGH_FEE_PPM:
        flags.append("the fee is more than 1 % of what is paid")
    return tuple(flags)


def open_genesis(raw: bytes) -> Body[Genesis]:
    """The genesis of these bytes."""
    return wire.decode_body(Genesis, raw)


def open_certificate(raw: bytes) -> Body[VaultCertificate]:
    """The certificate of these bytes."""
    return wire.decode_body(VaultCertificate, raw)
