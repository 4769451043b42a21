from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecordKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORD_KIND_UNKNOWN: _ClassVar[RecordKind]
    RECORD_KIND_BOOT: _ClassVar[RecordKind]
    RECORD_KIND_GENESIS_CONFIRMED: _ClassVar[RecordKind]
    RECORD_KIND_HEADERS: _ClassVar[RecordKind]
    RECORD_KIND_COSIGNER_KEY: _ClassVar[RecordKind]
    RECORD_KIND_CERTIFICATE_SIGNED: _ClassVar[RecordKind]
    RECORD_KIND_VAULT_CERTIFIED: _ClassVar[RecordKind]
    RECORD_KIND_MANIFEST_CHECKED: _ClassVar[RecordKind]
    RECORD_KIND_REFUSED: _ClassVar[RecordKind]
    RECORD_KIND_DECISION: _ClassVar[RecordKind]
    RECORD_KIND_COMMITTED: _ClassVar[RecordKind]
    RECORD_KIND_RELEASED: _ClassVar[RecordKind]
RECORD_KIND_UNKNOWN: RecordKind
RECORD_KIND_BOOT: RecordKind
RECORD_KIND_GENESIS_CONFIRMED: RecordKind
RECORD_KIND_HEADERS: RecordKind
RECORD_KIND_COSIGNER_KEY: RecordKind
RECORD_KIND_CERTIFICATE_SIGNED: RecordKind
RECORD_KIND_VAULT_CERTIFIED: RecordKind
RECORD_KIND_MANIFEST_CHECKED: RecordKind
RECORD_KIND_REFUSED: RecordKind
RECORD_KIND_DECISION: RecordKind
RECORD_KIND_COMMITTED: RecordKind
RECORD_KIND_RELEASED: RecordKind

class JournalRecord(_message.Message):
    __slots__ = ("sequence", "kind", "version", "previous", "written_at_s", "body")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_AT_S_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    kind: RecordKind
    version: int
    previous: bytes
    written_at_s: int
    body: bytes
    def __init__(self, sequence: _Optional[int] = ..., kind: _Optional[_Union[RecordKind, str]] = ..., version: _Optional[int] = ..., previous: _Optional[bytes] = ..., written_at_s: _Optional[int] = ..., body: _Optional[bytes] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("error", "detail", "subject", "evidence")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    error: str
    detail: str
    subject: bytes
    evidence: bytes
    def __init__(self, error: _Optional[str] = ..., detail: _Optional[str] = ..., subject: _Optional[bytes] = ..., evidence: _Optional[bytes] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("package", "share_set")
    PACKAGE_FIELD_NUMBER: _ClassVar[int]
    SHARE_SET_FIELD_NUMBER: _ClassVar[int]
    package: bytes
    share_set: bytes
    def __init__(self, package: _Optional[bytes] = ..., share_set: _Optional[bytes] = ...) -> None: ...
