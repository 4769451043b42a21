"""The devnet's own money: a key whose coinbases pay whoever asks. Regtest only, worth nothing.

The key is a file of the data folder and is made at the first start. Payments are ordinary
transactions (P2TR by key path, BIP-340 and BIP-341) that go through the mempool like everybody's.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from coincurve import PrivateKey

from custodyd.devnet.bytesio import compact_size
from custodyd.devnet.script import dust_limit_sat
from custodyd.devnet.transactions import (
    Outpoint,
    Transaction,
    TxInput,
    TxOutput,
    build,
)

KEY_FILE = "faucet-key"
KEY_SIZE = 32
FAUCET_RATE_SAT_VB = 2
REPLACEABLE_SEQUENCE = 0xFFFFFFFD
MAX_FAUCET_INPUTS = 100
OVERHEAD_VB = 11
INPUT_VB = 58


class FaucetDry(Exception):
    """The faucet has not enough coins that can be spent now."""


@dataclass(frozen=True, slots=True)
class FaucetCoin:
    """A coin that the faucet may spend in the next block."""

    outpoint: Outpoint
    amount_sat: int


class Faucet:
    """Signs for one P2TR script, whose output key is the key itself."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.script = b"\x51\x20" + key.public_key_xonly.format()

    def __repr__(self) -> str:
        return f"Faucet({self.script.hex()})"

    @classmethod
    def open(cls, folder: Path) -> Faucet:
        """The key of this data folder, made when there is none."""
        path = folder / KEY_FILE
        if not path.exists():
            _write_key(path, secrets.token_bytes(KEY_SIZE))
        secret = path.read_bytes()
        if len(secret) != KEY_SIZE:
            raise ValueError(f"{path} does not hold {KEY_SIZE} bytes")
        return cls(PrivateKey(secret))

    def pay(self, coins: Iterable[FaucetCoin], payments: tuple[TxOutput, ...]) -> Transaction:
        """A signed transaction that makes these payments; FaucetDry when the coins do not reach."""
        wanted = sum(payment.amount_sat for payment in payments)
        change_script = TxOutput(0, self.script)
        size = OVERHEAD_VB + sum(len(_serialise_output(o)) for o in (*payments, change_script))
        chosen: list[FaucetCoin] = []
        total = 0
        for coin in coins:
            if len(chosen) == MAX_FAUCET_INPUTS:
                break
            chosen.append(coin)
            total += coin.amount_sat
            fee = (size + INPUT_VB * len(chosen)) * FAUCET_RATE_SAT_VB
            change = TxOutput(total - wanted - fee, self.script)
            if change.amount_sat >= dust_limit_sat(change):
                return self._sign(chosen, (*payments, change))
        raise FaucetDry(f"the faucet can spend {total} sat now; {wanted} sat and a fee are asked")

    def _sign(self, coins: list[FaucetCoin], outputs: tuple[TxOutput, ...]) -> Transaction:
        bare = tuple(TxInput(*coin.outpoint, b"", REPLACEABLE_SEQUENCE) for coin in coins)
        digests = _taproot_digests(bare, coins, outputs, self.script)
        signed = tuple(
            TxInput(item.txid, item.vout, b"", item.sequence, (self._key.sign_schnorr(digest),))
            for item, digest in zip(bare, digests, strict=True)
        )
        return build(2, signed, outputs, 0)


def _serialise_output(output: TxOutput) -> bytes:
    amount = output.amount_sat.to_bytes(8, "little")
    return amount + compact_size(len(output.script)) + output.script


def _tagged_hash(tag: bytes, data: bytes) -> bytes:
    """BIP-340's hash with domain separation."""
    prefix = hashlib.sha256(tag).digest()
    return hashlib.sha256(prefix + prefix + data).digest()


def _taproot_digests(
    inputs: tuple[TxInput, ...],
    coins: list[FaucetCoin],
    outputs: tuple[TxOutput, ...],
    script: bytes,
) -> list[bytes]:
    """BIP-341's digests of all inputs: key path, SIGHASH_DEFAULT, version 2, lock time 0."""
    spent_script = compact_size(len(script)) + script
    parts = (
        b"".join(item.txid + item.vout.to_bytes(4, "little") for item in inputs),
        b"".join(coin.amount_sat.to_bytes(8, "little") for coin in coins),
        spent_script * len(inputs),
        b"".join(item.sequence.to_bytes(4, "little") for item in inputs),
        b"".join(_serialise_output(output) for output in outputs),
    )
    epoch_and_type = bytes(2)
    shared = (2).to_bytes(4, "little") + bytes(4)
    shared += b"".join(hashlib.sha256(part).digest() for part in parts)
    return [
        _tagged_hash(
            b"TapSighash", epoch_and_type + shared + bytes(1) + index.to_bytes(4, "little")
        )
        for index in range(len(inputs))
    ]


def _write_key(path: Path, secret: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, secret)
        os.fsync(fd)
    finally:
        os.close(fd)
