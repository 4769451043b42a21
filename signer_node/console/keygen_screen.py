"""The screen of a key generation: who makes a key together, before an operator says yes.

Everything on it is worked out here from the genesis, whose words people compared, and from the
proposal. What is typed to confirm is the last group of the fingerprint (for scripts: all of it),
which is the same at every node or somebody is shown another ceremony.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from signer_node import wire
from signer_node.console.facts import open_genesis
from signer_node.console.messages import VaultShown
from signer_node.console.screen import digest_groups
from signer_node.kernel.documents.genesis import Genesis, SignerSeat, quorum_figures
from signer_node.kernel.documents.vault import VaultProposal
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.keygen import ceremony_fingerprint
from signer_node.kernel.vault.making import kind_name


@dataclass(frozen=True, slots=True)
class KeygenView:
    """A key generation as this process sees it; `seat` is this node's."""

    proposal: VaultProposal
    genesis: Genesis
    seat: SignerSeat
    fingerprint: bytes
    state: str

    @property
    def text(self) -> str:
        """The screen."""
        return "\n".join(_lines(self))


def keygen_view(shown: VaultShown) -> KeygenView:
    """Work everything out again from the bytes that a daemon showed."""
    genesis = open_genesis(shown.genesis)
    proposal = wire.decode(VaultProposal, shown.proposal)
    if proposal.genesis != genesis.digest:
        raise Refusal(ErrorId.ENVELOPE_OTHER_GENESIS, proposal.genesis.hex())
    seat = genesis.document.signer_by_key(shown.identity_key)
    if seat is None:
        raise Refusal(ErrorId.GENESIS_NOT_MINE, shown.identity_key.hex())
    fingerprint = ceremony_fingerprint(genesis.document, proposal)
    return KeygenView(proposal, genesis.document, seat, fingerprint, shown.state)


def require_fingerprint(view: KeygenView, typed: str, *, whole: bool) -> None:
    """Raise Refusal(CEREMONY_NOT_CONFIRMED) unless what was typed is the fingerprint shown."""
    wanted = digest_groups(view.fingerprint)
    if not whole:
        wanted = wanted.rpartition(" ")[2]
    if typed.replace(" ", "").upper() != wanted.replace(" ", ""):
        raise Refusal(ErrorId.CEREMONY_NOT_CONFIRMED, view.proposal.vault)


def _lines(view: KeygenView) -> Iterator[str]:
    proposal, genesis = view.proposal, view.genesis
    count = len(genesis.signers)
    figures = quorum_figures(genesis.threshold, count)
    yield (
        f"VAULT    {proposal.vault}, epoch {proposal.epoch}, {kind_name(proposal.kind)}"
        f"   {genesis.network.parameters.name}   [bytes]"
    )
    yield f"QUORUM   any {genesis.threshold} of these {count} can spend, fewer cannot   [bytes]"
    yield f"         f = {genesis.corrupt_max} may be corrupt, says the genesis   [bytes]"
    yield (
        f"BEARS    f_theft = {figures.f_theft}, f_once = {figures.f_once},"
        f" f_live = {figures.f_live}   [bytes]"
    )
    for seat in genesis.signers:
        mark = "  <- this node" if seat == view.seat else ""
        yield f"SIGNER   {seat.name:<32s}{mark}"
        yield f"         host key {digest_groups(seat.host_key)}   [bytes]"
    yield f"ATTEMPT  {proposal.attempt}, {view.state} at this node   [node]"
    yield f"FINGERPRINT  {digest_groups(view.fingerprint)}   [bytes]"
    yield "         say it aloud: it is the same at every node, or do not confirm"


def as_json(view: KeygenView) -> dict[str, Any]:
    """The same facts for a program."""
    genesis, proposal = view.genesis, view.proposal
    figures = quorum_figures(genesis.threshold, len(genesis.signers))
    return {
        "vault": proposal.vault,
        "epoch": proposal.epoch,
        "kind": kind_name(proposal.kind),
        "attempt": proposal.attempt,
        "state": view.state,
        "node": view.seat.name,
        "threshold": genesis.threshold,
        "count": len(genesis.signers),
        "corrupt_max": genesis.corrupt_max,
        "f_theft": figures.f_theft,
        "f_once": figures.f_once,
        "f_live": figures.f_live,
        "signers": [
            {"node": seat.name, "host_key": seat.host_key.hex()} for seat in genesis.signers
        ],
        "fingerprint": digest_groups(view.fingerprint),
    }
