"""What a signer's check of a manifest costs for each of its 200 withdrawals.

Baseline: the bare signature checks and hashes that the rules need, by the same libraries: one
BIP-340 verification and two tagged hashes (request digest) for each request, the manifest's digest,
double SHA-256 of the transaction and of each previous one.
"""

from __future__ import annotations

import hashlib

from coincurve import PublicKeyXOnly

from signer_node import wire
from signer_node.core.projection import open_proposal
from signer_node.core.review import check_received
from signer_node.kernel.curve import tagged_hash
from signer_node.kernel.documents.manifest import ManifestProposal
from tests.bench.measure import Direction, Measurement, best_of
from tests.world.payouts import Draft, coin, request
from tests.world.quorum import World

WITHDRAWALS = 200
ROUNDS = 25


def run() -> list[Measurement]:
    """Check one manifest of 200 payouts again and again, from its bytes."""
    world = World()
    requests = [request(world, f"w-{number}", 100_000) for number in range(WITHDRAWALS)]
    draft = Draft(world, [coin(world, 100_000_000)], requests, fee_sat=20_000)
    proposal = draft.proposal()
    node = world.nodes["s1"].node
    signed = [wire.split_signed(one) for one in wire.decode(ManifestProposal, proposal).requests]
    unsigned = draft.manifest().psbt
    previous = draft.coins[0].evidence.previous_transaction

    def check() -> None:
        check_received(node.ledger, world.genesis, open_proposal(proposal), world.now_s)

    def bare() -> None:
        for one in signed:
            digest = tagged_hash("custodyd/request/v1", one.body)
            PublicKeyXOnly(one.key_id).verify(one.signature, digest)
        tagged_hash("custodyd/manifest/v1", proposal)
        for raw in (unsigned, previous):
            hashlib.sha256(hashlib.sha256(raw).digest()).digest()

    times = best_of({"check": check, "bare": bare}, ROUNDS)
    return [
        Measurement(
            "manifest check per withdrawal at 200 a batch",
            times["check"] / WITHDRAWALS * 1e6,
            "us",
            "bare BIP-340 checks and hashes",
            times["bare"] / WITHDRAWALS * 1e6,
            2.0,
            Direction.LOWER,
        )
    ]
