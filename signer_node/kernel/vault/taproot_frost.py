"""The vault kind `tr(KEY)`, public half: one threshold key and its key path (BIP-341, BIP-445).

The key came from key generation and nobody ever holds it. Its children are derived without
hardened steps from the synthetic xpub of threshold key and chain code, then tweaked as BIP-86 says:
there is no script path. Both are tweaks of the threshold public key, first plain, then x-only, so
each input is signed by t members under its own key. A commitment is a public nonce of 66 bytes for
each input, a share a partial signature of 32 bytes, and the signed input's witness is one BIP-340
signature of 64 bytes over the whole transaction (SIGHASH_DEFAULT).

A member's identifier in BIP-445 is its place in the roster, counted from 0. The threshold key and
the public shares are held against each other once, when the vault is opened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from signer_node.kernel.bitcoin.address import address_from_script
from signer_node.kernel.bitcoin.bip32 import PublicBranch, parse_xpub, synthetic_xpub
from signer_node.kernel.bitcoin.descriptor import descriptor_script, tr_descriptor
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.psbt import Psbt, PsbtInput, PsbtOutput, TapKeyPath
from signer_node.kernel.bitcoin.sighash import (
    SighashType,
    taproot_key_sighash,
    taproot_midstates,
)
from signer_node.kernel.bitcoin.transaction import Transaction, TxOut, attach_witnesses
from signer_node.kernel.curve import SCHNORR_BYTES, BadSignature, tagged_hash, verify_schnorr
from signer_node.kernel.frost.aggregation import partial_sig_agg, partial_sig_verify
from signer_node.kernel.frost.commitments import PubNonce, nonce_agg, parse_pubnonces
from signer_node.kernel.frost.faults import (
    InvalidContribution,
    InvalidParameters,
    InvalidSignature,
)
from signer_node.kernel.frost.package import SessionContext, SessionValues, get_session_values
from signer_node.kernel.frost.threshold import (
    KeyMaterial,
    Signers,
    ThresholdInfo,
    select_signers,
    validate_threshold_info,
)
from signer_node.kernel.frost.tweaking import TweakContext, apply_tweak, tweak_ctx_init
from signer_node.kernel.vault.interface import (
    CHAINS,
    EXTERNAL_CHAIN,
    INTERNAL_CHAIN,
    MAX_INDEX,
    BadCommitments,
    BadShare,
    InvalidSession,
    InvalidVault,
    NotSigned,
    SessionInput,
    SignedTransaction,
    SignerCommitments,
    SigningSession,
    ThresholdKey,
    VaultDescription,
    VaultKeys,
)

_TAP_TWEAK_TAG = "TapTweak"
_P2TR_PREFIX = b"\x51\x20"
_SIGHASH_TYPES = frozenset({int(SighashType.DEFAULT)})
_SCRIPTS_KEPT = 4096
_VAULTS_KEPT = 16
_WITNESS_SCALE = 4
_INPUT_BYTES_WITHOUT_WITNESS = 36 + 1 + 4
_WITNESS_BYTES = 1 + 1 + SCHNORR_BYTES
_MARKER_AND_FLAG_WEIGHT = 2


@dataclass(frozen=True, slots=True, eq=False)
class DerivedKey:
    """A script of the vault: scriptPubKey, internal key (x-only), and the tweaked threshold key."""

    script_pubkey: bytes
    internal_key: bytes
    tweaked: TweakContext


@dataclass(frozen=True, slots=True)
class FrostSession(SigningSession):
    """A session with BIP-445's values for each input. Made by `TaprootFrost.open_session`."""

    descriptor: str
    pubnonces: Mapping[str, tuple[PubNonce, ...]] = field(compare=False, repr=False)
    values: tuple[SessionValues, ...] = field(compare=False, repr=False)


def describe_taproot_frost(keys: VaultKeys) -> VaultDescription:
    """Return the description of a vault of one threshold key; raises `InvalidVault`."""
    if keys.cosigners:
        raise InvalidVault("a vault of one threshold key has no cosigners")
    try:
        xpub = _xpub(_threshold_key(keys), keys.network)
        return VaultDescription(keys, tr_descriptor(xpub, keys.network))
    except BitcoinFault as fault:
        raise InvalidVault(str(fault)) from None


