"""Keys from a dealer that tests may trust, and whole sessions, without entropy.

Secrets are Python integers here: these are nobody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from coincurve import PublicKey

from signer_node.kernel.frost.commitments import PubNonce, nonce_agg, parse_pubnonces
from signer_node.kernel.frost.package import SessionContext, SessionValues, get_session_values
from signer_node.kernel.frost.points import ORDER
from signer_node.kernel.frost.signing import NonceContext, SecNonce, nonce_gen, sign
from signer_node.kernel.frost.threshold import (
    KeyMaterial,
    ThresholdInfo,
    select_signers,
    validate_threshold_info,
)
from signer_node.kernel.frost.tweaking import thresh_pubkey_and_tweak


def number(*parts: object) -> int:
    """A scalar that is a function of its parts."""
    digest = sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest, "big") % (ORDER - 1) + 1


def octets(*parts: object) -> bytes:
    """Its 32 bytes."""
    return number(*parts).to_bytes(32, "big")


def point(scalar: int) -> bytes:
    """scalar·G, compressed."""
    return PublicKey.from_secret(scalar.to_bytes(32, "big")).format()


@dataclass(frozen=True)
class Dealt:
    """What a dealer gives out: threshold info, and each participant's secret share."""

    info: ThresholdInfo
    secshares: tuple[bytes, ...]

    @property
    def material(self) -> KeyMaterial:
        return validate_threshold_info(self.info)

    @property
    def n(self) -> int:
        return len(self.secshares)


def deal(t: int, n: int, seed: object = 0) -> Dealt:
    """Share a secret by a polynomial of degree t-1; participant i gets its value at i+1."""
    coefficients = [number("coefficient", seed, t, n, degree) for degree in range(t)]
    shares = [
        sum(one * pow(i + 1, degree, ORDER) for degree, one in enumerate(coefficients)) % ORDER
        for i in range(n)
    ]
    info = ThresholdInfo(t, point(coefficients[0]), tuple(map(point, shares)))
    return Dealt(info, tuple(share.to_bytes(32, "big") for share in shares))


@dataclass
class Session:
    """All parties of one session of `ids`, each step in the BIP's order."""

    dealt: Dealt
    ids: Sequence[int]
    msg: bytes = b"m" * 32
    tweaks: Sequence[tuple[bytes, bool]] = ()
    seed: object = 0
    secnonces: list[SecNonce] = field(default_factory=list)

    def __post_init__(self) -> None:
        for at in self.ids:
            context = NonceContext(at, self.dealt.info.pubshares[at], msg=self.msg)
            rand = octets("rand", self.seed, at)
            self.secnonces.append(nonce_gen(rand, self.dealt.secshares[at], context))

    @property
    def pubnonces(self) -> list[bytes]:
        return [one.pubnonce.encoded for one in self.secnonces]

    @property
    def parsed_pubnonces(self) -> tuple[PubNonce, ...]:
        return parse_pubnonces(self.pubnonces)

    def values(self) -> SessionValues:
        material = self.dealt.material
        tweaks, is_xonly = [one[0] for one in self.tweaks], [one[1] for one in self.tweaks]
        tweaked = thresh_pubkey_and_tweak(material.thresh_pk, tweaks, is_xonly)
        aggnonce = nonce_agg(self.parsed_pubnonces)
        signers = select_signers(material, self.ids)
        return get_session_values(SessionContext(signers, aggnonce, tweaked, self.msg))

    def psigs(self) -> list[bytes]:
        values = self.values()
        return [
            sign(nonce, self.dealt.secshares[at], at, values)
            for at, nonce in zip(self.ids, self.secnonces, strict=True)
        ]
