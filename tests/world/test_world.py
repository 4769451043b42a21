"""The world itself: an honest coordinator gets its payout signed, from either kind of vault."""

from __future__ import annotations

import pytest

from signer_node.kernel.vault.interface import VaultKindId
from tests.world.payouts import draft, propose, sign
from tests.world.quorum import KINDS, World


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_payout_is_signed_by_any_two_of_three(kind: VaultKindId) -> None:
    for names in (["s1", "s2"], ["s1", "s3"], ["s2", "s3"]):
        world = World(kind=kind)
        one = draft(world)
        assert propose(world, one) == {"s1": None, "s2": None, "s3": None}
        signed = sign(world, one, names)
        assert signed.txid == signed.transaction.txid
