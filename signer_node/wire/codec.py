"""The codec: canonical protobuf bytes to kernel documents and back.

Canonical means: every scalar present, fields ascending, no unknown fields, shortest encodings.
Checked by parsing, discarding unknown fields, serialising deterministically and comparing with
what was received; then every field against the form that its annotation states. Whatever is not
exactly canonical is refused, so that equal documents have equal bytes and one digest.

A kernel dataclass and its protobuf message have the same name and the same field names; a test
holds that. The plan of a class (how each field converts) is made once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from google.protobuf.message import DecodeError, Message

from signer_node.kernel.documents.fields import MAX_ENVELOPE, Count, Range, Size, Text
from signer_node.kernel.documents.signed import Body, Document, Received, document_digest
from signer_node.kernel.documents.text import check_text
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.wire.v1 import (
    chain_pb2,
    genesis_pb2,
    journal_pb2,
    manifest_pb2,
    request_pb2,
    signed_pb2,
    signing_pb2,
    vault_pb2,
)

_MODULES: Final = (
    chain_pb2,
    genesis_pb2,
    journal_pb2,
    manifest_pb2,
    request_pb2,
    signed_pb2,
    signing_pb2,
    vault_pb2,
)

T = TypeVar("T")
DocumentT = TypeVar("DocumentT", bound=Document)


def encode(document: object) -> bytes:
    """Canonical bytes of a document; raises Refusal when a field breaks its form."""
    return _write(_plan(type(document)), document).SerializeToString(deterministic=True)


def decode(kind: type[T], raw: bytes) -> T:
    """The document of these bytes; raises Refusal unless they are canonical and in form."""
    if len(raw) > MAX_ENVELOPE:
        raise Refusal(ErrorId.BYTES_TOO_LONG, f"{kind.__name__} of {len(raw)} bytes")
    plan = _plan(kind)
    message = plan.message()
    parse_canonical(message, raw)
    document: T = _read(plan, message)
    return document


def decode_body(kind: type[DocumentT], raw: bytes) -> Body[DocumentT]:
    """The document of these bytes with its digest."""
    return Body(decode(kind, raw), document_digest(kind, raw), raw)


def open_signed(kind: type[DocumentT], raw: bytes) -> Received[DocumentT]:
    """The document inside Signed bytes; nothing is verified yet."""
    if len(raw) > MAX_ENVELOPE:
        raise Refusal(ErrorId.BYTES_TOO_LONG, f"signed {kind.__name__} of {len(raw)} bytes")
    signed = signed_pb2.Signed()
    parse_canonical(signed, raw)
    if len(signed.key_id) != 32 or len(signed.signature) != 64 or not signed.HasField("body"):
        raise Refusal(ErrorId.FIELD_INVALID, "Signed needs body, key_id of 32, signature of 64")
    body = signed.body
    return Received(
        decode(kind, body), document_digest(kind, body), signed.key_id, signed.signature, raw
    )


def parse_canonical(message: Message, raw: bytes) -> None:
    """Parse in place; raise Refusal(BYTES_NOT_CANONICAL) unless the bytes are the only ones."""
    name = type(message).__name__
    try:
        message.ParseFromString(raw)
        message.DiscardUnknownFields()  # type: ignore[no-untyped-call,unused-ignore]
        again = message.SerializeToString(deterministic=True)
    except (DecodeError, ValueError, RuntimeError) as bad:
        raise Refusal(ErrorId.BYTES_NOT_CANONICAL, f"{name} does not parse") from bad
    if again != raw:
        raise Refusal(ErrorId.BYTES_NOT_CANONICAL, f"{name} is not in canonical form")


# A conversion of one value, which raises Refusal naming the field when the value is out of form.
_Convert = Callable[[Any, str], Any]


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    label: str
    read: _Convert
    write: _Convert
    repeated: bool
    nested: bool
    optional: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    kind: Any
    message: Callable[[], Message]
    fields: tuple[_Field, ...]


_PLANS: Final[dict[Any, _Plan]] = {}


def _plan(kind: Any) -> _Plan:
    plan = _PLANS.get(kind)
    if plan is None:
        plan = _PLANS[kind] = _make_plan(kind)
    return plan


def _make_plan(kind: Any) -> _Plan:
    hints = get_type_hints(kind, include_extras=True)
    return _Plan(
        kind,
        message_class(kind.__name__),
        tuple(_field(kind.__name__, field.name, hints[field.name]) for field in fields(kind)),
    )


def message_class(name: str) -> Callable[[], Message]:
    """The protobuf message of a document's name."""
    for module in _MODULES:
        if hasattr(module, name):
            found: Callable[[], Message] = getattr(module, name)
            return found
    raise TypeError(f"no message called {name}")


