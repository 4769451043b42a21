"""The world itself: an honest coordinator gets its payout signed."""

from __future__ import annotations

from tests.world.payouts import draft, propose, sign
from tests.world.quorum import World


def test_an_honest_payout_is_signed_by_any_two_of_three() -> None:
    for names in (["s1", "s2"], ["s1", "s3"], ["s2", "s3"]):
        world = World()
        one = draft(world)
        assert propose(world, one) == {"s1": None, "s2": None, "s3": None}
        signed = sign(world, one, names)
        assert signed.txid == signed.transaction.txid
