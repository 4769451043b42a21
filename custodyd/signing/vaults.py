"""Vaults as the API shows and makes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from custodyd.chain.rules import VaultState
from custodyd.chain.tables import SIGNERS, VAULTS
from custodyd.chain.work import Work
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import admin_pb2
from custodyd.signing import ceremony, keygen
from custodyd.store.context import StageContext
from signer_node.kernel.documents.vault import VaultCertificate
from signer_node.kernel.vault.interface import VaultKindId
from signer_node.kernel.vault.making import kind_name
from signer_node.wire import decode

MAX_VAULTS: Final = 64
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


def get_vault(connection: Connection, name: str) -> admin_pb2.Vault:
    """A vault however far it is; raises VAULT_UNKNOWN."""
    row = connection.execute(select(VAULTS).where(VAULTS.c.vault == name)).one_or_none()
    if row is None:
        raise CustodydError(ErrorId.VAULT_UNKNOWN, name, field="vault")
    return _message(connection, row)


def list_vaults(connection: Connection) -> Sequence[admin_pb2.Vault]:
    """All vaults by name."""
    rows = connection.execute(select(VAULTS).order_by(VAULTS.c.vault)).all()
    return [_message(connection, row) for row in rows]


def propose(connection: Connection, context: StageContext, name: str, kind: str) -> None:
    """Begin a vault; raises ARGUMENT_INVALID, VAULT_EXISTS, VAULT_KIND_UNKNOWN."""
    if not _NAME.fullmatch(name):
        raise CustodydError(ErrorId.ARGUMENT_INVALID, f"vault {name!r}", field="vault")
    known = {kind_name(one): one for one in VaultKindId if one.value}
    if kind not in known:
        raise CustodydError(ErrorId.VAULT_KIND_UNKNOWN, kind, field="kind")
    names = set(connection.execute(select(VAULTS.c.vault)).scalars())
    if name in names:
        raise CustodydError(ErrorId.VAULT_EXISTS, name, field="vault")
    if len(names) >= MAX_VAULTS:
        raise CustodydError(ErrorId.ARGUMENT_INVALID, f"at most {MAX_VAULTS} vaults")
    ceremony.propose(Work(connection, context, context.now_s()), name, known[kind])


def _message(connection: Connection, row: Row[Any]) -> admin_pb2.Vault:
    vault = admin_pb2.Vault(
        vault=row.vault,
        kind=row.kind,
        state=admin_pb2.VaultState.ValueType(row.state.value),
        waiting_for=_waiting_for(connection, row),
    )
    keygen.describe(connection, vault)
    if row.draft is not None:
        vault.descriptor = decode(VaultCertificate, bytes(row.draft)).descriptor
    if row.certificate is not None:
        vault.certificate = bytes(row.certificate)
    return vault


def _waiting_for(connection: Connection, row: Row[Any]) -> Sequence[str]:
    if row.state is VaultState.CERTIFIED:
        return []
    if row.state is VaultState.PROPOSED:
        there = ceremony.answered(connection, row)
    else:
        there = set(ceremony.certificate_signatures(connection, bytes(row.digest)))
    nodes = connection.execute(select(SIGNERS.c.node).order_by(SIGNERS.c.node)).scalars()
    return [node for node in nodes if node not in there]