class TaprootFrost:
    """An opened vault of this kind; see `interface.VaultKind` for what its methods promise."""

    def __init__(self, description: VaultDescription) -> None:
        if describe_taproot_frost(description.keys) != description:
            raise InvalidVault("the descriptor does not follow from the threshold key")
        self._description = description
        key = _threshold_key(description.keys)
        self._ids = _number_members(key)
        self._material = _check_key(key, description.threshold)
        root = parse_xpub(_xpub(key, description.network), description.network)
        self._fingerprint = root.fingerprint()
        self._branches = (root.branch(EXTERNAL_CHAIN), root.branch(INTERNAL_CHAIN))
        self._cached = lru_cache(maxsize=_SCRIPTS_KEPT)(self._derive)
        self._check_against_descriptor()

    @property
    def description(self) -> VaultDescription:
        """What the vault was opened from."""
        return self._description

    @property
    def descriptor(self) -> str:
        """The descriptor with checksum."""
        return self._description.descriptor

    @property
    def input_weight(self) -> int:
        """The weight of one signed input: its witness is one signature of 64 bytes."""
        return _INPUT_BYTES_WITHOUT_WITNESS * _WITNESS_SCALE + _WITNESS_BYTES

    @property
    def sighash_types(self) -> frozenset[int]:
        """DEFAULT, which is said by leaving the field out."""
        return _SIGHASH_TYPES

    # --- scripts ---

    def derived(self, chain: int, index: int) -> DerivedKey:
        """Return script and keys at a chain and index; raises `InvalidVault` outside of them."""
        if chain not in CHAINS or not 0 <= index <= MAX_INDEX:
            raise InvalidVault(f"the vault has no script at chain {chain}, index {index}")
        return self._cached(chain, index)

    def script(self, chain: int, index: int) -> bytes:
        """Return the scriptPubKey."""
        return self.derived(chain, index).script_pubkey

    def address(self, chain: int, index: int) -> str:
        """Return the address."""
        return address_from_script(self.script(chain, index), self._description.network)

    def signed_weight(self, unsigned: Transaction) -> int:
        """Return the weight that the transaction has when signed."""
        return unsigned.weight + _MARKER_AND_FLAG_WEIGHT + _WITNESS_BYTES * len(unsigned.inputs)

    # --- PSBT ---

    def psbt_input_fields(
        self, chain: int, index: int, spent: TxOut, previous: bytes | None = None
    ) -> PsbtInput:
        """Return what our PSBTs say about an input (BIP-371)."""
        derived = self.derived(chain, index)
        if spent.script != derived.script_pubkey:
            raise InvalidVault("the spent output does not pay this script of the vault")
        return PsbtInput(
            witness_utxo=spent,
            non_witness_utxo=previous,
            tap_internal_key=derived.internal_key,
            tap_key_paths=self._key_paths(derived, chain, index),
        )

    def psbt_output_fields(self, chain: int, index: int) -> PsbtOutput:
        """Return what our PSBTs say about change."""
        derived = self.derived(chain, index)
        return PsbtOutput(
            tap_internal_key=derived.internal_key,
            tap_key_paths=self._key_paths(derived, chain, index),
        )

    def check_psbt_input(self, fields: PsbtInput, coin: SessionInput) -> None:
        """Raise `InvalidSession` unless the fields say what this vault's signers will sign."""
        derived = self.derived(coin.chain, coin.index)
        spent = TxOut(coin.value_sat, derived.script_pubkey)
        if fields.sighash != SighashType.DEFAULT:
            raise InvalidSession("the sighash type is not the default")
        if fields.witness_utxo != spent:
            raise InvalidSession("the witness UTXO is not the coin that is spent")
        if fields.tap_internal_key != derived.internal_key:
            raise InvalidSession("the internal key is not the vault's")
        wanted = self.psbt_input_fields(coin.chain, coin.index, spent, fields.non_witness_utxo)
        if fields != wanted:
            raise InvalidSession("the key paths are not the vault's")

    # --- sessions ---

    def check_commitments(
        self, node: str, commitments: tuple[bytes, ...], input_count: int
    ) -> None:
        """Raise `BadCommitments` unless these are public nonces, one for each input."""
        self._parse_commitments(SignerCommitments(node, commitments), input_count)

    def open_session(
        self,
        psbt: Psbt,
        inputs: Sequence[SessionInput],
        members: Sequence[SignerCommitments],
    ) -> FrostSession:
        """Return the session of exactly `threshold` signers over all inputs of the PSBT."""
        nodes = {member.node for member in members}
        threshold = self._description.threshold
        if len(nodes) != len(members) or len(nodes) != threshold:
            raise InvalidSession(f"the signer set is of {threshold} different nodes")
        if len(inputs) != len(psbt.transaction.inputs):
            raise InvalidSession("the session does not cover each input of the PSBT")
        pubnonces = {one.node: self._parse_commitments(one, len(inputs)) for one in members}
        for fields, coin in zip(psbt.inputs, inputs, strict=True):
            self.check_psbt_input(fields, coin)
        signers = self._signers([member.node for member in members])
        values = self._session_values(psbt.transaction, inputs, signers, list(pubnonces.values()))
        session = SigningSession(psbt, tuple(inputs), tuple(members))
        return FrostSession(
            session.psbt, session.inputs, session.members, self.descriptor, pubnonces, values
        )

    def digests(
        self, transaction: Transaction, inputs: Sequence[SessionInput]
    ) -> tuple[bytes, ...]:
        """Return each input's BIP-341 hash, from the scripts that the vault derives itself."""
        spent = [TxOut(coin.value_sat, self.script(coin.chain, coin.index)) for coin in inputs]
        shared = taproot_midstates(transaction, spent)
        return tuple(taproot_key_sighash(shared, at) for at in range(len(inputs)))

    def verify_share(self, session: SigningSession, node: str, shares: tuple[bytes, ...]) -> None:
        """Raise `BadShare` unless the node's partial signature of every input is right."""
        own = self.own_session(session)
        if node not in own.signers:
            raise BadShare(node, None, "not of this session's signer set")
        if len(shares) != len(own.inputs):
            raise BadShare(node, None, f"{len(shares)} shares for {len(own.inputs)} inputs")
        signer_id, pubnonces = self._ids[node], own.pubnonces[node]
        for at, (values, pubnonce, share) in enumerate(
            zip(own.values, pubnonces, shares, strict=True)
        ):
            try:
                partial_sig_verify(share, pubnonce, signer_id, values)
            except InvalidContribution:
                raise BadShare(node, at, "the partial signature does not verify") from None

    def aggregate(
        self, session: SigningSession, shares: Mapping[str, tuple[bytes, ...]]
    ) -> SignedTransaction:
        """Return the signed and verified transaction."""
        own = self.own_session(session)
        for node in own.signers:
            if len(shares.get(node, ())) != len(own.inputs):
                raise BadShare(node, None, "not one share for each input")
        try:
            witnesses = [
                (partial_sig_agg([shares[node][at] for node in own.signers], values),)
                for at, values in enumerate(own.values)
            ]
        except (InvalidContribution, InvalidSignature) as fault:
            for node in own.signers:
                self.verify_share(own, node, shares[node])
            raise NotSigned(str(fault)) from None
        signed = attach_witnesses(own.psbt.transaction, witnesses)
        self.verify_signed(own.inputs, signed)
        return SignedTransaction(signed)

    def verify_signed(self, inputs: Sequence[SessionInput], transaction: Transaction) -> None:
        """Raise `NotSigned` unless every witness is the script's key's signature, alone."""
        if len(inputs) != len(transaction.inputs) or len(inputs) != len(transaction.witnesses):
            raise NotSigned("not one witness for each input")
        if any(txin.script_sig for txin in transaction.inputs):
            raise NotSigned("a native segwit input has no scriptSig")
        digests = self.digests(transaction, inputs)
        for at, (coin, digest) in enumerate(zip(inputs, digests, strict=True)):
            witness = transaction.witnesses[at]
            if len(witness) != 1:
                raise NotSigned(f"input {at}: the witness is not one signature")
            output_key = self.script(coin.chain, coin.index)[len(_P2TR_PREFIX) :]
            try:
                verify_schnorr(output_key, digest, witness[0])
            except BadSignature as fault:
                raise NotSigned(f"input {at}: {fault}") from None

    def own_session(self, session: SigningSession) -> FrostSession:
        """Return the session with its values; raises `InvalidSession` for another vault's."""
        if not isinstance(session, FrostSession) or session.descriptor != self.descriptor:
            raise InvalidSession("the session is not one of this vault")
        return session

    def signer_id(self, node: str) -> int:
        """Return a member's identifier; raises `InvalidVault` for a stranger."""
        if node not in self._ids:
            raise InvalidVault(f"{node} has no share of this vault's key")
        return self._ids[node]

    # --- inside ---

    def _check_against_descriptor(self) -> None:
        """Compare our own derivation with wallycore's reading of the descriptor, once a chain."""
        for chain in CHAINS:
            if descriptor_script(self.descriptor, chain, 0) != self.script(chain, 0):
                raise InvalidVault("the descriptor derives another script")

    def _derive(self, chain: int, index: int) -> DerivedKey:
        branch: PublicBranch = self._branches[chain]
        point, tweak = branch.tweaked_child(index)
        child = apply_tweak(tweak_ctx_init(self._material.thresh_pk), tweak, is_xonly=False)
        if child.plain_pk != point:
            raise InvalidVault("two derivations of a key differ")
        tap_tweak = tagged_hash(_TAP_TWEAK_TAG, child.xonly_pk)
        output = apply_tweak(child, tap_tweak, is_xonly=True)
        return DerivedKey(_P2TR_PREFIX + output.xonly_pk, child.xonly_pk, output)

    def _key_paths(self, derived: DerivedKey, chain: int, index: int) -> tuple[TapKeyPath, ...]:
        return (TapKeyPath(derived.internal_key, self._fingerprint, (chain, index)),)

    def _parse_commitments(
        self, member: SignerCommitments, input_count: int
    ) -> tuple[PubNonce, ...]:
        if member.node not in self._ids:
            raise BadCommitments(member.node, "not a member of this vault")
        if len(member.commitments) != input_count:
            count = len(member.commitments)
            raise BadCommitments(member.node, f"{count} public nonces for {input_count} inputs")
        try:
            return parse_pubnonces(member.commitments)
        except InvalidContribution as fault:
            at = fault.signer_index
            raise BadCommitments(member.node, f"no public nonce for input {at}") from None

    def _signers(self, nodes: Sequence[str]) -> Signers:
        try:
            return select_signers(self._material, [self._ids[node] for node in nodes])
        except InvalidParameters as fault:
            raise InvalidSession(str(fault)) from None

    def _session_values(
        self,
        transaction: Transaction,
        inputs: Sequence[SessionInput],
        signers: Signers,
        pubnonces: Sequence[tuple[PubNonce, ...]],
    ) -> tuple[SessionValues, ...]:
        """BIP-445's values of each input; `pubnonces` has one row for each signer."""
        digests = self.digests(transaction, inputs)
        return tuple(
            get_session_values(
                SessionContext(
                    signers,
                    nonce_agg([row[at] for row in pubnonces]),
                    self.derived(coin.chain, coin.index).tweaked,
                    digests[at],
                )
            )
            for at, coin in enumerate(inputs)
        )


@lru_cache(maxsize=_VAULTS_KEPT)
def open_taproot_frost(description: VaultDescription) -> TaprootFrost:
    """Return the opened vault; the same description gives the same one, with what it derived."""
    return TaprootFrost(description)


def _threshold_key(keys: VaultKeys) -> ThresholdKey:
    if keys.threshold_key is None:
        raise InvalidVault("the threshold key is missing")
    return keys.threshold_key


def _xpub(key: ThresholdKey, network: Network) -> str:
    return synthetic_xpub(key.public_key, key.chain_code, network)


def _number_members(key: ThresholdKey) -> dict[str, int]:
    numbers = {member.node: number for number, member in enumerate(key.members)}
    if len(numbers) != len(key.members):
        raise InvalidVault("a node is named twice")
    return numbers


def _check_key(key: ThresholdKey, threshold: int) -> KeyMaterial:
    """Hold threshold key and public shares against each other."""
    pubshares = tuple(member.pubshare for member in key.members)
    try:
        return validate_threshold_info(ThresholdInfo(threshold, key.public_key, pubshares))
    except InvalidParameters as fault:
        raise InvalidVault(str(fault)) from None
