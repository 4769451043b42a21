"""A file of payments: refused by line and reason, or all of it good."""

from __future__ import annotations

from pathlib import Path

import pytest

from custodyd.cli.payments_file import parse_payments, read_payments
from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel.bitcoin.address import address_from_script
from signer_node.kernel.bitcoin.network import Network

ADDRESS = address_from_script(b"\x00\x14" + bytes(range(20)), Network.REGTEST)
MAIN_ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"


def refusal(text: str) -> str:
    with pytest.raises(CustodydError) as refused:
        parse_payments(text.encode(), Network.REGTEST)
    assert refused.value.error is ErrorId.PAYMENTS_FILE_INVALID
    return refused.value.detail


def test_amounts_in_bitcoin_or_satoshi_are_exact() -> None:
    text = f"external_id,address,amount_btc,account\nw-1,{ADDRESS},0.1,acme\nw-2,{ADDRESS},1,\n"
    payments = parse_payments(text.encode(), Network.REGTEST)
    assert [(one.external_id, one.amount_sat, one.account) for one in payments] == [
        ("w-1", 10_000_000, "acme"),
        ("w-2", 100_000_000, ""),
    ]
    text = f"amount_sat,address,external_id\n12345,{ADDRESS},w-1\n"
    assert parse_payments(text.encode(), Network.REGTEST)[0].amount_sat == 12_345


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"w 1,{ADDRESS},1", "external_id"),
        (f",{ADDRESS},1", "external_id"),
        (f"{'w' * 65},{ADDRESS},1", "external_id"),
        (f"w-1,{ADDRESS}x,1", "address"),
        (f"w-1,{MAIN_ADDRESS},1", "address"),
        ("w-1,,1", "address"),
        (f"w-1,{ADDRESS},0", "pays nothing"),
        (f"w-1,{ADDRESS},-1", "amount"),
        (f"w-1,{ADDRESS},1e3", "amount"),
        (f"w-1,{ADDRESS},0.000000001", "amount"),
        (f"w-1,{ADDRESS},21000001", "outside"),
        (f"w-1,{ADDRESS},0.00000100", "dust"),
        (f"w-1,{ADDRESS}", "fields"),
        (f"w-1,{ADDRESS},1,x", "fields"),
    ],
)
def test_a_bad_line_is_named_with_its_reason(line: str, said: str) -> None:
    text = f"external_id,address,amount_btc\nw-0,{ADDRESS},1\n{line}\n"
    detail = refusal(text)
    assert detail.startswith("line 3:")
    assert said in detail


def test_every_bad_line_is_told_at_once() -> None:
    lines = [f"w-{at},{ADDRESS},0" for at in range(30)]
    detail = refusal("external_id,address,amount_btc\n" + "\n".join(lines))
    assert "line 2:" in detail
    assert "and 10 more" in detail


def test_an_id_that_stands_there_twice_is_refused() -> None:
    detail = refusal(f"external_id,address,amount_btc\nw-1,{ADDRESS},1\nw-1,{ADDRESS},2\n")
    assert detail == "line 3: external_id w-1 stands there before"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "external_id,address\n",
        "external_id,address,amount_btc,amount_sat\n",
        "external_id,address,amount_btc,colour\n",
        "external_id,external_id,address,amount_btc\n",
        "external_id,address,amount_btc\n",
        'external_id,address,amount_btc\n"w-1,x',
    ],
)
def test_a_file_of_another_form_is_refused(text: str) -> None:
    assert refusal(text)


def test_bytes_that_are_no_text_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CustodydError):
        parse_payments(b"\xff\xfe", Network.REGTEST)
    with pytest.raises(CustodydError):
        read_payments(tmp_path / "none.csv", Network.REGTEST)
