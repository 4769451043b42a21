"""A chain of block headers that this node verified itself, from a checkpoint on.

What is checked of every header (Bitcoin Core's validation.cpp and pow.cpp):

1. It follows a header that is known here.
2. Its hash is not above the target that its `bits` say, and `bits` is what the network's rules
   demand at that height: a retarget every 2,016 blocks on main and signet, always the same on
   regtest. (BIP-94 and testnet's exceptions are not needed.)
3. Its time is later than the median of the eleven before it, and at most two hours after `now_s`.
4. It does not fork off deeper than `MAX_FORK_DEPTH` below the tip: such a reorganisation is for
   people to look at.

The best chain is the one with the most work; of two equal ones the first that was seen. Forks are
kept. A block is confirmed only while it is on the best chain.

Headers live in a store; the functions here read it through `HeaderSource` and return what to write,
so no step needs more than a few of them. On networks that retarget, a checkpoint must be the first
block of a difficulty period: otherwise the first retarget after it could not be verified. The
median rule of 3 needs eleven headers and begins when the checkpoint lies that far back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Protocol

from signer_node.kernel.bitcoin.faults import InvalidHeader, UnknownParent
from signer_node.kernel.bitcoin.network import RETARGET_INTERVAL, RETARGET_TIMESPAN_S, Network
from signer_node.kernel.bitcoin.serial import sha256d

HEADER_BYTES = 80
MAX_HEADERS = 2000
"""Headers in one message, as in Bitcoin's own `headers` message."""
MAX_FORK_DEPTH = 288
"""How far below the tip a fork may begin: two days of blocks."""
MAX_FUTURE_S = 2 * 60 * 60
"""Bitcoin Core's MAX_FUTURE_BLOCK_TIME."""
MEDIAN_TIME_SPAN = 11
_LAYOUT = Struct("<i32s32sIII")
_RETARGET_FACTOR = 4
_MANTISSA_BYTES = 3
_COMPACT_SIGN = 0x00800000
_COMPACT_MANTISSA = 0x007FFFFF


@dataclass(frozen=True, slots=True)
class Header:
    """A block header; `hash`, `previous` and `merkle_root` in internal byte order."""

    version: int
    previous: bytes
    merkle_root: bytes
    time_s: int
    bits: int
    nonce: int
    hash: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class StoredHeader:
    """A verified header with its height and the work of the chain that ends in it.

    Work counts from the checkpoint (inclusive): only differences matter.
    """

    header: Header
    height: int
    chainwork: int

    @property
    def hash(self) -> bytes:
        """The block hash, internal byte order."""
        return self.header.hash


class HeaderSource(Protocol):
    """What a store of verified headers answers; it holds at least the checkpoint."""

    def get(self, block_hash: bytes) -> StoredHeader | None:
        """Return the header with this hash, on the best chain or on a fork, or None."""

    def at_height(self, height: int) -> StoredHeader | None:
        """Return the best chain's header at this height, or None below and above it."""

    def tip(self) -> StoredHeader:
        """Return the last header of the best chain."""


@dataclass(frozen=True, slots=True)
class AcceptedHeaders:
    """What a store writes, in one transaction, after headers were accepted.

    `new` are headers not stored before, parents first. The best chain loses the `disconnected` ones
    (highest first), gains the `connected` ones (lowest first) and then ends in `new_tip`. Headers
    that only extend a fork connect nothing.
    """

    new: tuple[StoredHeader, ...]
    new_tip: StoredHeader
    disconnected: tuple[StoredHeader, ...]
    connected: tuple[StoredHeader, ...]


def parse_header(raw: bytes) -> Header:
    """Return the header that 80 bytes are; raises `InvalidHeader` for another length.

    Nothing is verified but the length.
    """
    if len(raw) != HEADER_BYTES:
        raise InvalidHeader(f"a header has {HEADER_BYTES} bytes, not {len(raw)}")
    version, previous, merkle_root, time_s, bits, nonce = _LAYOUT.unpack(raw)
    return Header(version, previous, merkle_root, time_s, bits, nonce, sha256d(raw), raw)


def start_chain(network: Network, raw: bytes, height: int) -> StoredHeader:
    """Return the checkpoint that a chain begins with, from its header and height.

    Whether it is the right block is decided by who pinned it (the genesis document); its proof of
    work, and that it begins a difficulty period where there are any, is checked here.
    """
    header = parse_header(raw)
    if height < 0:
        raise InvalidHeader("a height is not negative")
    if height == 0 and raw != network.parameters.genesis_header:
        raise InvalidHeader("block 0 is not this network's genesis block")
    if network.parameters.retargets and height % RETARGET_INTERVAL:
        raise InvalidHeader(f"a checkpoint's height is a multiple of {RETARGET_INTERVAL}")
    _check_work(network, header)
    return StoredHeader(header, height, _work(header.bits))


