"""The vault kind `wsh(sortedmulti(t,...))`, public half (BIP-67, BIP-141, BIP-143, BIP-383).

A share is a strict DER, low-S ECDSA signature over the BIP-143 hash, followed by the byte of
SIGHASH_ALL. There are no nonces to agree on, so commitments are empty. The signed input's witness
is an empty item (for OP_CHECKMULTISIG's extra pop), t signatures in the order of the sorted keys,
and the witness script.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from signer_node.kernel.bitcoin.address import address_from_script
from signer_node.kernel.bitcoin.bip32 import (
    Path,
    PublicBranch,
    multisig_account_path,
    parse_xpub,
)
from signer_node.kernel.bitcoin.descriptor import (
    KeyOrigin,
    descriptor_script,
    wsh_sortedmulti_descriptor,
)
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.psbt import KeyPath, Psbt, PsbtInput, PsbtOutput
from signer_node.kernel.bitcoin.serial import compact_size
from signer_node.kernel.bitcoin.sighash import SighashType, segwit_midstates, segwit_v0_sighash
from signer_node.kernel.bitcoin.transaction import Transaction, TxOut, attach_witnesses
from signer_node.kernel.curve import POINT_BYTES, BadSignature, verify_ecdsa
from signer_node.kernel.vault.interface import (
    CHAINS,
    EXTERNAL_CHAIN,
    INTERNAL_CHAIN,
    MAX_INDEX,
    BadCommitments,
    BadShare,
    Cosigner,
    InvalidSession,
    InvalidVault,
    NotSigned,
    SessionInput,
    SignedTransaction,
    SignerCommitments,
    SigningSession,
    VaultDescription,
    VaultKeys,
)

SIGHASH_SUFFIX = bytes((SighashType.ALL,))
_SIGHASH_TYPES = frozenset({int(SighashType.ALL)})
MAX_SHARE_BYTES = 73
"""A low-S DER signature has at most 71 bytes and the sighash type 1; one is spare."""
_OP_1_MINUS_ONE = 0x50
_OP_CHECKMULTISIG = b"\xae"
_PUSH_POINT = bytes((POINT_BYTES,))
_P2WSH_PREFIX = b"\x00\x20"
_SCRIPTS_KEPT = 4096
_VAULTS_KEPT = 16
_WITNESS_SCALE = 4
_INPUT_BYTES_WITHOUT_WITNESS = 36 + 1 + 4
_LONGEST_SIGNATURE_BYTES = 72
_MARKER_AND_FLAG_WEIGHT = 2


@dataclass(frozen=True, slots=True)
class DerivedScript:
    """A script of the vault: scriptPubKey, witness script, and each cosigner's key by node."""

    script_pubkey: bytes
    witness_script: bytes
    points: Mapping[str, bytes]


def describe_wsh_sortedmulti(keys: VaultKeys) -> VaultDescription:
    """Return the description of a threshold-of-n multisig of these cosigners.

    Raises `InvalidVault` for keys or a threshold that make none.
    """
    if keys.threshold_key is not None:
        raise InvalidVault("a multisig has cosigners, not a threshold key")
    path = multisig_account_path(keys.network)
    origins = [KeyOrigin(cosigner.fingerprint, path, cosigner.xpub) for cosigner in keys.cosigners]
    try:
        descriptor = wsh_sortedmulti_descriptor(keys.threshold, origins, keys.network)
    except BitcoinFault as fault:
        raise InvalidVault(str(fault)) from None
    return VaultDescription(keys, descriptor)


