"""The signer's side: secret nonces and partial signatures. The only file that takes a share.

To the signer it guarantees:

1. A nonce comes from 32 fresh random bytes that the caller drew for it, mixed with the secret share
   and with whatever else is known (boot, manifest, input), so that a repeated random value alone
   does not repeat a nonce. There is no deterministic signing.
2. A `SecNonce` signs once: the first `sign` takes it, whatever comes of that call. It is not
   copied, pickled or printed, and exists in memory only.
3. No partial signature leaves before it verified against the signer's own public share and nonce.
4. Secret scalars are libsecp256k1's business; Python adds and multiplies public ones only. (The
   share's bytes are XORed with a hash byte by byte, as BIP-445's NonceGen says.)

The coordinator must never import this file, not even indirectly; an import contract holds that.
"""

from dataclasses import dataclass
from typing import Any, NoReturn, final

from coincurve import PublicKey

from signer_node.kernel.curve import tagged_hash
from signer_node.kernel.frost.aggregation import partial_sig_verify_with
from signer_node.kernel.frost.commitments import PubNonce
from signer_node.kernel.frost.faults import InvalidContribution, InvalidParameters, SigningFault
from signer_node.kernel.frost.package import SessionValues
from signer_node.kernel.frost.points import POINT_BYTES, SCALAR_BYTES
from signer_node.kernel.frost.secret_scalars import SecretScalar
from signer_node.kernel.frost.threshold import MAX_PARTICIPANTS

RANDOM_BYTES = 32
SECNONCE_BYTES = 2 * SCALAR_BYTES
XONLY_BYTES = 32
_AUX_TAG = "BIP0445/aux"
_NONCE_TAG = "BIP0445/nonce"


# --- round one ---


@dataclass(frozen=True, slots=True)
class NonceContext:
    """What is known in public when a nonce is made; each part makes a repeated nonce less likely.

    `pubshare` has 33 bytes, `thresh_pk` 32 (x-only), `extra_in` any number: boot id, manifest
    digest and input index go there.
    """

    signer_id: int | None = None
    pubshare: bytes | None = None
    thresh_pk: bytes | None = None
    msg: bytes | None = None
    extra_in: bytes = b""

    def __post_init__(self) -> None:
        """Raise `InvalidParameters` for a part of another size."""
        if self.signer_id is not None and not 0 <= self.signer_id < MAX_PARTICIPANTS:
            raise InvalidParameters("The optional signer_id must be less than 128.")
        if self.pubshare is not None and len(self.pubshare) != POINT_BYTES:
            raise InvalidParameters("The optional pubshare must be a 33-byte array.")
        if self.thresh_pk is not None and len(self.thresh_pk) != XONLY_BYTES:
            raise InvalidParameters("The optional thresh_pk must be a 32-byte array.")

    def serialized(self) -> bytes:
        """Return the parts with their lengths, as BIP-445's NonceHash takes them."""
        signer_id = b"" if self.signer_id is None else self.signer_id.to_bytes(4, "big")
        parts = [signer_id, self.pubshare or b"", self.thresh_pk or b""]
        prefixed = b"".join(len(part).to_bytes(1, "big") + part for part in parts)
        msg = b"\x00" if self.msg is None else b"\x01" + len(self.msg).to_bytes(8, "big") + self.msg
        return prefixed + msg + len(self.extra_in).to_bytes(4, "big") + self.extra_in


@final
class SecNonce:
    """Two secret scalars that sign once, and the public nonce that commits to them."""

    __slots__ = ("_unused", "pubnonce")

    def __init__(self, encoded: bytes) -> None:
        """Take 64 bytes; raises `InvalidParameters` if a half is out of range."""
        if len(encoded) != SECNONCE_BYTES:
            raise InvalidParameters("The secnonce must be a 64-byte array.")
        k_1 = _load_half(encoded[:SCALAR_BYTES], "first")
        k_2 = _load_half(encoded[SCALAR_BYTES:], "second")
        self.pubnonce = PubNonce(k_1.multiply_generator(), k_2.multiply_generator())
        self._unused = [(k_1, k_2)]

    def take(self) -> tuple[SecretScalar, SecretScalar]:
        """Return the scalars to the first caller only (`list.pop` is atomic between threads)."""
        try:
            return self._unused.pop()
        except IndexError:
            raise InvalidParameters("the secnonce was used before") from None

    def destroy(self) -> None:
        """Wipe a nonce that will not be used."""
        while self._unused:
            for half in self._unused.pop():
                half.wipe()

    def __repr__(self) -> str:
        return "SecNonce(...)"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a secret nonce is neither copied nor pickled")


