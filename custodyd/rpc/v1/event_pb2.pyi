from custodyd.rpc.v1 import batch_pb2 as _batch_pb2
from custodyd.rpc.v1 import deposit_pb2 as _deposit_pb2
from custodyd.rpc.v1 import withdrawal_pb2 as _withdrawal_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("sequence", "at_s", "withdrawal", "deposit", "batch", "heartbeat")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    AT_S_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    DEPOSIT_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    at_s: int
    withdrawal: _withdrawal_pb2.Withdrawal
    deposit: _deposit_pb2.Deposit
    batch: _batch_pb2.Batch
    heartbeat: Heartbeat
    def __init__(self, sequence: _Optional[int] = ..., at_s: _Optional[int] = ..., withdrawal: _Optional[_Union[_withdrawal_pb2.Withdrawal, _Mapping]] = ..., deposit: _Optional[_Union[_deposit_pb2.Deposit, _Mapping]] = ..., batch: _Optional[_Union[_batch_pb2.Batch, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("chain_height",)
    CHAIN_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    chain_height: int
    def __init__(self, chain_height: _Optional[int] = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ("after_sequence", "store_incarnation")
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STORE_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    after_sequence: int
    store_incarnation: bytes
    def __init__(self, after_sequence: _Optional[int] = ..., store_incarnation: _Optional[bytes] = ...) -> None: ...

class WatchEventsResponse(_message.Message):
    __slots__ = ("event", "store_incarnation")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    STORE_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    event: Event
    store_incarnation: bytes
    def __init__(self, event: _Optional[_Union[Event, _Mapping]] = ..., store_incarnation: _Optional[bytes] = ...) -> None: ...
