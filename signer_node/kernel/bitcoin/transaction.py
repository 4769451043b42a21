"""Transactions as frozen records, read from their only serialisation (BIP-144).

`parse_transaction` takes exactly one transaction: no bytes before or after, compact sizes in their
shortest form, at least one input and one output, a witness section only if a witness is there,
amounts that can exist. Writing the record gives the same bytes again, and `txid` is the hash of
what was received. Scripts are not interpreted.

`parse_stripped` is for evidence: no witness, and not 64 bytes long, since 64 bytes can also be read
as an inner node of a Merkle tree (CVE-2017-12842).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from struct import Struct

from signer_node.kernel.bitcoin.faults import InvalidTransaction
from signer_node.kernel.bitcoin.serial import (
    NotShortest,
    Reader,
    Truncated,
    compact_size,
    length_with_size,
    sha256d,
    with_length,
)
from signer_node.kernel.units import MAX_MONEY_SAT

TXID_BYTES = 32
MAX_TRANSACTION_BYTES = 4_000_000
"""No transaction that fits into a block is longer (BIP-141: weight 4,000,000)."""
FORBIDDEN_STRIPPED_BYTES = 64
SMALLEST_INPUT_BYTES = 41
SMALLEST_OUTPUT_BYTES = 9
COINBASE_VOUT = 0xFFFFFFFF
_MAX_UINT32 = 0xFFFFFFFF
_WITNESS_SCALE = 4
_MARKER_AND_FLAG = b"\x00\x01"
_INPUT_HEAD = Struct("<32sI")
_VALUE = Struct("<Q")


@dataclass(frozen=True, slots=True)
class Outpoint:
    """A transaction's output: `txid` in internal byte order (as hashed), and its index."""

    txid: bytes
    vout: int

    def __str__(self) -> str:
        """Return `txid:vout` with the txid as people and RPC write it, reversed hex."""
        return f"{self.txid[::-1].hex()}:{self.vout}"


@dataclass(frozen=True, slots=True)
class TxIn:
    """An input without its witness."""

    outpoint: Outpoint
    script_sig: bytes
    sequence: int


@dataclass(frozen=True, slots=True)
class TxOut:
    """An output: satoshi and scriptPubKey."""

    value_sat: int
    script: bytes

    def serialize(self) -> bytes:
        """Return the output as it stands in a transaction; the amount must be able to exist."""
        if not 0 <= self.value_sat <= MAX_MONEY_SAT:
            raise InvalidTransaction(f"an output of {self.value_sat} satoshi cannot exist")
        return _VALUE.pack(self.value_sat) + with_length(self.script)


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction as received: `raw` are its bytes, `weight` in weight units (BIP-141).

    `txid` is in internal byte order. `witnesses` has one stack for each input, or is empty.
    `outputs_span` says where in `raw` the serialised outputs stand, without their number.
    """

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    locktime: int
    txid: bytes
    weight: int
    raw: bytes
    witnesses: tuple[tuple[bytes, ...], ...] = ()
    outputs_span: tuple[int, int] = field(kw_only=True, repr=False, compare=False)

    @property
    def serialized_outputs(self) -> bytes:
        """The outputs as they stand in the bytes, one after the other (for BIP-143)."""
        start, stop = self.outputs_span
        return self.raw[start:stop]

    @property
    def has_witness(self) -> bool:
        """Whether the bytes carry a witness section."""
        return bool(self.witnesses)

    @property
    def is_coinbase(self) -> bool:
        """Whether this is a block's first transaction, which creates coins."""
        outpoint = self.inputs[0].outpoint
        null = outpoint.txid == bytes(TXID_BYTES) and outpoint.vout == COINBASE_VOUT
        return null and len(self.inputs) == 1


