"""Round two at the coordinator: verify partial signatures, add them up to one of BIP-340.

What `partial_sig_agg` returns was verified under the tweaked threshold public key. It needs no
public nonces; that each partial signature is right by itself is `partial_sig_verify`'s question.
"""

from collections.abc import Sequence

from coincurve import PublicKey, PublicKeyXOnly

from signer_node.kernel.frost.commitments import PubNonce
from signer_node.kernel.frost.faults import (
    Contribution,
    InvalidContribution,
    InvalidParameters,
    InvalidSignature,
)
from signer_node.kernel.frost.package import SessionValues
from signer_node.kernel.frost.points import (
    ORDER,
    SCALAR_BYTES,
    add,
    cbytes_ext,
    has_even_y,
    multiply,
    multiply_generator,
    scalar_bytes,
)


def partial_sig_verify(
    psig: bytes, pubnonce: PubNonce, signer_id: int, values: SessionValues
) -> None:
    """Raise `InvalidContribution` unless `psig` is the signer's for this session and nonce."""
    signers = values.session.signers
    if signers.pubshares is None:
        raise InvalidParameters("Without pubshares no partial signature can be verified.")
    pubshare = signers.pubshares[signers.index(signer_id)]
    partial_sig_verify_with(pubshare, psig, pubnonce, signer_id, values)


def partial_sig_verify_with(
    pubshare: PublicKey, psig: bytes, pubnonce: PubNonce, signer_id: int, values: SessionValues
) -> None:
    """Verify like `partial_sig_verify`, against a public share that the caller vouches for.

    s·G = ±(R_1 + b·R_2) + e·λ·g·P must hold; where R has an odd y, both sides are taken negated.
    """
    index = values.session.signers.index(signer_id)
    s, factor = _parse_psig(index, psig), values.share_factor(signer_id)
    if values.nonce_is_negated:
        s, factor = -s % ORDER, -factor % ORDER
    nonce = (pubnonce.R_1, multiply(values.b, pubnonce.R_2))
    right = add((*nonce, multiply(factor, pubshare)))
    if cbytes_ext(multiply_generator(s)) != cbytes_ext(right):
        raise InvalidContribution(index, Contribution.PSIG)


def partial_sig_agg(psigs: Sequence[bytes], values: SessionValues) -> bytes:
    """Return the signature (64 bytes) from one partial signature of each signer, in order.

    Raises `InvalidContribution` for one that is no scalar, `InvalidSignature` if the sum does not
    verify; `blame.find_culprits` says through whom.
    """
    session = values.session
    if len(psigs) != len(session.signers.ids):
        raise InvalidParameters("The psigs and ids lists must have the same length.")
    s = sum(_parse_psig(index, psig) for index, psig in enumerate(psigs))
    tweak = session.tweaked.tacc if has_even_y(session.tweaked.plain_pk) else -session.tweaked.tacc
    signature = values.R[1:] + scalar_bytes((s + values.e * tweak) % ORDER)
    if not PublicKeyXOnly(session.tweaked.xonly_pk).verify(signature, session.msg):
        raise InvalidSignature("the aggregate does not verify under the threshold public key")
    return signature


def _parse_psig(index: int, psig: bytes) -> int:
    s = int.from_bytes(psig, "big")
    if len(psig) != SCALAR_BYTES or s >= ORDER:
        raise InvalidContribution(index, Contribution.PSIG)
    return s
