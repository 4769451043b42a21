"""The codec's own promises: documents and messages name the same fields in the same order."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from enum import Enum
from typing import Any

import pytest

from signer_node.kernel import documents
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.documents.envelope import PayloadType
from signer_node.kernel.documents.journal import RecordKind
from signer_node.kernel.documents.manifest import Decision, ManifestKind, RejectReason
from signer_node.kernel.vault.interface import VaultKindId
from signer_node.wire.codec import message_class
from signer_node.wire.v1 import genesis_pb2, journal_pb2, manifest_pb2, signed_pb2, vault_pb2


def _records() -> list[type[Any]]:
    found = []
    for module in pkgutil.iter_modules(documents.__path__):
        loaded = importlib.import_module(f"{documents.__name__}.{module.name}")
        for value in vars(loaded).values():
            if dataclasses.is_dataclass(value) and value.__module__ == loaded.__name__:
                found.append(value)
    return [one for one in found if isinstance(one, type) and _has_message(one.__name__)]


def _has_message(name: str) -> bool:
    try:
        message_class(name)
    except TypeError:
        return False
    return True


@pytest.mark.parametrize("record", _records(), ids=lambda one: one.__name__)
def test_a_document_has_the_fields_of_its_message_in_ascending_order(record: type[Any]) -> None:
    descriptor = message_class(record.__name__)().DESCRIPTOR
    numbered = sorted((field.number, field.name) for field in descriptor.fields)
    assert [name for _number, name in numbered] == [
        field.name for field in dataclasses.fields(record)
    ]
    assert [number for number, _name in numbered] == list(range(1, len(numbered) + 1))


@pytest.mark.parametrize(
    ("kind", "wire_enum", "prefix"),
    [
        (Network, genesis_pb2.Network, "NETWORK"),
        (VaultKindId, vault_pb2.VaultKind, "VAULT_KIND"),
        (PayloadType, signed_pb2.PayloadType, "PAYLOAD_TYPE"),
        (ManifestKind, manifest_pb2.ManifestKind, "MANIFEST_KIND"),
        (Decision, manifest_pb2.Decision, "DECISION"),
        (RejectReason, manifest_pb2.RejectReason, "REJECT_REASON"),
        (RecordKind, journal_pb2.RecordKind, "RECORD_KIND"),
    ],
)
def test_an_enum_has_the_numbers_of_the_wire(kind: type[Enum], wire_enum: Any, prefix: str) -> None:
    assert {f"{prefix}_{member.name}": member.value for member in kind} == dict(wire_enum.items())
