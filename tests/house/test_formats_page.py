"""docs/reference/formats.md suffices: the golden documents are encoded again from its tables alone.

The encoder below shares no code with ours. It knows the page's rules of canonical bytes, reads
fields, numbers and types from the page's tables, and no code of the product.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.house.formats_page import PAGE, record_types, tables_of
from tests.house.sources import ROOT

TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
GOLDEN = ROOT / "tests/vectors/custodyd"
DOCUMENTS = json.loads((GOLDEN / "documents.json").read_text())["documents"]
RECORDS = json.loads((GOLDEN / "journal.json").read_text())["records"]


def rows(table: str) -> Iterator[list[str]]:
    """The cells of a table's lines, without heading."""
    found = re.search(rf"<!-- table: {table} -->\n(.*?)<!-- end -->", TEXT, re.DOTALL)
    lines = found[1].splitlines()[2:] if found else []
    for line in lines:
        yield [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]


def field(number: int, wire_type: int, content: bytes) -> bytes:
    return varint(number << 3 | wire_type) + content


def varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes((low | 0x80,)) + varint(high) if high else bytes((low,))


def chunk(content: bytes) -> bytes:
    return varint(len(content)) + content


def integer(kind: str, value: Any) -> int | None:
    """The number of a value that is written as varint, None for others."""
    if kind in ("uint32", "uint64", "bool"):
        return int(value)
    return ENUMS.get((kind, str(value)))


def content(kind: str, value: Any) -> bytes:
    match kind:
        case "bytes":
            return bytes.fromhex(value)
        case "string":
            return str(value).encode()
    return encode(kind, value)


def single(number: int, kind: str, value: Any) -> bytes:
    plain = integer(kind, value)
    if plain is not None:
        return field(number, 0, varint(plain))
    return field(number, 2, chunk(content(kind, value)))


def encode(record: str, values: dict[str, Any]) -> bytes:
    written = b""
    for number, name, kind, _form in rows(f"fields {record}"):
        modifier, _space, bare = kind.rpartition(" ")
        value = values.pop(name, None)
        if modifier == "repeated" and bare in ("uint32", "uint64"):
            packed = b"".join(varint(one) for one in value)
            written += field(int(number), 2, chunk(packed)) if packed else b""
        elif modifier == "repeated":
            written += b"".join(single(int(number), bare, one) for one in value)
        elif value is not None or modifier != "optional":
            written += single(int(number), bare, value)
    assert not values, f"{record} has no field {list(values)}"
    return written


def tagged_hash(tag: str, data: bytes) -> bytes:
    name = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(name + name + data).digest()


ENUMS = {(enum, name): int(number) for enum, number, name in rows("enums")}
TAGS = {row[0]: row[1] for row in rows("documents")}


@pytest.mark.parametrize(
    "one", [*DOCUMENTS, *RECORDS], ids=lambda one: f"{one['document']}: {one['case']}"
)
def test_the_pages_tables_alone_give_the_golden_bytes(one: dict[str, Any]) -> None:
    body = encode(one["document"], json.loads(json.dumps(one["fields"])))
    assert body.hex() == one["body"]
    assert tagged_hash(TAGS[one["document"]], body).hex() == one["digest"]
    if given := one.get("signed"):
        key, signature = bytes.fromhex(given["key"]), bytes.fromhex(given["signature"])
        parts = (body, key, signature)
        wrapped = b"".join(field(n, 2, chunk(part)) for n, part in enumerate(parts, start=1))
        assert wrapped.hex() == given["bytes"]


def test_every_record_has_its_table_on_the_page_once() -> None:
    assert sorted(tables_of(TEXT)) == sorted(record_types())
