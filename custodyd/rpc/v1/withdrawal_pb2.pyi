from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WithdrawalState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WITHDRAWAL_STATE_UNKNOWN: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_ACCEPTED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_HELD: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_QUEUED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_BATCHED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_COMMITTED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_BROADCAST: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_CONFIRMED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_FINAL: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_REJECTED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_CANCELLED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_EXPIRED: _ClassVar[WithdrawalState]

class BlockedReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BLOCKED_REASON_UNKNOWN: _ClassVar[BlockedReason]
    BLOCKED_REASON_NONE: _ClassVar[BlockedReason]
    BLOCKED_REASON_BATCH: _ClassVar[BlockedReason]
    BLOCKED_REASON_FUNDS: _ClassVar[BlockedReason]
    BLOCKED_REASON_APPROVALS: _ClassVar[BlockedReason]
    BLOCKED_REASON_PAYER: _ClassVar[BlockedReason]
    BLOCKED_REASON_SIGNERS: _ClassVar[BlockedReason]
    BLOCKED_REASON_CHAIN: _ClassVar[BlockedReason]
    BLOCKED_REASON_CONFIRMATIONS: _ClassVar[BlockedReason]
    BLOCKED_REASON_HELD: _ClassVar[BlockedReason]
WITHDRAWAL_STATE_UNKNOWN: WithdrawalState
WITHDRAWAL_STATE_ACCEPTED: WithdrawalState
WITHDRAWAL_STATE_HELD: WithdrawalState
WITHDRAWAL_STATE_QUEUED: WithdrawalState
WITHDRAWAL_STATE_BATCHED: WithdrawalState
WITHDRAWAL_STATE_COMMITTED: WithdrawalState
WITHDRAWAL_STATE_BROADCAST: WithdrawalState
WITHDRAWAL_STATE_CONFIRMED: WithdrawalState
WITHDRAWAL_STATE_FINAL: WithdrawalState
WITHDRAWAL_STATE_REJECTED: WithdrawalState
WITHDRAWAL_STATE_CANCELLED: WithdrawalState
WITHDRAWAL_STATE_EXPIRED: WithdrawalState
BLOCKED_REASON_UNKNOWN: BlockedReason
BLOCKED_REASON_NONE: BlockedReason
BLOCKED_REASON_BATCH: BlockedReason
BLOCKED_REASON_FUNDS: BlockedReason
BLOCKED_REASON_APPROVALS: BlockedReason
BLOCKED_REASON_PAYER: BlockedReason
BLOCKED_REASON_SIGNERS: BlockedReason
BLOCKED_REASON_CHAIN: BlockedReason
BLOCKED_REASON_CONFIRMATIONS: BlockedReason
BLOCKED_REASON_HELD: BlockedReason

class Withdrawal(_message.Message):
    __slots__ = ("external_id", "vault", "address", "amount_sat", "account", "state", "blocked_reason", "blocked_detail", "batch_id", "txid", "output", "confirmations", "created_at_s", "updated_at_s", "request_digest")
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    VAULT_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_SAT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_REASON_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_DETAIL_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    TXID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATIONS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_S_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_S_FIELD_NUMBER: _ClassVar[int]
    REQUEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    external_id: str
    vault: str
    address: str
    amount_sat: int
    account: str
    state: WithdrawalState
    blocked_reason: BlockedReason
    blocked_detail: str
    batch_id: str
    txid: str
    output: int
    confirmations: int
    created_at_s: int
    updated_at_s: int
    request_digest: bytes
    def __init__(self, external_id: _Optional[str] = ..., vault: _Optional[str] = ..., address: _Optional[str] = ..., amount_sat: _Optional[int] = ..., account: _Optional[str] = ..., state: _Optional[_Union[WithdrawalState, str]] = ..., blocked_reason: _Optional[_Union[BlockedReason, str]] = ..., blocked_detail: _Optional[str] = ..., batch_id: _Optional[str] = ..., txid: _Optional[str] = ..., output: _Optional[int] = ..., confirmations: _Optional[int] = ..., created_at_s: _Optional[int] = ..., updated_at_s: _Optional[int] = ..., request_digest: _Optional[bytes] = ...) -> None: ...

class CreateWithdrawalRequest(_message.Message):
    __slots__ = ("request_id", "signed_request", "validate_only")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    signed_request: bytes
    validate_only: bool
    def __init__(self, request_id: _Optional[str] = ..., signed_request: _Optional[bytes] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class CreateWithdrawalResponse(_message.Message):
    __slots__ = ("withdrawal", "store_incarnation")
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    STORE_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    withdrawal: Withdrawal
    store_incarnation: bytes
    def __init__(self, withdrawal: _Optional[_Union[Withdrawal, _Mapping]] = ..., store_incarnation: _Optional[bytes] = ...) -> None: ...

class GetWithdrawalRequest(_message.Message):
    __slots__ = ("external_id",)
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    external_id: str
    def __init__(self, external_id: _Optional[str] = ...) -> None: ...

class LookupWithdrawalsRequest(_message.Message):
    __slots__ = ("external_ids",)
    EXTERNAL_IDS_FIELD_NUMBER: _ClassVar[int]
    external_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, external_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class LookupWithdrawalsResponse(_message.Message):
    __slots__ = ("withdrawals", "store_incarnation")
    WITHDRAWALS_FIELD_NUMBER: _ClassVar[int]
    STORE_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    withdrawals: _containers.RepeatedCompositeFieldContainer[Withdrawal]
    store_incarnation: bytes
    def __init__(self, withdrawals: _Optional[_Iterable[_Union[Withdrawal, _Mapping]]] = ..., store_incarnation: _Optional[bytes] = ...) -> None: ...

class ListWithdrawalsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "state")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    state: WithdrawalState
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., state: _Optional[_Union[WithdrawalState, str]] = ...) -> None: ...

class ListWithdrawalsResponse(_message.Message):
    __slots__ = ("withdrawals", "next_page_token")
    WITHDRAWALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    withdrawals: _containers.RepeatedCompositeFieldContainer[Withdrawal]
    next_page_token: str
    def __init__(self, withdrawals: _Optional[_Iterable[_Union[Withdrawal, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
