"""The vault kind `tr(KEY)`, secret half: makes a member's nonces and partial signatures (BIP-445).

The secret is a share of the threshold key (32 bytes). To the node it guarantees:

1. Nonces come from random bytes drawn for this input alone, mixed with the share and with what the
   session is; they are not copied, printed or stored.
2. Nonces sign once: a call of `sign` uses them up, whatever comes of it, and only for a session
   that shows the commitments which belong to them.
3. No share leaves that did not verify as the coordinator will verify it.
"""

from typing import NoReturn

from signer_node.kernel.curve import BadKey, point_from_secret
from signer_node.kernel.frost.faults import InvalidParameters
from signer_node.kernel.frost.signing import NonceContext, SecNonce, nonce_gen, sign
from signer_node.kernel.vault.interface import (
    NONCE_ENTROPY_BYTES,
    InvalidSession,
    InvalidVault,
    NonceRequest,
    Nonces,
    Shareholder,
    SigningSession,
    VaultDescription,
)
from signer_node.kernel.vault.taproot_frost import FrostSession, open_taproot_frost

_INDEX_BYTES = 4


class FrostNonces:
    """One secret nonce for each input, until they are taken."""

    __slots__ = ("_unused",)

    def __init__(self, nonces: tuple[SecNonce, ...]) -> None:
        self._unused = [nonces]

    def take(self) -> tuple[SecNonce, ...]:
        """Return the nonces to the first caller only; raises `InvalidSession` afterwards."""
        try:
            return self._unused.pop()
        except IndexError:
            raise InvalidSession("these nonces were used before") from None

    def destroy(self) -> None:
        """Wipe nonces that will not be used."""
        while self._unused:
            _wipe(self._unused.pop())

    def __repr__(self) -> str:
        return "FrostNonces(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secret nonces are neither copied nor pickled")


class TaprootFrostSigner:
    """One member of an opened vault; see `interface.VaultSigner`."""

    def __init__(self, description: VaultDescription, node: str) -> None:
        self._vault = open_taproot_frost(description)
        self._member = _find_member(description, node)
        self._id = self._vault.signer_id(node)

    @property
    def node(self) -> str:
        """The node that this signs for."""
        return self._member.node

    def commit(self, secret: bytes, request: NonceRequest) -> tuple[tuple[bytes, ...], Nonces]:
        """Return a public nonce for each input, and the secret ones."""
        if len(request.entropy) != request.input_count * NONCE_ENTROPY_BYTES:
            raise InvalidSession(f"{NONCE_ENTROPY_BYTES} random bytes are needed for each input")
        nonces = tuple(self._nonce(secret, request, at) for at in range(request.input_count))
        return tuple(one.pubnonce.encoded for one in nonces), FrostNonces(nonces)

    def sign(self, secret: bytes, session: SigningSession, nonces: Nonces) -> tuple[bytes, ...]:
        """Return one partial signature for each input; `secret` is the share."""
        if not isinstance(nonces, FrostNonces):
            raise InvalidSession("these are no nonces of this kind")
        taken = nonces.take()
        try:
            return self._sign(secret, self._vault.own_session(session), taken)
        except InvalidParameters as fault:
            raise InvalidSession(str(fault)) from None
        finally:
            _wipe(taken)

    def _sign(
        self, secret: bytes, session: FrostSession, nonces: tuple[SecNonce, ...]
    ) -> tuple[bytes, ...]:
        committed = tuple(one.pubnonce.encoded for one in nonces)
        shown = {member.node: member.commitments for member in session.members}
        if shown.get(self.node) != committed:
            raise InvalidSession(f"the session does not show what {self.node} committed to")
        return tuple(
            sign(nonce, secret, self._id, values)
            for nonce, values in zip(nonces, session.values, strict=True)
        )

    def _nonce(self, secret: bytes, request: NonceRequest, at: int) -> SecNonce:
        start = at * NONCE_ENTROPY_BYTES
        context = NonceContext(
            signer_id=self._id,
            pubshare=self._member.pubshare,
            extra_in=request.context + at.to_bytes(_INDEX_BYTES, "big"),
        )
        return nonce_gen(request.entropy[start : start + NONCE_ENTROPY_BYTES], secret, context)


def find_taproot_frost_signer(description: VaultDescription, share: bytes) -> TaprootFrostSigner:
    """Return the member whose share this is; raises `InvalidVault` if it is nobody's."""
    try:
        pubshare = point_from_secret(share)
    except BadKey as fault:
        raise InvalidVault(str(fault)) from None
    for member in _members(description):
        if member.pubshare == pubshare:
            return TaprootFrostSigner(description, member.node)
    raise InvalidVault("the share is of no member of this vault")


def _members(description: VaultDescription) -> tuple[Shareholder, ...]:
    key = description.keys.threshold_key
    return () if key is None else key.members


def _find_member(description: VaultDescription, node: str) -> Shareholder:
    for member in _members(description):
        if member.node == node:
            return member
    raise InvalidVault(f"{node} has no share of this vault's key")


def _wipe(nonces: tuple[SecNonce, ...]) -> None:
    for nonce in nonces:
        nonce.destroy()
