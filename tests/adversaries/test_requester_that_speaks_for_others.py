"""A requester with a key of its own in the genesis, together with the coordinator and one signer:
it confirms as payer what another payer never would (PROTOCOL.md G4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from signer_node import wire
from signer_node.kernel.curve import xonly_from_secret
from signer_node.kernel.documents.genesis import Genesis, RequestKey
from signer_node.kernel.documents.request import PayerConfirmation
from signer_node.kernel.documents.signing import ShareSet
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.payer import check_payer_confirmation
from tests.world.payouts import (
    Draft,
    coin,
    draft,
    open_round,
    package,
    propose,
    request,
    send_package,
    sign,
)
from tests.world.quorum import World, secret, sign_document

MALLORY = secret("mallory")


class TwoPayers(World):
    """Beside the exchange's there is mallory's request key."""

    def _genesis(self) -> Genesis:
        honest = World._genesis(self)
        entry = RequestKey(xonly_from_secret(MALLORY), ("mallory",))
        return replace(honest, request_keys=(*honest.request_keys, entry))


def by_mallory(world: World, manifest: bytes) -> bytes:
    key = xonly_from_secret(MALLORY)
    said = PayerConfirmation(world.genesis.digest, manifest, key, world.now_s)
    return sign_document(said, MALLORY)


def test_a_batch_with_a_request_of_its_own_is_confirmed_for_everybody() -> None:
    """w-1 is paid by s1 and s2. Another coin shall pay it again, beside a request of mallory's,
    whose client confirms: s3 never released anything for w-1, and s1 is corrupt."""
    world = TwoPayers()
    first = draft(world, "w-1")
    propose(world, first)
    sign(world, first, ["s1", "s2"])

    key = xonly_from_secret(MALLORY)
    theirs = request(world, "m-1", 1_000_000, key=key, initiator="mallory")
    again = Draft(world, [coin(world)], [*first.requests, theirs], change_index=1)
    again.signed_requests[1] = sign_document(theirs, MALLORY)
    assert propose(world, again)["s3"] is ErrorId.REQUEST_KEYS_MIXED
    confirmed = wire.open_signed(PayerConfirmation, by_mallory(world, again.digest))
    keys = [one.key for one in again.requests]
    with pytest.raises(Refusal) as refused:
        check_payer_confirmation(confirmed, world.genesis, again.digest, keys)
    assert refused.value.error is ErrorId.PAYER_KEY_UNKNOWN


def test_what_it_asked_for_alone_it_confirms_alone() -> None:
    world = TwoPayers()
    theirs = request(world, "m-1", 1_000_000, key=xonly_from_secret(MALLORY), initiator="mallory")
    one = Draft(world, [coin(world)], [theirs], request_key=MALLORY)
    propose(world, one)
    commitments = open_round(world, one.digest, ["s1", "s2"])
    honest = package(
        world, one.digest, commitments, payer_confirmation=by_mallory(world, one.digest)
    )
    assert isinstance(send_package(world, honest, "s1"), ShareSet)
