"""G3: no approval, no signature: enough people at more nodes than may be corrupt, no requester.

The rule is stated here a second time, in the plainest words, and compared over random sets of
approvals in random quorums.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node import wire
from signer_node.kernel.documents.genesis import Genesis, OperatorSeat, RequestKey
from signer_node.kernel.documents.manifest import Approval
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.errors import Refusal
from signer_node.kernel.rules.decide import Outcome, Subject, require_approved
from tests.world.payouts import approval
from tests.world.quorum import PEOPLE, World, secret

WORLD = World()
MANIFEST = b"\x05" * 32
people = st.sampled_from(PEOPLE)


def quorum(nodes: dict[str, str], needed: int, corrupt_max: int, requester: str) -> Body[Genesis]:
    """The world's genesis with other operators and figures, under the same digest."""
    honest = WORLD.genesis.document
    changed = replace(
        honest,
        operators=tuple(
            OperatorSeat(person, node, "treasury", seat_key(person))
            for person, node in nodes.items()
        ),
        corrupt_max=corrupt_max,
        rules=replace(honest.rules, approvals_required=needed),
        request_keys=(RequestKey(honest.request_keys[0].key, (requester,)),),
    )
    return Body(changed, WORLD.genesis.digest, WORLD.genesis.raw)


def seat_key(person: str) -> bytes:
    from signer_node.kernel.curve import xonly_from_secret

    return xonly_from_secret(secret(person))


@settings(max_examples=300, deadline=None)
@given(
    nodes=st.dictionaries(people, st.sampled_from(["s1", "s2", "s3"]), min_size=1),
    approvers=st.lists(people, max_size=6),
    needed=st.integers(1, 4),
    corrupt_max=st.integers(0, 2),
    requester=people,
)
def test_approved_exactly_when_the_rule_says(
    nodes: dict[str, str], approvers: list[str], needed: int, corrupt_max: int, requester: str
) -> None:
    genesis = quorum(nodes, needed, corrupt_max, requester)
    subject = Subject(MANIFEST, WORLD.genesis.digest, frozenset({requester}))
    received = [wire.open_signed(Approval, approval(WORLD, MANIFEST, one)) for one in approvers]
    allowed = (
        all(one in nodes and one != requester for one in approvers)
        and len(set(approvers)) == len(approvers)
        and len(approvers) >= needed
        and len({nodes.get(one) for one in approvers}) > corrupt_max
    )
    assert outcome(received, genesis, subject) is (Outcome.APPROVED if allowed else None)


def outcome(received: list[Any], genesis: Body[Genesis], subject: Subject) -> Outcome | None:
    try:
        return require_approved(received, genesis, subject, WORLD.now_s).outcome
    except Refusal:
        return None
