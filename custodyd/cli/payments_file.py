"""A file of payments: CSV with a header line, all good or nothing is submitted.

Columns: `external_id`, `address`, `account` (may be left out) and either `amount_btc` or
`amount_sat`. Each bad line is named with its reason.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from custodyd.client.requests import Payment
from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel.bitcoin.address import dust_threshold_sat, script_from_address
from signer_node.kernel.bitcoin.faults import BitcoinFault
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.documents.fields import MAX_TEXT
from signer_node.kernel.documents.text import check_text
from signer_node.kernel.errors import Refusal
from signer_node.kernel.units import InvalidAmount, check_payment, parse_bitcoin

MAX_FILE_BYTES: Final = 8 * 1024 * 1024
MAX_LINES: Final = 10_000
MAX_LINES_TOLD: Final = 20
MAX_ID: Final = 64
_AMOUNTS: Final = frozenset({"amount_btc", "amount_sat"})
_COLUMNS: Final = frozenset({"external_id", "address", "account"}) | _AMOUNTS


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be paid, and why."""

    line: int
    reason: str


def read_payments(path: Path, network: Network) -> tuple[Payment, ...]:
    """The file's payments; raises PAYMENTS_FILE_INVALID naming every bad line."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as fault:
        raise CustodydError(ErrorId.PAYMENTS_FILE_INVALID, f"{path}: {fault.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise CustodydError(ErrorId.PAYMENTS_FILE_INVALID, f"longer than {MAX_FILE_BYTES} bytes")
    return parse_payments(raw, network)


def parse_payments(raw: bytes, network: Network) -> tuple[Payment, ...]:
    """As `read_payments`, from bytes."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise CustodydError(ErrorId.PAYMENTS_FILE_INVALID, f"not UTF-8: {fault}") from None
    payments: list[Payment] = []
    bad: list[BadLine] = []
    seen: set[str] = set()
    for line, found in _lines(text, network):
        if isinstance(found, str):
            bad.append(BadLine(line, found))
        elif found.external_id in seen:
            bad.append(BadLine(line, f"external_id {found.external_id} stands there before"))
        else:
            seen.add(found.external_id)
            payments.append(found)
    if bad:
        raise CustodydError(ErrorId.PAYMENTS_FILE_INVALID, _told(bad))
    if not payments:
        raise CustodydError(ErrorId.PAYMENTS_FILE_INVALID, "no payments")
    return tuple(payments)


def _lines(text: str, network: Network) -> Iterator[tuple[int, Payment | str]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        heads = list(reader.fieldnames or ())
        _check_heads(heads)
        for number, row in enumerate(reader, 1):
            if number > MAX_LINES:
                yield reader.line_num, f"more than {MAX_LINES} payments"
                return
            yield reader.line_num, _payment(row, network)
    except csv.Error as fault:
        yield reader.line_num, f"not CSV: {fault}"


def _check_heads(heads: list[str]) -> None:
    amounts = _AMOUNTS & set(heads)
    unknown = set(heads) - _COLUMNS
    if len(amounts) != 1 or not {"external_id", "address"} <= set(heads) or unknown:
        raise CustodydError(
            ErrorId.PAYMENTS_FILE_INVALID,
            "line 1: wanted are external_id,address,amount_btc (or amount_sat),account",
        )
    if len(set(heads)) != len(heads):
        raise CustodydError(ErrorId.PAYMENTS_FILE_INVALID, "line 1: a column stands there twice")


def _payment(row: dict[str, str | None], network: Network) -> Payment | str:
    """The payment of a line, or the reason why it is none."""
    if None in row or None in row.values():
        return "not as many fields as the first line names"
    fields = {name: (value or "").strip() for name, value in row.items()}
    try:
        return _checked(fields, network)
    except (BitcoinFault, InvalidAmount, Refusal) as fault:
        return str(fault)


def _checked(fields: dict[str, str], network: Network) -> Payment | str:
    external_id, account = fields["external_id"], fields.get("account", "")
    if not 1 <= len(external_id) <= MAX_ID or not all("!" <= one <= "~" for one in external_id):
        return f"external_id is 1 to {MAX_ID} printable ASCII characters without blanks"
    if len(account) > MAX_TEXT:
        return f"account is longer than {MAX_TEXT} characters"
    check_text(account, "account")
    try:
        script = script_from_address(fields["address"], network)
    except BitcoinFault as fault:
        return f"no address of {network.parameters.name}: {fault}"
    amount_sat = _amount_sat(fields)
    check_payment(amount_sat)
    least_sat = dust_threshold_sat(script)
    if amount_sat < least_sat:
        return f"{amount_sat} sat is dust there: at least {least_sat} sat"
    return Payment(external_id, fields["address"], amount_sat, account)


def _amount_sat(fields: dict[str, str]) -> int:
    if "amount_btc" in fields:
        return parse_bitcoin(fields["amount_btc"])
    text = fields["amount_sat"]
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise InvalidAmount(f"{text!r} is no number of satoshi")
    return int(text)


def _told(bad: list[BadLine]) -> str:
    told = "; ".join(f"line {one.line}: {one.reason}" for one in bad[:MAX_LINES_TOLD])
    rest = len(bad) - MAX_LINES_TOLD
    return told if rest <= 0 else f"{told}; and {rest} more"
