"""A coordinator that sends more than anybody needs: the node's disk does not fill, its operators
can make room, and what is honest gets through (PROTOCOL.md section 3; adversary of G10)."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from signer_node import wire
from signer_node.core import node as core
from signer_node.core import review
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.fields import MAX_PAYOUTS
from signer_node.kernel.documents.journal import JournalRecord, RecordKind, Refused
from signer_node.kernel.documents.manifest import Headers
from signer_node.kernel.documents.vault import VaultProposal
from signer_node.kernel.errors import ErrorId
from signer_node.kernel.vault.interface import VaultKindId
from tests.world.payouts import (
    Draft,
    coin,
    draft,
    operator_envelope,
    propose,
    rejection,
    request,
    sign,
)
from tests.world.quorum import VAULT, World


def refused_records(world: World, name: str = "s1") -> list[Refused]:
    journal = world.nodes[name].journal
    rows = journal._rows("SELECT raw FROM record ORDER BY sequence")
    records = [wire.open_signed(JournalRecord, raw).document for (raw,) in rows]
    return [wire.decode(Refused, one.body) for one in records if one.kind is RecordKind.REFUSED]


def test_rubbish_is_journaled_only_so_often_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "MAX_REFUSALS_A_DAY", 8)
    monkeypatch.setattr(core, "MAX_EVIDENCE_A_DAY", 3)
    world = World()
    for number in range(20):
        rubbish = bytes([number]) * 1_000
        assert world.refusal("s1", PayloadType.MANIFEST_PROPOSAL, rubbish) is not None
    kept = refused_records(world)
    assert len(kept) == 8
    assert [bool(one.evidence) for one in kept] == [True] * 3 + [False] * 5

    one = draft(world)
    assert set(propose(world, one).values()) == {None}
    sign(world, one, ["s1", "s2"])
    world.now_s += core.DAY_S + 1
    world.send("s1", PayloadType.HEADERS, wire.encode(Headers((bytes(80),))))
    assert len(refused_records(world)) == 9


def test_manifests_that_were_over_before_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "MAX_MANIFESTS_A_DAY", 5)
    world = World()
    found = coin(world)
    payout = request(world, "w-1", 1_000_000)
    past = {"not_before_s": world.now_s - 7_200, "expires_at_s": world.now_s - 10}
    answers = [
        world.refusal(
            "s1",
            PayloadType.MANIFEST_PROPOSAL,
            Draft(
                world,
                [found],
                [replace(payout, issued_at_s=payout.issued_at_s - 9_000)],
                change_index=number,
                overrides=past,
            ).proposal(),
        )
        for number in range(7)
    ]
    assert answers == [ErrorId.MANIFEST_EXPIRED] * 5 + [ErrorId.SESSION_LIMIT_REACHED] * 2
    world.now_s += 86_401
    fresh = draft(world, "w-2", change_index=5)
    assert world.refusal("s1", PayloadType.MANIFEST_PROPOSAL, fresh.proposal()) is None


def test_a_node_full_of_open_manifests_is_freed_by_its_operators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(review, "MAX_OPEN_MANIFESTS", 3)
    world = World()
    many = [draft(world, f"w-{number}", change_index=number) for number in range(4)]
    for one in many[:3]:
        assert set(propose(world, one).values()) == {None}
    assert set(propose(world, many[3]).values()) == {ErrorId.SESSION_LIMIT_REACHED}
    no = rejection(world, many[0].digest, "alice")
    world.deliver("s1", operator_envelope(world, "s1", "alice", no))
    assert propose(world, many[3])["s1"] is None


def test_epochs_without_end_of_one_vault() -> None:
    world = World()
    for epoch in range(1, 100):
        asked = VaultProposal(world.genesis.digest, VAULT, VaultKindId.WSH_SORTEDMULTI, epoch)
        if not world.send("s1", PayloadType.VAULT_PROPOSAL, wire.encode(asked)):
            break
    assert world.nodes["s1"].journal.refusals()[0][1] == "VAULT_LIMIT_REACHED"


def test_a_proposal_as_large_as_one_may_be_is_judged_in_seconds() -> None:
    """2,000 requests, the last of which is forged: everything before it is checked in vain."""
    world = World()
    requests = [request(world, f"w-{number}", 10_000) for number in range(MAX_PAYOUTS)]
    one = Draft(world, [coin(world, 50_000_000)], requests)
    one.signed_requests[-1] = one.signed_requests[-1][:-1] + bytes(
        [one.signed_requests[-1][-1] ^ 1]
    )
    began = time.process_time()
    verdict = world.refusal("s1", PayloadType.MANIFEST_PROPOSAL, one.proposal())
    assert verdict is ErrorId.REQUEST_SIGNATURE_INVALID
    assert time.process_time() - began < 10
