"""Blocks: reading, Merkle trees and proofs, coinbases, and the proof of work of regtest.

Sources: BIP-34 (height in the coinbase), BIP-37 (the partial Merkle tree that `gettxoutproof`
returns), BIP-141 (witness commitment). Hashes are in internal byte order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from custodyd.devnet.bytesio import Cursor, FormatError, compact_size, sha256d
from custodyd.devnet.transactions import (
    FINAL_SEQUENCE,
    NULL_TXID,
    NULL_VOUT,
    Transaction,
    TxInput,
    TxOutput,
    build,
    read_transaction,
)

HEADER_SIZE = 80
BLOCK_VERSION = 0x20000000
REGTEST_BITS = 0x207FFFFF
REGTEST_TARGET = 0x7FFFFF << (8 * (0x20 - 3))
WORK_PER_BLOCK = (1 << 256) // (REGTEST_TARGET + 1)
MAX_BLOCK_WEIGHT = 4_000_000
SUBSIDY_SAT = 50 * 100_000_000
HALVING_BLOCKS = 150
COINBASE_MATURITY = 100
WITNESS_COMMITMENT_PREFIX = bytes.fromhex("6a24aa21a9ed")
MAX_NONCE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Header:
    """The 80 bytes and their fields."""

    version: int
    previous: bytes
    merkle_root: bytes
    time_s: int
    bits: int
    nonce: int
    raw: bytes = field(repr=False)
    hash: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """A header and its transactions, coinbase first."""

    header: Header
    transactions: tuple[Transaction, ...]
    raw: bytes = field(repr=False)

    @property
    def hash(self) -> bytes:
        return self.header.hash

    @property
    def weight(self) -> int:
        overhead = HEADER_SIZE + len(compact_size(len(self.transactions)))
        return 4 * overhead + sum(tx.weight for tx in self.transactions)

    @property
    def stripped_size(self) -> int:
        overhead = HEADER_SIZE + len(compact_size(len(self.transactions)))
        return overhead + sum(tx.base_size for tx in self.transactions)


def parse_header(raw: bytes) -> Header:
    """The fields of exactly 80 bytes; FormatError otherwise."""
    if len(raw) != HEADER_SIZE:
        raise FormatError("a block header has 80 bytes")
    cursor = Cursor(raw)
    return Header(
        version=int.from_bytes(cursor.take(4), "little", signed=True),
        previous=cursor.take(32),
        merkle_root=cursor.take(32),
        time_s=cursor.uint(4),
        bits=cursor.uint(4),
        nonce=cursor.uint(4),
        raw=raw,
        hash=sha256d(raw),
    )


def parse_block(raw: bytes) -> Block:
    """Exactly one block and nothing behind it; FormatError otherwise."""
    cursor = Cursor(raw)
    header = parse_header(cursor.take(HEADER_SIZE))
    transactions = tuple(read_transaction(cursor) for _ in range(cursor.count()))
    if not cursor.at_end:
        raise FormatError("bytes follow the block")
    return Block(header, transactions, raw)


def subsidy_sat(height: int) -> int:
    """The new coins of the block at this height on regtest."""
    return SUBSIDY_SAT >> (height // HALVING_BLOCKS) if height < 64 * HALVING_BLOCKS else 0


# --- Merkle trees -------------------------------------------------------------------------------


def _next_level(level: Sequence[bytes]) -> list[bytes]:
    padded = [*level, level[-1]] if len(level) % 2 else level
    return [sha256d(padded[i] + padded[i + 1]) for i in range(0, len(padded), 2)]


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over one or more 32-byte leaves; the last is doubled on odd levels."""
    level = list(leaves)
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def merkle_proof(header: Header, leaves: Sequence[bytes], wanted: frozenset[bytes]) -> bytes:
    """BIP-37's merkleblock that proves the `wanted` ones of `leaves`, as gettxoutproof gives it."""
    levels = [list(leaves)]
    marks = [[leaf in wanted for leaf in leaves]]
    while len(levels[-1]) > 1:
        levels.append(_next_level(levels[-1]))
        below = marks[-1]
        marks.append([any(below[i : i + 2]) for i in range(0, len(below), 2)])
    bits: list[bool] = []
    hashes: list[bytes] = []

    def descend(depth: int, position: int) -> None:
        bits.append(marks[depth][position])
        if depth == 0 or not marks[depth][position]:
            hashes.append(levels[depth][position])
            return
        for child in (2 * position, 2 * position + 1):
            if child < len(levels[depth - 1]):
                descend(depth - 1, child)

    descend(len(levels) - 1, 0)
    flags = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        flags[index // 8] |= bit << (index % 8)
    return b"".join(
        (
            header.raw,
            len(leaves).to_bytes(4, "little"),
            compact_size(len(hashes)),
            *hashes,
            compact_size(len(flags)),
            bytes(flags),
        )
    )


# --- making blocks ------------------------------------------------------------------------------


def script_number(n: int) -> bytes:
    """A push of a non-negative number in its shortest form, as BIP-34 wants the height."""
    if n == 0:
        return b"\x00"
    if n <= 16:
        return bytes([0x50 + n])
    body = n.to_bytes(n.bit_length() // 8 + 1, "little")
    return bytes([len(body)]) + body


def coinbase(
    height: int, amount_sat: int, script: bytes, wtxids: Sequence[bytes], extra: bytes
) -> Transaction:
    """The coinbase that pays `amount_sat` to `script` and commits to the witnesses (BIP-141).

    `wtxids` are those of the other transactions; `extra` (up to 80 bytes) tells apart two
    coinbases that would be equal otherwise, such as those of competing branches.
    """
    reserved = bytes(32)
    commitment = sha256d(merkle_root([bytes(32), *wtxids]) + reserved)
    script_sig = script_number(height) + bytes([len(extra)]) + extra
    source = TxInput(NULL_TXID, NULL_VOUT, script_sig, FINAL_SEQUENCE, (reserved,))
    outputs = (TxOutput(amount_sat, script), TxOutput(0, WITNESS_COMMITMENT_PREFIX + commitment))
    return build(2, (source,), outputs, 0)


def mine(previous: bytes, time_s: int, transactions: Sequence[Transaction]) -> Block:
    """A block with regtest's proof of work (two attempts on average)."""
    root = merkle_root([tx.txid for tx in transactions])
    head = BLOCK_VERSION.to_bytes(4, "little") + previous + root
    head += time_s.to_bytes(4, "little") + REGTEST_BITS.to_bytes(4, "little")
    for nonce in range(MAX_NONCE):
        raw_header = head + nonce.to_bytes(4, "little")
        if int.from_bytes(sha256d(raw_header), "little") <= REGTEST_TARGET:
            break
    body = b"".join(tx.raw for tx in transactions)
    raw = raw_header + compact_size(len(transactions)) + body
    return Block(parse_header(raw_header), tuple(transactions), raw)
