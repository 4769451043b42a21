"""A whole block, read from its wire form (as getblock gives it at verbosity 0).

The transactions' Merkle root must be the header's, so that what is scanned is what the header
commits to: evidence built from it (PROTOCOL.md, manifest) leads to the header that signers verify.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.headers import HEADER_BYTES, Header, parse_header
from signer_node.kernel.bitcoin.merkle import branch, merkle_root
from signer_node.kernel.bitcoin.serial import NotShortest, Reader, Truncated
from signer_node.kernel.bitcoin.transaction import (
    SMALLEST_INPUT_BYTES,
    SMALLEST_OUTPUT_BYTES,
    Transaction,
    parse_transaction,
    stripped_bytes,
)

MAX_BLOCK_BYTES: Final = 4_000_000
_SMALLEST_TRANSACTION_BYTES: Final = 10 + SMALLEST_INPUT_BYTES + SMALLEST_OUTPUT_BYTES
_OUTPOINT_BYTES: Final = 36


class InvalidBlock(BitcoinFault):
    """Bytes that are not exactly one block, or transactions that the header does not commit to."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block's header and transactions, in order."""

    header: Header
    transactions: tuple[Transaction, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a transaction stands in a block, with what proves it (kernel.bitcoin.merkle)."""

    position: int
    branch: tuple[bytes, ...]
    coinbase: bytes
    coinbase_branch: tuple[bytes, ...]


def parse_block(raw: bytes) -> Block:
    """The block that `raw` is; raises `InvalidBlock` or another `BitcoinFault`."""
    if not HEADER_BYTES < len(raw) <= MAX_BLOCK_BYTES:
        raise InvalidBlock(f"{len(raw)} bytes are no block")
    header = parse_header(raw[:HEADER_BYTES])
    try:
        transactions = _read_transactions(raw)
    except (Truncated, NotShortest) as fault:
        raise InvalidBlock(f"not exactly one block: {fault}") from None
    if merkle_root([one.txid for one in transactions]) != header.merkle_root:
        raise InvalidBlock("the header commits to other transactions")
    if not transactions[0].is_coinbase:
        raise InvalidBlock("the first transaction is no coinbase")
    return Block(header, transactions)


def place(block: Block, position: int) -> Placement:
    """The proof that a transaction is at this position of the block."""
    txids = [one.txid for one in block.transactions]
    return Placement(
        position=position,
        branch=branch(txids, position),
        coinbase=stripped_bytes(block.transactions[0]),
        coinbase_branch=branch(txids, 0),
    )


def _read_transactions(raw: bytes) -> tuple[Transaction, ...]:
    reader = Reader(raw)
    reader.take(HEADER_BYTES)
    found = []
    for _number in range(reader.count(_SMALLEST_TRANSACTION_BYTES)):
        start = reader.position
        _skip_transaction(reader, raw)
        found.append(parse_transaction(raw[start : reader.position]))
    reader.expect_end()
    if not found:
        raise InvalidBlock("a block without transactions")
    return tuple(found)


def _skip_transaction(reader: Reader, raw: bytes) -> None:
    """Move behind a transaction; its content is checked by `parse_transaction`."""
    reader.take(4)
    has_witness = raw[reader.position : reader.position + 2] == b"\x00\x01"
    if has_witness:
        reader.take(2)
    inputs = reader.count(SMALLEST_INPUT_BYTES)
    for _input in range(inputs):
        reader.take(_OUTPOINT_BYTES)
        reader.chunk()
        reader.take(4)
    for _output in range(reader.count(SMALLEST_OUTPUT_BYTES)):
        reader.take(8)
        reader.chunk()
    for _stack in range(inputs if has_witness else 0):
        for _item in range(reader.count(1)):
            reader.chunk()
    reader.take(4)
