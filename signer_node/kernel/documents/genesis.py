"""Genesis: policy 0 of a quorum, and the rules that make one sound (PROTOCOL.md sections 1 and 3).

A genesis is trusted by nothing but its 24 words, which people compare out of band at every node
and at the backend. `check_genesis` refuses one that contradicts itself, that nobody could ever
satisfy, or whose figures do not carry its promise:
 1. 1 <= t <= n, f < t.
 2. f_once = 2t-n-1 >= f, or payer confirmation is required.
 3. Keys, node names are distinct; every operator sits at a node; every person has one seat a node.
 4. The approvals asked for can be given by people not behind any request key, at more than f nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, ClassVar

from signer_node.kernel import curve
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.documents.fields import (
    MAX_OPERATORS,
    MAX_ROSTER,
    Amount,
    Count,
    Digest,
    Label,
    Name,
    Point,
    Range,
    Size,
    Time,
    Uint32,
    XOnlyKey,
)
from signer_node.kernel.errors import ErrorId, Refusal


@dataclass(frozen=True, slots=True)
class SignerSeat:
    """A signer node: its name, envelope key and ChillDKG host key."""

    name: Name
    identity_key: XOnlyKey
    host_key: Point


@dataclass(frozen=True, slots=True)
class OperatorSeat:
    """An operator: a person, enrolled at one node, with a key of their own."""

    person: Name
    node: Name
    role: Name
    key: XOnlyKey


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A request key and the people who can cause a signature by it."""

    key: XOnlyKey
    people: Annotated[tuple[Name, ...], Count(1, MAX_OPERATORS)]


@dataclass(frozen=True, slots=True)
class Rules:
    """The first rules. Shares of fees are in millionths, times in seconds."""

    approvals_required: Annotated[int, Range(1, MAX_OPERATORS)]
    payer_confirmation_required: bool
    max_fee_sat: Amount
    max_fee_rate_sat_vb: Annotated[int, Range(1, 100_000)]
    max_fee_share_ppm: Annotated[int, Range(0, 1_000_000)]
    max_change_outputs: Annotated[int, Range(1, 100)]
    min_change_sat: Amount
    change_index_gap: Annotated[int, Range(1, 10_000)]
    max_manifest_lifetime_s: Annotated[int, Range(1, 30 * 86_400)]
    approval_lifetime_s: Annotated[int, Range(1, 30 * 86_400)]
    min_input_confirmations: Annotated[int, Range(1, 1_000)]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A header trusted to be buried; `period_start_s` begins its difficulty period."""

    height: Uint32
    header: Annotated[bytes, Size(80, 80)]
    period_start_s: Uint32


@dataclass(frozen=True, slots=True)
class Genesis:
    """Policy 0: who takes part and by which rules."""

    NAME: ClassVar[str] = "genesis"
    label: Label
    network: Network
    genesis_block: Digest
    threshold: Annotated[int, Range(1, MAX_ROSTER)]
    corrupt_max: Annotated[int, Range(0, MAX_ROSTER - 1)]
    coordinator_key: XOnlyKey
    signers: Annotated[tuple[SignerSeat, ...], Count(1, MAX_ROSTER)]
    operators: Annotated[tuple[OperatorSeat, ...], Count(1, MAX_OPERATORS)]
    request_keys: Annotated[tuple[RequestKey, ...], Count(1, MAX_ROSTER)]
    rules: Rules
    checkpoint: Checkpoint
    created_at_s: Time

    def signer(self, name: str) -> SignerSeat | None:
        """The seat of a node by its name."""
        return next((seat for seat in self.signers if seat.name == name), None)

    def signer_by_key(self, key: bytes) -> SignerSeat | None:
        """The seat of a node by its identity key."""
        return next((seat for seat in self.signers if seat.identity_key == key), None)

    def operator_by_key(self, key: bytes) -> OperatorSeat | None:
        """The seat of an operator by its approval key."""
        return next((seat for seat in self.operators if seat.key == key), None)

    def request_key(self, key: bytes) -> RequestKey | None:
        """The entry of a request key."""
        return next((entry for entry in self.request_keys if entry.key == key), None)


@dataclass(frozen=True, slots=True)
class QuorumFigures:
    """The three figures of a quorum (PROTOCOL.md section 1); negative f_once: refused alone."""

    f_theft: int
    f_once: int
    f_live: int


def quorum_figures(threshold: int, count: int) -> QuorumFigures:
    """How many corrupt or missing signers t of n bears for theft, double payment, liveness."""
    return QuorumFigures(
        f_theft=threshold - 1, f_once=2 * threshold - count - 1, f_live=count - threshold
    )


def check_genesis(genesis: Genesis) -> None:
    """Raise Refusal(GENESIS_INVALID) with the rule broken."""
    _check_network(genesis)
    _check_quorum(genesis)
    _check_keys(genesis)
    _check_seats(genesis)
    _check_approvals_possible(genesis)


def _require(held: bool, detail: str) -> None:
    if not held:
        raise Refusal(ErrorId.GENESIS_INVALID, detail)


def _check_network(genesis: Genesis) -> None:
    header = genesis.network.parameters.genesis_header
    block = sha256(sha256(header).digest()).digest()
    _require(genesis.genesis_block == block, "genesis block of another network")


def _check_quorum(genesis: Genesis) -> None:
    count = len(genesis.signers)
    _require(genesis.threshold <= count, "threshold exceeds the number of signers")
    _require(genesis.corrupt_max < genesis.threshold, "corrupt_max must be below the threshold")
    once = quorum_figures(genesis.threshold, count).f_once
    _require(
        genesis.corrupt_max <= once or genesis.rules.payer_confirmation_required,
        f"signers alone prevent double payment only up to f_once = {once}: "
        "payer confirmation must be required",
    )


def _check_keys(genesis: Genesis) -> None:
    keys = [genesis.coordinator_key]
    keys += [seat.identity_key for seat in genesis.signers]
    keys += [seat.host_key[1:] for seat in genesis.signers]
    keys += [seat.key for seat in genesis.operators]
    keys += [entry.key for entry in genesis.request_keys]
    _require(len(set(keys)) == len(keys), "a key stands in two places")
    try:
        for key in keys:
            curve.check_xonly(key)
        for seat in genesis.signers:
            curve.check_point(seat.host_key)
    except ValueError as bad:
        raise Refusal(ErrorId.GENESIS_INVALID, "a key is no point of the curve") from bad


def _check_seats(genesis: Genesis) -> None:
    names = [seat.name for seat in genesis.signers]
    _require(len(set(names)) == len(names), "two signers have one name")
    people = [seat.person for seat in genesis.operators]
    _require(len(set(people)) == len(people), "a person is enrolled twice")
    for seat in genesis.operators:
        _require(seat.node in names, f"operator {seat.person} sits at unknown node {seat.node}")


def _check_approvals_possible(genesis: Genesis) -> None:
    requesters = {person for entry in genesis.request_keys for person in entry.people}
    able = [seat for seat in genesis.operators if seat.person not in requesters]
    _require(
        len(able) >= genesis.rules.approvals_required,
        "fewer operators who may approve than approvals required",
    )
    nodes = {seat.node for seat in able}
    _require(
        len(nodes) > genesis.corrupt_max,
        "operators who may approve sit at no more nodes than may be corrupt",
    )
    _require(
        genesis.rules.approvals_required > genesis.corrupt_max,
        "approvals required must exceed corrupt_max, so that they come from an honest node",
    )