def accept_headers(
    source: HeaderSource, headers: Sequence[bytes], now_s: int, network: Network
) -> AcceptedHeaders:
    """Verify consecutive raw headers against a store and say what it has to write.

    `now_s` is the caller's clock (Unix seconds). Headers that are known already are skipped. All
    are accepted or none: raises `UnknownParent` if the first one does not follow a known header,
    and `InvalidHeader` for a rule that is broken or for more than `MAX_HEADERS` of them.
    """
    if len(headers) > MAX_HEADERS:
        raise InvalidHeader(f"{len(headers)} headers in one message, at most {MAX_HEADERS}")
    view = _View(source, network)
    previous: Header | None = None
    for header in map(parse_header, headers):
        if previous is not None and header.previous != previous.hash:
            raise InvalidHeader("the headers are not consecutive")
        previous = header
        view.accept(header, now_s)
    return view.result()


def height_of(source: HeaderSource, block_hash: bytes) -> int | None:
    """Return a block's height if it is on the best chain, else None."""
    stored = source.get(block_hash)
    if stored is None or not _on_best_chain(source, stored):
        return None
    return stored.height


def confirmations(source: HeaderSource, block_hash: bytes) -> int:
    """Return 1 for the tip, 2 for the one before it, and 0 for what is not on the best chain."""
    height = height_of(source, block_hash)
    return 0 if height is None else source.tip().height - height + 1


def median_time_past(source: HeaderSource, block_hash: bytes | None = None) -> int:
    """Return the median time (Unix seconds) of a header and the ten before it (BIP-113).

    For the tip if no hash is given. Right after a checkpoint there are fewer of them; then it is
    the median of those. Raises `UnknownParent` for a hash that is not known.
    """
    stored = source.tip() if block_hash is None else source.get(block_hash)
    if stored is None:
        raise UnknownParent("the header is not known")
    return _median(_times(source, stored))


