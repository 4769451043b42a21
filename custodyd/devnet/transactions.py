"""Transactions as frozen records, read strictly from consensus bytes (BIP-144).

The consensus library parses every transaction as well; this reader gives the fields that the
library does not show (witnesses, version, weight) and refuses trailing bytes, which it accepts.
Hashes are in internal byte order, amounts in satoshi.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from custodyd.devnet.bytesio import Cursor, FormatError, compact_size, sha256d

WITNESS_MARKER = b"\x00\x01"
NULL_TXID = bytes(32)
NULL_VOUT = 0xFFFFFFFF
FINAL_SEQUENCE = 0xFFFFFFFF
WITNESS_SCALE = 4

Outpoint = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class TxInput:
    """One input: the outpoint it spends and what it shows for it."""

    txid: bytes
    vout: int
    script_sig: bytes
    sequence: int
    witness: tuple[bytes, ...] = ()

    @property
    def outpoint(self) -> Outpoint:
        return (self.txid, self.vout)


@dataclass(frozen=True, slots=True)
class TxOutput:
    """One output; `amount_sat` is signed in the serialisation and may be out of range here."""

    amount_sat: int
    script: bytes


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction with its bytes, both ids and its weight."""

    version: int
    inputs: tuple[TxInput, ...]
    outputs: tuple[TxOutput, ...]
    locktime: int
    raw: bytes = field(repr=False)
    txid: bytes
    wtxid: bytes
    base_size: int

    @property
    def weight(self) -> int:
        return self.base_size * (WITNESS_SCALE - 1) + len(self.raw)

    @property
    def vsize(self) -> int:
        return -(-self.weight // WITNESS_SCALE)

    @property
    def is_coinbase(self) -> bool:
        return len(self.inputs) == 1 and self.inputs[0].outpoint == (NULL_TXID, NULL_VOUT)

    @property
    def has_witness(self) -> bool:
        return len(self.raw) != self.base_size


def _serialise_base(
    version: int, inputs: tuple[TxInput, ...], outputs: tuple[TxOutput, ...]
) -> tuple[bytes, bytes]:
    """(version, inputs and outputs) as both serialisations share them."""
    parts = [compact_size(len(inputs))]
    for item in inputs:
        parts += (
            item.txid,
            item.vout.to_bytes(4, "little"),
            compact_size(len(item.script_sig)),
            item.script_sig,
            item.sequence.to_bytes(4, "little"),
        )
    parts.append(compact_size(len(outputs)))
    for output in outputs:
        parts += (
            output.amount_sat.to_bytes(8, "little", signed=True),
            compact_size(len(output.script)),
            output.script,
        )
    return version.to_bytes(4, "little"), b"".join(parts)


def _serialise_witnesses(inputs: tuple[TxInput, ...]) -> bytes:
    parts: list[bytes] = []
    for item in inputs:
        parts.append(compact_size(len(item.witness)))
        for element in item.witness:
            parts += (compact_size(len(element)), element)
    return b"".join(parts)


def build(
    version: int, inputs: tuple[TxInput, ...], outputs: tuple[TxOutput, ...], locktime: int
) -> Transaction:
    """Serialise the fields and compute the ids."""
    head, body = _serialise_base(version, inputs, outputs)
    tail = locktime.to_bytes(4, "little")
    base = head + body + tail
    raw = base
    if any(item.witness for item in inputs):
        raw = head + WITNESS_MARKER + body + _serialise_witnesses(inputs) + tail
    txid = sha256d(base)
    wtxid = txid if raw is base else sha256d(raw)
    return Transaction(version, inputs, outputs, locktime, raw, txid, wtxid, len(base))


def _read_inputs(cursor: Cursor) -> list[TxInput]:
    return [
        TxInput(cursor.take(32), cursor.uint(4), cursor.var_bytes(), cursor.uint(4))
        for _ in range(cursor.count())
    ]


def _read_outputs(cursor: Cursor) -> list[TxOutput]:
    return [
        TxOutput(int.from_bytes(cursor.take(8), "little", signed=True), cursor.var_bytes())
        for _ in range(cursor.count())
    ]


def _read_witnesses(cursor: Cursor, inputs: list[TxInput]) -> list[TxInput]:
    stacks = [tuple(cursor.var_bytes() for _ in range(cursor.count())) for _ in inputs]
    if not any(stacks):
        raise FormatError("superfluous witness record")
    return [
        TxInput(item.txid, item.vout, item.script_sig, item.sequence, stack)
        for item, stack in zip(inputs, stacks, strict=True)
    ]


def read_transaction(cursor: Cursor) -> Transaction:
    """Read one transaction and leave the cursor behind it; FormatError if there is none."""
    start = cursor.position
    version = cursor.uint(4)
    extended = cursor.peek(2) == WITNESS_MARKER
    if extended:
        cursor.take(2)
    body_start = cursor.position
    inputs = _read_inputs(cursor)
    if not inputs:
        raise FormatError("a transaction has at least one input")
    outputs = _read_outputs(cursor)
    body = cursor.slice_from(body_start)
    if extended:
        inputs = _read_witnesses(cursor, inputs)
    locktime = cursor.uint(4)
    raw = cursor.slice_from(start)
    base = raw[:4] + body + raw[-4:] if extended else raw
    txid = sha256d(base)
    wtxid = sha256d(raw) if extended else txid
    return Transaction(
        version, tuple(inputs), tuple(outputs), locktime, raw, txid, wtxid, len(base)
    )


def parse_transaction(raw: bytes) -> Transaction:
    """Exactly one transaction and nothing behind it; FormatError otherwise."""
    cursor = Cursor(raw)
    transaction = read_transaction(cursor)
    if not cursor.at_end:
        raise FormatError("bytes follow the transaction")
    return transaction
