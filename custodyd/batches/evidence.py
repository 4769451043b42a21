"""Facts for the manifest: what proves a coin, and what the kernel's check asks of a node.

Everything comes from the follower's tables; the chain node is not asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, Row, select

from custodyd.batches.records import open_proposal
from custodyd.batches.tables import BATCHES, PAYOUTS
from custodyd.chain.follower import connected_tip
from custodyd.chain.tables import BLOCKS, TRANSACTIONS, VAULTS
from custodyd.coins.tables import CHANGE
from signer_node.kernel.bitcoin.headers import parse_header
from signer_node.kernel.bitcoin.psbt import parse_psbt
from signer_node.kernel.bitcoin.transaction import Outpoint, TxOut
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.manifest import Inclusion, InputEvidence, Manifest
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.rules.certify import CertifiedVault
from signer_node.kernel.rules.check_input import InputFacts
from signer_node.kernel.rules.check_manifest import ManifestFacts, Parent, ReceivedManifest
from signer_node.kernel.rules.facts import BlockFact, OwnOutput, PaidManifest

_HASH_BYTES = 32


class EvidenceMissing(LookupError):
    """A coin that no block holds at the moment and that is no change of ours: a reorganisation."""


def input_evidence(
    connection: Connection, outpoint: Outpoint, derived: tuple[int, int]
) -> InputEvidence:
    """What proves an output derived at (chain, index); raises EvidenceMissing."""
    chain, index = derived
    row = connection.execute(
        select(TRANSACTIONS).where(TRANSACTIONS.c.txid == outpoint.txid)
    ).one_or_none()
    if row is not None:
        return InputEvidence(bytes(row.stripped), chain, index, _inclusion(row))
    stripped = connection.execute(
        select(CHANGE.c.stripped).where(
            CHANGE.c.txid == outpoint.txid, CHANGE.c.vout == outpoint.vout
        )
    ).scalar_one_or_none()
    if stripped is None:
        raise EvidenceMissing(str(outpoint))
    return InputEvidence(bytes(stripped), chain, index, None)


def _inclusion(row: Row[tuple[bytes, ...]]) -> Inclusion:
    return Inclusion(
        block_hash=bytes(row.block),
        position=row.position,
        branch=_hashes(bytes(row.branch)),
        coinbase=bytes(row.coinbase),
        coinbase_branch=_hashes(bytes(row.coinbase_branch)),
    )


def _hashes(joined: bytes) -> tuple[bytes, ...]:
    return tuple(
        joined[start : start + _HASH_BYTES] for start in range(0, len(joined), _HASH_BYTES)
    )


def manifest_facts(
    connection: Connection,
    genesis: Body[Genesis],
    vault: CertifiedVault,
    received: ReceivedManifest,
    now_s: int,
) -> ManifestFacts:
    """What check_manifest asks, as this coordinator knows it: a signer's facts are its own."""
    manifest = received.body.document
    return ManifestFacts(
        genesis=genesis,
        vault=vault,
        inputs=_input_facts(connection, genesis.document, manifest),
        first_requests={one.document.withdrawal_id: one.digest for one in received.requests},
        released=_released(connection, [one.document.withdrawal_id for one in received.requests]),
        highest_change_index=_highest_change(connection, vault),
        used_change=frozenset(),
        parent=_parent(connection, manifest),
        now_s=now_s,
    )


def _input_facts(connection: Connection, genesis: Genesis, manifest: Manifest) -> InputFacts:
    included = [one.inclusion.block_hash for one in manifest.evidence if one.inclusion is not None]
    outpoints = [txin.outpoint for txin in parse_psbt(manifest.psbt).transaction.inputs]
    return InputFacts(
        tip_height=connected_tip(connection).height,
        blocks=_blocks(connection, set(included)),
        own_outputs=_own_outputs(connection, outpoints),
        min_confirmations=genesis.rules.min_input_confirmations,
    )


def _blocks(connection: Connection, hashes: Iterable[bytes]) -> Mapping[bytes, BlockFact]:
    facts = {}
    for block_hash in sorted(hashes):
        row = connection.execute(
            select(BLOCKS.c.height, BLOCKS.c.header).where(
                BLOCKS.c.hash == block_hash, BLOCKS.c.connected
            )
        ).one_or_none()
        if row is not None:
            facts[block_hash] = BlockFact(row.height, parse_header(bytes(row.header)).merkle_root)
    return facts


def _own_outputs(
    connection: Connection, outpoints: Sequence[Outpoint]
) -> Mapping[Outpoint, OwnOutput]:
    own = {}
    for outpoint in outpoints:
        row = connection.execute(
            select(CHANGE).where(CHANGE.c.txid == outpoint.txid, CHANGE.c.vout == outpoint.vout)
        ).one_or_none()
        if row is not None:
            output = TxOut(row.value_sat, bytes(row.script))
            own[outpoint] = OwnOutput(outpoint, output, row.child)
    return own


def _released(connection: Connection, withdrawal_ids: Sequence[str]) -> tuple[PaidManifest, ...]:
    """Binding manifests that pay one of these: the payer or a signer may stand by any of them."""
    batch_ids = set(
        connection.execute(
            select(PAYOUTS.c.batch_id)
            .join(BATCHES, BATCHES.c.batch_id == PAYOUTS.c.batch_id)
            .where(PAYOUTS.c.external_id.in_(withdrawal_ids), BATCHES.c.binding)
        ).scalars()
    )
    rows = connection.execute(
        select(BATCHES.c.digest, BATCHES.c.proposal).where(BATCHES.c.batch_id.in_(batch_ids))
    )
    return tuple(_paid(bytes(row.digest), bytes(row.proposal)) for row in rows)


def _paid(digest: bytes, proposal: bytes) -> PaidManifest:
    received = open_proposal(proposal)
    inputs = parse_psbt(received.body.document.psbt).transaction.inputs
    return PaidManifest(
        digest,
        frozenset(one.document.withdrawal_id for one in received.requests),
        frozenset(txin.outpoint for txin in inputs),
    )


def _highest_change(connection: Connection, vault: CertifiedVault) -> int:
    name = vault.certificate.document.vault
    row = connection.execute(select(VAULTS.c.next_change).where(VAULTS.c.vault == name))
    return int(row.scalar_one()) - 1


def _parent(connection: Connection, manifest: Manifest) -> Parent | None:
    if manifest.replaces == ZERO_DIGEST:
        return None
    row = connection.execute(
        select(BATCHES.c.proposal).where(BATCHES.c.digest == manifest.replaces)
    ).scalar_one_or_none()
    if row is None:
        return None
    received = open_proposal(bytes(row))
    inputs = parse_psbt(received.body.document.psbt).transaction.inputs
    return Parent(
        withdrawals={one.document.withdrawal_id: one.digest for one in received.requests},
        inputs=frozenset(txin.outpoint for txin in inputs),
        change_indices=frozenset(one.index for one in received.body.document.changes),
    )
