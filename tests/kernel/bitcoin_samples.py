"""Vectors and sample data that the Bitcoin and vault tests share."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.psbt import NewOutput, Psbt, SpentCoin, build_psbt
from signer_node.kernel.bitcoin.transaction import Outpoint, TxOut
from signer_node.kernel.vault.interface import (
    Cosigner,
    SessionInput,
    VaultDescription,
    VaultKeys,
    VaultKind,
    VaultKindId,
)
from signer_node.kernel.vault.registry import describe_vault
from signer_node.kernel.vault.signer_registry import new_cosigner

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
SEQUENCE = 0xFFFFFFFD
NODES = ("s1", "s2", "s3")
SEEDS = {node: hashlib.sha256(node.encode()).digest() for node in NODES}
KIND = VaultKindId.WSH_SORTEDMULTI


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def outpoint(number: int) -> Outpoint:
    return Outpoint(hashlib.sha256(b"coin %d" % number).digest(), number % 7)


def p2wpkh(number: int) -> bytes:
    return b"\x00\x14" + number.to_bytes(20, "big")


def cosigners(network: Network = Network.REGTEST) -> tuple[Cosigner, ...]:
    return tuple(new_cosigner(KIND, SEEDS[node], node, network) for node in NODES)


def vault_description(threshold: int = 2, network: Network = Network.REGTEST) -> VaultDescription:
    return describe_vault(VaultKeys(KIND, threshold, network, cosigners(network)))


def coins(vault: VaultKind, count: int) -> list[SessionInput]:
    return [SessionInput(number % 2, number, 100_000 + number) for number in range(count)]


def payout(vault: VaultKind, spent: list[SessionInput], payments: int, locktime: int = 0) -> Psbt:
    """A PSBT that spends the coins, pays and returns change."""
    inputs = [
        SpentCoin(
            outpoint(at),
            SEQUENCE,
            vault.psbt_input_fields(
                coin.chain, coin.index, TxOut(coin.value_sat, vault.script(coin.chain, coin.index))
            ),
        )
        for at, coin in enumerate(spent)
    ]
    outputs = [NewOutput(TxOut(1_000 + number, p2wpkh(number))) for number in range(payments)]
    change = NewOutput(TxOut(5_000, vault.script(1, 77)), vault.psbt_output_fields(1, 77))
    return build_psbt(inputs, [*outputs, change], locktime)
