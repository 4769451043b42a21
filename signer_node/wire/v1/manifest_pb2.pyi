from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ManifestKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MANIFEST_KIND_UNKNOWN: _ClassVar[ManifestKind]
    MANIFEST_KIND_PAYOUT: _ClassVar[ManifestKind]

class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_UNKNOWN: _ClassVar[Decision]
    DECISION_APPROVE: _ClassVar[Decision]
    DECISION_REJECT: _ClassVar[Decision]

class RejectReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REJECT_REASON_UNKNOWN: _ClassVar[RejectReason]
    REJECT_REASON_NONE: _ClassVar[RejectReason]
    REJECT_REASON_WRONG_DESTINATION: _ClassVar[RejectReason]
    REJECT_REASON_WRONG_AMOUNT: _ClassVar[RejectReason]
    REJECT_REASON_SUSPECTED_FRAUD: _ClassVar[RejectReason]
    REJECT_REASON_FEE: _ClassVar[RejectReason]
    REJECT_REASON_OTHER: _ClassVar[RejectReason]
MANIFEST_KIND_UNKNOWN: ManifestKind
MANIFEST_KIND_PAYOUT: ManifestKind
DECISION_UNKNOWN: Decision
DECISION_APPROVE: Decision
DECISION_REJECT: Decision
REJECT_REASON_UNKNOWN: RejectReason
REJECT_REASON_NONE: RejectReason
REJECT_REASON_WRONG_DESTINATION: RejectReason
REJECT_REASON_WRONG_AMOUNT: RejectReason
REJECT_REASON_SUSPECTED_FRAUD: RejectReason
REJECT_REASON_FEE: RejectReason
REJECT_REASON_OTHER: RejectReason

class Payout(_message.Message):
    __slots__ = ("output", "request")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    output: int
    request: bytes
    def __init__(self, output: _Optional[int] = ..., request: _Optional[bytes] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("output", "index")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    output: int
    index: int
    def __init__(self, output: _Optional[int] = ..., index: _Optional[int] = ...) -> None: ...

class Inclusion(_message.Message):
    __slots__ = ("block_hash", "position", "branch", "coinbase", "coinbase_branch")
    BLOCK_HASH_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    COINBASE_FIELD_NUMBER: _ClassVar[int]
    COINBASE_BRANCH_FIELD_NUMBER: _ClassVar[int]
    block_hash: bytes
    position: int
    branch: _containers.RepeatedScalarFieldContainer[bytes]
    coinbase: bytes
    coinbase_branch: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, block_hash: _Optional[bytes] = ..., position: _Optional[int] = ..., branch: _Optional[_Iterable[bytes]] = ..., coinbase: _Optional[bytes] = ..., coinbase_branch: _Optional[_Iterable[bytes]] = ...) -> None: ...

class InputEvidence(_message.Message):
    __slots__ = ("previous_transaction", "chain", "index", "inclusion")
    PREVIOUS_TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INCLUSION_FIELD_NUMBER: _ClassVar[int]
    previous_transaction: bytes
    chain: int
    index: int
    inclusion: Inclusion
    def __init__(self, previous_transaction: _Optional[bytes] = ..., chain: _Optional[int] = ..., index: _Optional[int] = ..., inclusion: _Optional[_Union[Inclusion, _Mapping]] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("genesis", "certificate", "policy", "kind", "batch_id", "psbt", "payouts", "changes", "evidence", "max_fee_sat", "max_fee_rate_sat_vb", "replaces", "not_before_s", "expires_at_s")
    GENESIS_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    PSBT_FIELD_NUMBER: _ClassVar[int]
    PAYOUTS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    MAX_FEE_SAT_FIELD_NUMBER: _ClassVar[int]
    MAX_FEE_RATE_SAT_VB_FIELD_NUMBER: _ClassVar[int]
    REPLACES_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_S_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_S_FIELD_NUMBER: _ClassVar[int]
    genesis: bytes
    certificate: bytes
    policy: bytes
    kind: ManifestKind
    batch_id: str
    psbt: bytes
    payouts: _containers.RepeatedCompositeFieldContainer[Payout]
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    evidence: _containers.RepeatedCompositeFieldContainer[InputEvidence]
    max_fee_sat: int
    max_fee_rate_sat_vb: int
    replaces: bytes
    not_before_s: int
    expires_at_s: int
    def __init__(self, genesis: _Optional[bytes] = ..., certificate: _Optional[bytes] = ..., policy: _Optional[bytes] = ..., kind: _Optional[_Union[ManifestKind, str]] = ..., batch_id: _Optional[str] = ..., psbt: _Optional[bytes] = ..., payouts: _Optional[_Iterable[_Union[Payout, _Mapping]]] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., evidence: _Optional[_Iterable[_Union[InputEvidence, _Mapping]]] = ..., max_fee_sat: _Optional[int] = ..., max_fee_rate_sat_vb: _Optional[int] = ..., replaces: _Optional[bytes] = ..., not_before_s: _Optional[int] = ..., expires_at_s: _Optional[int] = ...) -> None: ...

class ManifestProposal(_message.Message):
    __slots__ = ("manifest", "requests")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    manifest: bytes
    requests: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, manifest: _Optional[bytes] = ..., requests: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("subject", "accepted", "error", "detail")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    subject: bytes
    accepted: bool
    error: str
    detail: str
    def __init__(self, subject: _Optional[bytes] = ..., accepted: _Optional[bool] = ..., error: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Approval(_message.Message):
    __slots__ = ("genesis", "policy", "manifest", "decision", "reason", "text", "outputs", "person", "decided_at_s")
    GENESIS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_S_FIELD_NUMBER: _ClassVar[int]
    genesis: bytes
    policy: bytes
    manifest: bytes
    decision: Decision
    reason: RejectReason
    text: str
    outputs: _containers.RepeatedScalarFieldContainer[int]
    person: str
    decided_at_s: int
    def __init__(self, genesis: _Optional[bytes] = ..., policy: _Optional[bytes] = ..., manifest: _Optional[bytes] = ..., decision: _Optional[_Union[Decision, str]] = ..., reason: _Optional[_Union[RejectReason, str]] = ..., text: _Optional[str] = ..., outputs: _Optional[_Iterable[int]] = ..., person: _Optional[str] = ..., decided_at_s: _Optional[int] = ...) -> None: ...
