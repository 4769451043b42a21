"""Signature hashes of segwit version 0 inputs (BIP-143) and of Taproot key paths (BIP-341).

The hashes over all outpoints, sequences, outputs and spent coins are computed once for a
transaction, so the work for all its inputs is linear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256

from signer_node.kernel.bitcoin.faults import InvalidTransaction
from signer_node.kernel.bitcoin.serial import sha256d, with_length
from signer_node.kernel.bitcoin.transaction import Transaction, TxOut, serialize_outpoint
from signer_node.kernel.curve import tagged_hash

_NOTHING = bytes(32)
_BASE_MASK = 0x1F
_ANYONE_CAN_PAY = 0x80
_TAPROOT_TAG = "TapSighash"
_EPOCH = b"\x00"
_KEY_PATH_WITHOUT_ANNEX = b"\x00"


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


# --- Taproot ---


@dataclass(frozen=True, slots=True)
class TaprootMidstates:
    """A transaction and the coins it spends, with the hashes that its BIP-341 signatures share."""

    transaction: Transaction
    spent: tuple[TxOut, ...]
    prevouts: bytes
    amounts: bytes
    scripts: bytes
    sequences: bytes
    outputs: bytes


def taproot_midstates(transaction: Transaction, spent: Sequence[TxOut]) -> TaprootMidstates:
    """Hash once what all inputs share; `spent` are the coins of all inputs, in their order."""
    inputs = transaction.inputs
    if len(spent) != len(inputs):
        raise InvalidTransaction(f"{len(spent)} spent outputs for {len(inputs)} inputs")
    parts = (
        b"".join([serialize_outpoint(txin.outpoint) for txin in inputs]),
        b"".join([coin.value_sat.to_bytes(8, "little") for coin in spent]),
        b"".join([with_length(coin.script) for coin in spent]),
        b"".join([txin.sequence.to_bytes(4, "little") for txin in inputs]),
        transaction.serialized_outputs,
    )
    return TaprootMidstates(transaction, tuple(spent), *(sha256(part).digest() for part in parts))


def taproot_key_sighash(
    shared: TaprootMidstates, index: int, sighash_type: int = SighashType.DEFAULT
) -> bytes:
    """Return the 32-byte digest that input `index` signs on the key path, without an annex.

    BIP-341, "Common signature message". Raises `InvalidTransaction` for an input that is not there,
    a sighash type that does not exist, and SINGLE without an output at the same place.
    """
    if not 0 <= index < len(shared.spent):
        raise InvalidTransaction(f"the transaction has no input {index}")
    if sighash_type not in _SIGHASH_TYPES:
        raise InvalidTransaction(f"no sighash type {sighash_type} (BIP-341)")
    transaction = shared.transaction
    alone = bool(sighash_type & _ANYONE_CAN_PAY)
    base = sighash_type & _BASE_MASK
    parts = (
        _EPOCH,
        sighash_type.to_bytes(1, "little"),
        transaction.version.to_bytes(4, "little", signed=True),
        transaction.locktime.to_bytes(4, "little"),
        b"" if alone else shared.prevouts + shared.amounts + shared.scripts + shared.sequences,
        b"" if base in (SighashType.NONE, SighashType.SINGLE) else shared.outputs,
        _KEY_PATH_WITHOUT_ANNEX,
        _own_input(shared, index) if alone else index.to_bytes(4, "little"),
        _own_output(shared.transaction, index) if base == SighashType.SINGLE else b"",
    )
    return tagged_hash(_TAPROOT_TAG, b"".join(parts))


_SIGHASH_TYPES = frozenset(map(int, SighashType))


def _own_input(shared: TaprootMidstates, index: int) -> bytes:
    txin = shared.transaction.inputs[index]
    coin = shared.spent[index].serialize()
    return serialize_outpoint(txin.outpoint) + coin + txin.sequence.to_bytes(4, "little")


def _own_output(transaction: Transaction, index: int) -> bytes:
    if index >= len(transaction.outputs):
        raise InvalidTransaction("SIGHASH_SINGLE without an output at the input's place")
    return sha256(transaction.outputs[index].serialize()).digest()
