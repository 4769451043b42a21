"""One payout of a 2-of-3 quorum, every byte of it fixed: the documents behind the golden bytes.

Keys are SHA-256 of a name, auxiliary randomness is zero, times are constants, the block is mined
with the first nonce that solves it. The documents hold together: the certificate follows from the
cosigners' keys, the evidence proves the coin, the shares sign the manifest's transaction.
`ThresholdStory` is the same payout from a vault of one threshold key.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from signer_node import wire
from signer_node.adapters.secrets import vault_seed
from signer_node.kernel import curve
from signer_node.kernel.bitcoin import merkle
from signer_node.kernel.bitcoin.headers import parse_header, target_from_bits
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.psbt import NewOutput, SpentCoin, build_psbt, parse_psbt
from signer_node.kernel.bitcoin.transaction import (
    Outpoint,
    Transaction,
    TxIn,
    TxOut,
    build_transaction,
)
from signer_node.kernel.dkg import chilldkg
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.genesis import (
    Checkpoint,
    Genesis,
    OperatorSeat,
    RequestKey,
    Rules,
    SignerSeat,
)
from signer_node.kernel.documents.manifest import (
    Approval,
    Change,
    Decision,
    Inclusion,
    InputEvidence,
    Manifest,
    ManifestKind,
    ManifestProposal,
    Payout,
    RejectReason,
)
from signer_node.kernel.documents.request import PayerConfirmation, Request
from signer_node.kernel.documents.signed import Body, Document, document_digest
from signer_node.kernel.documents.signing import (
    CommitmentSet,
    RoundOpening,
    ShareSet,
    SignerCommitments,
    SigningPackage,
)
from signer_node.kernel.documents.vault import (
    Cosigner,
    CosignerKey,
    FrostKey,
    KeygenMessage,
    KeygenOutcome,
    KeySignature,
    RecoveryAcknowledgement,
    VaultCertificate,
    VaultProposal,
)
from signer_node.kernel.rules.certify import check_certificate, describe, draft_certificate
from signer_node.kernel.rules.keygen import frost_key, session_params
from signer_node.kernel.vault import interface
from signer_node.kernel.vault.possession import possession_digest
from signer_node.kernel.vault.signer_registry import new_cosigner, open_signer, prove_cosigner
from signer_node.kernel.vault.wsh_sortedmulti_signer import NoNonces

NOW_S = 1_800_000_000
NODES = ("s1", "s2", "s3")
OPERATORS = (("alice", "s1"), ("bob", "s2"), ("carol", "s3"))
REQUESTER = "rita"
VAULT = "hot"
BITS = 0x207FFFFF
SEQUENCE = 0xFFFFFFFD
COIN_SAT = 200_000_000
PAID_SAT = 12_345_678
FEE_SAT = 2_000
AUX = bytes(32)
PAID_SCRIPT = b"\x00\x14" + bytes(range(20))
REGTEST = Network.REGTEST.parameters


def secret(name: str) -> bytes:
    """The key called so."""
    return sha256(b"custodyd golden " + name.encode()).digest()


def public(name: str) -> bytes:
    """Its x-only public key."""
    return curve.xonly_from_secret(secret(name))


def incarnation(name: str) -> bytes:
    """Sixteen bytes that a start of the process called so would have drawn."""
    return sha256(b"custodyd golden start " + name.encode()).digest()[:16]


def signature(document: Document, name: str) -> bytes:
    """The BIP-340 signature of a key over a document's digest, with zero auxiliary randomness."""
    digest = document_digest(type(document), wire.encode(document))
    return curve.sign_schnorr(secret(name), digest, AUX)


def signed(document: Document, name: str) -> bytes:
    """Signed bytes of a document."""
    return wire.signed_bytes(wire.encode(document), public(name), signature(document, name))


