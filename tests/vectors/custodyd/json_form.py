"""Documents as JSON: how the golden files write fields down.

Bytes are lower-case hex, enums the names of the .proto file, integers numbers up to 2^53-1 and
decimal strings above (JSON readers lose digits there), an absent message is left out.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from signer_node.wire.codec import message_class

T = TypeVar("T")
MAX_NUMBER = 2**53 - 1


def to_json(document: Any) -> dict[str, Any]:
    """The fields of a document, in the order of its message."""
    descriptor = _descriptor(type(document))
    return {
        field.name: _value_to_json(getattr(document, field.name), descriptor, field.name)
        for field in fields(document)
        if getattr(document, field.name) is not None
    }


def from_json(kind: type[T], values: dict[str, Any]) -> T:
    """The document of these fields."""
    hints = get_type_hints(kind, include_extras=True)
    descriptor = _descriptor(kind)
    parts = {
        name: _value_from_json(_bare(hint), values.get(name), descriptor, name)
        for name, hint in hints.items()
        if name != "NAME"
    }
    return kind(**parts)


def _descriptor(kind: type[Any]) -> Any:
    return message_class(kind.__name__).DESCRIPTOR  # type: ignore[attr-defined]


def _enum(descriptor: Any, name: str) -> Any:
    return descriptor.fields_by_name[name].enum_type


def _value_to_json(value: Any, descriptor: Any, name: str) -> Any:
    if isinstance(value, tuple):
        return [_value_to_json(one, descriptor, name) for one in value]
    if is_dataclass(value):
        return to_json(value)
    if isinstance(value, Enum):
        return _enum(descriptor, name).values_by_number[value.value].name
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int) and value > MAX_NUMBER:
        return str(value)
    return value


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _value_from_json(hint: Any, value: Any, descriptor: Any, name: str) -> Any:
    if NoneType in get_args(hint):
        if value is None:
            return None
        hint = next(arm for arm in get_args(hint) if arm is not NoneType)
    if get_origin(hint) is tuple:
        element = _bare(get_args(hint)[0])
        return tuple(_value_from_json(element, one, descriptor, name) for one in value)
    if is_dataclass(hint):
        return from_json(hint, value)  # type: ignore[arg-type]
    if issubclass(hint, Enum):
        return hint(_enum(descriptor, name).values_by_name[value].number)
    if hint is bytes:
        return bytes.fromhex(value)
    return hint(value)
