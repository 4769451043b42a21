"""The coordinator's error catalogue: every reason for which custodyd says no, in one closed table.

Same shape and same promises as the signer's (`signer_node.kernel.errors`): the member's name is the
stable id that crosses the API as ErrorInfo.reason, stands in logs and in docs/reference/errors.md;
an id never changes its meaning. What a kernel check refuses keeps the signer's id, so that a
backend sees one name for one fault wherever it is found. `custodyd.api.errors` alone maps both
catalogues to gRPC.
"""

from __future__ import annotations

from enum import Enum, unique

from signer_node.kernel.errors import ErrorEntry, ExitCode, Fault


def _by_caller(seen: str, to_do: str, *, retryable: bool = False) -> ErrorEntry:
    return ErrorEntry(Fault.CALLER, seen, to_do, retryable, ExitCode.REFUSED)


def _by_peer(seen: str, to_do: str) -> ErrorEntry:
    return ErrorEntry(Fault.PEER, seen, to_do, retryable=False, exit_code=ExitCode.REFUSED)


def _local(seen: str, to_do: str, exit_code: ExitCode, *, retryable: bool = False) -> ErrorEntry:
    return ErrorEntry(Fault.LOCAL, seen, to_do, retryable, exit_code)


_MEND_CALL = "mend the call"
_NEW_ID = "an id is unique for ever: use a new one"


