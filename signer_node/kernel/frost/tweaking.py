"""Tweaks of the threshold public key: plain ones for BIP-32, x-only ones for BIP-341.

Tweaks are public. A context carries the tweaked key Q, and how it came from the threshold public
key P: Q = gacc·P + tacc·G, gacc being 1 or -1 (BIP-445, "Tweaking the Threshold Public Key").
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coincurve import PublicKey

from signer_node.kernel.frost.faults import InvalidParameters
from signer_node.kernel.frost.points import ORDER, SCALAR_BYTES, cbytes, has_even_y, negate


@dataclass(frozen=True, slots=True, eq=False)
class TweakContext:
    """A tweaked threshold public key. Made by the functions below.

    `plain_pk` are the 33 bytes of `Q`; `gacc` and `tacc` are scalars.
    """

    Q: PublicKey
    plain_pk: bytes
    gacc: int
    tacc: int

    @property
    def xonly_pk(self) -> bytes:
        """The 32 bytes under which the signature verifies (BIP-340)."""
        return self.plain_pk[1:]

    @property
    def sign(self) -> int:
        """What a secret share is multiplied by: gacc, negated if Q has an odd y."""
        return self.gacc if has_even_y(self.plain_pk) else ORDER - self.gacc


def tweak_ctx_init(thresh_pk: PublicKey) -> TweakContext:
    """Return the context in which nothing is tweaked yet."""
    return TweakContext(thresh_pk, cbytes(thresh_pk), 1, 0)


def apply_tweak(context: TweakContext, tweak: bytes, is_xonly: bool) -> TweakContext:
    """Return the context with one more tweak (32 bytes); raises `InvalidParameters`."""
    if len(tweak) != SCALAR_BYTES:
        raise InvalidParameters("The tweak must be a 32-byte array.")
    added = int.from_bytes(tweak, "big")
    if added >= ORDER:
        raise InvalidParameters("The tweak value is out of range.")
    if is_xonly and not has_even_y(context.plain_pk):
        g, base = -1, negate(context.plain_pk)
    else:
        g, base = 1, context.Q
    try:
        tweaked = base.add(tweak)
    except ValueError:  # a valid key and a tweak in range have only one sum that is not a key
        raise InvalidParameters(
            "The tweaked threshold public key must not be the point at infinity."
        ) from None
    gacc, tacc = g * context.gacc % ORDER, (added + g * context.tacc) % ORDER
    return TweakContext(tweaked, cbytes(tweaked), gacc, tacc)


def thresh_pubkey_and_tweak(
    thresh_pk: PublicKey, tweaks: Sequence[bytes], is_xonly: Sequence[bool]
) -> TweakContext:
    """Return the context with all tweaks applied in order."""
    if len(tweaks) != len(is_xonly):
        raise InvalidParameters("The tweaks and is_xonly lists must have the same length.")
    context = tweak_ctx_init(thresh_pk)
    for tweak, xonly in zip(tweaks, is_xonly, strict=True):
        context = apply_tweak(context, tweak, xonly)
    return context
