"""Genesis from what was enrolled and a file of rules (TOML).

The coordinator writes the genesis, and nobody trusts it for that: its 24 words are compared at
every node and at the backend. Here it must pass the kernel's own check.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec

from custodyd.api.identity import Role
from custodyd.api.slots import Slot
from custodyd.daemon.files import read_public
from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.documents.genesis import (
    Checkpoint,
    Genesis,
    OperatorSeat,
    RequestKey,
    Rules,
    SignerSeat,
    check_genesis,
)
from signer_node.kernel.documents.signed import Body
from signer_node.wire import decode_body, encode

_NonNegative = Annotated[int, msgspec.Meta(ge=0)]


class RulesSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first rules; the same fields as the document's."""

    approvals_required: _NonNegative
    payer_confirmation_required: bool
    max_fee_sat: _NonNegative
    max_fee_rate_sat_vb: _NonNegative
    max_fee_share_ppm: _NonNegative
    max_change_outputs: _NonNegative
    min_change_sat: _NonNegative
    change_index_gap: _NonNegative
    max_manifest_lifetime_s: _NonNegative
    approval_lifetime_s: _NonNegative
    min_input_confirmations: _NonNegative


class CheckpointSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A header trusted to be buried; absent: the network's first block."""

    height: _NonNegative
    # 80 bytes, hex.
    header: str
    period_start_s: _NonNegative


class RulesFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    label: str
    threshold: _NonNegative
    corrupt_max: _NonNegative
    rules: RulesSection
    checkpoint: CheckpointSection | None = None


def read_rules(path: Path) -> RulesFile:
    """Read a rules file; raises FILE_UNREADABLE or CONFIG_INVALID."""
    try:
        return msgspec.convert(tomllib.loads(read_public(path).decode()), RulesFile)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as bad:
        raise CustodydError(ErrorId.CONFIG_INVALID, f"{path}: {bad}") from None


def build_genesis(
    slots: Sequence[Slot], rules: RulesFile, network: Network, coordinator_key: bytes, now_s: int
) -> Body[Genesis]:
    """The genesis of filled slots; raises SLOTS_UNFILLED, CONFIG_INVALID or GENESIS_INVALID."""
    unfilled = [slot.identity.uri for slot in slots if slot.enrolment is None]
    if unfilled:
        raise CustodydError(ErrorId.SLOTS_UNFILLED, ", ".join(unfilled))
    header = network.parameters.genesis_header
    genesis = Genesis(
        label=rules.label,
        network=network,
        genesis_block=sha256(sha256(header).digest()).digest(),
        threshold=rules.threshold,
        corrupt_max=rules.corrupt_max,
        coordinator_key=coordinator_key,
        signers=tuple(_signers(slots)),
        operators=tuple(_operators(slots)),
        request_keys=tuple(_request_keys(slots)),
        rules=Rules(**msgspec.structs.asdict(rules.rules)),
        checkpoint=_checkpoint(rules.checkpoint, network),
        created_at_s=now_s,
    )
    # Through the codec: the ranges of all fields are checked there.
    body = decode_body(Genesis, encode(genesis))
    check_genesis(body.document)
    return body


def _signers(slots: Sequence[Slot]) -> list[SignerSeat]:
    return [
        SignerSeat(
            slot.identity.name,
            slot.enrolment.signer.identity_key,
            slot.enrolment.signer.host_key,
        )
        for slot in slots
        if slot.identity.role is Role.SIGNER and slot.enrolment is not None
    ]


def _operators(slots: Sequence[Slot]) -> list[OperatorSeat]:
    return [
        OperatorSeat(one.person, slot.identity.name, one.role, one.key)
        for slot in slots
        if slot.identity.role is Role.SIGNER and slot.enrolment is not None
        for one in slot.enrolment.signer.operators
    ]


def _request_keys(slots: Sequence[Slot]) -> list[RequestKey]:
    return [
        RequestKey(slot.enrolment.backend.request_key, tuple(slot.enrolment.backend.people))
        for slot in slots
        if slot.identity.role is Role.BACKEND and slot.enrolment is not None
    ]


def _checkpoint(section: CheckpointSection | None, network: Network) -> Checkpoint:
    if section is None:
        header = network.parameters.genesis_header
        return Checkpoint(0, header, int.from_bytes(header[68:72], "little"))
    try:
        raw = bytes.fromhex(section.header)
    except ValueError:
        raise CustodydError(ErrorId.CONFIG_INVALID, "checkpoint.header is not hex") from None
    return Checkpoint(section.height, raw, section.period_start_s)
