"""Addresses and the five kinds of script that they stand for; Bitcoin Core's dust rule.

P2PKH and P2SH (Base58Check), P2WPKH and P2WSH (Bech32, BIP-173), P2TR (Bech32m, BIP-350). Witness
programs of other versions or lengths are refused: nobody can be paid to a script whose rules are
not known. A P2TR key need not be on the curve to be an address; then nobody can spend it, and it is
refused too.
"""

from enum import Enum

from signer_node.kernel.bitcoin import wally
from signer_node.kernel.bitcoin.faults import InvalidAddress
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.transaction import TxOut
from signer_node.kernel.curve import BadKey, check_xonly

MAX_ADDRESS_LENGTH = 90
"""The longest Bech32 string (BIP-173)."""
DUST_RELAY_FEE_RATE_SAT_VB = 3
"""Bitcoin Core's DUST_RELAY_TX_FEE, 3,000 satoshi per 1,000 vbytes (policy/policy.h)."""
_SPEND_LEGACY_VBYTES = 32 + 4 + 1 + 107 + 4
_SPEND_WITNESS_VBYTES = 32 + 4 + 1 + 107 // 4 + 4
_OUTPUT_VALUE_BYTES = 8


class ScriptType(Enum):
    """The kinds of scriptPubKey that have an address."""

    UNKNOWN = 0
    P2PKH = 1
    P2SH = 2
    P2WPKH = 3
    P2WSH = 4
    P2TR = 5


_WITNESS_PROGRAMS = {
    (22, b"\x00\x14"): ScriptType.P2WPKH,
    (34, b"\x00\x20"): ScriptType.P2WSH,
    (34, b"\x51\x20"): ScriptType.P2TR,
}


def script_type(script: bytes) -> ScriptType:
    """Return which of the five templates a scriptPubKey follows to the byte, else UNKNOWN."""
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return ScriptType.P2PKH
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[-1] == 0x87:
        return ScriptType.P2SH
    return _WITNESS_PROGRAMS.get((len(script), script[:2]), ScriptType.UNKNOWN)


def script_from_address(address: str, network: Network) -> bytes:
    """Return the scriptPubKey of an address of this network; raises `InvalidAddress`."""
    if not address.isascii() or not 0 < len(address) <= MAX_ADDRESS_LENGTH:
        raise InvalidAddress(f"an address has 1 to {MAX_ADDRESS_LENGTH} ASCII characters")
    prefix = network.parameters.bech32_prefix
    if address.lower().startswith(prefix + "1"):
        script = wally.segwit_address_to_script(address, prefix)
    else:
        script = _script_from_base58(address, network)
    _check_payable(script)
    return script


def address_from_script(script: bytes, network: Network) -> str:
    """Return the address of a scriptPubKey; raises `InvalidAddress` if it has none."""
    parameters = network.parameters
    _check_payable(script)
    match script_type(script):
        case ScriptType.P2PKH:
            return wally.base58check_encode(bytes((parameters.p2pkh_version,)) + script[3:23])
        case ScriptType.P2SH:
            return wally.base58check_encode(bytes((parameters.p2sh_version,)) + script[2:22])
    return wally.script_to_segwit_address(script, parameters.bech32_prefix)


def dust_threshold_sat(script: bytes) -> int:
    """Return the least value that is not dust for this scriptPubKey.

    Bitcoin Core's GetDustThreshold (policy/policy.cpp): what it costs to make and to spend the
    output at 3 sat/vB, a witness program being cheaper to spend; nothing for an unspendable one.
    """
    if script[:1] == b"\x6a":
        return 0
    length_bytes = 1 if len(script) < 0xFD else 3
    spend = _SPEND_WITNESS_VBYTES if _is_witness_program(script) else _SPEND_LEGACY_VBYTES
    size = _OUTPUT_VALUE_BYTES + length_bytes + len(script) + spend
    return size * DUST_RELAY_FEE_RATE_SAT_VB


def is_dust(output: TxOut) -> bool:
    """Whether Bitcoin Core would not relay this output since spending it costs too much."""
    return output.value_sat < dust_threshold_sat(output.script)


def _is_witness_program(script: bytes) -> bool:
    """Whether a script is a version and one push of 2 to 40 bytes (BIP-141)."""
    if not 4 <= len(script) <= 42:
        return False
    return (script[0] == 0 or 0x51 <= script[0] <= 0x60) and script[1] == len(script) - 2


def _script_from_base58(address: str, network: Network) -> bytes:
    payload = wally.base58check_decode(address)
    parameters = network.parameters
    if len(payload) == 21 and payload[0] == parameters.p2pkh_version:
        return b"\x76\xa9\x14" + payload[1:] + b"\x88\xac"
    if len(payload) == 21 and payload[0] == parameters.p2sh_version:
        return b"\xa9\x14" + payload[1:] + b"\x87"
    raise InvalidAddress(f"the address is not one of the network {parameters.name}")


def _check_payable(script: bytes) -> None:
    kind = script_type(script)
    if kind is ScriptType.UNKNOWN:
        raise InvalidAddress("the script is none of P2PKH, P2SH, P2WPKH, P2WSH, P2TR")
    if kind is ScriptType.P2TR:
        try:
            check_xonly(script[2:])
        except BadKey:
            raise InvalidAddress("nobody can spend this P2TR output: its key is no point") from None
