"""Which request may be paid: the checks that signer, coordinator and client share.

1. Signed by a request key of this genesis, which the body names too.
2. The initiator is one of the people behind that key.
3. Of this genesis and vault; not expired.
4. The script is a standard address's and the amount is no dust there.
"""

from __future__ import annotations

from dataclasses import dataclass

from signer_node.kernel.bitcoin.address import address_from_script, is_dust
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.transaction import TxOut
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.request import Request
from signer_node.kernel.documents.signed import Authentic, Body, Received, authenticate
from signer_node.kernel.errors import ErrorId, Refusal


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that its key may make; whether it is paid already is another rule's question."""

    authentic: Authentic[Request]

    @property
    def request(self) -> Request:
        """The request itself."""
        return self.authentic.document

    @property
    def digest(self) -> bytes:
        """The digest of its body."""
        return self.authentic.digest


def check_request(
    received: Received[Request], genesis: Body[Genesis], vault: str, now_s: int
) -> CheckedRequest:
    """The checked request; raises Refusal with the id of the first rule broken."""
    request = received.document
    if request.genesis != genesis.digest:
        raise Refusal(ErrorId.REQUEST_OTHER_GENESIS, request.withdrawal_id)
    entry = genesis.document.request_key(request.key)
    if entry is None or received.key != request.key:
        raise Refusal(ErrorId.REQUEST_KEY_UNKNOWN, f"key {received.key.hex()}")
    authentic = authenticate(received, ErrorId.REQUEST_SIGNATURE_INVALID)
    if request.initiator not in entry.people:
        raise Refusal(ErrorId.REQUEST_INITIATOR_UNKNOWN, request.initiator)
    if request.vault != vault:
        raise Refusal(ErrorId.REQUEST_OTHER_VAULT, f"{request.withdrawal_id}: {request.vault}")
    if now_s > request.valid_until_s:
        raise Refusal(
            ErrorId.REQUEST_EXPIRED, f"{request.withdrawal_id} ended at {request.valid_until_s}"
        )
    _check_output(request, genesis.document.network)
    return CheckedRequest(authentic)


def _check_output(request: Request, network: Network) -> None:
    try:
        address_from_script(request.script, network)
    except BitcoinFault as fault:
        raise Refusal(
            ErrorId.REQUEST_SCRIPT_UNPAYABLE, f"{request.withdrawal_id}: {fault}"
        ) from fault
    if is_dust(TxOut(request.amount_sat, request.script)):
        raise Refusal(
            ErrorId.REQUEST_AMOUNT_DUST, f"{request.withdrawal_id}: {request.amount_sat} sat"
        )
