"""Output scripts: which kind one is, its address on regtest, its dust limit, its signature checks.

Sources: the standard templates of Bitcoin Core 28 (`Solver`), BIP-141 (witness programs),
BIP-350 (bech32m); sigop counting as consensus does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from custodyd.devnet.bytesio import compact_size
from custodyd.devnet.transactions import TxOutput
from signer_node.kernel.bitcoin.address import address_from_script, script_from_address
from signer_node.kernel.bitcoin.faults import InvalidAddress
from signer_node.kernel.bitcoin.network import Network

DUST_RELAY_SAT_KVB = 3000
MAX_SCRIPT_SIZE = 10_000
MAX_NULL_DATA_SIZE = 83
MAX_BARE_MULTISIG_KEYS = 3
MAX_PUBKEYS_PER_MULTISIG = 20

OP_PUSHDATA1, OP_PUSHDATA2, OP_PUSHDATA4 = 0x4C, 0x4D, 0x4E
OP_1, OP_16 = 0x51, 0x60
OP_RETURN, OP_DUP, OP_EQUAL, OP_EQUALVERIFY, OP_HASH160 = 0x6A, 0x76, 0x87, 0x88, 0xA9
OP_CHECKSIG, OP_CHECKSIGVERIFY, OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY = 0xAC, 0xAD, 0xAE, 0xAF


class ScriptKind(Enum):
    """Standard templates, by the names that Bitcoin Core's RPC gives them."""

    UNKNOWN = "nonstandard"
    PUBKEY = "pubkey"
    PUBKEY_HASH = "pubkeyhash"
    SCRIPT_HASH = "scripthash"
    WITNESS_KEY_HASH = "witness_v0_keyhash"
    WITNESS_SCRIPT_HASH = "witness_v0_scripthash"
    TAPROOT = "witness_v1_taproot"
    ANCHOR = "anchor"
    WITNESS_FUTURE = "witness_unknown"
    NULL_DATA = "nulldata"
    MULTISIG = "multisig"


class AddressInvalid(ValueError):
    """A text that is no address of regtest."""


def operations(script: bytes) -> Iterator[tuple[int, bytes | None]]:
    """(opcode, pushed data or None) in order; a push that runs out ends with opcode -1."""
    position = 0
    while position < len(script):
        opcode = script[position]
        position += 1
        if opcode > OP_PUSHDATA4:
            yield opcode, None
            continue
        size = opcode
        if opcode >= OP_PUSHDATA1:
            width = {OP_PUSHDATA1: 1, OP_PUSHDATA2: 2, OP_PUSHDATA4: 4}[opcode]
            size = int.from_bytes(script[position : position + width], "little")
            position += width
        if position + size > len(script):
            yield -1, None
            return
        yield opcode, script[position : position + size]
        position += size


def is_push_only(script: bytes) -> bool:
    return all(0 <= opcode <= OP_16 for opcode, _ in operations(script))


def last_push(script: bytes) -> bytes | None:
    """The last pushed element: the redeem script of a P2SH input. None if it is no push."""
    last: bytes | None = None
    for _, data in operations(script):
        last = data
    return last


def is_unspendable(script: bytes) -> bool:
    return len(script) > MAX_SCRIPT_SIZE or script[:1] == bytes([OP_RETURN])


def witness_program(script: bytes) -> tuple[int, bytes] | None:
    """(version, program) of BIP-141, None for any other script."""
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2:
        return None
    if script[0] == 0:
        return 0, script[2:]
    if OP_1 <= script[0] <= OP_16:
        return script[0] - OP_1 + 1, script[2:]
    return None


def _witness_kind(version: int, program: bytes) -> ScriptKind:
    if version == 0:
        by_size = {20: ScriptKind.WITNESS_KEY_HASH, 32: ScriptKind.WITNESS_SCRIPT_HASH}
        return by_size.get(len(program), ScriptKind.UNKNOWN)
    if version == 1 and len(program) == 32:
        return ScriptKind.TAPROOT
    if version == 1 and program == b"\x4e\x73":
        return ScriptKind.ANCHOR
    return ScriptKind.WITNESS_FUTURE


def _is_multisig(script: bytes) -> bool:
    ops = list(operations(script))
    if len(ops) < 4 or ops[-1][0] != OP_CHECKMULTISIG:
        return False
    keys = [data for _, data in ops[1:-2]]
    threshold, total = ops[0][0] - OP_1 + 1, ops[-2][0] - OP_1 + 1
    if not 1 <= threshold <= total <= MAX_PUBKEYS_PER_MULTISIG or total != len(keys):
        return False
    return all(key is not None and len(key) in (33, 65) for key in keys)


def kind_of(script: bytes) -> ScriptKind:
    """The template that this output script follows; UNKNOWN for none."""
    program = witness_program(script)
    if program is not None:
        return _witness_kind(*program)
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[22] == OP_EQUAL:
        return ScriptKind.SCRIPT_HASH
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return ScriptKind.PUBKEY_HASH
    if script[:1] == bytes([OP_RETURN]) and is_push_only(script[1:]):
        return ScriptKind.NULL_DATA
    if len(script) in (35, 67) and script[0] == len(script) - 2 and script[-1] == OP_CHECKSIG:
        return ScriptKind.PUBKEY
    return ScriptKind.MULTISIG if _is_multisig(script) else ScriptKind.UNKNOWN


def dust_limit_sat(output: TxOutput) -> int:
    """The least amount that relays: what spending costs at 3 sat/vB (Core's -dustrelayfee)."""
    if is_unspendable(output.script):
        return 0
    size = 8 + len(compact_size(len(output.script))) + len(output.script)
    spending = 67 if witness_program(output.script) is not None else 148
    return (size + spending) * DUST_RELAY_SAT_KVB // 1000


def sigop_count(script: bytes, *, accurate: bool) -> int:
    """Signature checks in a script; `accurate` reads the key count before a multisig."""
    total = 0
    previous = -1
    for opcode, _ in operations(script):
        if opcode in (OP_CHECKSIG, OP_CHECKSIGVERIFY):
            total += 1
        elif opcode in (OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY):
            known = accurate and OP_1 <= previous <= OP_16
            total += previous - OP_1 + 1 if known else MAX_PUBKEYS_PER_MULTISIG
        previous = opcode
    return total


# --- addresses ----------------------------------------------------------------------------------


def script_of_address(address: str) -> bytes:
    """The output script of a regtest address; AddressInvalid for anything else."""
    try:
        return script_from_address(address, Network.REGTEST)
    except InvalidAddress as error:
        raise AddressInvalid("Invalid address") from error


def address_of_script(script: bytes) -> str | None:
    """The regtest address of a script that has one."""
    try:
        return address_from_script(script, Network.REGTEST)
    except InvalidAddress:
        return None
