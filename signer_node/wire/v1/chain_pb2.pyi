from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Headers(_message.Message):
    __slots__ = ("headers",)
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    headers: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, headers: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("journal_sequence", "journal_head", "policy", "tip_height", "tip_hash", "sent_at_s")
    JOURNAL_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_HEAD_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    TIP_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIP_HASH_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_S_FIELD_NUMBER: _ClassVar[int]
    journal_sequence: int
    journal_head: bytes
    policy: bytes
    tip_height: int
    tip_hash: bytes
    sent_at_s: int
    def __init__(self, journal_sequence: _Optional[int] = ..., journal_head: _Optional[bytes] = ..., policy: _Optional[bytes] = ..., tip_height: _Optional[int] = ..., tip_hash: _Optional[bytes] = ..., sent_at_s: _Optional[int] = ...) -> None: ...