@unique
class ErrorId(Enum):
    """The catalogue. `ErrorId.X.name` is what crosses the API."""

    # calls
    ARGUMENT_INVALID = _by_caller(
        "an argument is missing or has a form that is not valid", _MEND_CALL
    )
    DEADLINE_REQUIRED = _by_caller(
        "the call has no deadline", "set a deadline on every call (the client library does)"
    )
    MESSAGE_TOO_LARGE = _by_caller("the call's message is too large", "ask for less at once")
    IDENTITY_MISSING = _by_caller(
        "the connection shows no client certificate with an identity of this quorum",
        "enrol first, then call with the certificate received",
    )
    ROLE_FORBIDDEN = _by_caller(
        "this role may not call this method", "call as a role that may (docs/reference/api.md)"
    )
    PAGE_TOKEN_INVALID = _by_caller(
        "a page token is not one that was given for this filter", "start again at the first page"
    )
    EVENTS_COMPACTED = _by_caller(
        "events after this sequence are no longer kept",
        "read the present state by list calls, then watch from the sequence that is given",
    )
    STORE_INCARNATION_CHANGED = _by_caller(
        "the sequence belongs to another incarnation of the store",
        "submit requests that are not final again, then watch from the start",
    )
    SUBSCRIBERS_EXHAUSTED = _by_caller(
        "as many streams are open as this server holds",
        "close others or retry later",
        retryable=True,
    )
    NOT_FOUND = _by_caller("nothing by that name is here", "look at the list")

    # withdrawals
    REQUEST_ID_REUSED = _by_caller(
        "this request_id came before with another body", "use a new request_id for a new call"
    )
    WITHDRAWAL_ID_REUSED = _by_caller("this withdrawal id came before with another body", _NEW_ID)
    VALIDITY_TOO_LONG = _by_caller(
        "a request is valid from the future or for longer than accepted", "sign a shorter validity"
    )
    AMOUNT_TOO_LARGE = _by_caller("no amount like this exists in Bitcoin", "ask for less")
    VAULT_UNKNOWN = _by_caller("no certified vault has this name", "look at ListVaults")
    VAULT_EXISTS = _by_caller("a vault of this name exists already", "choose another name")
    VAULT_KIND_UNKNOWN = _by_caller(
        "no vault kind has this name", "choose taproot-frost or wsh-sortedmulti"
    )
    STATE_TRANSITION_FORBIDDEN = _local(
        "a change of state that the table does not allow",
        "this is a defect: keep the log and report it",
        ExitCode.FAILED,
    )
    WATCH_COUNT_TOO_LARGE = _by_caller(
        "more addresses are to be watched than a vault may have", "watch fewer"
    )
    BATCH_NOT_WAITING = _by_caller(
        "this batch does not wait for a payer's confirmation", "look at the batch"
    )
    PAYER_CONFIRMATION_DIFFERS = _by_caller(
        "another payer's confirmation is stored for this batch already", "look at the batch"
    )

    # genesis and enrolment
    GENESIS_MISSING = _local(
        "this coordinator has no genesis yet",
        "enrol every slot, then run `custodyd genesis create`",
        ExitCode.CONFIGURATION,
        retryable=True,
    )
    GENESIS_EXISTS = _local(
        "this coordinator has a genesis already",
        "a coordinator serves one quorum",
        ExitCode.CONFIGURATION,
    )
    SLOTS_UNFILLED = _local(
        "slots are not enrolled yet",
        "enrol the slots named",
        ExitCode.CONFIGURATION,
        retryable=True,
    )
    TOKEN_INVALID = _by_caller(
        "the enrolment token opens no slot", "ask the coordinator's SRE for a new token"
    )
    TOKEN_USED = _by_caller(
        "the enrolment token was used with other content",
        "repeat the very same enrolment, or ask for a new token",
    )
    SLOT_KIND_DIFFERS = _by_caller(
        "the slot is for another kind of applicant", "use the token of the right slot"
    )
    SLOT_EXISTS = _local(
        "a slot of this role and name exists already", "choose another name", ExitCode.REFUSED
    )
    CERTIFICATE_REQUEST_INVALID = _by_caller(
        "the certificate request does not parse or verify", "make a new one"
    )
    ENVELOPE_UNDECODABLE = _by_peer(
        "a node delivered an envelope that cannot be read", "keep it as evidence; look at the node"
    )

    # the coordinator itself
    STORE_BUSY = _local("the database is busy", "retry later", ExitCode.UNAVAILABLE, retryable=True)
    STORE_UNREACHABLE = _local(
        "the database does not answer", "look at the database", ExitCode.STORAGE, retryable=True
    )
    STORE_SCHEMA_DIFFERS = _local(
        "the database's schema is not the one of this version",
        "run `custodyd migrate`, or the version that wrote it",
        ExitCode.STORAGE,
    )
    WRITER_OVERLOADED = _local(
        "more writes wait than this process holds",
        "retry later",
        ExitCode.UNAVAILABLE,
        retryable=True,
    )
    LEASE_LOST = _local(
        "another replica holds the lease by now",
        "nothing: it goes on there",
        ExitCode.UNAVAILABLE,
        retryable=True,
    )
    CHAIN_UNREACHABLE = _local(
        "the chain node does not answer",
        "look at the chain node",
        ExitCode.UNAVAILABLE,
        retryable=True,
    )
    CHAIN_REFUSED = _local("the chain node refused a call", "look at its log", ExitCode.FAILED)
    CHAIN_OTHER_NETWORK = _local(
        "the chain node is on another network than configured",
        "mend network or address",
        ExitCode.CONFIGURATION,
    )
    CONFIG_INVALID = _local(
        "the configuration is wrong", "mend the line named", ExitCode.CONFIGURATION
    )
    FILE_UNREADABLE = _local(
        "a file is missing, unreadable or too open", "mend path or mode", ExitCode.CONFIGURATION
    )
    ALREADY_INITIALISED = _local(
        "the data folder already holds a coordinator",
        "choose another folder",
        ExitCode.CONFIGURATION,
    )
    NOT_INITIALISED = _local(
        "the data folder holds no coordinator", "run `custodyd init` first", ExitCode.CONFIGURATION
    )
    DAEMON_RUNNING = _local(
        "another process holds this data folder", "stop it first", ExitCode.STORAGE
    )
    PORT_TAKEN = _local(
        "an address to listen on is taken",
        "stop who holds it or configure another",
        ExitCode.CONFIGURATION,
    )
    COORDINATOR_UNREACHABLE = _local(
        "the coordinator does not answer",
        "look at network and address",
        ExitCode.UNAVAILABLE,
        retryable=True,
    )
    SHUTTING_DOWN = _local(
        "the server is stopping", "connect again", ExitCode.UNAVAILABLE, retryable=True
    )
    # the exchange's side (custodyd.client)
    CLIENT_NOT_INITIALISED = _local(
        "the folder holds no request key",
        "run `custodyd backend init` first",
        ExitCode.CONFIGURATION,
    )
    CLIENT_ALREADY_INITIALISED = _local(
        "the folder already holds a client's key", "choose another folder", ExitCode.CONFIGURATION
    )
    CLIENT_NOT_ENROLLED = _local(
        "the folder holds no transport certificate",
        "get a token by `custodyd token create`, then enrol with it",
        ExitCode.CONFIGURATION,
    )
    TOKEN_MALFORMED = _local(
        "this is no enrolment token", "copy the token again, whole", ExitCode.USAGE
    )
    AUTHORITY_DIFFERS = _local(
        "the server's certificate authority is not the one that the token names",
        "do not enrol; find out who answers at that address",
        ExitCode.REFUSED,
    )
    GENESIS_NOT_PINNED = _local(
        "nobody has confirmed the genesis words here yet",
        "compare the 24 words out of band, then run `custodyd backend genesis confirm`",
        ExitCode.CONFIGURATION,
    )
    GENESIS_DIFFERS = _local(
        "the coordinator shows another genesis than the one confirmed here",
        "stop; find out who changed the coordinator",
        ExitCode.REFUSED,
    )
    KEY_NOT_IN_GENESIS = _local(
        "the genesis does not name this request key", "write a new genesis", ExitCode.REFUSED
    )
    VAULT_NOT_PINNED = _local(
        "no certificate of this vault was verified here yet",
        "wait until the vault is certified, then ask again",
        ExitCode.REFUSED,
        retryable=True,
    )
    VAULT_PINNED_OTHERWISE = _local(
        "the coordinator shows another certificate than the one pinned here",
        "stop; find out who changed the coordinator",
        ExitCode.REFUSED,
    )
    INDEX_EXHAUSTED = _local(
        "every deposit index of the vault was handed out", "make a new vault", ExitCode.FAILED
    )
    LEDGER_NEWER = _local(
        "the ledger was written by a newer version", "use that version", ExitCode.STORAGE
    )
    OPEN_REQUESTS_EXHAUSTED = _local(
        "more requests are open than the ledger holds",
        "wait until some are final",
        ExitCode.REFUSED,
        retryable=True,
    )
    CHAIN_INVALID = _local(
        "the chain node's headers break the rules of the chain",
        "look at the chain node",
        ExitCode.REFUSED,
    )
    DEPOSIT_UNPROVEN = _local(
        "what was called a deposit is not proved by the verified chain",
        "do not credit; look at coordinator and chain node",
        ExitCode.REFUSED,
    )
    PAYMENT_UNPROVEN = _local(
        "what was called a payment is not proved by the verified chain",
        "do not close; look at coordinator and chain node",
        ExitCode.REFUSED,
    )
    MANIFEST_NOT_OURS = _by_peer(
        "a manifest pays what this ledger did not ask for, or elsewhere",
        "nothing was confirmed; keep the manifest and look at the coordinator",
    )
    PAYMENTS_FILE_INVALID = _by_caller(
        "the file of payments has lines that cannot be paid",
        "mend the lines named; nothing was submitted",
    )

    # defects
    INTERNAL = _local("a defect", "keep the log and report it", ExitCode.FAILED)


class CustodydError(Exception):
    """An id of the catalogue and what exactly was seen; `field` names the argument at fault."""

    def __init__(self, error: ErrorId, detail: str = "", *, field: str = "") -> None:
        super().__init__(f"{error.name}: {detail or error.value.seen}")
        self.error = error
        self.detail = detail
        self.field = field
