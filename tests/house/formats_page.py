"""The tables of docs/reference/formats.md, written from the documents' types and the .proto files.

The prose of the page is written by hand; between `<!-- table: ... -->` and `<!-- end -->` stands
what the code says. Field numbers and wire types come from the messages, forms from the kernel's
annotations, who sends what from ENTITLED.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from signer_node.kernel.documents import (
    envelope,
    genesis,
    journal,
    manifest,
    request,
    signing,
    vault,
)
from signer_node.kernel.documents import (
    fields as forms,
)
from signer_node.kernel.documents.envelope import ENTITLED, PayloadType, Sender
from signer_node.kernel.documents.fields import Count, Range, Size, Text
from signer_node.kernel.documents.journal import RecordKind
from signer_node.wire.codec import message_class
from tests.house.sources import ROOT

PAGE: Final = "docs/reference/formats.md"
MARK: Final = re.compile(r"<!-- table: (\w+)(?: (\w+))? -->\n.*?<!-- end -->", re.DOTALL)
MODULES: Final = (genesis, vault, request, manifest, signing, envelope, journal)
_FORMS: Final = {
    name: value for name, value in vars(forms).items() if get_origin(value) is Annotated
}
_SCALARS: Final = {4: "uint64", 8: "bool", 9: "string", 12: "bytes", 13: "uint32"}

PAYLOADS: Final[dict[PayloadType, str]] = {
    PayloadType.GENESIS: "Genesis",
    PayloadType.HEADERS: "Headers",
    PayloadType.VAULT_PROPOSAL: "VaultProposal",
    PayloadType.COSIGNER_KEY: "Signed CosignerKey",
    PayloadType.KEYGEN_STEP1: "KeygenMessage",
    PayloadType.KEYGEN_BROADCAST1: "KeygenMessage",
    PayloadType.KEYGEN_STEP2: "KeygenMessage",
    PayloadType.KEYGEN_BROADCAST2: "KeygenMessage",
    PayloadType.RECOVERY_ACKNOWLEDGEMENT: "RecoveryAcknowledgement",
    PayloadType.CERTIFICATE_DRAFT: "VaultCertificate",
    PayloadType.CERTIFICATE_SIGNATURE: "CertificateSignature",
    PayloadType.CERTIFICATE: "Countersigned VaultCertificate",
    PayloadType.MANIFEST_PROPOSAL: "ManifestProposal",
    PayloadType.VERDICT: "Verdict",
    PayloadType.APPROVAL: "Signed Approval",
    PayloadType.ROUND_OPENING: "RoundOpening",
    PayloadType.COMMITMENT_SET: "CommitmentSet",
    PayloadType.SIGNING_PACKAGE: "SigningPackage",
    PayloadType.SHARE_SET: "ShareSet",
    PayloadType.HEARTBEAT: "Heartbeat",
}
SIGNERS: Final = {
    "CosignerKey": "the node's identity key",
    "VaultCertificate": "the identity keys of all signers (Countersigned)",
    "Request": "a request key",
    "PayerConfirmation": "a request key",
    "Approval": "an operator's key",
    "Envelope": "the sender's key",
    "JournalRecord": "the node's identity key",
}
RECORDS: Final = {
    RecordKind.BOOT: "16 bytes, the boot id",
    RecordKind.GENESIS_CONFIRMED: "Genesis",
    RecordKind.HEADERS: "Headers",
    RecordKind.COSIGNER_KEY: "Signed CosignerKey",
    RecordKind.KEYGEN_PROPOSED: "VaultProposal",
    RecordKind.KEYGEN_CONFIRMED: "VaultProposal",
    RecordKind.KEYGEN_STARTED: "VaultProposal",
    RecordKind.KEYGEN_FINISHED: "KeygenOutcome",
    RecordKind.SHARE_RECOVERED: "KeygenOutcome, from host key and recovery data",
    RecordKind.CERTIFICATE_SIGNED: "VaultCertificate, signed here, not yet by all",
    RecordKind.VAULT_CERTIFIED: "Countersigned VaultCertificate",
    RecordKind.MANIFEST_CHECKED: "ManifestProposal",
    RecordKind.REFUSED: "Refused",
    RecordKind.DECISION: "Signed Approval",
    RecordKind.COMMITTED: "CommitmentSet",
    RecordKind.RELEASED: "Release",
}


def formats_page() -> str:
    """The page with its tables as the code says; raises KeyError for a table that is none."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    return MARK.sub(lambda mark: _block(mark[1], mark[2]), text)


def record_types() -> dict[str, type[Any]]:
    """Every document and every record inside one, by name."""
    return {
        kind.__name__: kind
        for module in MODULES
        for kind in vars(module).values()
        if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.__name__
        if kind.__name__ != "QuorumFigures"
    }


def tables_of(text: str) -> list[str]:
    """The records whose fields a page shows."""
    return [mark[2] for mark in MARK.finditer(text) if mark[1] == "fields"]


