"""The signer's error catalogue: every reason for which a signer node refuses, in one closed table.

The member's name is the stable id that crosses the wire, stands in logs and in
docs/reference/errors.md. An id never changes its meaning; a new meaning gets a new id.
Each entry says who may be at fault, what was seen, what to do, whether the same thing may succeed
later, and the exit code of a command that ends with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique


@unique
class Fault(Enum):
    """Who may be at fault; different people act on each."""

    UNKNOWN = "unknown"
    CALLER = "caller"
    COORDINATOR = "coordinator"
    PEER = "peer"
    OPERATOR = "operator"
    LOCAL = "local"


class ExitCode(Enum):
    """Exit codes of the commands; 2 is left to argparse for a wrong command line."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    UNAVAILABLE = 4
    CONFIGURATION = 5
    KEYS = 6
    STORAGE = 7


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """What the catalogue says of one id."""

    fault: Fault
    seen: str
    to_do: str
    retryable: bool
    exit_code: ExitCode


def _by_coordinator(seen: str, to_do: str, *, retryable: bool = False) -> ErrorEntry:
    return ErrorEntry(Fault.COORDINATOR, seen, to_do, retryable, ExitCode.REFUSED)


def _by_peer(seen: str, to_do: str) -> ErrorEntry:
    return ErrorEntry(Fault.PEER, seen, to_do, retryable=False, exit_code=ExitCode.REFUSED)


def _by_caller(seen: str, to_do: str) -> ErrorEntry:
    return ErrorEntry(Fault.CALLER, seen, to_do, retryable=False, exit_code=ExitCode.REFUSED)


def _by_operator(seen: str, to_do: str) -> ErrorEntry:
    return ErrorEntry(Fault.OPERATOR, seen, to_do, retryable=False, exit_code=ExitCode.REFUSED)


def _local(seen: str, to_do: str, exit_code: ExitCode, *, retryable: bool = False) -> ErrorEntry:
    return ErrorEntry(Fault.LOCAL, seen, to_do, retryable, exit_code)


_REPORT = "keep the envelope as evidence and look at the coordinator"
_REBUILD = "the coordinator must build the manifest again"


