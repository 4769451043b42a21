"""Vaults as the stages see them: certificate, opened public half, watched scripts.

The follower watches the external chain up to what the backend asked for and a gap beyond, and the
internal chain up to a gap beyond the next change index. Indices only grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from custodyd.chain.rules import VaultState, WatchedScript
from custodyd.chain.tables import CHAIN_VIEW, VAULTS, WATCHED_SCRIPTS
from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.documents.vault import VaultCertificate
from signer_node.kernel.rules.certify import CertifiedVault, describe
from signer_node.kernel.vault.interface import EXTERNAL_CHAIN, INTERNAL_CHAIN
from signer_node.kernel.vault.registry import open_vault
from signer_node.wire import decode_body

EXTERNAL_GAP: Final = 200
INTERNAL_GAP: Final = 100
MAX_DEPOSIT_COUNT: Final = 10_000_000
_OPENED: Final = 64
_ROWS_PER_INSERT: Final = 500
IDS_PER_QUERY: Final = 500


@lru_cache(maxsize=_OPENED)
def open_certificate(body: bytes, network: Network) -> CertifiedVault:
    """The vault of a certificate's body, which was checked when it was drafted; opened once."""
    certificate = decode_body(VaultCertificate, body)
    kind = open_vault(describe(certificate.document, network))
    return CertifiedVault(certificate, kind)


def certified_vaults(connection: Connection, network: Network) -> Sequence[CertifiedVault]:
    """All certified vaults, by name."""
    rows = connection.execute(
        select(VAULTS.c.draft)
        .where(VAULTS.c.state == VaultState.CERTIFIED)
        .order_by(VAULTS.c.vault)
    ).scalars()
    return [open_certificate(bytes(draft), network) for draft in rows]


def certified_vault(connection: Connection, network: Network, name: str) -> CertifiedVault:
    """A certified vault by name; raises VAULT_UNKNOWN."""
    draft = connection.execute(
        select(VAULTS.c.draft).where(VAULTS.c.vault == name, VAULTS.c.state == VaultState.CERTIFIED)
    ).scalar_one_or_none()
    if draft is None:
        raise CustodydError(ErrorId.VAULT_UNKNOWN, name)
    return open_certificate(bytes(draft), network)


def begin_watching(connection: Connection, network: Network, name: str) -> None:
    """Watch a vault that was just certified, from the follower's height on."""
    height = connection.execute(select(CHAIN_VIEW.c.tip_height)).scalar_one_or_none() or 0
    connection.execute(update(VAULTS).where(VAULTS.c.vault == name).values(birth_height=height))
    extend_watch(connection, network, name)


def watch_deposits(connection: Connection, network: Network, name: str, count: int) -> int:
    """Watch the external indices below `count`, never fewer than before; returns the count.

    Were addresses handed out that nobody watched, blocks since the vault's birth are read again.
    """
    if not 0 <= count <= MAX_DEPOSIT_COUNT:
        raise CustodydError(ErrorId.WATCH_COUNT_TOO_LARGE, str(count), field="count")
    certified_vault(connection, network, name)
    row = _row(connection, name)
    if count > row.deposit_count:
        connection.execute(update(VAULTS).where(VAULTS.c.vault == name).values(deposit_count=count))
    if count > row.external_watched:
        _ask_for_rescan(connection, row.birth_height)
    extend_watch(connection, network, name)
    return max(count, int(row.deposit_count))


def extend_watch(connection: Connection, network: Network, name: str) -> None:
    """Watch up to the gaps beyond what is used on both chains."""
    vault = certified_vault(connection, network, name)
    row = _row(connection, name)
    wanted = {
        EXTERNAL_CHAIN: (row.external_watched, row.deposit_count + EXTERNAL_GAP),
        INTERNAL_CHAIN: (row.internal_watched, row.next_change + INTERNAL_GAP),
    }
    for chain, (watched, upto) in wanted.items():
        _watch(connection, vault, chain, range(watched, upto))
    connection.execute(
        update(VAULTS)
        .where(VAULTS.c.vault == name)
        .values(
            external_watched=max(row.external_watched, wanted[EXTERNAL_CHAIN][1]),
            internal_watched=max(row.internal_watched, wanted[INTERNAL_CHAIN][1]),
        )
    )


def allocate_change_index(connection: Connection, network: Network, name: str) -> int:
    """A fresh index of the internal chain: durable with the transaction, never given again."""
    index = int(
        connection.execute(
            update(VAULTS)
            .where(VAULTS.c.vault == name)
            .values(next_change=VAULTS.c.next_change + 1)
            .returning(VAULTS.c.next_change)
        ).scalar_one()
    )
    extend_watch(connection, network, name)
    return index - 1


def skip_change_indices(
    connection: Connection, network: Network, name: str, next_change: int
) -> None:
    """Allocate from `next_change` on: indices below it were used by something that we forgot."""
    connection.execute(
        update(VAULTS)
        .where(VAULTS.c.vault == name, VAULTS.c.next_change < next_change)
        .values(next_change=next_change)
    )
    extend_watch(connection, network, name)


def _row(connection: Connection, name: str) -> Row[Any]:
    return connection.execute(select(VAULTS).where(VAULTS.c.vault == name)).one()


def _ask_for_rescan(connection: Connection, height: int) -> None:
    current = connection.execute(select(CHAIN_VIEW.c.rescan_height)).scalar_one_or_none()
    lowest = height if current is None else min(height, current)
    connection.execute(update(CHAIN_VIEW).values(rescan_height=lowest))


def _watch(connection: Connection, vault: CertifiedVault, chain: int, indices: range) -> None:
    rows = [
        {
            "script": vault.kind.script(chain, index),
            "vault": vault.certificate.document.vault,
            "chain": chain,
            "child": index,
        }
        for index in indices
    ]
    for start in range(0, len(rows), _ROWS_PER_INSERT):
        connection.execute(insert(WATCHED_SCRIPTS), rows[start : start + _ROWS_PER_INSERT])


def chunks(ids: Iterable[bytes]) -> Iterable[Sequence[bytes]]:
    """Distinct ids in pieces that one statement may name."""
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), IDS_PER_QUERY):
        yield ordered[start : start + IDS_PER_QUERY]


def watched_among(connection: Connection, scripts: Iterable[bytes]) -> dict[bytes, WatchedScript]:
    """Which of these scripts are watched."""
    return {
        bytes(row.script): WatchedScript(row.vault, row.chain, row.child)
        for chunk in chunks(scripts)
        for row in connection.execute(
            select(WATCHED_SCRIPTS).where(WATCHED_SCRIPTS.c.script.in_(chunk))
        )
    }
