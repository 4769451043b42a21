"""The coordinator proposes manifests that pay otherwise than asked: every honest signer refuses.

Each attack starts from an honest payout that would be accepted, changes one thing, and names the
error id with which all three nodes refuse it over envelopes signed by the coordinator's own key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from signer_node import wire
from signer_node.kernel.bitcoin.psbt import parse_psbt
from signer_node.kernel.bitcoin.transaction import TxOut
from signer_node.kernel.curve import xonly_from_secret
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.genesis import Genesis, RequestKey
from signer_node.kernel.documents.manifest import Change, Inclusion, ManifestProposal, Payout
from signer_node.kernel.documents.request import Request
from signer_node.kernel.documents.signed import document_digest
from signer_node.kernel.errors import ErrorId
from tests.world.payouts import (
    Coin,
    Draft,
    coin,
    draft,
    p2wpkh,
    propose,
    request,
    sign,
)
from tests.world.quorum import World, secret, sign_document


@pytest.fixture
def world() -> World:
    return World()


def refused(world: World, one: Draft, error: ErrorId) -> None:
    assert set(propose(world, one).values()) == {error}


def digest_of(one: Request) -> bytes:
    return document_digest(Request, wire.encode(one))


# --- outputs ---


def test_two_outputs_are_swapped(world: World) -> None:
    one = draft(world)
    one.outputs[0], one.outputs[1] = one.outputs[1], one.outputs[0]
    refused(world, one, ErrorId.MANIFEST_OUTPUT_MISMATCH)


def test_an_output_pays_the_attacker_instead(world: World) -> None:
    one = draft(world)
    one.outputs[0] = TxOut(one.outputs[0].value_sat, p2wpkh(666))
    refused(world, one, ErrorId.MANIFEST_OUTPUT_MISMATCH)


@pytest.mark.parametrize("difference_sat", [1, -1, 100_000])
def test_an_amount_is_changed(world: World, difference_sat: int) -> None:
    one = draft(world)
    output = one.outputs[0]
    one.outputs[0] = replace(output, value_sat=output.value_sat + difference_sat)
    refused(world, one, ErrorId.MANIFEST_OUTPUT_MISMATCH)


def test_an_output_is_added(world: World) -> None:
    one = draft(world)
    change = one.outputs[-1]
    one.outputs[-1] = replace(change, value_sat=change.value_sat - 50_000)
    one.outputs.append(TxOut(50_000, p2wpkh(666)))
    refused(world, one, ErrorId.MANIFEST_OUTPUT_UNREQUESTED)


def test_an_output_is_claimed_as_payout_and_as_change(world: World) -> None:
    one = draft(world)
    one.changes += (Change(0, 1),)
    refused(world, one, ErrorId.MANIFEST_OUTPUT_CLAIMED_TWICE)


def test_a_payout_names_an_output_that_is_not_there(world: World) -> None:
    one = draft(world)
    one.payouts = (*one.payouts[:-1], replace(one.payouts[-1], output=77))
    refused(world, one, ErrorId.MANIFEST_OUTPUT_UNREQUESTED)


def test_a_manifest_pays_nobody_and_only_moves_coins(world: World) -> None:
    one = Draft(world, [coin(world)], [])
    refused(world, one, ErrorId.MANIFEST_PAYS_NOBODY)


def test_outputs_exceed_inputs(world: World) -> None:
    requests = [request(world, "w-1", 20_000_000)]
    one = Draft(world, [coin(world, 10_000_000)], requests)
    refused(world, one, ErrorId.MANIFEST_AMOUNTS_INVALID)


# --- change ---


def test_a_foreign_script_is_called_change(world: World) -> None:
    one = draft(world)
    one.outputs[-1] = replace(one.outputs[-1], script=p2wpkh(666))
    refused(world, one, ErrorId.CHANGE_SCRIPT_FOREIGN)


def test_change_goes_to_the_external_chain(world: World) -> None:
    one = draft(world)
    one.outputs[-1] = replace(one.outputs[-1], script=world.vault.kind.script(0, 0))
    refused(world, one, ErrorId.CHANGE_SCRIPT_FOREIGN)


def test_change_goes_to_an_absurd_index(world: World) -> None:
    refused(world, draft(world, change_index=2_000_000_000), ErrorId.CHANGE_INDEX_INVALID)


def test_change_goes_just_beyond_the_gap(world: World) -> None:
    gap = world.rules.change_index_gap
    refused(world, draft(world, change_index=gap), ErrorId.CHANGE_INDEX_INVALID)
    assert set(propose(world, draft(world, change_index=gap - 1)).values()) == {None}


def test_a_change_index_is_used_twice(world: World) -> None:
    assert set(propose(world, draft(world, "w-1")).values()) == {None}
    refused(world, draft(world, "w-2"), ErrorId.CHANGE_INDEX_INVALID)


def test_two_change_outputs_share_an_index(world: World) -> None:
    one = split_change(draft(world), 2)
    one.changes = tuple(replace(change, index=0) for change in one.changes)
    refused(world, one, ErrorId.CHANGE_INDEX_INVALID)


def test_change_is_split_into_too_many_outputs(world: World) -> None:
    most = world.rules.max_change_outputs
    refused(world, split_change(draft(world), most + 1), ErrorId.CHANGE_TOO_MANY)


def test_change_is_ground_to_dust(world: World) -> None:
    one = draft(world)
    first, second = one.changes[0].output, one.changes[0].output + 1
    small = world.rules.min_change_sat - 1
    big = one.outputs[first]
    one.outputs[first] = replace(big, value_sat=big.value_sat - small)
    one.outputs.append(TxOut(small, world.vault.kind.script(1, 1)))
    one.changes += (Change(second, 1),)
    refused(world, one, ErrorId.CHANGE_TOO_SMALL)


def split_change(one: Draft, parts: int) -> Draft:
    at = one.changes[0].output
    total = one.outputs.pop().value_sat
    kind = one.world.vault.kind
    one.outputs += [TxOut(total // parts, kind.script(1, index)) for index in range(parts)]
    one.changes = tuple(Change(at + index, index) for index in range(parts))
    one.fee_sat += total - total // parts * parts
    return one


# --- requests ---


def test_a_request_is_missing(world: World) -> None:
    one = draft(world)
    one.signed_requests.pop()
    refused(world, one, ErrorId.REQUEST_MISSING)


def test_a_request_came_that_nobody_pays(world: World) -> None:
    one = draft(world)
    extra = request(world, "w-3", 1_000_000)
    one.signed_requests.append(sign_document(extra, secret("backend")))
    refused(world, one, ErrorId.REQUEST_MISSING)


def test_a_request_is_forged_by_the_coordinator(world: World) -> None:
    one = draft(world, request_key=secret("coordinator"))
    refused(world, one, ErrorId.REQUEST_KEY_UNKNOWN)


def test_a_request_carries_a_forged_signature(world: World) -> None:
    one = draft(world)
    parts = wire.split_signed(one.signed_requests[0])
    forged = bytes([parts.signature[0] ^ 1]) + parts.signature[1:]
    one.signed_requests[0] = wire.signed_bytes(parts.body, parts.key_id, forged)
    refused(world, one, ErrorId.REQUEST_SIGNATURE_INVALID)


def test_a_request_is_by_a_key_not_in_the_genesis(world: World) -> None:
    stranger = secret("stranger")
    requests = [request(world, "w-1", 1_000_000, key=xonly_from_secret(stranger))]
    one = Draft(world, [coin(world)], requests, request_key=stranger)
    refused(world, one, ErrorId.REQUEST_KEY_UNKNOWN)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"valid_until_s": 0}, ErrorId.REQUEST_EXPIRED),
        ({"initiator": "mallory"}, ErrorId.REQUEST_INITIATOR_UNKNOWN),
        ({"vault": "cold"}, ErrorId.REQUEST_OTHER_VAULT),
        ({"genesis": bytes(32)}, ErrorId.REQUEST_OTHER_GENESIS),
        ({"script": b"\x6a\x04evil"}, ErrorId.REQUEST_SCRIPT_UNPAYABLE),
        ({"script": b"\x51\x20" + b"\xff" * 32}, ErrorId.REQUEST_SCRIPT_UNPAYABLE),
        ({"amount_sat": 293}, ErrorId.REQUEST_AMOUNT_DUST),
    ],
)
def test_a_request_is_not_one_that_may_be_paid(
    world: World, changes: dict[str, Any], error: ErrorId
) -> None:
    asked = replace(request(world, "w-1", 1_000_000), **changes)
    refused(world, Draft(world, [coin(world)], [asked]), error)


def test_one_request_is_paid_by_two_outputs(world: World) -> None:
    one = draft(world, "w-1", "w-2")
    one.payouts = (one.payouts[0], Payout(1, one.payouts[0].request))
    one.outputs[1] = one.outputs[0]
    refused(world, one, ErrorId.REQUEST_TWICE)


def test_one_withdrawal_id_stands_twice_in_a_batch(world: World) -> None:
    requests = [request(world, "w-1", 1_000_000), request(world, "w-1", 1_000_000, account="b")]
    one = Draft(world, [coin(world)], requests)
    refused(world, one, ErrorId.REQUEST_TWICE)


def test_a_withdrawal_id_comes_again_with_another_body(world: World) -> None:
    assert set(propose(world, draft(world, "w-1")).values()) == {None}
    other = Draft(
        world, [coin(world)], [request(world, "w-1", 1_000_000, account="b")], change_index=1
    )
    refused(world, other, ErrorId.REQUEST_ID_CONFLICT)


def test_a_paid_withdrawal_is_paid_again_from_other_coins(world: World) -> None:
    first = draft(world, "w-1")
    propose(world, first)
    sign(world, first, ["s1", "s2"])
    again = Draft(world, [coin(world)], first.requests, change_index=1)
    verdicts = propose(world, again)
    assert verdicts["s1"] is verdicts["s2"] is ErrorId.WITHDRAWAL_ALREADY_PAID
    assert verdicts["s3"] is None, "s3 released nothing: the payer's confirmation guards here"


def test_a_paid_withdrawal_is_paid_again_beside_another(world: World) -> None:
    first = draft(world, "w-1")
    propose(world, first)
    sign(world, first, ["s1", "s2"])
    more = [*first.requests, request(world, "w-9", 1_000_000)]
    again = Draft(world, [*first.coins, coin(world)], more, change_index=1)
    assert propose(world, again)["s1"] is ErrorId.WITHDRAWAL_ALREADY_PAID


def test_requests_of_two_payers_stand_in_one_batch() -> None:
    """No one ledger could say that the whole batch is paid once."""
    second = RequestKey(xonly_from_secret(secret("other backend")), ("rob",))

    class TwoBackends(World):
        def _genesis(self) -> Genesis:
            honest = super()._genesis()
            return replace(honest, request_keys=(*honest.request_keys, second))

    world = TwoBackends()
    requests = [
        request(world, "w-1", 1_000_000),
        request(world, "w-2", 1_000_000, key=second.key, initiator="rob"),
    ]
    one = Draft(world, [coin(world)], requests)
    one.signed_requests[1] = sign_document(requests[1], secret("other backend"))
    refused(world, one, ErrorId.REQUEST_KEYS_MIXED)


# --- inputs ---


def change_evidence(one: Draft, **changes: Any) -> None:
    first = one.coins[0]
    first.evidence = replace(first.evidence, **changes)


def change_inclusion(one: Draft, change: Callable[[Inclusion], Inclusion]) -> None:
    inclusion = one.coins[0].evidence.inclusion
    assert inclusion is not None
    change_evidence(one, inclusion=change(inclusion))


def test_an_input_has_no_evidence(world: World) -> None:
    one = draft(world)
    one.overrides["evidence"] = ()
    refused(world, one, ErrorId.INPUT_EVIDENCE_MISSING)


def test_an_input_is_unconfirmed_and_nobodys_change(world: World) -> None:
    one = draft(world)
    change_evidence(one, inclusion=None)
    refused(world, one, ErrorId.INPUT_UNCONFIRMED)


def test_a_merkle_branch_is_forged(world: World) -> None:
    one = draft(world)
    change_inclusion(one, lambda given: replace(given, branch=(bytes(32),)))
    refused(world, one, ErrorId.INPUT_EVIDENCE_INVALID)


def test_a_branch_is_longer_than_the_coinbases(world: World) -> None:
    one = draft(world)
    change_inclusion(one, lambda given: replace(given, branch=(*given.branch, bytes(32))))
    refused(world, one, ErrorId.INPUT_EVIDENCE_INVALID)


def test_a_branch_is_of_a_block_that_no_header_proves(world: World) -> None:
    one = draft(world)
    change_inclusion(one, lambda given: replace(given, block_hash=bytes(32)))
    refused(world, one, ErrorId.INPUT_BLOCK_UNKNOWN)


def test_a_deposit_is_proved_in_a_block_that_left_the_chain(world: World) -> None:
    one = draft(world)
    world.chain = world.chain.fork(1)
    world.chain.mine()
    world.mine()
    refused(world, one, ErrorId.INPUT_BLOCK_UNKNOWN)


def test_the_previous_transaction_has_64_bytes(world: World) -> None:
    one = draft(world)
    change_evidence(one, previous_transaction=bytes(64))
    refused(world, one, ErrorId.INPUT_EVIDENCE_INVALID)


def test_an_immature_coinbase_stands_in_for_the_previous_transaction(world: World) -> None:
    one = draft(world)
    block = world.chain.block_of(one.coins[0].outpoint.txid)
    change_evidence(
        one,
        previous_transaction=block.transactions[0].raw,
        inclusion=block.inclusion(block.transactions[0].txid),
    )
    refused(world, one, ErrorId.INPUT_UNCONFIRMED)


def test_the_previous_transaction_is_another_one(world: World) -> None:
    one, other = draft(world, "w-1"), coin(world)
    one.coins[0].evidence = replace(other.evidence, index=one.coins[0].evidence.index)
    refused(world, one, ErrorId.INPUT_EVIDENCE_INVALID)


def test_a_wrong_previous_amount_hides_a_fee(world: World) -> None:
    one = draft(world)
    claimed = Coin(one.coins[0].outpoint, one.coins[0].value_sat - 100_000, one.coins[0].evidence)
    one.coins = [claimed]
    refused(world, one, ErrorId.INPUT_AMOUNT_MISMATCH)


def test_an_input_is_not_the_vaults(world: World) -> None:
    one = draft(world)
    psbt = one.build_psbt()
    change_evidence(one, index=5)
    one.psbt = psbt
    refused(world, one, ErrorId.INPUT_NOT_OURS)


def test_a_deposit_is_spent_before_it_is_deep_enough() -> None:
    world = World(rules=replace(World().rules, min_input_confirmations=3))
    one = draft(world)
    refused(world, one, ErrorId.INPUT_UNCONFIRMED)
    world.mine()
    world.mine()
    later = Draft(world, one.coins, one.requests)
    assert set(propose(world, later).values()) == {None}


# --- fees ---


def test_the_fee_exceeds_the_absolute_ceiling(world: World) -> None:
    most = world.rules.max_fee_sat
    refused(
        world,
        draft(world, amount_sat=20_000_000, fee_sat=most + 1),
        ErrorId.FEE_EXCEEDS_ABSOLUTE,
    )


def test_the_fee_exceeds_the_rate_ceiling(world: World) -> None:
    refused(world, draft(world, amount_sat=20_000_000, fee_sat=60_000), ErrorId.FEE_EXCEEDS_RATE)


def test_the_fee_exceeds_its_share_of_what_is_paid(world: World) -> None:
    refused(world, draft(world, amount_sat=10_000, fee_sat=5_000), ErrorId.FEE_EXCEEDS_SHARE)


def test_the_manifest_raises_the_policys_ceilings(world: World) -> None:
    one = draft(world)
    one.overrides["max_fee_sat"] = world.rules.max_fee_sat + 1
    refused(world, one, ErrorId.FEE_CEILING_EXCEEDS_POLICY)
    other = draft(world)
    other.overrides["max_fee_rate_sat_vb"] = world.rules.max_fee_rate_sat_vb + 1
    refused(world, other, ErrorId.FEE_CEILING_EXCEEDS_POLICY)


# --- the transaction's form ---


@pytest.mark.parametrize("locktime", [10_000, 499_999_999, 1_700_000_000])
def test_the_locktime_is_far_or_a_time(world: World, locktime: int) -> None:
    refused(world, draft(world, locktime=locktime), ErrorId.MANIFEST_LOCKTIME_FORBIDDEN)


@pytest.mark.parametrize("sequence", [0, 1, 0xFFFFFFFE, 0xFFFFFFFF])
def test_another_sequence(world: World, sequence: int) -> None:
    refused(world, draft(world, sequence=sequence), ErrorId.MANIFEST_SEQUENCE_FORBIDDEN)


@pytest.mark.parametrize("version", [1, 3, -1])
def test_another_version(world: World, version: int) -> None:
    refused(world, draft(world, version=version), ErrorId.MANIFEST_VERSION_FORBIDDEN)


@pytest.mark.parametrize("sighash", [0x02, 0x03, 0x81, 0x83])
def test_another_sighash(world: World, sighash: int) -> None:
    one = draft(world)
    raw = one.build_psbt()
    field = b"\x01\x03\x04" + (1).to_bytes(4, "little")
    assert raw.count(field) == 1
    one.psbt = raw.replace(field, b"\x01\x03\x04" + sighash.to_bytes(4, "little"))
    refused(world, one, ErrorId.MANIFEST_SIGHASH_FORBIDDEN)


@pytest.mark.parametrize(
    "field", [b"\x02\xfc\x01\x01x", b"\x01\x99\x01x"], ids=["proprietary", "unknown"]
)
def test_an_unknown_psbt_field(world: World, field: bytes) -> None:
    one = draft(world)
    raw = one.build_psbt()
    one.psbt = raw[:-1] + field + b"\x00"
    parse_psbt(raw)
    refused(world, one, ErrorId.MANIFEST_PSBT_FIELD_UNKNOWN)


def test_bytes_follow_the_psbt(world: World) -> None:
    one = draft(world)
    one.psbt = one.build_psbt() + b"\x00"
    refused(world, one, ErrorId.MANIFEST_PSBT_INVALID)


# --- what the manifest belongs to ---


def test_a_manifest_expired(world: World) -> None:
    one = draft(world)
    one.overrides |= {"not_before_s": world.now_s - 100, "expires_at_s": world.now_s - 1}
    refused(world, one, ErrorId.MANIFEST_EXPIRED)


def test_a_manifest_lives_too_long(world: World) -> None:
    one = draft(world)
    one.overrides["expires_at_s"] = world.now_s + world.rules.max_manifest_lifetime_s + 1
    refused(world, one, ErrorId.MANIFEST_LIFETIME_TOO_LONG)


@pytest.mark.parametrize(
    ("field", "error"),
    [
        ("genesis", ErrorId.MANIFEST_OTHER_GENESIS),
        ("certificate", ErrorId.MANIFEST_OTHER_VAULT),
        ("policy", ErrorId.MANIFEST_OTHER_POLICY),
    ],
)
def test_a_manifest_of_another_genesis_vault_or_policy(
    world: World, field: str, error: ErrorId
) -> None:
    one = draft(world)
    one.overrides[field] = b"\x07" * 32
    refused(world, one, error)


def test_an_address_of_another_network_cannot_even_be_written() -> None:
    """A script has no network: a request to a mainnet address is refused where it is read."""
    from signer_node.kernel.bitcoin.address import script_from_address
    from signer_node.kernel.bitcoin.faults import InvalidAddress
    from signer_node.kernel.bitcoin.network import Network

    with pytest.raises(InvalidAddress):
        script_from_address("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", Network.REGTEST)


def test_a_genesis_of_another_network_is_refused(world: World) -> None:
    from signer_node.kernel.bitcoin.network import Network
    from signer_node.kernel.documents.genesis import check_genesis
    from signer_node.kernel.errors import Refusal

    mixed = replace(world.genesis.document, network=Network.MAIN)
    with pytest.raises(Refusal) as caught:
        check_genesis(mixed)
    assert caught.value.error is ErrorId.GENESIS_INVALID


def test_a_refusal_is_journaled_with_its_evidence_once(world: World) -> None:
    one = draft(world)
    one.outputs[0] = TxOut(one.outputs[0].value_sat, p2wpkh(666))
    refused(world, one, ErrorId.MANIFEST_OUTPUT_MISMATCH)
    before = world.nodes["s1"].journal.head().sequence
    refused(world, one, ErrorId.MANIFEST_OUTPUT_MISMATCH)
    assert world.nodes["s1"].journal.head().sequence == before


def test_a_proposal_that_is_no_proposal(world: World) -> None:
    for raw in (b"", b"\xff" * 50, wire.encode(ManifestProposal(b"x", ()))):
        for name in world.nodes:
            assert world.refusal(name, PayloadType.MANIFEST_PROPOSAL, raw) in {
                ErrorId.BYTES_NOT_CANONICAL,
                ErrorId.FIELD_MISSING,
            }
