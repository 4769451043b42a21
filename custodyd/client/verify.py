"""What B believes, and on what ground (PROTOCOL.md section 3, G14).

 1. The genesis: on its 24 words, which people compared out of band. Pinned once.
 2. A vault: on a certificate signed by the identity keys of all n signers of that genesis, whose
    descriptor follows from its keys. Pinned once. Addresses are derived from it here.
 3. A deposit, a payment: on its whole transaction, a Merkle branch and headers that were verified
    here, to depth. What coordinator and chain node say only tells where to look.

Everything raises; nothing here returns a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from custodyd.client.headers import HeaderFeed, LedgerHeaders
from custodyd.client.ledger import ClientLedger, Credit, CreditState, PinnedVault
from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.headers import confirmations
from signer_node.kernel.bitcoin.merkle import Leaf, verify_inclusion
from signer_node.kernel.bitcoin.transaction import Outpoint, Transaction, TxOut
from signer_node.kernel.bitcoin.words import digest_from_words
from signer_node.kernel.documents.genesis import Genesis, check_genesis
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.documents.vault import VaultCertificate
from signer_node.kernel.errors import ErrorId as SignerErrorId
from signer_node.kernel.errors import Refusal
from signer_node.kernel.rules.certify import (
    CertifiedVault,
    check_certificate,
    check_countersignatures,
)
from signer_node.kernel.vault.interface import EXTERNAL_CHAIN, InvalidVault
from signer_node.wire import decode_body, open_countersigned

GENESIS_FACT: Final = "genesis"


@dataclass(frozen=True, slots=True)
class TransactionProof:
    """A whole transaction, stripped, with what leads from it to a block's header."""

    block_hash: bytes
    transaction: bytes
    position: int
    branch: tuple[bytes, ...]
    coinbase: bytes
    coinbase_branch: tuple[bytes, ...]


class ChainSource(HeaderFeed, Protocol):
    """A node of the chain as the client uses it; nothing of it is believed unproved."""

    def prove(self, txid: bytes, block_hash: bytes) -> TransactionProof | None:
        """The proof that a transaction is in a block, or None if it is not there."""

    def locate(self, txids: Sequence[bytes], from_height: int) -> dict[bytes, bytes]:
        """Blocks of the source's best chain, from a height on, that hold these transactions."""


@dataclass(frozen=True, slots=True)
class DepositClaim:
    """What somebody says came in, and where to look; nothing of it is verified."""

    outpoint: Outpoint
    vault: str
    index: int
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class ExpectedPayment:
    """An output that pays a request, in a transaction that B confirmed."""

    outpoint: Outpoint
    output: TxOut


def pin_genesis(ledger: ClientLedger, raw: bytes, words: str, key: bytes) -> Body[Genesis]:
    """Believe a genesis because its words are those that people compared.

    Raises GENESIS_WORDS_DIFFER, GENESIS_INVALID, GENESIS_DIFFERS (another one is pinned), or
    KEY_NOT_IN_GENESIS.
    """
    body = decode_body(Genesis, raw)
    try:
        digest = digest_from_words(words)
    except BitcoinFault as fault:
        raise Refusal(SignerErrorId.GENESIS_WORDS_DIFFER, str(fault)) from None
    if digest != body.digest:
        raise Refusal(SignerErrorId.GENESIS_WORDS_DIFFER)
    check_genesis(body.document)
    if body.document.request_key(key) is None:
        raise CustodydError(ErrorId.KEY_NOT_IN_GENESIS, key.hex())
    with ledger.transaction():
        pinned = ledger.fact(GENESIS_FACT)
        if pinned is not None and pinned != raw:
            raise CustodydError(ErrorId.GENESIS_DIFFERS)
        ledger.set_fact(GENESIS_FACT, raw)
        LedgerHeaders(ledger).start(body.document)
    return body


def pinned_genesis(ledger: ClientLedger) -> Body[Genesis]:
    """The genesis that was confirmed here."""
    raw = ledger.fact(GENESIS_FACT)
    if raw is None:
        raise CustodydError(ErrorId.GENESIS_NOT_PINNED)
    return decode_body(Genesis, raw)


