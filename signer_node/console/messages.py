"""What crosses the console's socket: one JSON line each way, one request for each connection.

Bytes are base64. Unknown fields are refused on both sides.
"""

from __future__ import annotations

from typing import Final

import msgspec

MAX_REQUEST_BYTES: Final = 6 * 1024 * 1024
MAX_RESPONSE_BYTES: Final = 16 * 1024 * 1024


class _Message(msgspec.Struct, forbid_unknown_fields=True, tag=True):
    pass


class StatusRequest(_Message):
    """How the node stands."""


class ListRequest(_Message):
    """The manifests that this node checked."""


class ShowRequest(_Message):
    """Everything about one manifest: by digest, its first hex digits, or batch id."""

    name: str


class GenesisRequest(_Message):
    """The genesis that is confirmed, or waits for its words."""


class ConfirmRequest(_Message):
    """Bind the node to the pending genesis."""

    words: str


class VaultsRequest(_Message):
    """The vaults that this node takes part in or is asked to."""


class VaultRequest(_Message):
    """The key generation of one vault."""

    vault: str


class ConfirmVaultRequest(_Message):
    """An operator confirmed a key generation: take part, with the host key opened for it alone.

    `entropy` is what the operator adds. It crosses the node's own socket only, and shows nothing.
    """

    vault: str
    epoch: int
    host_secret: bytes
    entropy: bytes

    def __repr__(self) -> str:
        return f"ConfirmVaultRequest({self.vault!r}, {self.epoch})"


class DeliverRequest(_Message):
    """An envelope: the same way in as the mailbox's."""

    envelope: bytes


Request = (
    StatusRequest
    | ListRequest
    | ShowRequest
    | GenesisRequest
    | ConfirmRequest
    | VaultsRequest
    | VaultRequest
    | ConfirmVaultRequest
    | DeliverRequest
)


class Status(_Message):
    """The node, as it sees itself. Keys and digests in hex."""

    identity_key: str
    node: str
    genesis: str
    genesis_pending: bool
    boot: str
    journal_sequence: int
    journal_head: str
    tip_height: int
    tip_hash: str
    last_contact_s: int
    unsent: int
    waiting: int
    certificate_expires_s: int
    vaults: list[str]
    halted: str
    refusals: dict[str, int]


class Listed(_Message):
    """A manifest in the list; `state` is one word."""

    digest: str
    batch_id: str
    txid: str
    payouts: int
    journaled_at_s: int
    expires_at_s: int
    state: str
    decisions: list[str]


class Manifests(_Message):
    """The list, the last one first."""

    manifests: list[Listed]


class Shown(_Message):
    """The bytes and the node's own facts from which a screen is made."""

    proposal: bytes
    genesis: bytes
    certificate: bytes
    decisions: list[bytes]
    identity_key: bytes
    journaled_at_s: int
    tip_height: int
    state: str
    now_s: int
    knows_replaced: bool


class PendingGenesis(_Message):
    """A genesis with its words."""

    genesis: bytes
    words: str
    confirmed: bool


class VaultListed(_Message):
    """A vault in the list; `state` is one word, `attempt` counts (0: no key generation)."""

    vault: str
    epoch: int
    kind: str
    state: str
    attempt: int


class Vaults(_Message):
    """The list, by name."""

    vaults: list[VaultListed]


class VaultShown(_Message):
    """The bytes from which the screen of a key generation is made, and how far it is here."""

    proposal: bytes
    genesis: bytes
    identity_key: bytes
    state: str


class Done(_Message):
    """The request had its effect, durably."""


class Failed(_Message):
    """A refusal of the catalogue."""

    error: str
    detail: str


Response = Status | Manifests | Shown | PendingGenesis | Vaults | VaultShown | Done | Failed

REQUESTS: Final[msgspec.json.Decoder[Request]] = msgspec.json.Decoder(Request)
RESPONSES: Final[msgspec.json.Decoder[Response]] = msgspec.json.Decoder(Response)
