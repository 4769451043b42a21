"""Taproot vaults of a threshold key for the tests: made by a real key generation, signed for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.psbt import Psbt
from signer_node.kernel.vault.interface import (
    NonceRequest,
    Nonces,
    SessionInput,
    Shareholder,
    SignerCommitments,
    SigningSession,
    ThresholdKey,
    VaultDescription,
    VaultKeys,
    VaultKindId,
)
from signer_node.kernel.vault.registry import describe_vault
from signer_node.kernel.vault.signer_registry import open_signer
from signer_node.kernel.vault.taproot_frost import TaprootFrost, open_taproot_frost
from tests.kernel.bitcoin_samples import coins, payout
from tests.kernel.dkg_samples import finish, number_hash

KIND = VaultKindId.TAPROOT_FROST
CHAIN_CODE = number_hash("chain code", 0)


def node(number: int) -> str:
    """The name of the participant with this identifier."""
    return f"s{number + 1}"


@dataclass(frozen=True)
class Quorum:
    """A vault's description and everybody's share."""

    description: VaultDescription
    shares: dict[str, bytes]

    @property
    def vault(self) -> TaprootFrost:
        return open_taproot_frost(self.description)


@lru_cache(maxsize=32)
def quorum(
    threshold: int = 2, count: int = 3, session: int = 0, network: Network = Network.REGTEST
) -> Quorum:
    """A vault of a key generation; another `session` gives another key to the same nodes."""
    finished = finish(threshold, count, session)
    public = finished.coordinator
    members = tuple(Shareholder(node(at), share) for at, share in enumerate(public.pubshares))
    key = ThresholdKey(public.thresh_pk, CHAIN_CODE, members)
    keys = VaultKeys(KIND, threshold, network, threshold_key=key)
    shares = {node(at): one.secshare or b"" for at, one in enumerate(finished.outputs)}
    return Quorum(describe_vault(keys), shares)


@dataclass
class Signing:
    """A session with its secret nonces and everybody's shares of the signature, made on demand."""

    quorum: Quorum
    spent: list[SessionInput]
    psbt: Psbt
    nonces: dict[str, Nonces]
    session: SigningSession
    made: dict[str, tuple[bytes, ...]] = field(default_factory=dict)

    def share(self, name: str) -> tuple[bytes, ...]:
        """A member's share, once."""
        if name not in self.made:
            signer = open_signer(self.quorum.description, name)
            secret = self.quorum.shares[name]
            self.made[name] = signer.sign(secret, self.session, self.nonces[name])
        return self.made[name]

    def shares(self) -> dict[str, tuple[bytes, ...]]:
        return {name: self.share(name) for name in self.session.signers}


def request(input_count: int, seed: int = 0, context: bytes = b"") -> NonceRequest:
    entropy = b"".join(number_hash(f"nonce {seed}", at) for at in range(input_count))
    return NonceRequest(input_count, context, entropy)


def begin_signing(
    one: Quorum, names: Sequence[str], inputs: int = 2, payments: int = 2, seed: int = 0
) -> Signing:
    """All members committed, and the session is open."""
    spent = coins(one.vault, inputs)
    psbt = payout(one.vault, spent, payments)
    members, nonces = [], {}
    for number, name in enumerate(names):
        signer = open_signer(one.description, name)
        commitments, nonces[name] = signer.commit(
            one.shares[name], request(inputs, 100 * seed + number)
        )
        members.append(SignerCommitments(name, commitments))
    session = one.vault.open_session(psbt, spent, members)
    return Signing(one, spent, psbt, nonces, session)
