"""A regtest chain of real blocks, mined here, of which nodes see headers and Merkle branches."""

from __future__ import annotations

from dataclasses import dataclass, field

from signer_node.kernel.bitcoin import merkle
from signer_node.kernel.bitcoin.headers import Header, parse_header, target_from_bits
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.transaction import (
    Outpoint,
    Transaction,
    TxIn,
    TxOut,
    build_transaction,
    stripped_bytes,
)
from signer_node.kernel.documents.manifest import Inclusion, InputEvidence

BITS = 0x207FFFFF
BLOCK_INTERVAL_S = 600
SUBSIDY_SAT = 50 * 100_000_000
ANYONE = b"\x51\x20" + bytes.fromhex(
    "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
)


@dataclass(frozen=True, slots=True)
class Block:
    header: Header
    transactions: tuple[Transaction, ...]

    @property
    def txids(self) -> list[bytes]:
        return [transaction.txid for transaction in self.transactions]

    def inclusion(self, txid: bytes) -> Inclusion:
        position = self.txids.index(txid)
        return Inclusion(
            block_hash=self.header.hash,
            position=position,
            branch=merkle.branch(self.txids, position),
            coinbase=self.transactions[0].raw,
            coinbase_branch=merkle.branch(self.txids, 0),
        )


@dataclass(slots=True)
class Chain:
    """The best chain by the world's word; `blocks[0]` is regtest's genesis block."""

    blocks: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        header = parse_header(Network.REGTEST.parameters.genesis_header)
        self.blocks.append(Block(header, ()))

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def mine(self, *transactions: Transaction) -> Block:
        previous = self.blocks[-1].header
        everything = (coinbase(self.height + 1), *transactions)
        root = merkle.merkle_root([transaction.txid for transaction in everything])
        header = solve(previous.hash, root, previous.time_s + BLOCK_INTERVAL_S)
        block = Block(header, everything)
        self.blocks.append(block)
        return block

    def fork(self, depth: int) -> Chain:
        """This chain without its last blocks; what is mined on it makes other blocks."""
        other = Chain(blocks=[])
        other.blocks = self.blocks[: len(self.blocks) - depth]
        return other

    def headers(self, above: int) -> tuple[bytes, ...]:
        return tuple(block.header.raw for block in self.blocks[above + 1 :])

    def block_of(self, txid: bytes) -> Block:
        return next(block for block in self.blocks if txid in block.txids)

    def evidence(self, outpoint: Outpoint, chain: int, index: int) -> InputEvidence:
        block = self.block_of(outpoint.txid)
        transaction = block.transactions[block.txids.index(outpoint.txid)]
        return InputEvidence(
            stripped_bytes(transaction), chain, index, block.inclusion(outpoint.txid)
        )


def coinbase(height: int) -> Transaction:
    """A coinbase with the height in its script, so that no two are alike."""
    script = b"\x03" + height.to_bytes(3, "little") + b"world"
    nowhere = TxIn(Outpoint(bytes(32), 0xFFFFFFFF), script, 0xFFFFFFFF)
    return build_transaction([nowhere], [TxOut(SUBSIDY_SAT, ANYONE)], 0)


def solve(previous: bytes, root: bytes, time_s: int) -> Header:
    for nonce in range(1 << 16):
        raw = (
            (0x20000000).to_bytes(4, "little")
            + previous
            + root
            + time_s.to_bytes(4, "little")
            + BITS.to_bytes(4, "little")
            + nonce.to_bytes(4, "little")
        )
        header = parse_header(raw)
        if int.from_bytes(header.hash, "little") <= target_from_bits(BITS):
            return header
    raise AssertionError("no nonce solves the block")
