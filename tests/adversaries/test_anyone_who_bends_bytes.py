"""Bytes that mean nearly the same: every signer refuses all but the canonical ones.

Trailing, duplicate, reordered, unknown, unpacked and overlong bytes, missing fields and unknown
enum values, in the payloads that a coordinator sends; control characters and bidi marks in every
text; every invalid PSBT of BIP-174; envelopes bent in each part.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node import wire
from signer_node.kernel.curve import xonly_from_secret
from signer_node.kernel.documents.envelope import ENTITLED, Envelope, PayloadType, Sender
from signer_node.kernel.documents.manifest import Approval, Headers, Manifest, ManifestProposal
from signer_node.kernel.documents.request import Request
from signer_node.kernel.documents.signing import RoundOpening
from signer_node.kernel.documents.text import FORBIDDEN
from signer_node.kernel.documents.vault import KeygenMessage, VaultProposal
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.vault.interface import VaultKindId
from signer_node.wire.v1 import request_pb2, signed_pb2
from tests.world.payouts import (
    Draft,
    approval,
    coin,
    draft,
    open_round,
    operator_envelope,
    package,
    propose,
    request,
)
from tests.world.quorum import World, secret, sign_document

VECTORS = Path(__file__).parents[1] / "vectors"
Bend = Callable[[bytes], bytes]


def first_field(raw: bytes) -> bytes:
    """The first field of a message, which is length-delimited and shorter than 2 MiB."""
    length, shift, at = 0, 0, 1
    while True:
        length |= (raw[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not raw[at - 1] & 0x80:
            return raw[: at + length]


def overlong(raw: bytes) -> bytes:
    """The first field's length with a needless continuation byte."""
    at = 1
    while raw[at] & 0x80:
        at += 1
    return raw[:at] + bytes([raw[at] | 0x80, 0x00]) + raw[at + 1 :]


CANONICAL = ErrorId.BYTES_NOT_CANONICAL.name
BENDS: dict[str, Bend] = {
    "trailing byte": lambda raw: raw + b"\x00",
    "truncated": lambda raw: raw[:-1],
    "unknown field": lambda raw: raw + b"\xfa\x7f\x01x",
    "first field twice": lambda raw: first_field(raw) + raw,
    "first field last": lambda raw: raw[len(first_field(raw)) :] + first_field(raw),
    "overlong length": overlong,
}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def payloads(world: World) -> dict[PayloadType, bytes]:
    one = draft(world, "bytes-1")
    propose(world, one)
    commitments = open_round(world, one.digest, ["s1", "s2"])
    built = package(world, one.digest, commitments)
    keygen = [
        wire.encode(KeygenMessage(world.genesis.digest, "cold", 0, 1, message))
        for message in (b"one", b"two")
    ]
    return {
        PayloadType.MANIFEST_PROPOSAL: one.proposal(),
        PayloadType.SIGNING_PACKAGE: wire.encode(built),
        PayloadType.CERTIFICATE: world.certificate,
        PayloadType.CERTIFICATE_DRAFT: wire.encode(world.vault.certificate.document),
        PayloadType.HEADERS: wire.encode(Headers(world.chain.headers(0))),
        PayloadType.VAULT_PROPOSAL: wire.encode(
            VaultProposal(world.genesis.digest, "cold", VaultKindId.WSH_SORTEDMULTI, 0)
        ),
        PayloadType.ROUND_OPENING: wire.encode(RoundOpening(one.digest, 2)),
        PayloadType.KEYGEN_BROADCAST1: keygen[0],
        PayloadType.KEYGEN_BROADCAST2: keygen[1],
    }


@pytest.mark.parametrize("bend", BENDS.values(), ids=BENDS.keys())
@pytest.mark.parametrize(
    "payload", sorted(ENTITLED[Sender.COORDINATOR], key=str), ids=lambda one: one.name
)
def test_no_payload_of_the_coordinator_is_taken_in_another_form(
    world: World, payloads: dict[PayloadType, bytes], payload: PayloadType, bend: Bend
) -> None:
    """A genesis is compared with the one in force by its digest; all others are decoded."""
    if payload is PayloadType.HEADERS and bend in (
        BENDS["first field twice"],
        BENDS["first field last"],
    ):
        return  # other headers in the same form: the chain's own rules refuse them
    bent = bend(payloads.get(payload, world.genesis.raw))
    expected = "GENESIS_ALREADY_CONFIRMED" if payload is PayloadType.GENESIS else CANONICAL
    for name in world.nodes:
        journal = world.nodes[name].journal
        records, refusals = journal.head().sequence, len(journal.refusals())
        world.send(name, payload, bent)
        world.send(name, payload, bent)
        # Journaled once, as a refusal; nothing else of it is kept.
        assert journal.head().sequence - records == len(journal.refusals()) - refusals == 1
        assert journal.refusals()[0][1] == expected


