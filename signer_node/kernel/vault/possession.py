"""Proof that a cosigner holds the secret key of the xpub that it sends.

The proof is a BIP-340 signature by the xpub's own key over what the key is meant for, so a proof
for one vault, epoch or node is none for another. The key is taken x-only: the parity is dropped.
"""

from signer_node.kernel.bitcoin.bip32 import parse_xpub
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.curve import tagged_hash, verify_schnorr

POSSESSION_TAG = "custodyd/possession/v1"
_LENGTH_BYTES = 2
_EPOCH_BYTES = 4


def possession_digest(genesis: bytes, vault: str, epoch: int, node: str, xpub: str) -> bytes:
    """Return the 32-byte digest that the xpub's key signs.

    The tagged hash of: genesis digest (32 bytes), then vault name, epoch (4 bytes, big-endian),
    node name and xpub; each text in ASCII behind its length (2 bytes, big-endian).
    """
    number = epoch.to_bytes(_EPOCH_BYTES, "big")
    data = genesis + _text(vault) + number + _text(node) + _text(xpub)
    return tagged_hash(POSSESSION_TAG, data)


def verify_possession(network: Network, xpub: str, digest: bytes, proof: bytes) -> None:
    """Raise `BadSignature` unless `proof` (64 bytes) is the xpub's key's over the digest.

    Raises `InvalidKey` if the xpub is none of this network.
    """
    verify_schnorr(parse_xpub(xpub, network).point[1:], digest, proof)


def _text(text: str) -> bytes:
    encoded = text.encode("ascii")
    return len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded
