"""Output descriptors of our vaults (BIP-380, 383, 386, 389), as other wallets read them.

We write exactly one form for each kind of script, and `h` for hardened steps:
`wsh(sortedmulti(t,[fingerprint/path]xpub/<0;1>/*,...))#checksum` and
`tr([fingerprint]xpub/<0;1>/*)#checksum`, without a script tree. Reading one means to write it again
from its parts and to compare.
wallycore computes the checksum and reads what we write; it accepts the same key twice, so that is
checked here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from signer_node.kernel.bitcoin import wally
from signer_node.kernel.bitcoin.bip32 import (
    FINGERPRINT_BYTES,
    Path,
    PublicBranch,
    format_path,
    parse_xpub,
)
from signer_node.kernel.bitcoin.faults import InvalidDescriptor
from signer_node.kernel.bitcoin.network import Network

MAX_COSIGNERS = 15
MAX_DESCRIPTOR_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class KeyOrigin:
    """An account key: master fingerprint (4 bytes), path from there, xpub."""

    fingerprint: bytes
    path: Path
    xpub: str

    def expression(self) -> str:
        """Return the key expression with the two chains of BIP-389."""
        origin = "/".join(
            [self.fingerprint.hex(), *([format_path(self.path)] if self.path else [])]
        )
        return f"[{origin}]{self.xpub}/<0;1>/*"


def wsh_sortedmulti_descriptor(threshold: int, keys: Sequence[KeyOrigin], network: Network) -> str:
    """Return the descriptor, with checksum, of a threshold-of-n P2WSH multisig with sorted keys.

    Raises `InvalidDescriptor` for a threshold outside 1..n, more than 15 keys or a key that occurs
    twice, and `InvalidKey` for an xpub that is not one of this network.
    """
    if not 1 <= threshold <= len(keys) <= MAX_COSIGNERS:
        raise InvalidDescriptor(f"{threshold} of {len(keys)} is no multisig (at most 15 keys)")
    if any(len(key.fingerprint) != FINGERPRINT_BYTES for key in keys):
        raise InvalidDescriptor("a fingerprint has four bytes")
    check_distinct([parse_xpub(key.xpub, network) for key in keys])
    expressions = ",".join(key.expression() for key in keys)
    return _with_checksum(f"wsh(sortedmulti({threshold},{expressions}))")


def tr_descriptor(xpub: str, network: Network) -> str:
    """Return the descriptor, with checksum, of P2TR outputs without a script tree (BIP-386).

    The xpub is its own origin, since a synthetic one has no parent. Raises `InvalidKey`.
    """
    key = KeyOrigin(parse_xpub(xpub, network).fingerprint(), (), xpub)
    return _with_checksum(f"tr({key.expression()})")


def _with_checksum(body: str) -> str:
    checksum = wally.descriptor_checksum(wally.parse_descriptor(body, checksum_required=False))
    return f"{body}#{checksum}"


def check_distinct(branches: Sequence[PublicBranch]) -> None:
    """Raise `InvalidDescriptor` if two extended keys have the same public key."""
    if len({branch.point for branch in branches}) != len(branches):
        raise InvalidDescriptor("the same key twice: one cosigner would count as two")


def descriptor_script(text: str, chain: int, index: int) -> bytes:
    """Return the scriptPubKey of a descriptor (with checksum) as wallycore derives it.

    `chain` chooses from `<0;1>`, `index` stands in for `*`. Our vaults derive their scripts
    themselves and are compared with this. Raises `InvalidDescriptor`.
    """
    if len(text) > MAX_DESCRIPTOR_LENGTH or not text.isascii():
        raise InvalidDescriptor(f"a descriptor has at most {MAX_DESCRIPTOR_LENGTH} characters")
    parsed = wally.parse_descriptor(text, checksum_required=True)
    return wally.descriptor_script(parsed, chain, index)