def _median(times_s: list[int]) -> int:
    return sorted(times_s)[len(times_s) // 2]


def locator(source: HeaderSource) -> tuple[bytes, ...]:
    """Return hashes of the best chain, tip first, ever further apart, then the lowest one known.

    By it a peer finds the last header that both know (as Bitcoin's block locator).
    """
    stored = source.tip()
    hashes = [stored.hash]
    step = 1
    while step:
        lower = source.at_height(stored.height - step)
        if lower is None:
            step //= 2
            continue
        stored = lower
        hashes.append(stored.hash)
        step = step * 2 if len(hashes) > MEDIAN_TIME_SPAN else step
    return tuple(hashes)


def target_from_bits(bits: int) -> int:
    """Return the 256-bit target that compact `bits` stand for.

    Raises `InvalidHeader` for a negative, zero or overflowing one (Core's DeriveTarget).
    """
    exponent = bits >> 24
    mantissa = bits & _COMPACT_MANTISSA
    shift = 8 * (exponent - _MANTISSA_BYTES)
    target = mantissa << shift if shift >= 0 else mantissa >> -shift
    if bits & _COMPACT_SIGN or target == 0 or target >> 256:
        raise InvalidHeader(f"the bits {bits:08x} are no target")
    return target


def bits_from_target(target: int) -> int:
    """Return the compact form of a target, rounded down (Core's GetCompact)."""
    size = (target.bit_length() + 7) // 8
    shift = 8 * (size - _MANTISSA_BYTES)
    mantissa = target >> shift if shift > 0 else target << -shift
    if mantissa & _COMPACT_SIGN:
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa


def retarget(network: Network, bits: int, taken_s: int) -> int:
    """Return the bits of a new difficulty period after one that took `taken_s` seconds.

    Bitcoin Core's CalculateNextWorkRequired: at most four times as hard or as easy, and never
    easier than the network's limit.
    """
    shortest_s = RETARGET_TIMESPAN_S // _RETARGET_FACTOR
    longest_s = RETARGET_TIMESPAN_S * _RETARGET_FACTOR
    bounded_s = min(max(taken_s, shortest_s), longest_s)
    target = target_from_bits(bits) * bounded_s // RETARGET_TIMESPAN_S
    return bits_from_target(min(target, target_from_bits(network.parameters.pow_limit_bits)))


def _work(bits: int) -> int:
    """Return the expected number of hashes for a target (Core's GetBlockProof)."""
    return (1 << 256) // (target_from_bits(bits) + 1)


def _check_work(network: Network, header: Header) -> None:
    target = target_from_bits(header.bits)
    if target > target_from_bits(network.parameters.pow_limit_bits):
        raise InvalidHeader("the target is easier than the network's easiest")
    if int.from_bytes(header.hash, "little") > target:
        raise InvalidHeader("the header's hash is above its target: no proof of work")


def _on_best_chain(source: HeaderSource, stored: StoredHeader) -> bool:
    best = source.at_height(stored.height)
    return best is not None and best.hash == stored.hash


class _Lookup(Protocol):
    """Both a store and a store with unwritten headers on top."""

    def get(self, block_hash: bytes) -> StoredHeader | None: ...


def _times(source: _Lookup, last: StoredHeader) -> list[int]:
    """Return the times of a header and of up to ten before it."""
    times_s: list[int] = []
    stored: StoredHeader | None = last
    while stored is not None and len(times_s) < MEDIAN_TIME_SPAN:
        times_s.append(stored.header.time_s)
        stored = source.get(stored.header.previous)
    return times_s


@dataclass(slots=True)
class _View:
    """A store with the headers of one message on top of it, not yet written."""

    source: HeaderSource
    network: Network
    new: dict[bytes, StoredHeader] = field(default_factory=dict)

    def get(self, block_hash: bytes) -> StoredHeader | None:
        return self.new.get(block_hash) or self.source.get(block_hash)

    def accept(self, header: Header, now_s: int) -> None:
        """Verify one header and put it on top; a known one is left alone."""
        if self.get(header.hash) is not None:
            return
        parent = self.get(header.previous)
        if parent is None:
            raise UnknownParent("the header follows none that is known here")
        _check_work(self.network, header)
        if header.bits != self._required_bits(parent):
            raise InvalidHeader(f"height {parent.height + 1} demands another difficulty")
        self._check_time(header, parent, now_s)
        self._check_depth(parent)
        chainwork = parent.chainwork + _work(header.bits)
        self.new[header.hash] = StoredHeader(header, parent.height + 1, chainwork)

    def result(self) -> AcceptedHeaders:
        """Choose the tip and find what the best chain loses and gains."""
        old_tip = self.source.tip()
        new_tip = max((old_tip, *self.new.values()), key=lambda stored: stored.chainwork)
        connected = []
        stored = new_tip
        while stored.hash in self.new or not _on_best_chain(self.source, stored):
            connected.append(stored)
            stored = self._parent(stored)
        disconnected = []
        lost = old_tip
        while new_tip is not old_tip and lost.hash != stored.hash:
            disconnected.append(lost)
            lost = self._parent(lost)
        return AcceptedHeaders(
            new=tuple(self.new.values()),
            new_tip=new_tip,
            disconnected=tuple(disconnected),
            connected=tuple(reversed(connected)),
        )

    def _parent(self, stored: StoredHeader) -> StoredHeader:
        parent = self.get(stored.header.previous)
        if parent is None:
            raise UnknownParent("the store lacks the parent of a header that it holds")
        return parent

    def _required_bits(self, parent: StoredHeader) -> int:
        """Return the compact target for the header after `parent` (Core's GetNextWorkRequired)."""
        bits = parent.header.bits
        if not self.network.parameters.retargets or (parent.height + 1) % RETARGET_INTERVAL:
            return bits
        first = self._ancestor(parent, parent.height + 1 - RETARGET_INTERVAL)
        return retarget(self.network, bits, parent.header.time_s - first.header.time_s)

    def _ancestor(self, stored: StoredHeader, height: int) -> StoredHeader:
        """Return a header's ancestor; on the best chain it is looked up by its height."""
        while stored.height > height:
            if stored.hash not in self.new and _on_best_chain(self.source, stored):
                found = self.source.at_height(height)
                if found is None:
                    raise UnknownParent(f"the store has no header at height {height}")
                return found
            stored = self._parent(stored)
        return stored

    def _check_time(self, header: Header, parent: StoredHeader, now_s: int) -> None:
        if header.time_s > now_s + MAX_FUTURE_S:
            raise InvalidHeader("the header's time is more than two hours in the future")
        times_s = _times(self, parent)
        complete = len(times_s) == MEDIAN_TIME_SPAN or len(times_s) == parent.height + 1
        if complete and header.time_s <= _median(times_s):
            raise InvalidHeader("the header's time is not after the median of the last eleven")

    def _check_depth(self, parent: StoredHeader) -> None:
        """Refuse a fork that begins too far below the tip (only its first header is new there)."""
        if parent.hash in self.new:
            return
        if self.source.tip().height - self._fork_height(parent) > MAX_FORK_DEPTH:
            raise InvalidHeader(f"a fork of more than {MAX_FORK_DEPTH} blocks below the tip")

    def _fork_height(self, stored: StoredHeader) -> int:
        while not _on_best_chain(self.source, stored):
            stored = self._parent(stored)
        return stored.height