class WshSortedMulti:
    """An opened vault of this kind; see `interface.VaultKind` for what its methods promise."""

    def __init__(self, description: VaultDescription) -> None:
        self._description = description
        self._path = multisig_account_path(description.network)
        self._branches = _open_branches(description, self._path)
        self._fingerprints = {each.node: each.fingerprint for each in description.cosigners}
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
        """The largest weight of one signed input: signatures of 72 bytes with sighash type."""
        cosigners = len(self._description.cosigners)
        script_bytes = 3 + cosigners * (1 + POINT_BYTES)
        signatures = self._description.threshold * (1 + _LONGEST_SIGNATURE_BYTES)
        script = len(compact_size(script_bytes)) + script_bytes
        return _INPUT_BYTES_WITHOUT_WITNESS * _WITNESS_SCALE + 2 + signatures + script

    @property
    def sighash_types(self) -> frozenset[int]:
        """ALL, said aloud in each input."""
        return _SIGHASH_TYPES

    # --- scripts ---

    def derived(self, chain: int, index: int) -> DerivedScript:
        """Return scripts and keys at a chain and index; raises `InvalidVault` outside of them."""
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
        """Return the largest weight that the transaction can have when signed."""
        witness = self.input_weight - _INPUT_BYTES_WITHOUT_WITNESS * _WITNESS_SCALE
        return unsigned.weight + _MARKER_AND_FLAG_WEIGHT + witness * len(unsigned.inputs)

    # --- PSBT ---

    def psbt_input_fields(
        self, chain: int, index: int, spent: TxOut, previous: bytes | None = None
    ) -> PsbtInput:
        """Return what our PSBTs say about an input."""
        derived = self.derived(chain, index)
        if spent.script != derived.script_pubkey:
            raise InvalidVault("the spent output does not pay this script of the vault")
        return PsbtInput(
            witness_utxo=spent,
            non_witness_utxo=previous,
            sighash=SighashType.ALL,
            witness_script=derived.witness_script,
            key_paths=self._key_paths(derived, chain, index),
        )

    def psbt_output_fields(self, chain: int, index: int) -> PsbtOutput:
        """Return what our PSBTs say about change."""
        derived = self.derived(chain, index)
        return PsbtOutput(derived.witness_script, self._key_paths(derived, chain, index))

    def check_psbt_input(self, fields: PsbtInput, coin: SessionInput) -> None:
        """Raise `InvalidSession` unless the fields say what this vault's signers will sign."""
        derived = self.derived(coin.chain, coin.index)
        spent = TxOut(coin.value_sat, derived.script_pubkey)
        wanted = self.psbt_input_fields(coin.chain, coin.index, spent, fields.non_witness_utxo)
        if fields.sighash != SighashType.ALL:
            raise InvalidSession("the sighash type is not ALL")
        if fields.witness_utxo != spent:
            raise InvalidSession("the witness UTXO is not the coin that is spent")
        if fields.witness_script != derived.witness_script:
            raise InvalidSession("the witness script is not the vault's")
        if fields != wanted:
            raise InvalidSession("the key paths are not the vault's")

    # --- sessions ---

    def check_commitments(
        self, node: str, commitments: tuple[bytes, ...], input_count: int
    ) -> None:
        """Raise `BadCommitments` unless there are none: this kind has no nonces."""
        if node not in self._fingerprints:
            raise BadCommitments(node, "not a cosigner of this vault")
        if commitments:
            raise BadCommitments(node, f"{len(commitments)} commitments, but this kind has none")

    def open_session(
        self,
        psbt: Psbt,
        inputs: Sequence[SessionInput],
        members: Sequence[SignerCommitments],
    ) -> SigningSession:
        """Return the session of exactly `threshold` signers over all inputs of the PSBT."""
        nodes = {member.node for member in members}
        threshold = self._description.threshold
        if len(nodes) != len(members) or len(nodes) != threshold:
            raise InvalidSession(f"the signer set is of {threshold} different nodes")
        if len(inputs) != len(psbt.transaction.inputs):
            raise InvalidSession("the session does not cover each input of the PSBT")
        for member in members:
            self.check_commitments(member.node, member.commitments, len(inputs))
        for fields, coin in zip(psbt.inputs, inputs, strict=True):
            self.check_psbt_input(fields, coin)
        return SigningSession(psbt, tuple(inputs), tuple(members))

    def digests(
        self, transaction: Transaction, inputs: Sequence[SessionInput]
    ) -> tuple[bytes, ...]:
        """Return each input's BIP-143 hash, from the scripts that the vault derives itself."""
        midstates = segwit_midstates(transaction)
        scripts = [self.derived(coin.chain, coin.index).witness_script for coin in inputs]
        return tuple(
            segwit_v0_sighash(midstates, at, script, coin.value_sat, SighashType.ALL)
            for at, (script, coin) in enumerate(zip(scripts, inputs, strict=True))
        )

    def verify_share(self, session: SigningSession, node: str, shares: tuple[bytes, ...]) -> None:
        """Raise `BadShare` unless the node signed every input."""
        if node not in session.signers:
            raise BadShare(node, None, "not of this session's signer set")
        if len(shares) != len(session.inputs):
            raise BadShare(node, None, f"{len(shares)} shares for {len(session.inputs)} inputs")
        digests = self.digests(session.psbt.transaction, session.inputs)
        for at, (coin, digest, share) in enumerate(
            zip(session.inputs, digests, shares, strict=True)
        ):
            try:
                _verify_signature(self.derived(coin.chain, coin.index).points[node], digest, share)
            except BadSignature as fault:
                raise BadShare(node, at, str(fault)) from None

    def aggregate(
        self, session: SigningSession, shares: Mapping[str, tuple[bytes, ...]]
    ) -> SignedTransaction:
        """Return the signed and verified transaction."""
        for node in session.signers:
            if len(shares.get(node, ())) != len(session.inputs):
                raise BadShare(node, None, "not one share for each input")
        witnesses = [
            self._witness(coin, {node: shares[node][at] for node in session.signers})
            for at, coin in enumerate(session.inputs)
        ]
        signed = attach_witnesses(session.psbt.transaction, witnesses)
        try:
            self.verify_signed(session.inputs, signed)
        except NotSigned:
            self._name_culprit(session, shares)
            raise
        return SignedTransaction(signed)

    def verify_signed(self, inputs: Sequence[SessionInput], transaction: Transaction) -> None:
        """Raise `NotSigned` unless every witness satisfies the script that the vault derives."""
        if len(inputs) != len(transaction.inputs) or len(inputs) != len(transaction.witnesses):
            raise NotSigned("not one witness for each input")
        if any(txin.script_sig for txin in transaction.inputs):
            raise NotSigned("a native segwit input has no scriptSig")
        digests = self.digests(transaction, inputs)
        for at, (coin, digest) in enumerate(zip(inputs, digests, strict=True)):
            derived = self.derived(coin.chain, coin.index)
            try:
                self._verify_witness(derived, digest, transaction.witnesses[at])
            except BadSignature as fault:
                raise NotSigned(f"input {at}: {fault}") from None

    # --- inside ---

    def _check_against_descriptor(self) -> None:
        """Compare our own derivation with wallycore's reading of the descriptor, once a chain."""
        for chain in CHAINS:
            if descriptor_script(self.descriptor, chain, 0) != self.script(chain, 0):
                raise InvalidVault("the descriptor derives another script")

    def _derive(self, chain: int, index: int) -> DerivedScript:
        points = {
            node: branches[chain].child_point(index) for node, branches in self._branches.items()
        }
        witness_script = multisig_script(self._description.threshold, list(points.values()))
        script_pubkey = _P2WSH_PREFIX + sha256(witness_script).digest()
        return DerivedScript(script_pubkey, witness_script, points)

    def _key_paths(self, derived: DerivedScript, chain: int, index: int) -> tuple[KeyPath, ...]:
        path = (*self._path, chain, index)
        sorted_points = sorted(derived.points.items(), key=lambda item: item[1])
        return tuple(
            KeyPath(point, self._fingerprints[node], path) for node, point in sorted_points
        )

    def _witness(self, coin: SessionInput, signatures: Mapping[str, bytes]) -> tuple[bytes, ...]:
        derived = self.derived(coin.chain, coin.index)
        ordered = sorted(signatures, key=lambda node: derived.points[node])
        return (b"", *(signatures[node] for node in ordered), derived.witness_script)

    def _verify_witness(
        self, derived: DerivedScript, digest: bytes, witness: tuple[bytes, ...]
    ) -> None:
        """Do what OP_CHECKMULTISIG does with this witness, and a little more strictly."""
        threshold = self._description.threshold
        if len(witness) != threshold + 2 or witness[0] != b"":
            raise BadSignature(f"the witness is not an empty item, {threshold} signatures, script")
        if _P2WSH_PREFIX + sha256(witness[-1]).digest() != derived.script_pubkey:
            raise BadSignature("the witness script is not the one of the spent output")
        keys = iter(sorted(derived.points.values()))
        for signature in witness[1:-1]:
            _expect_signer(keys, digest, signature)

    def _name_culprit(
        self, session: SigningSession, shares: Mapping[str, tuple[bytes, ...]]
    ) -> None:
        for node in session.signers:
            self.verify_share(session, node, shares[node])


