"""What an input spends, proved to the signer (PROTOCOL.md section 3, manifest, evidence).

1. The evidence is the whole previous transaction, stripped; its txid is the outpoint's.
2. With inclusion: its Merkle branch and the coinbase's lead to the root of a block of the
   verified best chain; deposits are buried as deep as the policy asks, coinbases 100 deep.
3. Without inclusion: it is change of a manifest that this node checked.
4. The output pays the vault's script at the chain and index named, which is derived here.
5. The PSBT's witness UTXO says the same amount and script.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.merkle import Leaf, verify_inclusion
from signer_node.kernel.bitcoin.transaction import Outpoint, Transaction, TxOut, parse_stripped
from signer_node.kernel.documents.manifest import Inclusion, InputEvidence
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.facts import BlockFact, OwnOutput
from signer_node.kernel.vault.interface import EXTERNAL_CHAIN, SessionInput, VaultKind

COINBASE_MATURITY: Final = 100


@dataclass(frozen=True, slots=True)
class InputFacts:
    """The verified chain, as far as the manifest's evidence names it, and own change."""

    tip_height: int
    blocks: Mapping[bytes, BlockFact]
    own_outputs: Mapping[Outpoint, OwnOutput]
    min_confirmations: int


@dataclass(frozen=True, slots=True)
class CheckedInput:
    """An input whose output is proved to exist and to be the vault's."""

    outpoint: Outpoint
    chain: int
    index: int
    value_sat: int
    script: bytes
    confirmations: int

    @property
    def as_session_input(self) -> SessionInput:
        """This input as a signing session sees it."""
        return SessionInput(self.chain, self.index, self.value_sat)


def check_input(
    outpoint: Outpoint,
    evidence: InputEvidence,
    witness_utxo: TxOut | None,
    kind: VaultKind,
    facts: InputFacts,
) -> CheckedInput:
    """The checked input; raises Refusal with the id of the rule broken."""
    if evidence.inclusion is None:
        transaction, confirmations = _own_change(outpoint, evidence, facts), 0
    else:
        transaction, confirmations = _included(outpoint, evidence, evidence.inclusion, facts)
    if transaction.txid != outpoint.txid or outpoint.vout >= len(transaction.outputs):
        raise Refusal(ErrorId.INPUT_EVIDENCE_INVALID, f"{outpoint} is of another transaction")
    output = transaction.outputs[outpoint.vout]
    if output.script != kind.script(evidence.chain, evidence.index):
        raise Refusal(ErrorId.INPUT_NOT_OURS, str(outpoint))
    if witness_utxo != output:
        raise Refusal(ErrorId.INPUT_AMOUNT_MISMATCH, str(outpoint))
    return CheckedInput(
        outpoint, evidence.chain, evidence.index, output.value_sat, output.script, confirmations
    )


def _own_change(outpoint: Outpoint, evidence: InputEvidence, facts: InputFacts) -> Transaction:
    if outpoint not in facts.own_outputs:
        raise Refusal(ErrorId.INPUT_UNCONFIRMED, str(outpoint))
    try:
        return parse_stripped(evidence.previous_transaction)
    except BitcoinFault as fault:
        raise Refusal(ErrorId.INPUT_EVIDENCE_INVALID, f"{outpoint}: {fault}") from fault


def _included(
    outpoint: Outpoint, evidence: InputEvidence, inclusion: Inclusion, facts: InputFacts
) -> tuple[Transaction, int]:
    block = facts.blocks.get(inclusion.block_hash)
    if block is None:
        raise Refusal(ErrorId.INPUT_BLOCK_UNKNOWN, inclusion.block_hash[::-1].hex())
    try:
        transaction = verify_inclusion(
            Leaf(evidence.previous_transaction, inclusion.position, inclusion.branch),
            Leaf(inclusion.coinbase, 0, inclusion.coinbase_branch),
            block.merkle_root,
        )
    except BitcoinFault as fault:
        raise Refusal(ErrorId.INPUT_EVIDENCE_INVALID, f"{outpoint}: {fault}") from fault
    confirmations = facts.tip_height - block.height + 1
    needed = _confirmations_needed(transaction, evidence, facts)
    if confirmations < needed:
        raise Refusal(
            ErrorId.INPUT_UNCONFIRMED, f"{outpoint} has {confirmations} of {needed} confirmations"
        )
    return transaction, confirmations


def _confirmations_needed(
    transaction: Transaction, evidence: InputEvidence, facts: InputFacts
) -> int:
    if transaction.is_coinbase:
        return max(COINBASE_MATURITY, facts.min_confirmations)
    return facts.min_confirmations if evidence.chain == EXTERNAL_CHAIN else 1
