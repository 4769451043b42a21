"""Signature hashes of segwit version 0 inputs (BIP-143).

The three hashes over all outpoints, sequences and outputs are computed once for a transaction, so
the work for all its inputs is linear.
"""

from dataclasses import dataclass
from enum import IntEnum

from signer_node.kernel.bitcoin.faults import InvalidTransaction
from signer_node.kernel.bitcoin.serial import sha256d, with_length
from signer_node.kernel.bitcoin.transaction import Transaction, serialize_outpoint

_NOTHING = bytes(32)
_BASE_MASK = 0x1F
_ANYONE_CAN_PAY = 0x80


class SighashType(IntEnum):
    """How much of a transaction a signature covers; custody signs ALL and nothing else."""

    DEFAULT = 0
    ALL = 1
    NONE = 2
    SINGLE = 3
    ALL_ANYONECANPAY = 0x81
    NONE_ANYONECANPAY = 0x82
    SINGLE_ANYONECANPAY = 0x83


@dataclass(frozen=True, slots=True)
class SegwitMidstates:
    """A transaction with the hashes that all its BIP-143 signatures share."""

    transaction: Transaction
    prevouts: bytes
    sequences: bytes
    outputs: bytes


def segwit_midstates(transaction: Transaction) -> SegwitMidstates:
    """Hash a transaction's outpoints, sequences and outputs once, for all its inputs."""
    inputs = transaction.inputs
    outpoints = b"".join([serialize_outpoint(txin.outpoint) for txin in inputs])
    sequences = b"".join([txin.sequence.to_bytes(4, "little") for txin in inputs])
    outputs = sha256d(transaction.serialized_outputs)
    return SegwitMidstates(transaction, sha256d(outpoints), sha256d(sequences), outputs)


def segwit_v0_sighash(
    source: Transaction | SegwitMidstates,
    index: int,
    script_code: bytes,
    value_sat: int,
    sighash_type: int = SighashType.ALL,
) -> bytes:
    """Return the 32-byte digest that input `index` signs (BIP-143).

    `script_code` is the witness script of a P2WSH input (after the last OP_CODESEPARATOR), without
    its length. Give `segwit_midstates(transaction)` when several inputs are hashed.
    """
    shared = source if isinstance(source, SegwitMidstates) else segwit_midstates(source)
    transaction = shared.transaction
    if not 0 <= index < len(transaction.inputs):
        raise InvalidTransaction(f"the transaction has no input {index}")
    txin = transaction.inputs[index]
    alone = bool(sighash_type & _ANYONE_CAN_PAY)
    partial = sighash_type & _BASE_MASK in (SighashType.NONE, SighashType.SINGLE)
    parts = (
        transaction.version.to_bytes(4, "little", signed=True),
        _NOTHING if alone else shared.prevouts,
        _NOTHING if alone or partial else shared.sequences,
        serialize_outpoint(txin.outpoint),
        with_length(script_code),
        value_sat.to_bytes(8, "little"),
        txin.sequence.to_bytes(4, "little"),
        _outputs_hash(shared, index, sighash_type),
        transaction.locktime.to_bytes(4, "little"),
        sighash_type.to_bytes(4, "little"),
    )
    return sha256d(b"".join(parts))


def _outputs_hash(shared: SegwitMidstates, index: int, sighash_type: int) -> bytes:
    base = sighash_type & _BASE_MASK
    if base == SighashType.SINGLE:
        outputs = shared.transaction.outputs
        return sha256d(outputs[index].serialize()) if index < len(outputs) else _NOTHING
    return _NOTHING if base == SighashType.NONE else shared.outputs