class Story:
    """The documents in the order in which they come to be."""

    @cached_property
    def genesis(self) -> Genesis:
        header = parse_header(REGTEST.genesis_header)
        return Genesis(
            label="golden quorum",
            network=Network.REGTEST,
            genesis_block=header.hash,
            threshold=2,
            corrupt_max=1,
            coordinator_key=public("coordinator"),
            signers=tuple(
                SignerSeat(
                    name,
                    public(f"{name} identity"),
                    curve.point_from_secret(secret(f"{name} host")),
                )
                for name in NODES
            ),
            operators=tuple(
                OperatorSeat(person, node, "treasury", public(person)) for person, node in OPERATORS
            ),
            request_keys=(RequestKey(public("backend"), (REQUESTER,)),),
            rules=Rules(
                approvals_required=2,
                payer_confirmation_required=True,
                max_fee_sat=100_000,
                max_fee_rate_sat_vb=100,
                max_fee_share_ppm=50_000,
                max_change_outputs=2,
                min_change_sat=10_000,
                change_index_gap=20,
                max_manifest_lifetime_s=86_400,
                approval_lifetime_s=7_200,
                min_input_confirmations=1,
            ),
            checkpoint=Checkpoint(0, REGTEST.genesis_header, header.time_s),
            created_at_s=NOW_S,
        )

    @cached_property
    def genesis_body(self) -> Body[Genesis]:
        return wire.decode_body(Genesis, wire.encode(self.genesis))

    # --- the vault ---

    @cached_property
    def proposal(self) -> VaultProposal:
        kind = interface.VaultKindId.WSH_SORTEDMULTI
        return VaultProposal(self.genesis_body.digest, VAULT, kind, 0)

    def seed(self, node: str) -> bytes:
        """The seed of a node's key for the vault."""
        return vault_seed(secret(f"{node} vault root"), self.genesis_body.digest, VAULT, 0)

    @cached_property
    def cosigners(self) -> tuple[Cosigner, ...]:
        return tuple(self._cosigner(node) for node in NODES)

    def _cosigner(self, node: str) -> Cosigner:
        seed, kind = self.seed(node), self.proposal.kind
        key = new_cosigner(kind, seed, node, Network.REGTEST)
        digest = possession_digest(self.proposal.genesis, VAULT, 0, node, key.xpub)
        proof = prove_cosigner(kind, seed, Network.REGTEST, digest, AUX)
        return Cosigner(node, key.xpub, key.fingerprint, proof)

    @cached_property
    def cosigner_key(self) -> CosignerKey:
        return CosignerKey(self.proposal.genesis, VAULT, self.proposal.kind, 0, self.cosigners[0])

    @cached_property
    def certificate(self) -> VaultCertificate:
        return draft_certificate(self.genesis_body, self.proposal, self.cosigners)

    @cached_property
    def certificate_digest(self) -> bytes:
        return document_digest(VaultCertificate, wire.encode(self.certificate))

    @cached_property
    def countersignatures(self) -> tuple[KeySignature, ...]:
        return tuple(
            KeySignature(
                public(f"{node} identity"), signature(self.certificate, f"{node} identity")
            )
            for node in NODES
        )

    @cached_property
    def countersigned(self) -> bytes:
        return wire.countersigned_bytes(wire.encode(self.certificate), self.countersignatures)

    @cached_property
    def vault(self) -> interface.VaultKind:
        body = wire.decode_body(VaultCertificate, wire.encode(self.certificate))
        return check_certificate(body, self.genesis_body).kind

    # --- the coin ---

    @cached_property
    def transactions(self) -> tuple[Transaction, Transaction]:
        """A block's coinbase, and a deposit to the vault's first address."""
        nowhere = TxIn(Outpoint(bytes(32), 0xFFFFFFFF), b"\x51\x06golden", 0xFFFFFFFF)
        coinbase = build_transaction([nowhere], [TxOut(5_000_000_000, PAID_SCRIPT)], 0)
        coin = TxIn(Outpoint(sha256(b"elsewhere").digest(), 1), b"", SEQUENCE)
        script = self.vault.script(interface.EXTERNAL_CHAIN, 0)
        return coinbase, build_transaction([coin], [TxOut(COIN_SAT, script)], 0)

    @cached_property
    def header(self) -> bytes:
        root = merkle.merkle_root([one.txid for one in self.transactions])
        start = (0x20000000).to_bytes(4, "little") + self.genesis.genesis_block + root
        time_and_bits = (NOW_S - 600).to_bytes(4, "little") + BITS.to_bytes(4, "little")
        for nonce in range(1 << 16):
            header = parse_header(start + time_and_bits + nonce.to_bytes(4, "little"))
            if int.from_bytes(header.hash, "little") <= target_from_bits(BITS):
                return header.raw
        raise AssertionError("no nonce solves the block")

    @cached_property
    def evidence(self) -> InputEvidence:
        coinbase, deposit = self.transactions
        txids = [coinbase.txid, deposit.txid]
        inclusion = Inclusion(
            block_hash=parse_header(self.header).hash,
            position=1,
            branch=merkle.branch(txids, 1),
            coinbase=coinbase.raw,
            coinbase_branch=merkle.branch(txids, 0),
        )
        return InputEvidence(deposit.raw, interface.EXTERNAL_CHAIN, 0, inclusion)

    # --- the payout ---

    @cached_property
    def request(self) -> Request:
        return Request(
            genesis=self.genesis_body.digest,
            vault=VAULT,
            key=public("backend"),
            withdrawal_id="w-2027-0001",
            script=PAID_SCRIPT,
            amount_sat=PAID_SAT,
            account="customer 77",
            initiator=REQUESTER,
            issued_at_s=NOW_S,
            valid_until_s=NOW_S + 86_400,
            memo_hash=sha256(b"invoice 4711").digest(),
        )

    @cached_property
    def psbt(self) -> bytes:
        spent = TxOut(COIN_SAT, self.vault.script(interface.EXTERNAL_CHAIN, 0))
        coin = SpentCoin(
            Outpoint(self.transactions[1].txid, 0),
            SEQUENCE,
            self.vault.psbt_input_fields(interface.EXTERNAL_CHAIN, 0, spent),
        )
        change = TxOut(
            COIN_SAT - PAID_SAT - FEE_SAT, self.vault.script(interface.INTERNAL_CHAIN, 0)
        )
        outputs = [
            NewOutput(TxOut(PAID_SAT, PAID_SCRIPT)),
            NewOutput(change, self.vault.psbt_output_fields(interface.INTERNAL_CHAIN, 0)),
        ]
        return build_psbt([coin], outputs, locktime=1).raw

    @cached_property
    def manifest(self) -> Manifest:
        return Manifest(
            genesis=self.genesis_body.digest,
            certificate=self.certificate_digest,
            policy=self.genesis_body.digest,
            kind=ManifestKind.PAYOUT,
            batch_id="b-1",
            psbt=self.psbt,
            payouts=(Payout(0, document_digest(Request, wire.encode(self.request))),),
            changes=(Change(1, 0),),
            evidence=(self.evidence,),
            max_fee_sat=10_000,
            max_fee_rate_sat_vb=20,
            replaces=ZERO_DIGEST,
            not_before_s=NOW_S,
            expires_at_s=NOW_S + 7_200,
        )

    @cached_property
    def manifest_digest(self) -> bytes:
        return document_digest(Manifest, wire.encode(self.manifest))

    @cached_property
    def manifest_proposal(self) -> ManifestProposal:
        return ManifestProposal(wire.encode(self.manifest), (signed(self.request, "backend"),))

    def approval(self, person: str) -> Approval:
        """A person's approval of the manifest."""
        return Approval(
            genesis=self.genesis_body.digest,
            policy=self.genesis_body.digest,
            manifest=self.manifest_digest,
            decision=Decision.APPROVE,
            reason=RejectReason.NONE,
            text="",
            outputs=(),
            person=person,
            decided_at_s=NOW_S + 60,
        )

    @cached_property
    def payer_confirmation(self) -> PayerConfirmation:
        genesis, manifest = self.genesis_body.digest, self.manifest_digest
        return PayerConfirmation(genesis, manifest, public("backend"), NOW_S + 120)

    # --- signing ---

    @cached_property
    def opening(self) -> RoundOpening:
        return RoundOpening(self.manifest_digest, 1)

    @cached_property
    def commitment_set(self) -> CommitmentSet:
        return CommitmentSet(self.manifest_digest, 1, incarnation("s1"), ())

    @cached_property
    def package(self) -> SigningPackage:
        return SigningPackage(
            manifest=self.manifest_digest,
            round=1,
            approvals=tuple(signed(self.approval(one), one) for one in ("alice", "bob")),
            payer_confirmation=signed(self.payer_confirmation, "backend"),
            signers=tuple(SignerCommitments(one, incarnation(one), ()) for one in ("s1", "s3")),
        )

    @cached_property
    def share_set(self) -> ShareSet:
        session = self.vault.open_session(
            parse_psbt(self.psbt),
            [interface.SessionInput(interface.EXTERNAL_CHAIN, 0, COIN_SAT)],
            [interface.SignerCommitments(one.node, ()) for one in self.package.signers],
        )
        signer = open_signer(describe(self.certificate, Network.REGTEST), "s1")
        shares = signer.sign(self.seed("s1"), session, NoNonces())
        package = document_digest(SigningPackage, wire.encode(self.package))
        return ShareSet(package, self.manifest_digest, 1, shares)


