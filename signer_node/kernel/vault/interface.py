"""What a vault kind is to the rest of the house.

A signing session has the same course for every kind:

1. each signer of the set makes commitments for all inputs (`VaultSigner.commit`; a kind without
   nonces makes none), which everybody checks (`VaultKind.check_commitments`);
2. `VaultKind.open_session` fixes PSBT, inputs, signer set and all commitments in one record;
3. each signer makes one share for each input (`VaultSigner.sign`), which everybody can check
   (`VaultKind.verify_share`, which names the culprit);
4. `VaultKind.aggregate` makes the signed transaction and returns it only after every input's
   signatures were verified against the script that the vault derives itself.

Nothing here trusts what the PSBT says about scripts, paths or amounts: scripts are derived from
chain and index, amounts are given by whoever verified the spent outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.psbt import Psbt, PsbtInput, PsbtOutput
from signer_node.kernel.bitcoin.transaction import Transaction, TxOut

EXTERNAL_CHAIN = 0
"""Deposits: addresses that are handed out."""
INTERNAL_CHAIN = 1
"""Change: addresses that are never handed out."""
CHAINS = (EXTERNAL_CHAIN, INTERNAL_CHAIN)
MAX_INDEX = (1 << 31) - 1
"""Unhardened BIP-32 indices."""

NONCE_ENTROPY_BYTES = 32
"""Fresh random bytes that are drawn for each input's nonces."""


class VaultKindId(Enum):
    """The kinds of vault that exist."""

    UNKNOWN = 0
    WSH_SORTEDMULTI = 1
    TAPROOT_FROST = 2


class InvalidVault(ValueError):
    """A description that is no vault, or a question about a script that the vault has not."""


class InvalidSession(ValueError):
    """Inputs, signer set or commitments that do not make a signing session of this vault."""


class BadCommitments(ValueError):
    """Commitments that the named node must not have sent."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"{node}: {reason}")
        self.node = node


class BadShare(ValueError):
    """A share that does not verify: the culprit is `node`; `input_index` is None for the count."""

    def __init__(self, node: str, input_index: int | None, reason: str) -> None:
        place = "" if input_index is None else f", input {input_index}"
        super().__init__(f"{node}{place}: {reason}")
        self.node = node
        self.input_index = input_index


class NotSigned(ValueError):
    """A transaction whose inputs are not all validly signed by the quorum."""


@dataclass(frozen=True, slots=True)
class Cosigner:
    """One node's public part of the vault key: account xpub and master fingerprint (4 bytes)."""

    node: str
    xpub: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Shareholder:
    """One node's public part of a threshold key: its public share (33 bytes)."""

    node: str
    pubshare: bytes


@dataclass(frozen=True, slots=True)
class ThresholdKey:
    """A key of which each member holds a share: the key (33 bytes) and its chain code (32)."""

    public_key: bytes
    chain_code: bytes
    members: tuple[Shareholder, ...]


@dataclass(frozen=True, slots=True)
class VaultKeys:
    """The keys of a vault before they are described: of cosigners, or one threshold key.

    Which of both it must be is the kind's business. Members stand in the order of the genesis
    roster.
    """

    kind: VaultKindId
    threshold: int
    network: Network
    cosigners: tuple[Cosigner, ...] = ()
    threshold_key: ThresholdKey | None = None


@dataclass(frozen=True, slots=True)
class VaultDescription:
    """What a vault certificate fixes about the vault's keys and scripts.

    `descriptor` follows from `keys` and is compared with it by `open_vault`.
    """

    keys: VaultKeys
    descriptor: str

    @property
    def kind(self) -> VaultKindId:
        """The kind of vault."""
        return self.keys.kind

    @property
    def threshold(self) -> int:
        """How many nodes sign."""
        return self.keys.threshold

    @property
    def network(self) -> Network:
        """The network of the vault's addresses."""
        return self.keys.network

    @property
    def cosigners(self) -> tuple[Cosigner, ...]:
        """The cosigners of a kind that has them."""
        return self.keys.cosigners


@dataclass(frozen=True, slots=True)
class SessionInput:
    """A coin to sign for: where its script is derived, and its verified amount in satoshi."""

    chain: int
    index: int
    value_sat: int