def _field(kind: str, name: str, hint: Any) -> _Field:
    hint, rule = _split(hint)
    optional = get_origin(hint) in (Union, UnionType)
    if optional:
        hint = next(arm for arm in get_args(hint) if arm is not NoneType)
    repeated = get_origin(hint) is tuple
    count = _checker(rule) if repeated else _same
    if repeated:
        hint, rule = _split(get_args(hint)[0])
    read, write = _converters(hint, _checker(rule))
    return _Field(
        name=name,
        label=f"{kind}.{name}",
        read=_each(read, count) if repeated else read,
        write=_each(write, count) if repeated else write,
        repeated=repeated,
        nested=is_dataclass(hint),
        optional=optional,
    )


def _split(hint: Any) -> tuple[Any, Any]:
    """An annotation's bare type and the rule that it states, if any."""
    if get_origin(hint) is not Annotated:
        return hint, None
    bare, rule = get_args(hint)[:2]
    return bare, rule


def _same(value: Any, _label: str) -> Any:
    return value


def _each(convert: _Convert, count: _Convert) -> _Convert:
    """The conversion of a sequence whose length `count` checks."""
    return lambda values, label: tuple([convert(one, label) for one in count(values, label)])


def _checker(rule: Any) -> _Convert:
    """The check that a rule states; it gives back the value."""
    match rule:
        case None:
            return _same
        case Size(least, most) | Count(least, most):
            return _length_check(least, most)
        case Range(least, most):
            return _range_check(least, most)
        case Text():
            return _text_check(rule)
    raise TypeError(f"unknown rule {rule}")


def _length_check(least: int, most: int) -> _Convert:
    def check(value: Any, label: str) -> Any:
        if not least <= len(value) <= most:
            raise _outside(len(value), least, most, f"length of {label}")
        return value

    return check


def _range_check(least: int, most: int) -> _Convert:
    def check(value: int, label: str) -> int:
        if not least <= value <= most:
            raise _outside(value, least, most, label)
        return value

    return check


def _outside(value: int, least: int, most: int, label: str) -> Refusal:
    wanted = f"{least}" if least == most else f"{least} to {most}"
    return Refusal(ErrorId.FIELD_INVALID, f"{label} is {value}, not {wanted}")


def _text_check(rule: Text) -> _Convert:
    """Length, forbidden characters, pattern. Every pattern allows printable ASCII alone."""
    pattern = None if rule.pattern is None else re.compile(rule.pattern)

    def check(value: str, label: str) -> str:
        if not rule.least <= len(value) <= rule.most:
            raise _outside(len(value), rule.least, rule.most, f"length of {label}")
        if pattern is None or not pattern.fullmatch(value):
            check_text(value, label)
            if pattern is not None:
                raise Refusal(ErrorId.FIELD_INVALID, f"{label} does not match {rule.pattern}")
        return value

    return check


def _converters(hint: Any, check: _Convert) -> tuple[_Convert, _Convert]:
    if is_dataclass(hint):
        plan = _plan(hint)
        return lambda value, _label: _read(plan, value), lambda value, _label: _write(plan, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum_reader(hint), lambda value, _label: value.value
    return check, check


def _enum_reader(kind: type[Enum]) -> _Convert:
    known = {member.value: member for member in kind if member.value != 0}

    def read(value: int, label: str) -> Enum:
        if value not in known:
            raise Refusal(ErrorId.ENUM_UNKNOWN, f"{label} is {value}")
        return known[value]

    return read


def _read(plan: _Plan, message: Any) -> Any:
    present = message.ListFields()
    if len(present) == len(plan.fields):
        # Everything is there, in the order of field numbers, which is the dataclass's order.
        return plan.kind(
            *[
                field.read(value, field.label)
                for field, (_descriptor, value) in zip(plan.fields, present, strict=True)
            ]
        )
    return plan.kind(*[_read_field(field, message) for field in plan.fields])


def _read_field(field: _Field, message: Any) -> Any:
    if not field.repeated and not message.HasField(field.name):
        if field.optional:
            return None
        raise Refusal(ErrorId.FIELD_MISSING, field.label)
    return field.read(getattr(message, field.name), field.label)


def _write(plan: _Plan, document: Any) -> Message:
    message = plan.message()
    for field in plan.fields:
        _write_field(field, message, getattr(document, field.name))
    return message


def _write_field(field: _Field, message: Any, value: Any) -> None:
    if value is None and field.optional:
        return
    converted = field.write(value, field.label)
    if field.repeated:
        getattr(message, field.name).extend(converted)
    elif field.nested:
        getattr(message, field.name).CopyFrom(converted)
        getattr(message, field.name).SetInParent()
    else:
        setattr(message, field.name, converted)
