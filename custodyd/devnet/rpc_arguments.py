"""Parameters of an RPC call: by position or by name, checked against what the method declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias

from custodyd.devnet.node import Node
from custodyd.devnet.policy import MAX_MONEY_SAT
from custodyd.devnet.rpc_faults import RpcCode, RpcFault, invalid

Json: TypeAlias = Any  # what json.loads gives: the checks below narrow it
SAT_PER_BTC = 100_000_000
HASH_HEX = 64


class Kind(Enum):
    """JSON types as Bitcoin Core names them in its type errors."""

    UNKNOWN = "unknown"
    TEXT = "string"
    NUMBER = "number"
    FLAG = "bool"
    LIST = "array"
    FLAG_OR_NUMBER = "number or bool"
    AMOUNT = "number or string"


REQUIRED = object()


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter; `default` is REQUIRED or what stands for a missing or null value."""

    name: str
    kind: Kind
    default: object = REQUIRED


@dataclass(frozen=True, slots=True)
class Method:
    """An RPC method: its name, parameters in order, and what it does under the node's lock."""

    name: str
    params: tuple[Param, ...]
    run: Callable[[Node, Arguments], Json]
    about: str = ""

    @property
    def usage(self) -> str:
        shown = (p.name if p.default is REQUIRED else f"( {p.name} )" for p in self.params)
        return " ".join((self.name, *shown))


def _json_type(value: Json) -> str:
    if value is None:
        return "null"
    by_type = {bool: "bool", int: "number", Decimal: "number", str: "string", list: "array"}
    return by_type.get(type(value), "object")


def _fits(value: Json, kind: Kind) -> bool:
    accepted: dict[Kind, tuple[type, ...]] = {
        Kind.TEXT: (str,),
        Kind.NUMBER: (int, Decimal),
        Kind.FLAG: (bool,),
        Kind.LIST: (list,),
        Kind.FLAG_OR_NUMBER: (bool, int),
        Kind.AMOUNT: (int, Decimal, str),
    }
    return type(value) in accepted[kind]


class Arguments:
    """The values of one call; every getter checks and raises RpcFault."""

    def __init__(self, values: Mapping[str, Json]) -> None:
        self._values = values

    @classmethod
    def bind(cls, method: Method, given: Json) -> Arguments:
        """Match a params array or object to the declaration."""
        values = _by_name(method, given) if isinstance(given, dict) else _in_order(method, given)
        bound: dict[str, Json] = {}
        for position, param in enumerate(method.params, start=1):
            value = values.get(param.name)
            if value is None:
                if param.default is REQUIRED:
                    raise RpcFault(RpcCode.MISC_ERROR, method.usage)
                value = param.default
            elif not _fits(value, param.kind):
                raise RpcFault(
                    RpcCode.TYPE_ERROR,
                    f'Wrong type passed:\n{{\n    "Position {position} ({param.name})": "JSON '
                    f"value of type {_json_type(value)} is not of expected type "
                    f'{param.kind.value}"\n}}',
                )
            bound[param.name] = value
        return cls(bound)

    def has(self, name: str) -> bool:
        return self._values[name] is not None

    def text(self, name: str) -> str:
        return str(self._values[name])

    def flag(self, name: str) -> bool:
        return bool(self._values[name])

    def items(self, name: str) -> list[Json]:
        return list(self._values[name])

    def whole(self, name: str) -> int:
        """An integer within 32 bits, as Core reads most of them."""
        value = self._values[name]
        # The range first: int() of 1e999999999 would not come back.
        if not -(1 << 31) <= value < 1 << 31 or value != int(value):
            raise RpcFault(RpcCode.MISC_ERROR, "JSON integer out of range")
        return int(value)

    def hash32(self, name: str) -> bytes:
        """A txid or block hash in internal byte order, from Core's display order."""
        return parse_hash(self.text(name), name)

    def amount_sat(self, name: str) -> int:
        return parse_amount(self._values[name])


def _by_name(method: Method, given: Mapping[str, Json]) -> Mapping[str, Json]:
    known = {param.name for param in method.params}
    for name in given:
        if name not in known:
            raise invalid(f"Unknown named parameter {name}")
    return given


def _in_order(method: Method, given: Sequence[Json]) -> Mapping[str, Json]:
    if len(given) > len(method.params):
        raise RpcFault(RpcCode.MISC_ERROR, method.usage)
    return {param.name: value for param, value in zip(method.params, given, strict=False)}


def parse_hash(text: str, name: str) -> bytes:
    """32 bytes in internal order; RpcFault -8 as Core words it."""
    if len(text) != HASH_HEX:
        raise invalid(f"{name} must be of length {HASH_HEX} (not {len(text)}, for '{text[:80]}')")
    try:
        return parse_hex(text)[::-1]
    except ValueError as error:
        raise invalid(f"{name} must be hexadecimal string (not '{text}')") from error


def parse_hex(text: str) -> bytes:
    """Bytes of a hex text without spaces; ValueError otherwise."""
    if not text.isascii() or not text.isalnum():
        raise ValueError("not hexadecimal")
    return bytes.fromhex(text)


def parse_amount(value: Json) -> int:
    """Satoshi of an amount in BTC with at most eight decimals; RpcFault -3 otherwise."""
    try:
        amount = Decimal(value) * SAT_PER_BTC
    except ArithmeticError as error:
        raise RpcFault(RpcCode.TYPE_ERROR, "Invalid amount") from error
    if not amount.is_finite() or amount != amount.to_integral_value():
        raise RpcFault(RpcCode.TYPE_ERROR, "Invalid amount")
    if not 0 <= amount <= MAX_MONEY_SAT:
        raise RpcFault(RpcCode.TYPE_ERROR, "Amount out of range")
    return int(amount)


def btc(amount_sat: int) -> float:
    """An amount as Core shows it. Every satoshi amount up to 21 million BTC survives the float."""
    return amount_sat / SAT_PER_BTC
