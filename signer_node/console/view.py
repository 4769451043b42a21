"""A manifest as this process sees it: its facts, what the node adds, and both as text or JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from signer_node.console.facts import Review, open_certificate, open_genesis, review
from signer_node.console.messages import Shown
from signer_node.console.screen import NodeFacts, bitcoin, render
from signer_node.kernel.bitcoin.transaction import txid_to_hex
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.errors import ErrorId, Refusal


@dataclass(frozen=True, slots=True)
class View:
    """What a screen is made of; `identity_key` is the node's."""

    review: Review
    genesis: Body[Genesis]
    identity_key: bytes
    node: NodeFacts

    @property
    def text(self) -> str:
        """The screen."""
        return render(self.review, self.genesis.document, self.node)


def view_of(shown: Shown) -> View:
    """Work out everything again from the bytes that a daemon showed."""
    genesis = open_genesis(shown.genesis)
    seat = genesis.document.signer_by_key(shown.identity_key)
    if seat is None:
        raise Refusal(ErrorId.GENESIS_NOT_MINE, shown.identity_key.hex())
    node = NodeFacts(
        seat.name,
        tuple(shown.decisions),
        shown.journaled_at_s,
        shown.tip_height,
        shown.state,
        shown.now_s,
        shown.knows_replaced,
    )
    facts = review(shown.proposal, genesis, open_certificate(shown.certificate))
    return View(facts, genesis, shown.identity_key, node)


def as_json(view: View) -> dict[str, Any]:
    """The same facts for a program; amounts in satoshi, digests in hex."""
    facts = view.review
    return {
        "digest": facts.digest.hex(),
        "batch_id": facts.batch_id,
        "vault": facts.vault,
        "txid": txid_to_hex(facts.txid),
        "state": view.node.state,
        "expires_at_s": facts.expires_at_s,
        "replaces": facts.replaces.hex(),
        "paid_sat": facts.paid_sat,
        "paid_btc": bitcoin(facts.paid_sat).replace(" ", ""),
        "fee_sat": facts.fee_sat,
        "vbytes": facts.vbytes,
        "change_sat": facts.change_sat,
        "input_sat": facts.input_sat,
        "flags": list(facts.flags),
        "largest": {"output": facts.largest.output, "address": facts.largest.address},
        "payouts": [
            {
                "output": one.output,
                "amount_sat": one.amount_sat,
                "address": one.address,
                "withdrawal_id": one.withdrawal_id,
                "account": one.account,
                "initiator": one.initiator,
            }
            for one in facts.payouts
        ],
        "changes": [
            {"output": one.output, "amount_sat": one.amount_sat, "address": one.address,
             "index": one.index}
            for one in facts.changes
        ],
        "decisions": len(view.node.decisions),
    }  # fmt: skip