def parse_transaction(raw: bytes) -> Transaction:
    """Return the transaction that `raw` is, with or without witness.

    Raises `InvalidTransaction` unless `raw` is exactly one transaction in its only serialisation.
    """
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise InvalidTransaction(f"{len(raw)} bytes are more than a transaction can have")
    try:
        return _read_transaction(raw)
    except (Truncated, NotShortest) as fault:
        raise InvalidTransaction(f"not exactly one transaction: {fault}") from None


def parse_stripped(raw: bytes) -> Transaction:
    """Return a transaction without witness data, as evidence carries it.

    Raises `InvalidTransaction` for witness data and for a length of 64 bytes (see above).
    """
    if len(raw) == FORBIDDEN_STRIPPED_BYTES:
        raise InvalidTransaction("a transaction of 64 bytes can be mistaken for a Merkle node")
    transaction = parse_transaction(raw)
    if transaction.has_witness:
        raise InvalidTransaction("the transaction must come without its witness")
    return transaction


def strip_witness(raw: bytes) -> bytes:
    """Return the bytes that the txid hashes: the transaction without marker, flag and witness."""
    return stripped_bytes(parse_transaction(raw))


def stripped_bytes(transaction: Transaction) -> bytes:
    """Return a parsed transaction's bytes without marker, flag and witness."""
    if not transaction.has_witness:
        return transaction.raw
    witness = sum(map(_stack_length, transaction.witnesses))
    raw = transaction.raw
    return raw[:4] + raw[6 : len(raw) - 4 - witness] + raw[-4:]


def write_unsigned(
    inputs: Sequence[TxIn], outputs: Sequence[TxOut], locktime: int, version: int
) -> bytes:
    """Return the bytes of a transaction without witness; whoever reads them checks the rules."""
    if not 0 <= locktime <= _MAX_UINT32:
        raise InvalidTransaction(f"the locktime {locktime} does not fit into 32 bits")
    head = version.to_bytes(4, "little", signed=True) + compact_size(len(inputs))
    body = b"".join(map(_write_input, inputs)) + compact_size(len(outputs))
    tail = b"".join([output.serialize() for output in outputs])
    return head + body + tail + locktime.to_bytes(4, "little")


def build_transaction(
    inputs: Sequence[TxIn], outputs: Sequence[TxOut], locktime: int, version: int = 2
) -> Transaction:
    """Return an unsigned transaction of these parts; raises `InvalidTransaction` as parsing does.

    It is written and then read, so what was built is what everybody will read.
    """
    return parse_transaction(write_unsigned(inputs, outputs, locktime, version))


def attach_witnesses(
    transaction: Transaction, witnesses: Sequence[tuple[bytes, ...]]
) -> Transaction:
    """Return an unsigned transaction with one witness stack for each input, in order."""
    if transaction.has_witness or len(witnesses) != len(transaction.inputs):
        raise InvalidTransaction("an unsigned transaction takes one witness for each input")
    if not any(witnesses):
        raise InvalidTransaction("a witness section without any witness")
    stacks = b"".join(map(_write_stack, witnesses))
    raw = transaction.raw
    start, stop = transaction.outputs_span
    shift = len(_MARKER_AND_FLAG)
    return replace(
        transaction,
        raw=raw[:4] + _MARKER_AND_FLAG + raw[4:-4] + stacks + raw[-4:],
        weight=transaction.weight + shift + len(stacks),
        witnesses=tuple(witnesses),
        outputs_span=(start + shift, stop + shift),
    )


def serialize_outpoint(outpoint: Outpoint) -> bytes:
    """Return the 36 bytes of an outpoint."""
    return _INPUT_HEAD.pack(outpoint.txid, outpoint.vout)


def txid_from_hex(text: str) -> bytes:
    """Return a txid in internal order from the reversed hex that people and RPC write."""
    try:
        txid = bytes.fromhex(text)[::-1]
    except ValueError:
        txid = b""
    if len(txid) != TXID_BYTES or len(text) != 2 * TXID_BYTES:
        raise InvalidTransaction("a txid is 64 hexadecimal digits")
    return txid


