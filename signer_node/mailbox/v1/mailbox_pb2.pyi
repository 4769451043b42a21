from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SyncRequest(_message.Message):
    __slots__ = ("outbox", "cursor", "store_incarnation", "wait_ms")
    OUTBOX_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    STORE_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    outbox: _containers.RepeatedScalarFieldContainer[bytes]
    cursor: int
    store_incarnation: bytes
    wait_ms: int
    def __init__(self, outbox: _Optional[_Iterable[bytes]] = ..., cursor: _Optional[int] = ..., store_incarnation: _Optional[bytes] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class InboxItem(_message.Message):
    __slots__ = ("sequence", "envelope")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    envelope: bytes
    def __init__(self, sequence: _Optional[int] = ..., envelope: _Optional[bytes] = ...) -> None: ...

class SyncResponse(_message.Message):
    __slots__ = ("store_incarnation", "inbox")
    STORE_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    INBOX_FIELD_NUMBER: _ClassVar[int]
    store_incarnation: bytes
    inbox: _containers.RepeatedCompositeFieldContainer[InboxItem]
    def __init__(self, store_incarnation: _Optional[bytes] = ..., inbox: _Optional[_Iterable[_Union[InboxItem, _Mapping]]] = ...) -> None: ...