def pin_vault(
    ledger: ClientLedger, genesis: Body[Genesis], vault: str, countersigned: bytes
) -> CertifiedVault:
    """Believe a vault because all n signers certified it, and pin it."""
    certified = verify_certificate(genesis, countersigned)
    if certified.certificate.document.vault != vault:
        raise Refusal(SignerErrorId.CERTIFICATE_INVALID, "it names another vault")
    ledger.pin_vault(vault, countersigned, certified.certificate.digest)
    return certified


def verify_certificate(genesis: Body[Genesis], countersigned: bytes) -> CertifiedVault:
    """The vault of a certificate that follows from its keys and that all n signers signed."""
    raw, signatures = open_countersigned(countersigned)
    certificate = decode_body(VaultCertificate, raw)
    check_countersignatures(certificate, genesis, signatures)
    return check_certificate(certificate, genesis)


def open_pinned(genesis: Body[Genesis], pinned: PinnedVault) -> CertifiedVault:
    """A pinned vault, opened for deriving."""
    return verify_certificate(genesis, pinned.certificate)


def next_address(ledger: ClientLedger, vault: CertifiedVault, label: str) -> tuple[int, str]:
    """Hand out an address: a fresh index, durable before anybody sees it."""
    name = vault.certificate.document.vault
    with ledger.transaction():
        index = ledger.allocate_index(name)
        ledger.add_address(name, index, vault.kind.script(EXTERNAL_CHAIN, index), label)
    return index, vault.kind.address(EXTERNAL_CHAIN, index)


def verify_deposit(
    claim: DepositClaim, proof: TransactionProof, vault: CertifiedVault, headers: LedgerHeaders
) -> Credit:
    """The deposit that a proof shows; its depth is the caller's question (`depth_of`).

    Raises DEPOSIT_UNPROVEN.
    """
    transaction = _included(proof, headers, ErrorId.DEPOSIT_UNPROVEN)
    outpoint = claim.outpoint
    if transaction.txid != outpoint.txid or outpoint.vout >= len(transaction.outputs):
        raise CustodydError(ErrorId.DEPOSIT_UNPROVEN, f"{outpoint} is not in the transaction")
    output = transaction.outputs[outpoint.vout]
    try:
        script = vault.kind.script(EXTERNAL_CHAIN, claim.index)
    except InvalidVault as bad:
        raise CustodydError(ErrorId.DEPOSIT_UNPROVEN, str(bad)) from None
    if output.script != script:
        raise CustodydError(ErrorId.DEPOSIT_UNPROVEN, f"{outpoint} pays another script")
    stored = headers.get(proof.block_hash)
    height = stored.height if stored is not None else 0
    return Credit(
        outpoint,
        claim.vault,
        claim.index,
        output.value_sat,
        proof.block_hash,
        height,
        CreditState.CREDITED,
    )


def verify_payment(
    expected: ExpectedPayment, proof: TransactionProof, headers: LedgerHeaders
) -> None:
    """Raise PAYMENT_UNPROVEN unless the proof shows exactly the output expected."""
    transaction = _included(proof, headers, ErrorId.PAYMENT_UNPROVEN)
    outpoint = expected.outpoint
    if transaction.txid != outpoint.txid or outpoint.vout >= len(transaction.outputs):
        raise CustodydError(ErrorId.PAYMENT_UNPROVEN, f"{outpoint} is not in the transaction")
    if transaction.outputs[outpoint.vout] != expected.output:
        raise CustodydError(ErrorId.PAYMENT_UNPROVEN, f"{outpoint} pays something else")


def depth_of(block_hash: bytes, headers: LedgerHeaders) -> int:
    """Confirmations on the verified best chain: 1 for its tip, 0 off it."""
    return confirmations(headers, block_hash)


def _included(proof: TransactionProof, headers: LedgerHeaders, fault: ErrorId) -> Transaction:
    stored = headers.get(proof.block_hash)
    if stored is None or confirmations(headers, proof.block_hash) == 0:
        raise CustodydError(fault, f"block {proof.block_hash[::-1].hex()} is not on our chain")
    try:
        return verify_inclusion(
            Leaf(proof.transaction, proof.position, proof.branch),
            Leaf(proof.coinbase, 0, proof.coinbase_branch),
            stored.header.merkle_root,
        )
    except BitcoinFault as bad:
        raise CustodydError(fault, str(bad)) from None