def txid_to_hex(txid: bytes) -> str:
    """Return the reversed hex of a txid or block hash, as people and RPC write it."""
    return txid[::-1].hex()


def _write_input(txin: TxIn) -> bytes:
    if len(txin.outpoint.txid) != TXID_BYTES or not 0 <= txin.outpoint.vout <= COINBASE_VOUT:
        raise InvalidTransaction("an outpoint has a txid of 32 bytes and an index of 32 bits")
    sequence = txin.sequence.to_bytes(4, "little")
    return serialize_outpoint(txin.outpoint) + with_length(txin.script_sig) + sequence


def _write_stack(stack: tuple[bytes, ...]) -> bytes:
    return compact_size(len(stack)) + b"".join(map(with_length, stack))


def _stack_length(stack: tuple[bytes, ...]) -> int:
    return len(_write_stack(stack))


def _read_transaction(raw: bytes) -> Transaction:
    reader = Reader(raw)
    version = reader.int32()
    has_witness = raw[4:6] == _MARKER_AND_FLAG
    if has_witness:
        reader.take(len(_MARKER_AND_FLAG))
    inputs = _read_inputs(reader)
    outputs = _read_outputs(reader)
    body_end = reader.position
    witnesses = _read_witnesses(reader, len(inputs)) if has_witness else ()
    locktime = reader.uint32()
    reader.expect_end()
    stripped = raw[:4] + raw[6:body_end] + raw[-4:] if has_witness else raw
    return Transaction(
        version=version,
        inputs=inputs,
        outputs=outputs,
        locktime=locktime,
        txid=sha256d(stripped),
        weight=(_WITNESS_SCALE - 1) * len(stripped) + len(raw),
        raw=raw,
        witnesses=witnesses,
        outputs_span=(body_end - _outputs_length(outputs), body_end),
    )


def _outputs_length(outputs: Sequence[TxOut]) -> int:
    return sum([_VALUE.size + length_with_size(len(output.script)) for output in outputs])


def _read_inputs(reader: Reader) -> tuple[TxIn, ...]:
    count = reader.count(SMALLEST_INPUT_BYTES)
    if count == 0:
        raise InvalidTransaction("a transaction has at least one input")
    return tuple(map(_read_input, (reader,) * count))


def _read_input(reader: Reader) -> TxIn:
    txid, vout = _INPUT_HEAD.unpack(reader.take(36))
    return TxIn(Outpoint(txid, vout), reader.chunk(), reader.uint32())


def _read_outputs(reader: Reader) -> tuple[TxOut, ...]:
    count = reader.count(SMALLEST_OUTPUT_BYTES)
    if count == 0:
        raise InvalidTransaction("a transaction has at least one output")
    outputs = tuple(map(read_output, (reader,) * count))
    if sum([output.value_sat for output in outputs]) > MAX_MONEY_SAT:
        raise InvalidTransaction("the outputs are worth more than all bitcoin")
    return outputs


def read_output(reader: Reader) -> TxOut:
    """Read one output; raises `InvalidTransaction` for an amount that cannot exist."""
    value_sat, script = reader.uint64_and_chunk()
    if value_sat > MAX_MONEY_SAT:
        raise InvalidTransaction(f"an output of {value_sat} satoshi cannot exist")
    return TxOut(value_sat, script)


def _read_witnesses(reader: Reader, inputs: int) -> tuple[tuple[bytes, ...], ...]:
    stacks = tuple(map(_read_stack, (reader,) * inputs))
    if not any(stacks):
        raise InvalidTransaction("a witness section without any witness")
    return stacks


def _read_stack(reader: Reader) -> tuple[bytes, ...]:
    read = partial(_read_item, reader)
    return tuple(map(read, range(reader.count(1))))


def _read_item(reader: Reader, _number: int) -> bytes:
    return reader.chunk()
