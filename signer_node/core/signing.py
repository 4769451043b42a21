"""Signing, the signer's end: opening -> commitments -> package -> shares.

 1. Nothing is committed to or released for a manifest that does not pass every rule as of now:
    checked again, not rejected here, begun, not expired, paid once.
 2. A share is released for one package for each commitment; the package names manifest, round,
    approvals, payer confirmation, signer set and all commitments.
 3. Record, share and message are one durable commit; sent again only after rule 1 holds again.

A vault kind without nonces has empty commitments and takes the same steps.
"""

from __future__ import annotations

from typing import Final

from signer_node import wire
from signer_node.core.ledger import CommitmentEntry, Node, SessionKey
from signer_node.core.review import recheck, require_manifest, subject_of
from signer_node.core.step import Outgoing, Record, Step
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.journal import RecordKind, Release
from signer_node.kernel.documents.manifest import Approval
from signer_node.kernel.documents.request import PayerConfirmation
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.documents.signing import (
    CommitmentSet,
    RoundOpening,
    ShareSet,
    SigningPackage,
)
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.check_manifest import CheckedManifest
from signer_node.kernel.rules.decide import require_approved
from signer_node.kernel.rules.payer import check_payer_confirmation
from signer_node.kernel.vault import interface

ROUND_LIFETIME_S: Final = 600


def on_opening(node: Node, genesis: Body[Genesis], payload: bytes, now_s: int) -> Step:
    """Commit to signing a manifest in a round."""
    opening = wire.decode(RoundOpening, payload)
    checked = _signable(node, genesis, opening.manifest, now_s)
    before = node.ledger.commitment(opening.manifest, opening.round)
    if before is not None:
        return _committed_again(node, opening, before)
    commitments = node.secrets.commit(
        _session_key(node, checked, genesis, opening.round), len(checked.inputs)
    )
    committed = wire.encode(CommitmentSet(opening.manifest, opening.round, node.boot, commitments))
    return Step(
        records=(Record(RecordKind.COMMITTED, committed),),
        outbox=(Outgoing(PayloadType.COMMITMENT_SET, committed, ROUND_LIFETIME_S),),
    )


def _committed_again(node: Node, opening: RoundOpening, before: CommitmentEntry) -> Step:
    if before.boot != node.boot:
        raise Refusal(ErrorId.PACKAGE_ROUND_UNKNOWN, "commitments died with an earlier start")
    committed = wire.encode(
        CommitmentSet(opening.manifest, opening.round, before.boot, before.commitments)
    )
    return Step(outbox=(Outgoing(PayloadType.COMMITMENT_SET, committed, ROUND_LIFETIME_S),))


def on_package(node: Node, genesis: Body[Genesis], payload: bytes, now_s: int) -> Step:
    """Release shares for a package, once for each commitment."""
    package = wire.decode_body(SigningPackage, payload)
    document = package.document
    checked = _signable(node, genesis, document.manifest, now_s)
    _check_consents(document, genesis, checked, now_s)
    entry = _own_commitment(node, document)
    session = _open_session(node, genesis.document, document, entry, checked)
    if entry.released is not None:
        return _released_again(entry, package.digest)
    key = _session_key(node, checked, genesis, document.round)
    shares = node.secrets.sign(key, session)
    share_set = wire.encode(ShareSet(package.digest, document.manifest, document.round, shares))
    release = wire.encode(Release(payload, share_set))
    return Step(
        records=(Record(RecordKind.RELEASED, release),),
        outbox=(Outgoing(PayloadType.SHARE_SET, share_set, ROUND_LIFETIME_S),),
    )


def _released_again(entry: CommitmentEntry, package: bytes) -> Step:
    if entry.released != package or entry.share_set is None:
        raise Refusal(ErrorId.PACKAGE_CONTRADICTS_RELEASED, package.hex())
    return Step(outbox=(Outgoing(PayloadType.SHARE_SET, entry.share_set, ROUND_LIFETIME_S),))


def _signable(node: Node, genesis: Body[Genesis], digest: bytes, now_s: int) -> CheckedManifest:
    """Rule 1; raises Refusal."""
    entry = require_manifest(node.ledger, digest)
    if entry.rejected:
        raise Refusal(ErrorId.MANIFEST_REJECTED, digest.hex())
    checked = recheck(node.ledger, genesis, entry, now_s)
    if now_s < checked.body.document.not_before_s:
        raise Refusal(ErrorId.MANIFEST_NOT_YET_VALID, digest.hex())
    return checked


def _check_consents(
    package: SigningPackage, genesis: Body[Genesis], checked: CheckedManifest, now_s: int
) -> None:
    """The operators' approvals and the payer's confirmation, for exactly this manifest."""
    approvals = [wire.open_signed(Approval, one) for one in package.approvals]
    require_approved(approvals, genesis, subject_of(checked), now_s)
    raw = package.payer_confirmation
    confirmation = wire.open_signed(PayerConfirmation, raw) if raw else None
    check_payer_confirmation(confirmation, genesis, checked.digest, checked.request_keys)


def _own_commitment(node: Node, package: SigningPackage) -> CommitmentEntry:
    entry = node.ledger.commitment(package.manifest, package.round)
    if entry is None or entry.boot != node.boot:
        raise Refusal(ErrorId.PACKAGE_ROUND_UNKNOWN, f"round {package.round}")
    return entry


def _open_session(
    node: Node,
    genesis: Genesis,
    package: SigningPackage,
    entry: CommitmentEntry,
    checked: CheckedManifest,
) -> interface.SigningSession:
    """The session that the package describes, with this node in it as it committed."""
    members = {member.node: member for member in package.signers}
    roster = [seat.name for seat in genesis.signers if seat.name in members]
    if [member.node for member in package.signers] != roster:
        raise Refusal(ErrorId.PACKAGE_SIGNER_SET_INVALID, "not members in the roster's order")
    me = genesis.signer_by_key(node.identity_key)
    mine = members.get(me.name) if me is not None else None
    if mine is None:
        raise Refusal(ErrorId.PACKAGE_SIGNER_SET_INVALID, "this node is not in the signer set")
    if mine.boot != entry.boot or mine.commitments != entry.commitments:
        raise Refusal(ErrorId.PACKAGE_COMMITMENTS_DIFFER, mine.node)
    try:
        return checked.vault.kind.open_session(
            checked.psbt,
            [one.as_session_input for one in checked.inputs],
            [interface.SignerCommitments(one.node, one.commitments) for one in package.signers],
        )
    except (interface.InvalidSession, interface.BadCommitments) as fault:
        raise Refusal(ErrorId.PACKAGE_SIGNER_SET_INVALID, str(fault)) from fault


def _session_key(
    node: Node, checked: CheckedManifest, genesis: Body[Genesis], round_number: int
) -> SessionKey:
    return SessionKey(
        genesis.digest,
        checked.vault.certificate.document,
        genesis.document.network,
        checked.digest,
        round_number,
        node.boot,
    )
