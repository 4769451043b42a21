"""FROST signing of one input, all parties one after the other, with every check that custody makes.

Each side goes the same way, from the same keys, message and tweaks (BIP-32's, then BIP-341's):

1. each signer makes a nonce from fresh randomness;
2. each party parses all public nonces, aggregates them, tweaks the threshold public key and derives
   the session's values for itself (the package carries commitments, not their aggregate);
3. each signer signs, and verifies its own partial signature before it leaves;
4. the coordinator verifies every partial signature, aggregates, and verifies the signature.

Key material was checked when the vault was loaded, so `ecc` is not given public shares to check
again. It runs with its fast library (`btclib-secp256k1`), or the bench stops. The bare side is the
libsecp256k1 calls of the same way and nothing else: no hash, no number, no record.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from coincurve import PrivateKey, PublicKey, PublicKeyXOnly
from ecc import _libsecp256k1
from ecc.ecc import frost as ecc_frost
from ecc.ecc import ssa

from signer_node.kernel.frost.aggregation import partial_sig_agg, partial_sig_verify
from signer_node.kernel.frost.commitments import PubNonce, nonce_agg, parse_pubnonces
from signer_node.kernel.frost.package import SessionContext, SessionValues, get_session_values
from signer_node.kernel.frost.signing import NonceContext, nonce_gen, sign
from signer_node.kernel.frost.threshold import KeyMaterial, select_signers
from signer_node.kernel.frost.tweaking import thresh_pubkey_and_tweak
from tests.bench.measure import Direction, Measurement, best_of
from tests.kernel.frost_samples import Dealt, deal, octets

QUORUMS = ((2, 3, 0.6), (7, 10, 0.8))
"""t, n, and the goal of the ratio to `ecc`."""
BARE_GOAL = 1.5
ROUNDS = 200
TWEAKS = (octets("child"), octets("taproot"))
IS_XONLY = (False, True)
MSG = octets("sighash")
EXTRA = octets("boot") + octets("manifest") + bytes(4)


def run(rounds: int = ROUNDS) -> list[Measurement]:
    """Time the three sides in turn, for both quorums; two rows for each."""
    if not _libsecp256k1.ENABLED:
        raise RuntimeError("ecc runs without its fast library: install btclib-secp256k1")
    rows = []
    for t, n, ecc_goal in QUORUMS:
        quorum = Quorum(deal(t, n))
        times = best_of(
            {
                "ours": Ours(quorum).sign,
                "ecc": Ecc(quorum).sign,
                "bare": Bare(quorum).sign,
            },
            rounds,
        )
        for side, name, goal in (
            ("ecc", "ecc with btclib-secp256k1", ecc_goal),
            ("bare", "bare libsecp256k1 calls", BARE_GOAL),
        ):
            rows.append(
                Measurement(
                    f"FROST signing of an input by {t} of {n}, all parties ({side})",
                    times["ours"] * 1e3,
                    "ms",
                    name,
                    times[side] * 1e3,
                    goal,
                    Direction.LOWER,
                    "each party aggregates; each signer verifies its own partial signature",
                )
            )
    return rows


@dataclass(frozen=True)
class Quorum:
    """Keys, and the signers: the last t participants."""

    dealt: Dealt

    @property
    def t(self) -> int:
        return self.dealt.info.t

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(range(self.dealt.n - self.t, self.dealt.n))

    def pubshare(self, signer_id: int) -> bytes:
        share = self.dealt.info.pubshares[signer_id]
        if share is None:
            raise RuntimeError("a dealer knows all shares")
        return share


class Ours:
    """Our side; the vault is loaded before the clock starts."""

    def __init__(self, quorum: Quorum) -> None:
        self._quorum, self._secshares = quorum, quorum.dealt.secshares
        self._material: KeyMaterial = quorum.dealt.material
        self._xonly = quorum.dealt.info.thresh_pk[1:]

    def sign(self) -> bytes:
        ids, secshares = self._quorum.ids, self._secshares
        nonces = [nonce_gen(os.urandom(32), secshares[at], self._context(at)) for at in ids]
        sent = [nonce.pubnonce.encoded for nonce in nonces]
        psigs = [
            sign(nonce, secshares[at], at, self._session(sent)[1])
            for at, nonce in zip(ids, nonces, strict=True)
        ]
        pubnonces, values = self._session(sent)
        for at, psig, pubnonce in zip(ids, psigs, pubnonces, strict=True):
            partial_sig_verify(psig, pubnonce, at, values)
        return partial_sig_agg(psigs, values)

    def _context(self, signer_id: int) -> NonceContext:
        return NonceContext(signer_id, self._quorum.pubshare(signer_id), self._xonly, MSG, EXTRA)

    def _session(self, sent: list[bytes]) -> tuple[tuple[PubNonce, ...], SessionValues]:
        pubnonces = parse_pubnonces(sent)
        signers = select_signers(self._material, self._quorum.ids)
        tweaked = thresh_pubkey_and_tweak(signers.thresh_pk, TWEAKS, IS_XONLY)
        session = SessionContext(signers, nonce_agg(pubnonces), tweaked, MSG)
        return pubnonces, get_session_values(session)


class Ecc:
    """`ecc`'s side."""

    def __init__(self, quorum: Quorum) -> None:
        self._quorum, self._secshares = quorum, quorum.dealt.secshares
        ecc_frost.validate_threshold_info(
            ecc_frost.ThresholdInfo(quorum.t, quorum.dealt.info.thresh_pk, self._pubshares())
        )

    def _pubshares(self) -> list[bytes]:
        return [self._quorum.pubshare(at) for at in range(self._quorum.dealt.n)]

    def sign(self) -> bytes:
        ids = self._quorum.ids
        nonces = [self._nonce(at) for at in ids]
        sent = [public for _, public in nonces]
        psigs = []
        for at, (secret, public) in zip(ids, nonces, strict=True):
            session = self._session(sent)
            psigs.append(ecc_frost.sign(secret, self._secshares[at], at, session))
            self._verify(psigs[-1], at, public, session)
        session = self._session(sent)
        for at, psig, public in zip(ids, psigs, sent, strict=True):
            self._verify(psig, at, public, session)
        signature = ecc_frost.partial_sig_agg(psigs, session)
        ssa.assert_as_valid_(MSG, ecc_frost.session_values(session).Q[0], signature)
        return signature.serialize()

    def _nonce(self, signer_id: int) -> tuple[bytearray, bytes]:
        pubshare, key = self._quorum.pubshare(signer_id), self._quorum.dealt.info.thresh_pk[1:]
        share = self._secshares[signer_id]
        return ecc_frost.nonce_gen_(os.urandom(32), share, signer_id, pubshare, key, MSG, EXTRA)

    def _session(self, sent: list[bytes]) -> ecc_frost.SessionContext:
        info, n = self._quorum.dealt.info, self._quorum.dealt.n
        aggnonce = ecc_frost.nonce_agg_var(sent)
        return ecc_frost.SessionContext(
            n, info.t, self._quorum.ids, None, info.thresh_pk, aggnonce, TWEAKS, IS_XONLY, MSG
        )

    def _verify(
        self, psig: bytes, signer_id: int, public: bytes, session: ecc_frost.SessionContext
    ) -> None:
        pubshare = self._quorum.pubshare(signer_id)
        if not ecc_frost.partial_sig_verify_(psig, signer_id, public, pubshare, session):
            raise RuntimeError("ecc made a partial signature that it refuses")


