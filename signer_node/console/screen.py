"""The approver's screen: what the money does, each line marked by where it comes from.

[bytes]    worked out here from the bytes that will be signed, and the requests' signatures
[node]     from this node's journal and its verified headers
[claimed]  said by the requester or the coordinator; nobody here can know it
Nothing else is shown as fact. Flags are words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from signer_node import wire
from signer_node.console.facts import PayoutFact, Review
from signer_node.kernel.bitcoin.transaction import txid_to_hex
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.manifest import Approval, Decision
from signer_node.kernel.documents.text import shown
from signer_node.kernel.units import format_bitcoin, share_ppm

GROUP: Final = 4
_SOON_S: Final = 900


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What this node adds to the bytes: its journal's decisions, its tip, its clock.

    `knows_replaced`: it checked the manifest that this one names as replaced.
    """

    node: str
    decisions: tuple[bytes, ...]
    journaled_at_s: int
    tip_height: int
    state: str
    now_s: int
    knows_replaced: bool = False


def groups(text: str) -> str:
    """The text in groups of four, to be read aloud."""
    return " ".join(text[at : at + GROUP] for at in range(0, len(text), GROUP))


def last_group(address: str) -> str:
    """What has to be typed to approve: the last group of an address as it is shown."""
    return groups(address).rpartition(" ")[2]


def digest_groups(digest: bytes) -> str:
    """A digest in upper-case groups of four digits."""
    return groups(digest.hex().upper())


def bitcoin(amount_sat: int) -> str:
    """An amount as `3.214 000 00`."""
    text = format_bitcoin(amount_sat)
    whole, _dot, decimals = text.partition(".")
    return f"{whole}.{decimals[:3]} {decimals[3:6]} {decimals[6:]}"


def duration(seconds: int) -> str:
    """A duration as hours:minutes:seconds; `over` when it has passed."""
    if seconds < 0:
        return "over"
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"


def clock(at_s: int) -> str:
    """A time in UTC."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def render(review: Review, genesis: Genesis, node: NodeFacts) -> str:
    """The whole screen as plain lines."""
    return "\n".join(_lines(review, genesis, node))


def _lines(review: Review, genesis: Genesis, node: NodeFacts) -> Iterator[str]:
    left_s = review.expires_at_s - node.now_s
    yield (
        f"MANIFEST batch {shown(review.batch_id)}   vault {review.vault}"
        f" {review.threshold}-of-{review.cosigners} [descriptor #{review.descriptor_checksum}]"
        f"   policy 0   {genesis.network.parameters.name}   [bytes]"
    )
    yield f"EXPIRES  in {duration(left_s)}, {clock(review.expires_at_s)}   [bytes]"
    yield f"DIGEST   {digest_groups(review.digest)}   [bytes]"
    yield "         say it aloud; it equals `signer-node verify FILE` on another machine"
    yield f"TXID     {txid_to_hex(review.txid)}   [bytes]"
    yield from _money(review)
    yield from _flags(review, node, left_s)
    yield ""
    yield "  #   BTC              address (full, groups of four)   [bytes]"
    for payout in review.payouts:
        yield from _payout(payout, payout == review.largest and len(review.payouts) > 1)
    for change in review.changes:
        yield (
            f"  {change.output:<3d} {bitcoin(change.amount_sat):<16s} ours: internal chain /1/"
            f"{change.index}, derived here   [bytes]"
        )
        yield f"      {groups(change.address)}"
    yield ""
    yield from _who(review, genesis, node)


def _money(review: Review) -> Iterator[str]:
    rate_tenths = review.fee_sat * 10 // review.vbytes
    share = share_ppm(review.fee_sat, review.paid_sat)
    yield (
        f"PAYS     {bitcoin(review.paid_sat)} BTC to {len(review.payouts)}"
        f" | fee {bitcoin(review.fee_sat)} ({rate_tenths // 10}.{rate_tenths % 10} sat/vB,"
        f" {share // 10_000}.{share % 10_000 // 100:02d} % of what is paid)"
        f" | change {bitcoin(review.change_sat)} -> ours   [bytes]"
    )
    yield (
        f"FROM     {bitcoin(review.input_sat)} BTC in {review.inputs} inputs, the vault's scripts"
        " derived here   [bytes]"
    )


def _flags(review: Review, node: NodeFacts, left_s: int) -> Iterator[str]:
    flags = list(review.flags)
    if left_s < _SOON_S:
        flags.append("expires in less than a quarter of an hour" if left_s >= 0 else "HAS EXPIRED")
    if node.state == "replaced":
        flags.append("A NEWER MANIFEST REPLACES THIS ONE: decide over that")
    yield f"FLAGS    {' | '.join(flags) or 'none'}   [bytes]"
    yield "OK       every output is requested or ours   [bytes]"
    if node.journaled_at_s:
        yield (
            "OK       fee within the policy's ceilings, inputs proved by verified headers,"
            " nobody here was paid before in a manifest that could also confirm   [node]"
        )
    else:
        yield "NOT OK   this node never checked this manifest   [node]"
    if review.replaces != ZERO_DIGEST:
        yield f"DIFF     says that it replaces {digest_groups(review.replaces)}   [claimed]"
        if node.knows_replaced:
            yield "OK       it pays what that one pays; only one of the two can confirm   [node]"
        else:
            yield "NOT OK   that one was never checked here: both might be paid   [node]"


def _payout(payout: PayoutFact, is_largest: bool) -> Iterator[str]:
    mark = "!" if is_largest else " "
    yield f"  {payout.output:<3d}{mark}{bitcoin(payout.amount_sat):<16s} {groups(payout.address)}"
    yield (
        f"      withdrawal {shown(payout.withdrawal_id)}, account {shown(payout.account) or '-'},"
        f" initiated by {shown(payout.initiator)}   [claimed]"
    )


def _who(review: Review, genesis: Genesis, node: NodeFacts) -> Iterator[str]:
    decided = [wire.open_signed(Approval, one).document for one in node.decisions]
    for approval in decided:
        verb = "approved" if approval.decision is Decision.APPROVE else "REJECTED"
        reason = "" if verb == "approved" else f" ({approval.reason.name}: {shown(approval.text)})"
        yield f"WHO      {approval.person} {verb} {clock(approval.decided_at_s)}{reason}   [node]"
    people = {approval.person for approval in decided}
    able = [
        f"{seat.person} ({seat.role}, {seat.node})"
        for seat in genesis.operators
        if seat.person not in people and seat.person not in review.requesters
    ]
    yield (
        f"NEEDS    {genesis.rules.approvals_required} people at more than {genesis.corrupt_max}"
        f" nodes; may still decide: {', '.join(able) or 'nobody'}   [node]"
    )
    yield "         what operators of other nodes decided is not known here"
    yield (
        f"HERE     {node.state} at {node.node}, checked {clock(node.journaled_at_s)},"
        f" verified tip {node.tip_height}   [node]"
    )
