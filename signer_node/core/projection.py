"""What the journal's projections take from a manifest: read from the proposal's bytes alone.

Nothing is verified here: only manifests that were checked are journaled as such.
"""

from __future__ import annotations

from dataclasses import dataclass

from signer_node import wire
from signer_node.kernel.bitcoin.psbt import parse_psbt
from signer_node.kernel.bitcoin.transaction import Outpoint
from signer_node.kernel.documents.manifest import Manifest, ManifestProposal
from signer_node.kernel.documents.request import Request
from signer_node.kernel.rules.check_manifest import ReceivedManifest
from signer_node.kernel.rules.facts import OwnOutput


@dataclass(frozen=True, slots=True)
class ManifestSummary:
    """A manifest's ids. `withdrawals` pairs withdrawal id and request digest."""

    digest: bytes
    batch_id: str
    certificate: bytes
    replaces: bytes
    expires_at_s: int
    withdrawals: tuple[tuple[str, bytes], ...]
    inputs: tuple[Outpoint, ...]
    txid: bytes
    changes: tuple[OwnOutput, ...]


def open_proposal(raw: bytes) -> ReceivedManifest:
    """Decode a proposal with its manifest and requests; raises Refusal on bytes out of form."""
    proposal = wire.decode(ManifestProposal, raw)
    return ReceivedManifest(
        wire.decode_body(Manifest, proposal.manifest),
        tuple(wire.open_signed(Request, one) for one in proposal.requests),
    )


def summarise(raw: bytes) -> ManifestSummary:
    """The summary of a proposal that was checked before."""
    received = open_proposal(raw)
    manifest = received.body.document
    transaction = parse_psbt(manifest.psbt).transaction
    return ManifestSummary(
        digest=received.body.digest,
        batch_id=manifest.batch_id,
        certificate=manifest.certificate,
        replaces=manifest.replaces,
        expires_at_s=manifest.expires_at_s,
        withdrawals=tuple(
            (request.document.withdrawal_id, request.digest) for request in received.requests
        ),
        inputs=tuple(txin.outpoint for txin in transaction.inputs),
        txid=transaction.txid,
        changes=tuple(
            OwnOutput(
                Outpoint(transaction.txid, change.output),
                transaction.outputs[change.output],
                change.index,
            )
            for change in manifest.changes
        ),
    )
