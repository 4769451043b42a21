"""Who calls: the one URI SAN of the client certificate, and which methods each role may call.

`spiffe://custodyd/<role>/<name>`. A method that is not in METHOD_ROLES is closed to everybody; a
test holds that every method served is in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

import grpc

from custodyd.errors import CustodydError, ErrorId

TRUST_DOMAIN: Final = "custodyd"
# Every call asks for its caller; what is parsed is a function of the text alone.
_PARSED: Final = 256
_URI: Final = re.compile(r"spiffe://custodyd/([a-z]+)/([a-z][a-z0-9-]{0,31})")


class Role(Enum):
    """What a certificate entitles to."""

    UNKNOWN = ""
    SIGNER = "signer"
    BACKEND = "backend"
    ADMIN = "admin"
    OBSERVER = "observer"
    COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True)
class Identity:
    """A role and a name in it."""

    role: Role
    name: str

    @property
    def uri(self) -> str:
        """As it stands in a certificate."""
        return f"spiffe://{TRUST_DOMAIN}/{self.role.value}/{self.name}"


_ENROLLED: Final = frozenset({Role.SIGNER, Role.BACKEND, Role.ADMIN, Role.OBSERVER})
_READERS: Final = frozenset({Role.BACKEND, Role.ADMIN, Role.OBSERVER})
_BACKEND: Final = frozenset({Role.BACKEND})
_ADMIN: Final = frozenset({Role.ADMIN})
_RPC: Final = "/custodyd.rpc.v1."
_REFLECTION: Final = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

METHOD_ROLES: Final[dict[str, frozenset[Role]]] = {
    f"{_RPC}WithdrawalService/CreateWithdrawal": _BACKEND,
    f"{_RPC}WithdrawalService/GetWithdrawal": _READERS,
    f"{_RPC}WithdrawalService/LookupWithdrawals": _READERS,
    f"{_RPC}WithdrawalService/ListWithdrawals": _READERS,
    f"{_RPC}DepositService/WatchAddresses": _BACKEND,
    f"{_RPC}DepositService/ListDeposits": _READERS,
    f"{_RPC}EventService/WatchEvents": _READERS,
    f"{_RPC}BatchService/GetBatch": _READERS,
    f"{_RPC}BatchService/ListBatches": _READERS,
    f"{_RPC}BatchService/ListUnconfirmedManifests": _BACKEND,
    f"{_RPC}BatchService/ConfirmManifest": _BACKEND,
    f"{_RPC}AdminService/GetGenesis": _READERS,
    f"{_RPC}AdminService/GetVault": _READERS,
    f"{_RPC}AdminService/ListVaults": _READERS,
    f"{_RPC}AdminService/GetBalance": _READERS,
    f"{_RPC}AdminService/GetStatus": _READERS,
    f"{_RPC}AdminService/CreateVault": _ADMIN,
    f"{_RPC}AdminService/ReleaseHolds": _ADMIN,
    "/signer_node.mailbox.v1.MailboxService/Sync": frozenset({Role.SIGNER}),
    "/signer_node.mailbox.v1.EnrolmentService/Renew": _ENROLLED,
    "/grpc.health.v1.Health/Check": _ENROLLED,
    # Closed: it would hold a worker for as long as somebody looks.
    "/grpc.health.v1.Health/Watch": frozenset(),
    "/grpc.health.v1.Health/List": _ENROLLED,
    _REFLECTION: _ENROLLED,
}

# What the enrolment port serves, where callers have no certificate yet.
OPEN_METHODS: Final = frozenset({"/signer_node.mailbox.v1.EnrolmentService/Enroll"})


@lru_cache(maxsize=_PARSED)
def parse_identity(uri: str) -> Identity:
    """The identity of a URI SAN; raises IDENTITY_MISSING."""
    found = _URI.fullmatch(uri)
    if found is None or found[1] not in {role.value for role in Role if role.value}:
        raise CustodydError(ErrorId.IDENTITY_MISSING, "the certificate names no identity of ours")
    return Identity(Role(found[1]), found[2])


def caller_of(context: grpc.ServicerContext) -> Identity:
    """Who called; the certificate itself was verified by TLS. Raises IDENTITY_MISSING."""
    found = context.auth_context().get("peer_spiffe_id", ())
    if len(found) != 1:
        raise CustodydError(ErrorId.IDENTITY_MISSING)
    raw = found[0]
    return parse_identity(raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(raw))


def require_open(method: str) -> None:
    """Raise ROLE_FORBIDDEN unless the method is for callers without a certificate."""
    if method not in OPEN_METHODS:
        raise CustodydError(ErrorId.ROLE_FORBIDDEN, "not served on the enrolment port")


def require_role(method: str, caller: Identity) -> None:
    """Raise ROLE_FORBIDDEN unless the table lets this role call the method."""
    if caller.role not in METHOD_ROLES.get(method, frozenset()):
        raise CustodydError(
            ErrorId.ROLE_FORBIDDEN, f"{caller.role.value} may not call {method.rsplit('/', 1)[-1]}"
        )