@pytest.mark.parametrize("bend", BENDS.values(), ids=BENDS.keys())
def test_bytes_inside_a_proposal_that_are_not_canonical(world: World, bend: Bend) -> None:
    one = draft(world, "bytes-2")
    manifest = wire.encode(one.manifest())
    requests = tuple(one.signed_requests)
    inside_manifest = wire.encode(ManifestProposal(bend(manifest), requests))
    inside_request = wire.encode(ManifestProposal(manifest, (bend(requests[0]),)))
    parts = wire.split_signed(requests[0])
    body = wire.signed_bytes(bend(parts.body), parts.key_id, parts.signature)
    inside_body = wire.encode(ManifestProposal(manifest, (body,)))
    for payload in (inside_manifest, inside_request, inside_body):
        for name in world.nodes:
            error = world.refusal(name, PayloadType.MANIFEST_PROPOSAL, payload)
            assert error is ErrorId.BYTES_NOT_CANONICAL


@pytest.mark.parametrize("bend", BENDS.values(), ids=BENDS.keys())
def test_an_envelope_that_is_not_canonical(
    world: World, payloads: dict[PayloadType, bytes], bend: Bend
) -> None:
    raw = world.coordinator.envelope(
        world.nodes["s1"].identity_key,
        PayloadType.MANIFEST_PROPOSAL,
        payloads[PayloadType.MANIFEST_PROPOSAL],
        world.now_s + 60,
    )
    assert world.refused_envelope("s1", bend(raw)) is ErrorId.BYTES_NOT_CANONICAL


@pytest.mark.parametrize("value", [0, 3, 99, -1])
def test_an_unknown_enum_value(world: World, value: int) -> None:
    one = draft(world, "bytes-3")
    message = _parse_manifest(wire.encode(one.manifest()))
    message.kind = value
    manifest = message.SerializeToString(deterministic=True)
    payload = wire.encode(ManifestProposal(manifest, tuple(one.signed_requests)))
    for name in world.nodes:
        assert world.refusal(name, PayloadType.MANIFEST_PROPOSAL, payload) is ErrorId.ENUM_UNKNOWN


def _parse_manifest(raw: bytes) -> Any:
    from signer_node.wire.v1 import manifest_pb2

    message = manifest_pb2.Manifest()
    message.ParseFromString(raw)
    return message


def test_a_field_left_out(world: World) -> None:
    one = draft(world, "bytes-4")
    message = request_pb2.Request()
    message.ParseFromString(wire.split_signed(one.signed_requests[0]).body)
    for name in [each.name for each in message.DESCRIPTOR.fields]:
        without = request_pb2.Request()
        without.CopyFrom(message)
        without.ClearField(name)  # type: ignore[arg-type]
        raw = without.SerializeToString(deterministic=True)
        with pytest.raises(Refusal) as caught:
            wire.decode(Request, raw)
        assert caught.value.error is ErrorId.FIELD_MISSING
        assert name in caught.value.detail


@pytest.mark.parametrize("character", sorted(FORBIDDEN), ids=lambda one: f"U+{ord(one):04X}")
def test_a_control_character_or_bidi_mark_in_a_text(world: World, character: str) -> None:
    asked = request(world, "bytes-5", 1_000_000)
    message = request_pb2.Request()
    message.ParseFromString(wire.encode(asked))
    message.account = f"ac{character}me"
    body = message.SerializeToString(deterministic=True)
    signed = wire.signed_bytes(body, xonly_from_secret(secret("backend")), bytes(64))
    manifest = wire.encode(Draft(world, [coin(world)], [asked]).manifest())
    payload = wire.encode(ManifestProposal(manifest, (signed,)))
    assert world.refusal("s1", PayloadType.MANIFEST_PROPOSAL, payload) is ErrorId.TEXT_FORBIDDEN


def test_a_bidi_mark_in_an_operators_reason(world: World) -> None:
    from signer_node.wire.v1 import manifest_pb2

    one = draft(world, "bytes-6", change_index=1)
    propose(world, one)
    message = manifest_pb2.Approval()
    message.ParseFromString(wire.split_signed(approval(world, one.digest, "alice")).body)
    message.text = "fine \u202e enif"
    body = message.SerializeToString(deterministic=True)
    signed = wire.signed_bytes(body, xonly_from_secret(secret("alice")), bytes(64))
    raw = operator_envelope(world, "s1", "alice", signed)
    assert world.refused_envelope("s1", raw) is ErrorId.TEXT_FORBIDDEN