@dataclass(frozen=True)
class Keygen:
    """A whole key generation: s1's messages, the coordinator's, and what came of it."""

    pmsg1: bytes
    cmsg1: bytes
    pmsg2: bytes
    cmsg2: bytes
    recovery_data: bytes
    frost: FrostKey
    shares: tuple[bytes, ...]


class ThresholdStory(Story):
    """The payout from a vault of one threshold key, signed by s1 and s3."""

    @cached_property
    def proposal(self) -> VaultProposal:
        kind = interface.VaultKindId.TAPROOT_FROST
        return VaultProposal(self.genesis_body.digest, VAULT, kind, 0, attempt=2)

    @cached_property
    def keygen(self) -> Keygen:
        """The random bytes of a step are a secret called after node and step."""
        params = session_params(self.genesis)
        keys = [secret(f"{node} host") for node in NODES]
        first = [
            chilldkg.participant_step1(key, params, secret(f"{node} keygen 1"))
            for node, key in zip(NODES, keys, strict=True)
        ]
        summed, cmsg1 = chilldkg.coordinator_step1([pmsg1 for _state, pmsg1 in first], params)
        second = [
            chilldkg.participant_step2(key, state, cmsg1, secret(f"{node} keygen 2"))
            for node, key, (state, _pmsg1) in zip(NODES, keys, first, strict=True)
        ]
        cmsg2, output, recovery_data = chilldkg.coordinator_finalize(
            summed, [pmsg2 for _state, pmsg2 in second]
        )
        ends = [chilldkg.participant_finalize(state, cmsg2)[0] for state, _pmsg2 in second]
        return Keygen(
            pmsg1=first[0][1],
            cmsg1=cmsg1,
            pmsg2=second[0][1],
            cmsg2=cmsg2,
            recovery_data=recovery_data,
            frost=frost_key(self.genesis, output, recovery_data),
            shares=tuple(one.secshare or b"" for one in ends),
        )

    def keygen_message(self, message: bytes) -> KeygenMessage:
        """A message of the key generation, framed."""
        return KeygenMessage(self.proposal.genesis, VAULT, 0, self.proposal.attempt, message)

    @cached_property
    def outcome(self) -> KeygenOutcome:
        genesis, attempt = self.proposal.genesis, self.proposal.attempt
        return KeygenOutcome(genesis, VAULT, 0, attempt, self.keygen.frost)

    @cached_property
    def acknowledgement(self) -> RecoveryAcknowledgement:
        genesis, attempt = self.proposal.genesis, self.proposal.attempt
        return RecoveryAcknowledgement(genesis, VAULT, 0, attempt, self.keygen.frost.recovery)

    @cached_property
    def certificate(self) -> VaultCertificate:
        return draft_certificate(self.genesis_body, self.proposal, (), self.keygen.frost)

    # --- signing ---

    def _commit(self, node: str) -> tuple[tuple[bytes, ...], interface.Nonces]:
        signer = open_signer(describe(self.certificate, Network.REGTEST), node)
        context = incarnation(node) + self.manifest_digest + (1).to_bytes(4, "big")
        asked = interface.NonceRequest(1, context, secret(f"{node} nonce"))
        return signer.commit(self.keygen.shares[NODES.index(node)], asked)

    @cached_property
    def commitment_set(self) -> CommitmentSet:
        return CommitmentSet(self.manifest_digest, 1, incarnation("s1"), self._commit("s1")[0])

    @cached_property
    def package(self) -> SigningPackage:
        return SigningPackage(
            manifest=self.manifest_digest,
            round=1,
            approvals=tuple(signed(self.approval(one), one) for one in ("alice", "bob")),
            payer_confirmation=signed(self.payer_confirmation, "backend"),
            signers=tuple(
                SignerCommitments(one, incarnation(one), self._commit(one)[0])
                for one in ("s1", "s3")
            ),
        )

    @cached_property
    def session(self) -> interface.SigningSession:
        return self.vault.open_session(
            parse_psbt(self.psbt),
            [interface.SessionInput(interface.EXTERNAL_CHAIN, 0, COIN_SAT)],
            [
                interface.SignerCommitments(one.node, one.commitments)
                for one in self.package.signers
            ],
        )

    def shares_of(self, node: str) -> tuple[bytes, ...]:
        """A node's partial signatures, with the nonces that its commitments show."""
        signer = open_signer(describe(self.certificate, Network.REGTEST), node)
        share = self.keygen.shares[NODES.index(node)]
        return signer.sign(share, self.session, self._commit(node)[1])

    @cached_property
    def share_set(self) -> ShareSet:
        package = document_digest(SigningPackage, wire.encode(self.package))
        return ShareSet(package, self.manifest_digest, 1, self.shares_of("s1"))
