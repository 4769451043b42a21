"""The Bitcoin networks that custodyd knows, and what differs between them.

Values are Bitcoin Core's (kernel/chainparams.cpp) and SLIP-44's for coin types. A signet header
chain is checked for its proof of work like a main chain; the block signature of BIP-325 lies in the
coinbase, which headers do not show.
"""

from dataclasses import dataclass
from enum import Enum

RETARGET_INTERVAL = 2016
"""Blocks of one difficulty period."""
RETARGET_TIMESPAN_S = 14 * 24 * 60 * 60
"""The time that a difficulty period should take."""


class Network(Enum):
    """A Bitcoin network; UNKNOWN is never valid."""

    UNKNOWN = 0
    MAIN = 1
    SIGNET = 2
    REGTEST = 3

    @property
    def parameters(self) -> "NetworkParameters":
        """Return this network's constants; raises ValueError for UNKNOWN."""
        if self is Network.UNKNOWN:
            raise ValueError("the network is unknown")
        return _PARAMETERS[self]


@dataclass(frozen=True, slots=True)
class NetworkParameters:
    """Constants of one network.

    `genesis_header` are the 80 bytes of block 0; `pow_limit_bits` is the easiest target in compact
    form; `retargets` is false where the difficulty never changes (regtest).
    """

    name: str
    bech32_prefix: str
    p2pkh_version: int
    p2sh_version: int
    xpub_version: int
    xprv_version: int
    coin_type: int
    pow_limit_bits: int
    retargets: bool
    genesis_header: bytes


def _genesis_header(time_s: int, bits: int, nonce: int) -> bytes:
    """Return a genesis block's header; all networks share version, parent and coinbase."""
    merkle_root = bytes.fromhex("3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a")
    numbers = b"".join(number.to_bytes(4, "little") for number in (time_s, bits, nonce))
    return (1).to_bytes(4, "little") + bytes(32) + merkle_root + numbers


_PARAMETERS = {
    Network.MAIN: NetworkParameters(
        name="main",
        bech32_prefix="bc",
        p2pkh_version=0x00,
        p2sh_version=0x05,
        xpub_version=0x0488B21E,
        xprv_version=0x0488ADE4,
        coin_type=0,
        pow_limit_bits=0x1D00FFFF,
        retargets=True,
        genesis_header=_genesis_header(1231006505, 0x1D00FFFF, 2083236893),
    ),
    Network.SIGNET: NetworkParameters(
        name="signet",
        bech32_prefix="tb",
        p2pkh_version=0x6F,
        p2sh_version=0xC4,
        xpub_version=0x043587CF,
        xprv_version=0x04358394,
        coin_type=1,
        pow_limit_bits=0x1E0377AE,
        retargets=True,
        genesis_header=_genesis_header(1598918400, 0x1E0377AE, 52613770),
    ),
    Network.REGTEST: NetworkParameters(
        name="regtest",
        bech32_prefix="bcrt",
        p2pkh_version=0x6F,
        p2sh_version=0xC4,
        xpub_version=0x043587CF,
        xprv_version=0x04358394,
        coin_type=1,
        pow_limit_bits=0x207FFFFF,
        retargets=False,
        genesis_header=_genesis_header(1296688602, 0x207FFFFF, 2),
    ),
}


def network_from_name(name: str) -> Network:
    """Return the network called `main`, `signet` or `regtest`; raises ValueError otherwise."""
    for network, parameters in _PARAMETERS.items():
        if parameters.name == name:
            return network
    raise ValueError(f"{name!r} is none of main, signet, regtest")