def _invalid_psbts() -> list[Any]:
    cases = json.loads((VECTORS / "bip174" / "psbt_v0_vectors.json").read_text())["invalid"]
    return [
        pytest.param(base64.b64decode(case["base64"]), id=f"{number}")
        for number, case in enumerate(cases)
    ]


@pytest.mark.parametrize("psbt", _invalid_psbts())
def test_every_invalid_psbt_of_bip_174(world: World, psbt: bytes) -> None:
    one = draft(world, "bytes-7")
    one.overrides["psbt"] = psbt or b"\x00"
    errors = set(propose(world, one).values())
    assert errors <= {ErrorId.MANIFEST_PSBT_INVALID, ErrorId.MANIFEST_PSBT_FIELD_UNKNOWN}


# --- envelopes ---


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"genesis": bytes(32)}, ErrorId.ENVELOPE_OTHER_GENESIS),
        ({"recipient": bytes(32)}, ErrorId.ENVELOPE_OTHER_RECIPIENT),
        ({"expires_at_s": 1}, ErrorId.ENVELOPE_EXPIRED),
        ({"type": PayloadType.SHARE_SET}, ErrorId.ENVELOPE_SENDER_UNENTITLED),
        ({"type": PayloadType.APPROVAL}, ErrorId.ENVELOPE_SENDER_UNENTITLED),
    ],
)
def test_an_envelope_bent_in_one_part(
    world: World, changes: dict[str, Any], error: ErrorId
) -> None:
    raw = sign_document(replace(honest_envelope(world), **changes), secret("coordinator"))
    assert world.refused_envelope("s1", raw) is error


def test_an_envelope_of_a_stranger(world: World) -> None:
    stranger = secret("stranger")
    envelope = replace(honest_envelope(world), sender=xonly_from_secret(stranger))
    raw = sign_document(envelope, stranger)
    assert world.refused_envelope("s1", raw) is ErrorId.ENVELOPE_SENDER_UNKNOWN


def test_an_envelope_that_a_stranger_signed_in_the_coordinators_name(world: World) -> None:
    raw = sign_document(honest_envelope(world), secret("stranger"))
    assert world.refused_envelope("s1", raw) is ErrorId.ENVELOPE_SIGNATURE_INVALID


def test_an_envelope_with_a_forged_signature(world: World) -> None:
    parts = wire.split_signed(sign_document(honest_envelope(world), secret("coordinator")))
    raw = wire.signed_bytes(parts.body, parts.key_id, bytes(64))
    assert world.refused_envelope("s1", raw) is ErrorId.ENVELOPE_SIGNATURE_INVALID


def test_an_envelope_longer_than_four_mebibytes(world: World) -> None:
    assert world.refused_envelope("s1", bytes(4 * 1024 * 1024 + 1)) is ErrorId.BYTES_TOO_LONG


def honest_envelope(world: World) -> Envelope:
    raw = world.coordinator.envelope(
        world.nodes["s1"].identity_key, PayloadType.HEADERS, b"x", world.now_s + 60
    )
    return wire.open_envelope(raw).document


# --- any bytes at all ---


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_whatever_crash_the_codec(raw: bytes) -> None:
    for kind in (Request, Manifest, Approval, ManifestProposal, Envelope):
        try:
            document = wire.decode(kind, raw)
        except Refusal:
            continue
        assert wire.encode(document) == raw


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_changed_byte_of_a_signed_request_never_verifies(world: World, data: Any) -> None:
    from signer_node.kernel.rules.requests import check_request

    raw = sign_document(request(world, "bytes-8", 1_000_000), secret("backend"))
    at = data.draw(st.integers(0, len(raw) - 1))
    bit = data.draw(st.integers(0, 7))
    bent = raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]
    with pytest.raises(Refusal):
        check_request(wire.open_signed(Request, bent), world.genesis, "hot", world.now_s)


def test_signed_needs_all_its_parts() -> None:
    for parts in (
        signed_pb2.Signed(key_id=bytes(32), signature=bytes(64)),
        signed_pb2.Signed(body=b"x", key_id=bytes(31), signature=bytes(64)),
        signed_pb2.Signed(body=b"x", key_id=bytes(32), signature=bytes(63)),
    ):
        with pytest.raises(Refusal) as caught:
            wire.open_signed(Request, parts.SerializeToString(deterministic=True))
        assert caught.value.error is ErrorId.FIELD_INVALID