class Bare:
    """The calls alone, on values of no meaning but for the last signature, which verifies."""

    def __init__(self, quorum: Quorum) -> None:
        self._u = quorum.t
        self._scalars = [octets("scalar", number) for number in range(4)]
        self._pubshare = PublicKey(quorum.pubshare(0))
        self._key = PublicKey(quorum.dealt.info.thresh_pk)
        final = PrivateKey(octets("final"))
        self._final = final.public_key_xonly.format(), final.sign_schnorr(MSG, bytes(32))

    def sign(self) -> None:
        sent = [self._nonce() for _ in range(self._u)]
        for _ in range(self._u):
            pubnonces = self._session(sent)
            self._verify(pubnonces[0])
        pubnonces = self._session(sent)
        for pubnonce in pubnonces:
            self._verify(pubnonce)
        key, signature = self._final
        if not PublicKeyXOnly(key).verify(signature, MSG):
            raise RuntimeError("libsecp256k1 refuses its own signature")

    def _nonce(self) -> tuple[bytes, bytes]:
        k_1, k_2 = self._scalars[:2]
        first, second = PublicKey.from_valid_secret(k_1), PublicKey.from_valid_secret(k_2)
        return first.format(), second.format()

    def _session(self, sent: list[tuple[bytes, bytes]]) -> list[tuple[PublicKey, PublicKey]]:
        pubnonces = [(PublicKey(first), PublicKey(second)) for first, second in sent]
        halves = [PublicKey.combine_keys([one[half] for one in pubnonces]) for half in (0, 1)]
        for half in halves:
            half.format()
        key = self._key
        for tweak in TWEAKS:
            key = key.add(tweak)
            key.format()
        bound = halves[1].multiply(self._scalars[2])
        PublicKey.combine_keys([halves[0], bound]).format()
        return pubnonces

    def _verify(self, pubnonce: tuple[PublicKey, PublicKey]) -> None:
        b, factor, s = self._scalars[:3]
        bound, share = pubnonce[1].multiply(b), self._pubshare.multiply(factor)
        right = PublicKey.combine_keys([pubnonce[0], bound, share])
        if PublicKey.from_valid_secret(s).format() == right.format():
            raise RuntimeError("values of no meaning satisfy the equation")
