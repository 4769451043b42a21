"""The payer's confirmation of a manifest, as a signer checks it (PROTOCOL.md G4)."""

from __future__ import annotations

from collections.abc import Collection

from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.request import PayerConfirmation
from signer_node.kernel.documents.signed import Authentic, Body, Received, authenticate
from signer_node.kernel.errors import ErrorId, Refusal


def check_payer_confirmation(
    received: Received[PayerConfirmation] | None,
    genesis: Body[Genesis],
    manifest: bytes,
    request_keys: Collection[bytes],
) -> Authentic[PayerConfirmation] | None:
    """The confirmation, by the one key behind all of this manifest's requests; raises Refusal.

    Each payer looks into a ledger of its own, so none can confirm what another one asked for: a
    manifest with requests of several keys has no payer. None is returned only where the policy
    asks for no confirmation.
    """
    if received is None:
        if genesis.document.rules.payer_confirmation_required:
            raise Refusal(ErrorId.PAYER_CONFIRMATION_MISSING, manifest.hex())
        return None
    confirmation = received.document
    if set(request_keys) != {received.key} or confirmation.key != received.key:
        detail = f"key {received.key.hex()}, requests of {len(set(request_keys))} keys"
        raise Refusal(ErrorId.PAYER_KEY_UNKNOWN, detail)
    authentic = authenticate(received, ErrorId.PAYER_CONFIRMATION_INVALID)
    if confirmation.manifest != manifest:
        raise Refusal(ErrorId.PAYER_CONFIRMATION_OTHER_MANIFEST, confirmation.manifest.hex())
    if confirmation.genesis != genesis.digest:
        raise Refusal(ErrorId.PAYER_CONFIRMATION_INVALID, "of another quorum")
    return authentic
