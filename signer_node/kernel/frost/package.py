"""What the parties of a session agree on, and the values that each derives from it.

Everybody computes these alone. The coefficient b binds signer set, aggregate nonce, key and
message; the challenge e is BIP-340's, so that the result is an ordinary signature (BIP-445,
"Session Context").
"""

from dataclasses import dataclass

from signer_node.kernel.curve import tagged_hash
from signer_node.kernel.frost.commitments import AggNonce
from signer_node.kernel.frost.points import (
    GENERATOR,
    ORDER,
    add,
    cbytes,
    has_even_y,
    multiply,
    scalar_from_hash,
)
from signer_node.kernel.frost.threshold import Signers, derive_interpolating_value
from signer_node.kernel.frost.tweaking import TweakContext

_ID_BYTES = 4
_NONCECOEF_TAG = "BIP0445/noncecoef"
_CHALLENGE_TAG = "BIP0340/challenge"


@dataclass(frozen=True, slots=True, eq=False)
class SessionContext:
    """Signers, aggregate nonce, tweaked threshold public key, and the message of any length."""

    signers: Signers
    aggnonce: AggNonce
    tweaked: TweakContext
    msg: bytes


@dataclass(frozen=True, slots=True, eq=False)
class SessionValues:
    """A session with its values: the nonce coefficient `b`, the final nonce `R`, the challenge `e`.

    `R` are the 33 bytes of a point; `b` and `e` are scalars. Made by `get_session_values`.
    """

    session: SessionContext
    b: int
    R: bytes
    e: int

    @property
    def nonce_is_negated(self) -> bool:
        """BIP-340 verifies against the R with an even y, so an odd one is negated by everybody."""
        return not has_even_y(self.R)

    def share_factor(self, signer_id: int) -> int:
        """Return what a signer's secret share is multiplied by: e·λ, negated as the key asks."""
        coefficient = derive_interpolating_value(self.session.signers.ids, signer_id)
        return self.e * coefficient * self.session.tweaked.sign % ORDER


def get_session_values(session: SessionContext) -> SessionValues:
    """Return the values of a session."""
    xonly_pk = session.tweaked.xonly_pk
    b = scalar_from_hash(tagged_hash(_NONCECOEF_TAG, _serialize_noncecoef(session)))
    final = add((session.aggnonce.R_1, multiply(b, session.aggnonce.R_2)))
    # At infinity some signer cheated. The session goes on with G, so that blame can find out who.
    nonce = cbytes(GENERATOR if final is None else final)
    e = scalar_from_hash(tagged_hash(_CHALLENGE_TAG, nonce[1:] + xonly_pk + session.msg))
    return SessionValues(session, b, nonce, e)


def _serialize_noncecoef(session: SessionContext) -> bytes:
    ids = sorted(session.signers.ids)
    parts = [len(ids).to_bytes(_ID_BYTES, "big")]
    parts += [signer_id.to_bytes(_ID_BYTES, "big") for signer_id in ids]
    parts += [session.aggnonce.encoded, session.tweaked.xonly_pk, session.msg]
    return b"".join(parts)
