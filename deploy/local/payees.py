"""A day's withdrawals: addresses of the five kinds, amounts, and the CSV that asks for them."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from signer_node.kernel.bitcoin.address import address_from_script
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.curve import point_from_secret
from signer_node.kernel.units import format_bitcoin

KINDS: Final = ("P2PKH", "P2SH", "P2WPKH", "P2WSH", "P2TR")
LEAST_SAT: Final = 20_000
SPREAD_SAT: Final = 30_000_000


@dataclass(frozen=True, slots=True)
class Payee:
    """A line of the CSV; `kind` is the address's."""

    external_id: str
    address: str
    amount_sat: int
    account: str
    kind: str


def payees(count: int, prefix: str = "wd") -> list[Payee]:
    """As many payees as asked, kinds in turn; the same ones each time."""
    return [_payee(number, prefix) for number in range(1, count + 1)]


def write_csv(path: Path, wanted: list[Payee]) -> None:
    """The file that `custodyd withdraw --csv` takes."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("external_id", "address", "amount_btc", "account"))
        for one in wanted:
            amount = format_bitcoin(one.amount_sat)
            writer.writerow((one.external_id, one.address, amount, one.account))


def _payee(number: int, prefix: str) -> Payee:
    seed = hashlib.sha256(f"payee {prefix} {number}".encode()).digest()
    kind = KINDS[number % len(KINDS)]
    amount_sat = LEAST_SAT + int.from_bytes(seed[:4], "big") % SPREAD_SAT
    address = address_from_script(_script(kind, seed), Network.REGTEST)
    return Payee(f"{prefix}-{number:04}", address, amount_sat, f"acct-{number % 7}", kind)


def _script(kind: str, seed: bytes) -> bytes:
    """A scriptPubKey of the kind; nobody needs to spend from it."""
    short, long = seed[:20], seed
    match kind:
        case "P2PKH":
            return b"\x76\xa9\x14" + short + b"\x88\xac"
        case "P2SH":
            return b"\xa9\x14" + short + b"\x87"
        case "P2WPKH":
            return b"\x00\x14" + short
        case "P2WSH":
            return b"\x00\x20" + long
        case _:
            return b"\x51\x20" + point_from_secret(seed)[1:]