@lru_cache(maxsize=_VAULTS_KEPT)
def open_wsh_sortedmulti(description: VaultDescription) -> WshSortedMulti:
    """Return the opened vault; the same description gives the same one, with what it derived."""
    return WshSortedMulti(description)


def multisig_script(threshold: int, points: Sequence[bytes]) -> bytes:
    """Return `t <keys, sorted> n OP_CHECKMULTISIG` (BIP-67) for up to 15 keys."""
    pushes = b"".join(_PUSH_POINT + point for point in sorted(points))
    required = bytes((_OP_1_MINUS_ONE + threshold,))
    return required + pushes + bytes((_OP_1_MINUS_ONE + len(points),)) + _OP_CHECKMULTISIG


def _verify_signature(point: bytes, digest: bytes, signature: bytes) -> None:
    if len(signature) > MAX_SHARE_BYTES or signature[-1:] != SIGHASH_SUFFIX:
        raise BadSignature("not a signature followed by the byte of SIGHASH_ALL")
    verify_ecdsa(point, digest, signature[:-1])


def _expect_signer(keys: Iterator[bytes], digest: bytes, signature: bytes) -> None:
    """Find the next key, in order, that made the signature; raise `BadSignature` if none did."""
    for point in keys:
        try:
            _verify_signature(point, digest, signature)
        except BadSignature:
            continue
        return
    raise BadSignature("a signature belongs to none of the keys that are left")


def _open_branches(
    description: VaultDescription, path: Path
) -> dict[str, tuple[PublicBranch, PublicBranch]]:
    """Derive both chains of each cosigner, after checking the description against itself."""
    cosigners = description.cosigners
    if describe_wsh_sortedmulti(description.keys) != description:
        raise InvalidVault("the descriptor does not follow from threshold and cosigners")
    if len({cosigner.node for cosigner in cosigners}) != len(cosigners):
        raise InvalidVault("a node is named twice")
    return {each.node: _open_chains(each, description.network, path) for each in cosigners}


def _open_chains(
    cosigner: Cosigner, network: Network, path: Path
) -> tuple[PublicBranch, PublicBranch]:
    account = parse_xpub(cosigner.xpub, network)
    if account.depth != len(path) or account.child_number != path[-1]:
        raise InvalidVault(f"{cosigner.node}: the xpub is not of the path m/48h/coinh/0h/2h")
    return account.branch(EXTERNAL_CHAIN), account.branch(INTERNAL_CHAIN)
