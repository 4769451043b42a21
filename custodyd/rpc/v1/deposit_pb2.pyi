from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DepositState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEPOSIT_STATE_UNKNOWN: _ClassVar[DepositState]
    DEPOSIT_STATE_SEEN: _ClassVar[DepositState]
    DEPOSIT_STATE_CONFIRMING: _ClassVar[DepositState]
    DEPOSIT_STATE_CREDITABLE: _ClassVar[DepositState]
    DEPOSIT_STATE_QUARANTINED: _ClassVar[DepositState]
    DEPOSIT_STATE_REORGED: _ClassVar[DepositState]
DEPOSIT_STATE_UNKNOWN: DepositState
DEPOSIT_STATE_SEEN: DepositState
DEPOSIT_STATE_CONFIRMING: DepositState
DEPOSIT_STATE_CREDITABLE: DepositState
DEPOSIT_STATE_QUARANTINED: DepositState
DEPOSIT_STATE_REORGED: DepositState

class Deposit(_message.Message):
    __slots__ = ("txid", "vout", "vault", "index", "address", "amount_sat", "state", "height", "block_hash", "confirmations")
    TXID_FIELD_NUMBER: _ClassVar[int]
    VOUT_FIELD_NUMBER: _ClassVar[int]
    VAULT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_SAT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_HASH_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATIONS_FIELD_NUMBER: _ClassVar[int]
    txid: str
    vout: int
    vault: str
    index: int
    address: str
    amount_sat: int
    state: DepositState
    height: int
    block_hash: str
    confirmations: int
    def __init__(self, txid: _Optional[str] = ..., vout: _Optional[int] = ..., vault: _Optional[str] = ..., index: _Optional[int] = ..., address: _Optional[str] = ..., amount_sat: _Optional[int] = ..., state: _Optional[_Union[DepositState, str]] = ..., height: _Optional[int] = ..., block_hash: _Optional[str] = ..., confirmations: _Optional[int] = ...) -> None: ...

class WatchAddressesRequest(_message.Message):
    __slots__ = ("vault", "count")
    VAULT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    vault: str
    count: int
    def __init__(self, vault: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class WatchAddressesResponse(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class ListDepositsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "state")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    state: DepositState
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., state: _Optional[_Union[DepositState, str]] = ...) -> None: ...

class ListDepositsResponse(_message.Message):
    __slots__ = ("deposits", "next_page_token")
    DEPOSITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    deposits: _containers.RepeatedCompositeFieldContainer[Deposit]
    next_page_token: str
    def __init__(self, deposits: _Optional[_Iterable[_Union[Deposit, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