def nonce_gen(rand: bytes, secshare: bytes | None, context: NonceContext) -> SecNonce:
    """Return a fresh nonce from 32 random bytes that were drawn for it and are used nowhere else.

    `secshare` (32 bytes) may be left out by a caller that has not unsealed it.
    """
    if len(rand) != RANDOM_BYTES:
        raise InvalidParameters("The rand must be a 32-byte array.")
    if secshare is not None:
        if len(secshare) != SCALAR_BYTES:
            raise InvalidParameters("The optional secshare must be a 32-byte array.")
        mask = tagged_hash(_AUX_TAG, rand)
        rand = bytes(share ^ hidden for share, hidden in zip(secshare, mask, strict=True))
    hashed = rand + context.serialized()
    # A hash that is zero or not below the order (one in 2**127) is refused, not reduced.
    return SecNonce(b"".join(tagged_hash(_NONCE_TAG, hashed + half) for half in (b"\x00", b"\x01")))


def _load_half(encoded: bytes, which: str) -> SecretScalar:
    try:
        return SecretScalar(encoded)
    except ValueError:
        raise InvalidParameters(f"The {which} half of secnonce is out of range.") from None


# --- round two ---


def sign(secnonce: SecNonce, secshare: bytes, signer_id: int, values: SessionValues) -> bytes:
    """Return the partial signature (32 bytes) of the participant `signer_id`.

    Raises `InvalidParameters` if the nonce was used, the participant is no signer of the session or
    the share is not its own; `SigningFault` if the result does not verify. In each case the nonce
    is gone.
    """
    k_1, k_2 = secnonce.take()
    try:
        index = values.session.signers.index(signer_id)
        psig = _solve_equation(k_1, k_2, _load_share(secshare), signer_id, values)
    finally:
        k_1.wipe()
        k_2.wipe()
    pubshares = values.session.signers.pubshares
    pubshare = _pubshare_of(secshare) if pubshares is None else pubshares[index]
    try:
        partial_sig_verify_with(pubshare, psig, secnonce.pubnonce, signer_id, values)
    except InvalidContribution:
        _explain(secshare, pubshare)
    return psig


def _solve_equation(
    k_1: SecretScalar, k_2: SecretScalar, d: SecretScalar, signer_id: int, values: SessionValues
) -> bytes:
    """Return ±(k_1 + b·k_2) + e·λ·g·d, negated where R has an odd y; k_2 and d are used up."""
    try:
        k_2.multiply(values.b)
        k_2.add(k_1)
        if values.nonce_is_negated:
            k_2.negate()
        d.multiply(values.share_factor(signer_id))
        d.add(k_2)
        return d.reveal()
    finally:
        d.wipe()


def _load_share(secshare: bytes) -> SecretScalar:
    try:
        return SecretScalar(secshare)
    except ValueError:
        raise InvalidParameters("The secshare is out of range.") from None


def _pubshare_of(secshare: bytes) -> PublicKey:
    d = _load_share(secshare)
    try:
        return d.multiply_generator()
    finally:
        d.wipe()


def _explain(secshare: bytes, pubshare: PublicKey) -> NoReturn:
    """A result that does not verify is either a wrong share's, or a faulty machine's."""
    if _pubshare_of(secshare) != pubshare:
        raise InvalidParameters(
            "The signer's pubshare does not match its entry in the pubshares list."
        )
    raise SigningFault("the partial signature does not verify; it was not released")