@unique
class ErrorId(Enum):
    """The catalogue. `ErrorId.X.name` is what crosses the wire."""

    # bytes and text
    BYTES_NOT_CANONICAL = _by_peer("bytes are not the canonical form of their type", _REPORT)
    BYTES_TOO_LONG = _by_peer("a message is longer than its limit", _REPORT)
    FIELD_MISSING = _by_peer("a required field is absent", _REPORT)
    FIELD_INVALID = _by_peer("a field is outside its range or form", _REPORT)
    ENUM_UNKNOWN = _by_peer("an enum has a value that this version does not know", _REPORT)
    TEXT_FORBIDDEN = _by_peer("a text holds control characters or bidi marks", _REPORT)

    # envelopes
    ENVELOPE_SIGNATURE_INVALID = _by_peer("an envelope's signature does not verify", _REPORT)
    ENVELOPE_SENDER_UNKNOWN = _by_peer("an envelope's sender is not in the genesis", _REPORT)
    ENVELOPE_SENDER_UNENTITLED = _by_peer("this sender may not send this type of payload", _REPORT)
    ENVELOPE_OTHER_RECIPIENT = _by_peer("an envelope is addressed to someone else", _REPORT)
    ENVELOPE_OTHER_GENESIS = _by_peer("an envelope belongs to another quorum", _REPORT)
    ENVELOPE_EXPIRED = _by_peer("an envelope's expiry has passed", "send it again, newly dated")

    # genesis and certificates
    GENESIS_INVALID = _by_coordinator(
        "the genesis contradicts itself or cannot be satisfied", "write a new genesis"
    )
    GENESIS_NOT_CONFIRMED = _by_operator(
        "nobody has confirmed the genesis words at this node yet",
        "compare the 24 words out of band, then run `signer-node genesis confirm`",
    )
    GENESIS_ALREADY_CONFIRMED = _by_operator(
        "this node already serves another genesis", "a node serves one quorum: make a new node"
    )
    GENESIS_WORDS_DIFFER = _by_operator(
        "the words typed are not those of the genesis received",
        "do not confirm; find out who shows other words",
    )
    GENESIS_NOT_MINE = _by_coordinator(
        "the genesis does not name this node with its own keys", "write a new genesis"
    )
    CERTIFICATE_INVALID = _by_coordinator(
        "a vault certificate does not follow from its keys and the genesis", _REPORT
    )
    CERTIFICATE_SIGNATURE_INVALID = _by_coordinator(
        "a vault certificate lacks a valid signature of every signer", _REPORT
    )
    CERTIFICATE_NOT_MINE = _by_coordinator(
        "a vault certificate names another key for this node than its own", _REPORT
    )
    VAULT_ALREADY_CERTIFIED = _by_coordinator(
        "the vault and epoch have another certificate already", _REPORT
    )
    VAULT_LIMIT_REACHED = _by_coordinator(
        "this node takes part in as many vaults as it may", "use an existing vault"
    )
    POSSESSION_INVALID = _by_peer(
        "a key comes without valid proof that its owner holds it", _REPORT
    )

    # key generation
    KEYGEN_PARTICIPANT_FAULTY = _by_peer(
        "a participant of a key generation deviated from the protocol",
        "the participant is named; look at it, then begin another attempt",
    )
    KEYGEN_PARTICIPANT_OR_COORDINATOR_FAULTY = _by_peer(
        "a participant of a key generation, or the coordinator that frames it, deviated from the"
        " protocol",
        "both are named; compare their journals, then begin another attempt",
    )
    KEYGEN_COORDINATOR_FAULTY = _by_coordinator(
        "the coordinator deviated from the protocol of key generation", _REPORT
    )
    KEYGEN_INTERRUPTED = _local(
        "this node no longer knows the secrets of this attempt at a key generation: it restarted",
        "nothing: the coordinator begins another attempt",
        ExitCode.REFUSED,
        retryable=True,
    )
    KEYGEN_ATTEMPT_OLD = _by_coordinator(
        "a message is of an attempt at a key generation that is not the latest", _REPORT
    )
    CEREMONY_NOT_CONFIRMED = _by_operator(
        "what was typed is not the fingerprint of the key generation shown",
        "look again at who takes part, then type the fingerprint",
    )
    HOST_KEY_WRONG = _by_operator(
        "the host key given is not the one that the genesis names for this node",
        "open the host key of this very node",
    )
    RECOVERY_DATA_INVALID = _by_operator(
        "recovery data is of no successful key generation, or of another quorum or vault",
        "get the recovery data of this vault from another node",
    )
    QUARANTINED = _local(
        "this node came back without its journal, and the request may have been paid before",
        "others sign it; this node signs requests issued after its recovery",
        ExitCode.REFUSED,
    )
    SHARE_MISSING = _local(
        "this node's share of a vault key is not where it was kept",
        "restore it from a backup, or by `signer-node recover`",
        ExitCode.KEYS,
    )

    # headers
    HEADER_INVALID = _by_coordinator(
        "a block header breaks the rules of its chain", "look at the chain node"
    )
    HEADER_UNCONNECTED = _by_coordinator(
        "block headers do not connect to the verified chain",
        "the coordinator must send headers from the node's tip on",
        retryable=True,
    )

    # requests
    REQUEST_MISSING = _by_coordinator("a payout names a request that is not there", _REBUILD)
    REQUEST_SIGNATURE_INVALID = _by_coordinator("a request's signature does not verify", _REPORT)
    REQUEST_KEY_UNKNOWN = _by_coordinator("a request's key is not in the genesis", _REPORT)
    REQUEST_INITIATOR_UNKNOWN = _by_caller(
        "a request's initiator is not one of the people behind its key", "name the right person"
    )
    REQUEST_OTHER_GENESIS = _by_caller("a request belongs to another quorum", "sign a new one")
    REQUEST_OTHER_VAULT = _by_coordinator("a request asks another vault to pay", _REBUILD)
    REQUEST_EXPIRED = _by_caller("a request's validity has passed", "sign a new request")
    REQUEST_TWICE = _by_coordinator("a manifest pays one withdrawal id twice", _REBUILD)
    REQUEST_ID_CONFLICT = _by_caller(
        "a withdrawal id came before with another body", "an id is unique for ever: use a new one"
    )
    REQUEST_KEYS_MIXED = _by_coordinator(
        "a manifest pays requests of two keys, and no one payer can confirm it", _REBUILD
    )
    REQUEST_SCRIPT_UNPAYABLE = _by_caller(
        "a request's script is no standard address", "ask for an address of a standard kind"
    )
    REQUEST_AMOUNT_DUST = _by_caller(
        "a request's amount is below the dust threshold of its script", "ask for more"
    )

    # manifests
    MANIFEST_OTHER_GENESIS = _by_coordinator("a manifest belongs to another quorum", _REPORT)
    MANIFEST_OTHER_VAULT = _by_coordinator("a manifest names an unknown vault", _REBUILD)
    MANIFEST_OTHER_POLICY = _by_coordinator("a manifest names a policy not in force", _REBUILD)
    MANIFEST_KIND_UNSUPPORTED = _by_coordinator(
        "a manifest is of a kind that is not signed here", _REBUILD
    )
    MANIFEST_EXPIRED = _by_coordinator(
        "a manifest has expired", "the coordinator must propose it again"
    )
    MANIFEST_NOT_YET_VALID = _by_coordinator("a manifest is not valid yet", "wait", retryable=True)
    MANIFEST_LIFETIME_TOO_LONG = _by_coordinator(
        "a manifest lives longer than the policy allows", _REBUILD
    )
    MANIFEST_UNKNOWN = _by_coordinator(
        "a message speaks of a manifest that this node did not accept",
        "the coordinator must deliver the manifest first",
        retryable=True,
    )
    MANIFEST_PSBT_INVALID = _by_coordinator("a PSBT is malformed or not strict", _REBUILD)
    MANIFEST_PSBT_FIELD_UNKNOWN = _by_coordinator(
        "a PSBT holds unknown or proprietary fields", _REBUILD
    )
    MANIFEST_SIGHASH_FORBIDDEN = _by_coordinator("a PSBT asks for another sighash type", _REBUILD)
    MANIFEST_VERSION_FORBIDDEN = _by_coordinator("the transaction's version is not 2", _REBUILD)
    MANIFEST_LOCKTIME_FORBIDDEN = _by_coordinator(
        "the transaction's locktime is a time or beyond the verified tip", _REBUILD
    )
    MANIFEST_SEQUENCE_FORBIDDEN = _by_coordinator("an input's sequence is not 0xfffffffd", _REBUILD)
    MANIFEST_WEIGHT_EXCEEDED = _by_coordinator("the transaction is too heavy to relay", _REBUILD)
    MANIFEST_OUTPUT_UNREQUESTED = _by_coordinator(
        "an output is neither a requested payout nor declared change", _REPORT
    )
    MANIFEST_OUTPUT_MISMATCH = _by_coordinator(
        "a payout differs from its request in script or amount", _REPORT
    )
    MANIFEST_OUTPUT_CLAIMED_TWICE = _by_coordinator(
        "the manifest says two things of one output", _REPORT
    )
    MANIFEST_PAYS_NOBODY = _by_coordinator("a payout manifest pays nobody", _REBUILD)
    MANIFEST_AMOUNTS_INVALID = _by_coordinator(
        "the outputs exceed the inputs or an amount is impossible", _REBUILD
    )
    CHANGE_SCRIPT_FOREIGN = _by_coordinator(
        "an output called change does not pay the vault's internal chain", _REPORT
    )
    CHANGE_INDEX_INVALID = _by_coordinator(
        "a change index was used before or lies beyond the gap", _REBUILD
    )
    CHANGE_TOO_MANY = _by_coordinator("more change outputs than the policy allows", _REBUILD)
    CHANGE_TOO_SMALL = _by_coordinator("a change output is below the policy's floor", _REBUILD)
    INPUT_EVIDENCE_MISSING = _by_coordinator("an input has no evidence", _REBUILD)
    INPUT_EVIDENCE_INVALID = _by_coordinator(
        "an input's evidence does not prove the output in the verified chain", _REPORT
    )
    INPUT_BLOCK_UNKNOWN = _by_coordinator(
        "an input's block is not in the chain of headers that this node verified",
        "the coordinator must send the headers first",
        retryable=True,
    )
    INPUT_UNCONFIRMED = _by_coordinator(
        "an unconfirmed input is not change of a manifest checked here, or not deep enough",
        _REBUILD,
        retryable=True,
    )
    INPUT_NOT_OURS = _by_coordinator("an input's output does not belong to the vault", _REPORT)
    INPUT_AMOUNT_MISMATCH = _by_coordinator(
        "the PSBT gives another amount or script for an input than its transaction", _REPORT
    )
    FEE_EXCEEDS_ABSOLUTE = _by_coordinator("the fee exceeds the absolute ceiling", _REBUILD)
    FEE_EXCEEDS_RATE = _by_coordinator("the fee rate exceeds the ceiling", _REBUILD)
    FEE_EXCEEDS_SHARE = _by_coordinator(
        "the fee exceeds the allowed share of what is paid out", _REBUILD
    )
    FEE_CEILING_EXCEEDS_POLICY = _by_coordinator(
        "the manifest's own fee ceilings exceed the policy's", _REBUILD
    )
    WITHDRAWAL_ALREADY_PAID = _by_coordinator(
        "a withdrawal was released in a manifest that this one does not conflict with", _REPORT
    )
    REPLACEMENT_INVALID = _by_coordinator(
        "a replacement does not pay what its parent pays from the same inputs", _REBUILD
    )

    # approvals and payer confirmation
    APPROVAL_SIGNATURE_INVALID = _by_coordinator("an approval's signature does not verify", _REPORT)
    APPROVAL_OTHER_MANIFEST = _by_coordinator("an approval is for another digest", _REPORT)
    APPROVAL_OTHER_POLICY = _by_coordinator("an approval is for another policy", _REPORT)
    APPROVAL_OPERATOR_UNKNOWN = _by_coordinator("an approval is by an unknown operator", _REPORT)
    APPROVAL_BY_REQUESTER = _by_operator(
        "an approval is by a person behind the request", "somebody else must approve"
    )
    APPROVAL_TWICE = _by_coordinator("one person approves twice", _REPORT)
    APPROVAL_EXPIRED = _by_operator("an approval is too old or from the future", "approve again")
    APPROVAL_INCONSISTENT = _by_operator(
        "an approval carries a reject reason, or a rejection none", "decide again"
    )
    APPROVALS_MISSING = _by_coordinator(
        "fewer approvals than the policy asks", "wait for the operators", retryable=True
    )
    APPROVAL_NODES_MISSING = _by_coordinator(
        "the approvals come from too few nodes", "wait for operators at other nodes", retryable=True
    )
    MANIFEST_REJECTED = _by_operator(
        "an operator at this node rejected the manifest", "look at the reason given"
    )
    PAYER_CONFIRMATION_MISSING = _by_coordinator(
        "the policy asks for the payer's confirmation", "wait for the backend", retryable=True
    )
    PAYER_CONFIRMATION_INVALID = _by_coordinator(
        "the payer's confirmation does not verify", _REPORT
    )
    PAYER_CONFIRMATION_OTHER_MANIFEST = _by_coordinator(
        "the payer's confirmation is for another manifest", _REPORT
    )
    PAYER_KEY_UNKNOWN = _by_coordinator(
        "the payer's confirmation is by a key not behind these requests", _REPORT
    )

    # signing
    PACKAGE_SIGNER_SET_INVALID = _by_coordinator(
        "a package's signer set is not t distinct members of the quorum with this node", _REPORT
    )
    PACKAGE_COMMITMENTS_DIFFER = _by_coordinator(
        "a package shows other commitments for this node than it made", _REPORT
    )
    PACKAGE_ROUND_UNKNOWN = _by_coordinator(
        "a package is of a round that this node did not open", "open a round first", retryable=True
    )
    PACKAGE_CONTRADICTS_RELEASED = _by_coordinator(
        "a share for these commitments was released for another package", _REPORT
    )
    SHARE_INVALID = _by_peer("a signer's share does not verify", "the signer is named; look at it")
    COMMITMENT_INVALID = _by_peer(
        "a signer's commitments are not what its vault's kind asks for",
        "the signer is named; look at it",
    )
    SIGNATURES_INCOMPLETE = _by_coordinator(
        "a transaction lacks valid signatures of a quorum", _REPORT
    )
    SESSION_LIMIT_REACHED = _by_coordinator(
        "more manifests are open than this node holds", "let some end first", retryable=True
    )

    # the node itself
    OPERATOR_KEY_UNKNOWN = _by_operator(
        "this key is of no operator enrolled at this node", "use the key that was enrolled here"
    )
    PASSPHRASE_WRONG = _local(
        "the passphrase does not open the sealed file", "try the right one", ExitCode.KEYS
    )
    PASSPHRASE_UNUSABLE = _local(
        "no passphrase came, or one that is too short or too long",
        "give --passphrase-fd N, --credentials-dir DIR, or use a terminal",
        ExitCode.KEYS,
    )
    KEY_FILE_INVALID = _local(
        "a sealed key file is damaged or of an unknown form",
        "restore it from a backup",
        ExitCode.KEYS,
    )
    JOURNAL_BROKEN = _local(
        "the journal's chain or signatures do not verify",
        "stop; restore the node by the runbook; keep the disk",
        ExitCode.STORAGE,
    )
    JOURNAL_NEWER = _local(
        "the journal was written by a newer version", "use that version", ExitCode.STORAGE
    )
    JOURNAL_UNWRITABLE = _local(
        "the journal cannot be written: nothing is signed",
        "make room or mend the disk, then restart",
        ExitCode.STORAGE,
    )
    CLOCK_UNSOUND = _local(
        "the clock went back or jumped: nothing is signed",
        "mend the clock, then restart",
        ExitCode.FAILED,
        retryable=True,
    )
    COORDINATOR_UNREACHABLE = _local(
        "the coordinator does not answer",
        "look at network and address",
        ExitCode.UNAVAILABLE,
        retryable=True,
    )
    DAEMON_UNREACHABLE = _local(
        "the signer node's daemon does not answer on its socket",
        "start it with `signer-node run`",
        ExitCode.UNAVAILABLE,
        retryable=True,
    )
    DAEMON_RUNNING = _local(
        "another process holds this data folder", "stop it first", ExitCode.STORAGE
    )
    CONSOLE_PEER_FORBIDDEN = _local(
        "another user than the node's own asks at its console",
        "run the command as the node's user",
        ExitCode.REFUSED,
    )
    CONSOLE_BUSY = _local(
        "more waits for this node's writer than it queues",
        "try again in a moment",
        ExitCode.UNAVAILABLE,
        retryable=True,
    )
    NOT_ENROLLED = _local(
        "the node has no transport certificate yet",
        "run `signer-node enroll` with a token of the coordinator's",
        ExitCode.CONFIGURATION,
    )
    CONFIG_INVALID = _local(
        "the configuration is wrong", "mend the line named", ExitCode.CONFIGURATION
    )
    FILE_UNREADABLE = _local(
        "a file is missing, unreadable or too open", "mend path or mode", ExitCode.CONFIGURATION
    )
    ALREADY_INITIALISED = _local(
        "the data folder already holds a node", "choose another folder", ExitCode.CONFIGURATION
    )
    NOT_INITIALISED = _local(
        "the data folder holds no node", "run `signer-node init` first", ExitCode.CONFIGURATION
    )
    ENROLMENT_REFUSED = _local(
        "the coordinator refused the enrolment",
        "get a new token for this slot",
        ExitCode.REFUSED,
    )
    DECISION_NOT_CONFIRMED = _by_operator(
        "what was typed is not the last group of the address shown",
        "look again at the address, then type its last group",
    )
    SUBJECT_NOT_FOUND = _by_operator(
        "nothing by that name waits at this node", "look at `signer-node list`"
    )


class Refusal(Exception):
    """A typed refusal: an id of the catalogue and what exactly was seen."""

    def __init__(self, error: ErrorId, detail: str = "") -> None:
        super().__init__(f"{error.name}: {detail or error.value.seen}")
        self.error = error
        self.detail = detail