@dataclass(frozen=True, slots=True)
class SignerCommitments:
    """A member of the signer set with its commitments: one for each input, or none at all."""

    node: str
    commitments: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SigningSession:
    """Everything that a share is a function of, besides the secret. Made by `open_session`."""

    psbt: Psbt
    inputs: tuple[SessionInput, ...]
    members: tuple[SignerCommitments, ...]

    @property
    def signers(self) -> tuple[str, ...]:
        """The nodes of the signer set, in order."""
        return tuple(member.node for member in self.members)


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction that was verified input by input; `txid` in internal byte order."""

    transaction: Transaction

    @property
    def raw(self) -> bytes:
        """The bytes to broadcast."""
        return self.transaction.raw

    @property
    def txid(self) -> bytes:
        """The transaction id, internal byte order."""
        return self.transaction.txid


class VaultKind(Protocol):
    """The public half of an opened vault: no secret, no entropy."""

    @property
    def description(self) -> VaultDescription:
        """What the vault was opened from."""

    @property
    def descriptor(self) -> str:
        """The descriptor with checksum, for other wallets."""

    @property
    def input_weight(self) -> int:
        """The largest weight that one signed input adds to a transaction, witness included."""

    @property
    def sighash_types(self) -> frozenset[int]:
        """What an input's sighash field may say in a PSBT of this vault (0: left out)."""

    def script(self, chain: int, index: int) -> bytes:
        """Return the scriptPubKey; raises `InvalidVault` outside the two chains."""

    def address(self, chain: int, index: int) -> str:
        """Return the address of that script."""

    def signed_weight(self, unsigned: Transaction) -> int:
        """Return the largest weight that an unsigned transaction can have when it is signed."""

    def psbt_input_fields(
        self, chain: int, index: int, spent: TxOut, previous: bytes | None = None
    ) -> PsbtInput:
        """Return what a PSBT says about an input; raises `InvalidVault` for a foreign script.

        `previous` is the whole previous transaction, for wallets that want it in the PSBT.
        """

    def psbt_output_fields(self, chain: int, index: int) -> PsbtOutput:
        """Return what a PSBT says about a change output."""

    def check_psbt_input(self, fields: PsbtInput, coin: SessionInput) -> None:
        """Raise `InvalidSession` unless the fields are exactly what this vault writes.

        The PSBT's sighash type, scripts and amount must be what the signers will sign, so that any
        other wallet that reads the PSBT sees the same.
        """

    def check_commitments(
        self, node: str, commitments: tuple[bytes, ...], input_count: int
    ) -> None:
        """Raise `BadCommitments` unless these can be a signer's for so many inputs."""

    def open_session(
        self,
        psbt: Psbt,
        inputs: Sequence[SessionInput],
        members: Sequence[SignerCommitments],
    ) -> SigningSession:
        """Return the session; raises `InvalidSession` or `BadCommitments`."""

    def verify_share(self, session: SigningSession, node: str, shares: tuple[bytes, ...]) -> None:
        """Raise `BadShare` unless every input's share is the node's for this session."""

    def aggregate(
        self, session: SigningSession, shares: Mapping[str, tuple[bytes, ...]]
    ) -> SignedTransaction:
        """Return the signed transaction from the shares of the whole signer set.

        Raises `BadShare` with the culprit if a share is missing or wrong. What is returned was
        verified by `verify_signed`.
        """

    def verify_signed(self, inputs: Sequence[SessionInput], transaction: Transaction) -> None:
        """Raise `NotSigned` unless the quorum signed every input, each from its own script."""


@dataclass(frozen=True, slots=True)
class NonceRequest:
    """What nonces are made for, and from which randomness.

    `context` is anything that tells this session from others (boot, manifest, round); `entropy` are
    `NONCE_ENTROPY_BYTES` fresh random bytes for each input.
    """

    input_count: int
    context: bytes
    entropy: bytes


class Nonces(Protocol):
    """Secret nonces of one signer for one session. They sign once, in memory, and are not shown."""

    def destroy(self) -> None:
        """Wipe what will not be used; nothing happens to nonces that were used."""


class VaultSigner(Protocol):
    """The secret half of an opened vault, for one node. It keeps no secret: each call takes it."""

    @property
    def node(self) -> str:
        """The node that this signs for."""

    def commit(self, secret: bytes, request: NonceRequest) -> tuple[tuple[bytes, ...], Nonces]:
        """Return commitments to send and nonces to keep in memory."""

    def sign(self, secret: bytes, session: SigningSession, nonces: Nonces) -> tuple[bytes, ...]:
        """Return one share for each input; the nonces are gone, whatever comes of the call.

        Raises `InvalidSession` if this node is not of the signer set, if the nonces are not those
        that it committed to in this session or were used before, or if the secret is not the one
        that the vault was certified with.
        """
