"""The payer's confirmation: B's client endorses a manifest after its own check (PROTOCOL.md G4).

The client confirms by itself, and only if

 1. the manifest is of the genesis and a vault that are pinned here, and has not expired;
 2. every payout is a request of B's own ledger, byte for byte, once, and its output pays exactly
    that request's script and amount;
 3. every other output is change that the client derives itself from the pinned vault;
 4. `paid_once` holds against every manifest confirmed before;
 5. none of its withdrawals was found paid to final depth by another transaction;
 6. none of them ended here (refused, rejected, cancelled, expired) before any manifest that pays
    it was confirmed: the exchange may have given the money back.

The manifest is durable before its confirmation is signed, the confirmation before it is sent; the
same manifest gets the same confirmation again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from custodyd.client.keys import RequestKey
from custodyd.client.ledger import ClientLedger, RequestState, StoredManifest, StoredRequest
from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.psbt import parse_psbt
from signer_node.kernel.bitcoin.transaction import Transaction, TxOut
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.manifest import Manifest, ManifestProposal
from signer_node.kernel.documents.request import PayerConfirmation, Request
from signer_node.kernel.documents.signed import Body, document_digest
from signer_node.kernel.rules.certify import CertifiedVault
from signer_node.kernel.rules.facts import PaidManifest
from signer_node.kernel.rules.paid_once import check_paid_once
from signer_node.kernel.vault.interface import INTERNAL_CHAIN
from signer_node.wire import decode, decode_body, encode, open_signed, signed_bytes

_ENDED: Final = frozenset({RequestState.REFUSED, RequestState.ENDED})


@dataclass(frozen=True, slots=True)
class Payer:
    """Who confirms: ledger, request key, what is pinned (certificate digest -> vault)."""

    ledger: ClientLedger
    key: RequestKey
    genesis: Body[Genesis]
    vaults: Mapping[bytes, CertifiedVault]


@dataclass(frozen=True, slots=True)
class CheckedPayouts:
    """A manifest whose every output is explained by B's own ledger and vault."""

    body: Body[Manifest]
    transaction: Transaction
    facts: PaidManifest


def confirm(payer: Payer, batch_id: str, proposal: bytes, tip_height: int, now_s: int) -> bytes:
    """Signed bytes of the confirmation; raises CustodydError or Refusal and signs nothing."""
    checked = check_payouts(payer, proposal, now_s)
    digest = checked.facts.digest
    with payer.ledger.transaction():
        before = payer.ledger.confirmation(digest)
        if before:
            return before
        ids = sorted(checked.facts.withdrawal_ids)
        check_paid_once(checked.facts, payer.ledger.confirmed_before(ids))
        payer.ledger.add_manifest(
            StoredManifest(checked.facts, batch_id, checked.transaction.txid, proposal, tip_height)
        )
    signed = _sign(payer, digest, now_s)
    payer.ledger.set_confirmation(digest, signed)
    return signed


def check_payouts(payer: Payer, proposal: bytes, now_s: int) -> CheckedPayouts:
    """Rules 1, 2, 3, 5 and 6; raises MANIFEST_NOT_OURS with what was seen."""
    opened = decode(ManifestProposal, proposal)
    body = decode_body(Manifest, opened.manifest)
    manifest = body.document
    vault = payer.vaults.get(manifest.certificate)
    if manifest.genesis != payer.genesis.digest or vault is None:
        raise _not_ours("it is of another quorum or of a vault that is not pinned here")
    if now_s > manifest.expires_at_s:
        raise _not_ours("it has expired")
    try:
        transaction = parse_psbt(manifest.psbt).transaction
    except BitcoinFault as fault:
        raise _not_ours(str(fault)) from None
    requests = _own_requests(payer, opened, manifest, vault)
    _check_outputs(manifest, transaction, requests, vault)
    _check_not_final(requests, transaction)
    _check_not_ended(payer.ledger, requests)
    facts = PaidManifest(
        body.digest,
        frozenset(one.withdrawal_id for one in requests.values()),
        frozenset(txin.outpoint for txin in transaction.inputs),
    )
    return CheckedPayouts(body, transaction, facts)


def _own_requests(
    payer: Payer, opened: ManifestProposal, manifest: Manifest, vault: CertifiedVault
) -> dict[bytes, StoredRequest]:
    """The ledger's requests that the manifest pays, by digest; each exactly once."""
    wanted = [payout.request for payout in manifest.payouts]
    if not wanted or len(set(wanted)) != len(wanted) or len(opened.requests) != len(wanted):
        raise _not_ours("payouts and requests do not match one to one")
    found: dict[bytes, StoredRequest] = {}
    for raw in opened.requests:
        received = open_signed(Request, raw)
        own = payer.ledger.request(received.document.withdrawal_id)
        if own is None or own.digest != received.digest:
            raise _not_ours(f"{received.document.withdrawal_id} was not asked for like this")
        if own.vault != vault.certificate.document.vault:
            raise _not_ours(f"{own.withdrawal_id} asks another vault to pay")
        found[own.digest] = own
    if set(found) != set(wanted):
        raise _not_ours("a payout names a request that did not come along")
    return found


def _check_outputs(
    manifest: Manifest,
    transaction: Transaction,
    requests: Mapping[bytes, StoredRequest],
    vault: CertifiedVault,
) -> None:
    explained: dict[int, bool] = {}
    for payout in manifest.payouts:
        own = requests[payout.request]
        wanted = TxOut(own.amount_sat, own.script)
        if _output(transaction, payout.output) != wanted:
            raise _not_ours(f"output {payout.output} does not pay {own.withdrawal_id}")
        explained[payout.output] = True
    for change in manifest.changes:
        output = _output(transaction, change.output)
        if output.script != vault.kind.script(INTERNAL_CHAIN, change.index):
            raise _not_ours(f"output {change.output} is called change and is not")
        explained[change.output] = True
    if len(explained) != len(manifest.payouts) + len(manifest.changes):
        raise _not_ours("two things are said of one output")
    if set(explained) != set(range(len(transaction.outputs))):
        raise _not_ours("an output is explained by nothing")


def _output(transaction: Transaction, number: int) -> TxOut:
    if number >= len(transaction.outputs):
        raise _not_ours(f"there is no output {number}")
    return transaction.outputs[number]


def _check_not_final(requests: Mapping[bytes, StoredRequest], transaction: Transaction) -> None:
    for own in requests.values():
        if own.state is RequestState.FINAL and own.txid != transaction.txid:
            raise _not_ours(f"{own.withdrawal_id} is paid, finally, by another transaction")


def _check_not_ended(ledger: ClientLedger, requests: Mapping[bytes, StoredRequest]) -> None:
    for own in requests.values():
        if own.state in _ENDED and not ledger.confirmed_before([own.withdrawal_id]):
            raise _not_ours(f"{own.withdrawal_id} has ended here: {own.refusal}")


def _sign(payer: Payer, manifest: bytes, now_s: int) -> bytes:
    confirmation = PayerConfirmation(payer.genesis.digest, manifest, payer.key.public, now_s)
    body = encode(confirmation)
    digest = document_digest(PayerConfirmation, body)
    return signed_bytes(body, payer.key.public, payer.key.sign(digest))


def _not_ours(detail: str) -> CustodydError:
    return CustodydError(ErrorId.MANIFEST_NOT_OURS, detail)
