from custodyd.rpc.v1 import withdrawal_pb2 as _withdrawal_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BatchState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BATCH_STATE_UNKNOWN: _ClassVar[BatchState]
    BATCH_STATE_PROPOSED: _ClassVar[BatchState]
    BATCH_STATE_APPROVED: _ClassVar[BatchState]
    BATCH_STATE_COMMITTED: _ClassVar[BatchState]
    BATCH_STATE_SIGNED: _ClassVar[BatchState]
    BATCH_STATE_BROADCAST: _ClassVar[BatchState]
    BATCH_STATE_CONFIRMED: _ClassVar[BatchState]
    BATCH_STATE_FINAL: _ClassVar[BatchState]
    BATCH_STATE_REJECTED: _ClassVar[BatchState]
    BATCH_STATE_ABANDONED: _ClassVar[BatchState]
    BATCH_STATE_REPLACED: _ClassVar[BatchState]
BATCH_STATE_UNKNOWN: BatchState
BATCH_STATE_PROPOSED: BatchState
BATCH_STATE_APPROVED: BatchState
BATCH_STATE_COMMITTED: BatchState
BATCH_STATE_SIGNED: BatchState
BATCH_STATE_BROADCAST: BatchState
BATCH_STATE_CONFIRMED: BatchState
BATCH_STATE_FINAL: BatchState
BATCH_STATE_REJECTED: BatchState
BATCH_STATE_ABANDONED: BatchState
BATCH_STATE_REPLACED: BatchState

class Batch(_message.Message):
    __slots__ = ("batch_id", "vault", "state", "blocked_reason", "blocked_detail", "manifest_digest", "external_ids", "paid_sat", "fee_sat", "change_sat", "input_count", "txid", "confirmations", "created_at_s", "expires_at_s", "replaces_batch_id", "rounds")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    VAULT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_REASON_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_DETAIL_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_IDS_FIELD_NUMBER: _ClassVar[int]
    PAID_SAT_FIELD_NUMBER: _ClassVar[int]
    FEE_SAT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_SAT_FIELD_NUMBER: _ClassVar[int]
    INPUT_COUNT_FIELD_NUMBER: _ClassVar[int]
    TXID_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATIONS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_S_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_S_FIELD_NUMBER: _ClassVar[int]
    REPLACES_BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    batch_id: str
    vault: str
    state: BatchState
    blocked_reason: _withdrawal_pb2.BlockedReason
    blocked_detail: str
    manifest_digest: bytes
    external_ids: _containers.RepeatedScalarFieldContainer[str]
    paid_sat: int
    fee_sat: int
    change_sat: int
    input_count: int
    txid: str
    confirmations: int
    created_at_s: int
    expires_at_s: int
    replaces_batch_id: str
    rounds: int
    def __init__(self, batch_id: _Optional[str] = ..., vault: _Optional[str] = ..., state: _Optional[_Union[BatchState, str]] = ..., blocked_reason: _Optional[_Union[_withdrawal_pb2.BlockedReason, str]] = ..., blocked_detail: _Optional[str] = ..., manifest_digest: _Optional[bytes] = ..., external_ids: _Optional[_Iterable[str]] = ..., paid_sat: _Optional[int] = ..., fee_sat: _Optional[int] = ..., change_sat: _Optional[int] = ..., input_count: _Optional[int] = ..., txid: _Optional[str] = ..., confirmations: _Optional[int] = ..., created_at_s: _Optional[int] = ..., expires_at_s: _Optional[int] = ..., replaces_batch_id: _Optional[str] = ..., rounds: _Optional[int] = ...) -> None: ...

class GetBatchRequest(_message.Message):
    __slots__ = ("batch_id",)
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    batch_id: str
    def __init__(self, batch_id: _Optional[str] = ...) -> None: ...

class ListBatchesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "state")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    state: BatchState
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., state: _Optional[_Union[BatchState, str]] = ...) -> None: ...

class ListBatchesResponse(_message.Message):
    __slots__ = ("batches", "next_page_token")
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    batches: _containers.RepeatedCompositeFieldContainer[Batch]
    next_page_token: str
    def __init__(self, batches: _Optional[_Iterable[_Union[Batch, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListUnconfirmedManifestsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnconfirmedManifest(_message.Message):
    __slots__ = ("batch_id", "proposal")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    batch_id: str
    proposal: bytes
    def __init__(self, batch_id: _Optional[str] = ..., proposal: _Optional[bytes] = ...) -> None: ...

class ListUnconfirmedManifestsResponse(_message.Message):
    __slots__ = ("manifests",)
    MANIFESTS_FIELD_NUMBER: _ClassVar[int]
    manifests: _containers.RepeatedCompositeFieldContainer[UnconfirmedManifest]
    def __init__(self, manifests: _Optional[_Iterable[_Union[UnconfirmedManifest, _Mapping]]] = ...) -> None: ...

class ConfirmManifestRequest(_message.Message):
    __slots__ = ("batch_id", "signed_confirmation")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNED_CONFIRMATION_FIELD_NUMBER: _ClassVar[int]
    batch_id: str
    signed_confirmation: bytes
    def __init__(self, batch_id: _Optional[str] = ..., signed_confirmation: _Optional[bytes] = ...) -> None: ...

class ConfirmManifestResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
