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
    """The confirmation, by one of the keys behind this manifest's requests; raises Refusal.

    None is returned only where the policy asks for none.
    """
    if received is None:
        if genesis.document.rules.payer_confirmation_required:
            raise Refusal(ErrorId.PAYER_CONFIRMATION_MISSING, manifest.hex())
        return None
    confirmation = received.document
    if received.key not in request_keys or confirmation.key != received.key:
        raise Refusal(ErrorId.PAYER_KEY_UNKNOWN, f"key {received.key.hex()}")
    authentic = authenticate(received, ErrorId.PAYER_CONFIRMATION_INVALID)
    if confirmation.manifest != manifest:
        raise Refusal(ErrorId.PAYER_CONFIRMATION_OTHER_MANIFEST, confirmation.manifest.hex())
    if confirmation.genesis != genesis.digest:
        raise Refusal(ErrorId.PAYER_CONFIRMATION_INVALID, "of another quorum")
    return authentic