def _block(what: str, of: str | None) -> str:
    head = f"<!-- table: {what}{'' if of is None else ' ' + of} -->"
    lines = list(_fields_table(of) if of is not None else TABLES[what]())
    return "\n".join([head, *lines, "<!-- end -->"])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, ("---",) * len(head), *rows):
        yield "| " + " | ".join(row) + " |"


def _forms_table() -> Iterator[str]:
    return _table(("form", "type", "is"), (_form_row(name) for name in _FORMS))


def _form_row(name: str) -> tuple[str, ...]:
    bare, rule = get_args(_FORMS[name])[:2]
    kind = {bytes: "bytes", str: "string", int: "integer"}[bare]
    return f"`{name}`", kind, _rule(rule)


def _documents_table() -> Iterator[str]:
    carried: dict[str, str] = {}
    for kind, payload in PAYLOADS.items():
        carried.setdefault(payload.split()[-1], f"`{kind.name}`")
    rows = (
        (name, f"`custodyd/{kind.NAME}/v1`", SIGNERS.get(name, "nobody"), carried.get(name, ""))
        for name, kind in record_types().items()
        if hasattr(kind, "NAME")
    )
    return _table(("document", "tag", "signed by", "first carried by"), rows)


def _enums_table() -> Iterator[str]:
    found: dict[str, Any] = {}
    for name in record_types():
        for field in _descriptor(name).fields:
            if field.enum_type is not None:
                found[field.enum_type.name] = field.enum_type
    rows = (
        (name, str(value.number), f"`{value.name}`")
        for name, enum in found.items()
        for value in enum.values
        if value.number
    )
    return _table(("enum", "number", "name"), rows)


def _senders_table() -> Iterator[str]:
    rows = (
        (
            str(kind.value),
            f"`{kind.name}`",
            payload,
            ", ".join(role.name.lower() for role in Sender if kind in ENTITLED.get(role, ())),
        )
        for kind, payload in PAYLOADS.items()
    )
    return _table(("no.", "type", "payload", "sent by"), rows)


def _records_table() -> Iterator[str]:
    rows = ((str(kind.value), f"`{kind.name}`", body) for kind, body in RECORDS.items())
    return _table(("no.", "kind", "body"), rows)


TABLES: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "forms": _forms_table,
    "documents": _documents_table,
    "enums": _enums_table,
    "senders": _senders_table,
    "records": _records_table,
}


def _fields_table(name: str) -> Iterator[str]:
    kind = record_types()[name]
    hints = get_type_hints(kind, include_extras=True)
    numbers = _descriptor(name).fields_by_name
    rows = (
        (
            str(numbers[field.name].number),
            f"`{field.name}`",
            _wire_type(numbers[field.name], hints[field.name]),
            _form(str(field.type), hints[field.name]),
        )
        for field in fields(kind)
    )
    return _table(("no.", "field", "type", "form"), rows)


def _descriptor(name: str) -> Any:
    return message_class(name).DESCRIPTOR  # type: ignore[attr-defined]


def _wire_type(field: Any, hint: Any) -> str:
    kind = field.message_type or field.enum_type
    name = kind.name if kind is not None else _SCALARS[field.type]
    if field.is_repeated:
        return f"repeated {name}"
    return f"optional {name}" if NoneType in get_args(hint) else str(name)


def _form(written: str, hint: Any) -> str:
    if written in _FORMS:
        return f"`{written}`"
    bare, rule = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)
    parts = [] if rule is None else [_rule(rule)]
    if get_origin(bare) is tuple:
        parts.append(_element(written, get_args(bare)[0]))
    return ", ".join(part for part in parts if part)


def _element(written: str, hint: Any) -> str:
    for name, form in _FORMS.items():
        if f"tuple[{name}, ...]" in written or (hint == form and name in ("Digest", "Uint32")):
            return f"each `{name}`"
    if get_origin(hint) is Annotated:
        return f"each {_rule(get_args(hint)[1])}"
    return ""


def _rule(rule: Any) -> str:
    match rule:
        case Size(least, most):
            return f"{_span(least, most)} bytes"
        case Count(least, most):
            return f"{_span(least, most)} elements"
        case Range(least, most):
            return _span(least, most)
        case Text(least, most, pattern):
            matching = "" if pattern is None else f", all of `{pattern}`".replace("|", r"\|")
            return f"{_span(least, most)} characters{matching}"
    raise TypeError(f"unknown rule {rule}")


def _span(least: int, most: int) -> str:
    return _number(least) if least == most else f"{_number(least)} to {_number(most)}"


def _number(value: int) -> str:
    for bits in (31, 32, 40, 64):
        if value in (2**bits, 2**bits - 1):
            return f"2^{bits}" if value == 2**bits else f"2^{bits}-1"
    return f"{value:,}"
