"""Unsigned PSBTs of version 0 (BIP-174, BIP-371) in the one form that custody uses.

`parse_psbt` accepts a list of fields and nothing else: what is not in the tables below is refused,
be it unknown, proprietary, a signature, a finalised script, an extended key, a Taproot script tree
or version 2. Keys of a map must ascend strictly, lengths be in their shortest form, and nothing
follow the end, so that a PSBT has exactly one serialisation; wallycore, a second parser, must read
it and write the same bytes. (It alone would not do: it keeps unknown global fields and offers no
way to see them.)

Also refused: an outpoint spent twice, a scriptSig in the unsigned transaction, a full previous
transaction that is not the one spent or that contradicts the witness UTXO.

Paths of keys are hints for other wallets: our signers derive every key themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from signer_node.kernel.bitcoin import wally
from signer_node.kernel.bitcoin.faults import InvalidPsbt, InvalidTransaction, UnknownPsbtField
from signer_node.kernel.bitcoin.serial import NotShortest, Reader, Truncated, with_length
from signer_node.kernel.bitcoin.transaction import (
    Outpoint,
    Transaction,
    TxIn,
    TxOut,
    parse_transaction,
    read_output,
    write_unsigned,
)
from signer_node.kernel.curve import KEY_BYTES, POINT_BYTES, BadKey, check_point, check_xonly

MAX_PSBT_BYTES = 4 * 1024 * 1024
MAX_FIELDS = 64
"""Fields of one map: a multisig input has one path for each of at most 15 cosigners."""
_MAGIC = b"psbt\xff"
_END_OF_MAP = b"\x00"
_FINGERPRINT_BYTES = 4
_STEP_BYTES = 4
_SIGHASH_BYTES = 4

_GLOBAL_UNSIGNED_TX = 0x00
_IN_NON_WITNESS_UTXO = 0x00
_IN_WITNESS_UTXO = 0x01
_IN_SIGHASH_TYPE = 0x03
_IN_WITNESS_SCRIPT = 0x05
_IN_BIP32_DERIVATION = 0x06
_IN_TAP_BIP32_DERIVATION = 0x16
_IN_TAP_INTERNAL_KEY = 0x17
_OUT_WITNESS_SCRIPT = 0x01
_OUT_BIP32_DERIVATION = 0x02
_OUT_TAP_INTERNAL_KEY = 0x05
_OUT_TAP_BIP32_DERIVATION = 0x07
_NO_LEAF_HASHES = b"\x00"
"""The number of script leaves that a key is in: our outputs have no script tree (BIP-371)."""

# Field type -> length of the key data behind the type byte.
_GLOBAL_FIELDS = {_GLOBAL_UNSIGNED_TX: 0}
_INPUT_FIELDS = {
    _IN_NON_WITNESS_UTXO: 0,
    _IN_WITNESS_UTXO: 0,
    _IN_SIGHASH_TYPE: 0,
    _IN_WITNESS_SCRIPT: 0,
    _IN_BIP32_DERIVATION: POINT_BYTES,
    _IN_TAP_BIP32_DERIVATION: KEY_BYTES,
    _IN_TAP_INTERNAL_KEY: 0,
}
_OUTPUT_FIELDS = {
    _OUT_WITNESS_SCRIPT: 0,
    _OUT_BIP32_DERIVATION: POINT_BYTES,
    _OUT_TAP_INTERNAL_KEY: 0,
    _OUT_TAP_BIP32_DERIVATION: KEY_BYTES,
}


@dataclass(frozen=True, slots=True)
class KeyPath:
    """Where a public key (33 bytes) is said to come from: master fingerprint and path."""

    point: bytes
    fingerprint: bytes
    path: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TapKeyPath:
    """Where an x-only key (32 bytes) of a key path spend is said to come from."""

    key: bytes
    fingerprint: bytes
    path: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PsbtInput:
    """What a PSBT says about an input; `sighash` is 0, scripts and keys are empty where absent."""

    witness_utxo: TxOut | None = None
    non_witness_utxo: bytes | None = None
    sighash: int = 0
    witness_script: bytes = b""
    key_paths: tuple[KeyPath, ...] = ()
    tap_internal_key: bytes = b""
    tap_key_paths: tuple[TapKeyPath, ...] = ()


@dataclass(frozen=True, slots=True)
class PsbtOutput:
    """What a PSBT says about an output beyond its script and amount."""

    witness_script: bytes = b""
    key_paths: tuple[KeyPath, ...] = ()
    tap_internal_key: bytes = b""
    tap_key_paths: tuple[TapKeyPath, ...] = ()


@dataclass(frozen=True, slots=True)
class Psbt:
    """A PSBT as received (`raw`): the unsigned transaction, one record per input and output."""

    transaction: Transaction
    inputs: tuple[PsbtInput, ...]
    outputs: tuple[PsbtOutput, ...]
    raw: bytes


@dataclass(frozen=True, slots=True)
class SpentCoin:
    """An input to build: which output is spent, and what the PSBT says about it."""

    outpoint: Outpoint
    sequence: int
    fields: PsbtInput


@dataclass(frozen=True, slots=True)
class NewOutput:
    """An output to build, and what the PSBT says about it (something only for change)."""

    output: TxOut
    fields: PsbtOutput = PsbtOutput()


_NO_FIELDS = PsbtOutput()


def parse_psbt(raw: bytes) -> Psbt:
    """Return the PSBT that `raw` is; raises `InvalidPsbt` or `UnknownPsbtField` (see above)."""
    if len(raw) > MAX_PSBT_BYTES:
        raise InvalidPsbt(f"{len(raw)} bytes, at most {MAX_PSBT_BYTES}")
    try:
        psbt = _read_psbt(raw)
    except (Truncated, NotShortest) as fault:
        raise InvalidPsbt(f"not exactly one PSBT: {fault}") from None
    except InvalidTransaction as fault:
        raise InvalidPsbt(str(fault)) from None
    if wally.reserialize_psbt(raw) != raw:
        raise InvalidPsbt("another parser reads this PSBT differently")
    return psbt


def build_psbt(
    inputs: Sequence[SpentCoin], outputs: Sequence[NewOutput], locktime: int, version: int = 2
) -> Psbt:
    """Return the unsigned PSBT of these parts, read back by `parse_psbt`."""
    txins = [TxIn(coin.outpoint, b"", coin.sequence) for coin in inputs]
    txouts = [new.output for new in outputs]
    unsigned = write_unsigned(txins, txouts, locktime, version)
    parts = [_MAGIC, _write_map([(bytes((_GLOBAL_UNSIGNED_TX,)), unsigned)])]
    parts.extend(_write_input(coin.fields) for coin in inputs)
    parts.extend(_write_output(new.fields) for new in outputs)
    return parse_psbt(b"".join(parts))


def _read_psbt(raw: bytes) -> Psbt:
    if not raw.startswith(_MAGIC):
        raise InvalidPsbt("the bytes do not begin like a PSBT")
    reader = Reader(raw)
    reader.take(len(_MAGIC))
    transaction = _unsigned_transaction(_read_map(reader, _GLOBAL_FIELDS, "global"))
    inputs = [_read_input(reader, txin) for txin in transaction.inputs]
    outputs = [_read_output_fields(reader) for _output in transaction.outputs]
    reader.expect_end()
    return Psbt(transaction, tuple(inputs), tuple(outputs), raw)


def _unsigned_transaction(fields: Mapping[bytes, bytes]) -> Transaction:
    raw = fields.get(bytes((_GLOBAL_UNSIGNED_TX,)))
    if raw is None:
        raise InvalidPsbt("the unsigned transaction is missing")
    transaction = parse_transaction(raw)
    if transaction.has_witness or any(txin.script_sig for txin in transaction.inputs):
        raise InvalidPsbt("the transaction inside a PSBT is unsigned")
    if len({txin.outpoint for txin in transaction.inputs}) != len(transaction.inputs):
        raise InvalidPsbt("an outpoint is spent twice")
    return transaction


def _read_map(reader: Reader, known: Mapping[int, int], place: str) -> dict[bytes, bytes]:
    """Read one map; its keys must ascend and be in the table `known`."""
    fields: dict[bytes, bytes] = {}
    last = b""
    while key := reader.chunk():
        if key <= last:
            raise InvalidPsbt("the keys of a map must ascend, each once")
        if known.get(key[0]) != len(key) - 1:
            raise UnknownPsbtField(f"the {place} field {key[:8].hex()} has no place here")
        if len(fields) == MAX_FIELDS:
            raise InvalidPsbt(f"a map has more than {MAX_FIELDS} fields")
        fields[key] = reader.chunk()
        last = key
    return fields


def _read_input(reader: Reader, txin: TxIn) -> PsbtInput:
    fields = _read_map(reader, _INPUT_FIELDS, "input")
    single = {key[0]: value for key, value in fields.items() if len(key) == 1}
    witness_utxo = single.get(_IN_WITNESS_UTXO)
    parsed = PsbtInput(
        witness_utxo=None if witness_utxo is None else _parse_output(witness_utxo),
        non_witness_utxo=single.get(_IN_NON_WITNESS_UTXO),
        sighash=_parse_sighash(single.get(_IN_SIGHASH_TYPE)),
        witness_script=_nonempty(single, _IN_WITNESS_SCRIPT),
        key_paths=_parse_key_paths(fields, _IN_BIP32_DERIVATION),
        tap_internal_key=_parse_xonly(single.get(_IN_TAP_INTERNAL_KEY)),
        tap_key_paths=_parse_tap_key_paths(fields, _IN_TAP_BIP32_DERIVATION),
    )
    _check_previous(parsed, txin.outpoint)
    return parsed


def _read_output_fields(reader: Reader) -> PsbtOutput:
    fields = _read_map(reader, _OUTPUT_FIELDS, "output")
    if not fields:
        return _NO_FIELDS
    single = {key[0]: value for key, value in fields.items() if len(key) == 1}
    return PsbtOutput(
        witness_script=_nonempty(single, _OUT_WITNESS_SCRIPT),
        key_paths=_parse_key_paths(fields, _OUT_BIP32_DERIVATION),
        tap_internal_key=_parse_xonly(single.get(_OUT_TAP_INTERNAL_KEY)),
        tap_key_paths=_parse_tap_key_paths(fields, _OUT_TAP_BIP32_DERIVATION),
    )


def _nonempty(fields: Mapping[int, bytes], kind: int) -> bytes:
    value = fields.get(kind)
    if value == b"":
        raise InvalidPsbt("a script that is given is not empty")
    return value or b""


def _parse_output(value: bytes) -> TxOut:
    reader = Reader(value)
    output = read_output(reader)
    reader.expect_end()
    return output


def _parse_sighash(value: bytes | None) -> int:
    if value is None:
        return 0
    if len(value) != _SIGHASH_BYTES:
        raise InvalidPsbt("a sighash type has four bytes")
    sighash = int.from_bytes(value, "little")
    if sighash == 0:
        raise InvalidPsbt("the default sighash type is expressed by leaving the field out")
    return sighash


def _parse_key_paths(fields: Mapping[bytes, bytes], kind: int) -> tuple[KeyPath, ...]:
    return tuple(_parse_key_path(key[1:], value) for key, value in fields.items() if key[0] == kind)


def _parse_key_path(point: bytes, value: bytes) -> KeyPath:
    try:
        check_point(point)
    except BadKey as fault:
        raise InvalidPsbt(str(fault)) from None
    return KeyPath(point, *_parse_origin(value))


def _parse_tap_key_paths(fields: Mapping[bytes, bytes], kind: int) -> tuple[TapKeyPath, ...]:
    return tuple(
        _parse_tap_key_path(key[1:], value) for key, value in fields.items() if key[0] == kind
    )


def _parse_tap_key_path(key: bytes, value: bytes) -> TapKeyPath:
    """A key of no script leaf; one that is in leaves has no place in what custody signs."""
    if value[:1] != _NO_LEAF_HASHES:
        raise UnknownPsbtField("a Taproot key of a script leaf has no place here")
    return TapKeyPath(_parse_xonly(key), *_parse_origin(value[1:]))


def _parse_xonly(key: bytes | None) -> bytes:
    if key is None:
        return b""
    try:
        check_xonly(key)
    except BadKey as fault:
        raise InvalidPsbt(str(fault)) from None
    return key


def _parse_origin(value: bytes) -> tuple[bytes, tuple[int, ...]]:
    if len(value) < _FINGERPRINT_BYTES or len(value) % _STEP_BYTES:
        raise InvalidPsbt("a key's origin is a fingerprint and steps of four bytes")
    steps = range(_FINGERPRINT_BYTES, len(value), _STEP_BYTES)
    path = tuple(int.from_bytes(value[at : at + _STEP_BYTES], "little") for at in steps)
    return value[:_FINGERPRINT_BYTES], path


def _check_previous(parsed: PsbtInput, outpoint: Outpoint) -> None:
    """Check a full previous transaction, if given, against the outpoint and the witness UTXO."""
    if parsed.non_witness_utxo is None:
        return
    previous = parse_transaction(parsed.non_witness_utxo)
    if previous.txid != outpoint.txid or outpoint.vout >= len(previous.outputs):
        raise InvalidPsbt("the previous transaction is not the one that is spent")
    if parsed.witness_utxo not in (None, previous.outputs[outpoint.vout]):
        raise InvalidPsbt("the witness UTXO is not the previous transaction's output")


def _write_map(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    pairs = [with_length(key) + with_length(value) for key, value in sorted(fields)]
    return b"".join(pairs) + _END_OF_MAP


def _write_input(parsed: PsbtInput) -> bytes:
    fields = _write_key_paths(_IN_BIP32_DERIVATION, parsed.key_paths)
    if parsed.non_witness_utxo is not None:
        fields.append((bytes((_IN_NON_WITNESS_UTXO,)), parsed.non_witness_utxo))
    if parsed.witness_utxo is not None:
        fields.append((bytes((_IN_WITNESS_UTXO,)), parsed.witness_utxo.serialize()))
    if parsed.sighash:
        sighash = parsed.sighash.to_bytes(_SIGHASH_BYTES, "little")
        fields.append((bytes((_IN_SIGHASH_TYPE,)), sighash))
    if parsed.witness_script:
        fields.append((bytes((_IN_WITNESS_SCRIPT,)), parsed.witness_script))
    if parsed.tap_internal_key:
        fields.append((bytes((_IN_TAP_INTERNAL_KEY,)), parsed.tap_internal_key))
    fields += _write_tap_key_paths(_IN_TAP_BIP32_DERIVATION, parsed.tap_key_paths)
    return _write_map(fields)


def _write_output(parsed: PsbtOutput) -> bytes:
    if parsed == _NO_FIELDS:
        return _END_OF_MAP
    fields = _write_key_paths(_OUT_BIP32_DERIVATION, parsed.key_paths)
    if parsed.witness_script:
        fields.append((bytes((_OUT_WITNESS_SCRIPT,)), parsed.witness_script))
    if parsed.tap_internal_key:
        fields.append((bytes((_OUT_TAP_INTERNAL_KEY,)), parsed.tap_internal_key))
    fields += _write_tap_key_paths(_OUT_TAP_BIP32_DERIVATION, parsed.tap_key_paths)
    return _write_map(fields)


def _write_key_paths(kind: int, key_paths: Iterable[KeyPath]) -> list[tuple[bytes, bytes]]:
    return [(bytes((kind,)) + at.point, _write_origin(at)) for at in key_paths]


def _write_tap_key_paths(kind: int, key_paths: Iterable[TapKeyPath]) -> list[tuple[bytes, bytes]]:
    return [(bytes((kind,)) + at.key, _NO_LEAF_HASHES + _write_origin(at)) for at in key_paths]


def _write_origin(at: KeyPath | TapKeyPath) -> bytes:
    return at.fingerprint + b"".join(step.to_bytes(_STEP_BYTES, "little") for step in at.path)
