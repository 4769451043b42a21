from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PayloadType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAYLOAD_TYPE_UNKNOWN: _ClassVar[PayloadType]
    PAYLOAD_TYPE_GENESIS: _ClassVar[PayloadType]
    PAYLOAD_TYPE_HEADERS: _ClassVar[PayloadType]
    PAYLOAD_TYPE_VAULT_PROPOSAL: _ClassVar[PayloadType]
    PAYLOAD_TYPE_COSIGNER_KEY: _ClassVar[PayloadType]
    PAYLOAD_TYPE_CERTIFICATE_DRAFT: _ClassVar[PayloadType]
    PAYLOAD_TYPE_CERTIFICATE_SIGNATURE: _ClassVar[PayloadType]
    PAYLOAD_TYPE_CERTIFICATE: _ClassVar[PayloadType]
    PAYLOAD_TYPE_MANIFEST_PROPOSAL: _ClassVar[PayloadType]
    PAYLOAD_TYPE_VERDICT: _ClassVar[PayloadType]
    PAYLOAD_TYPE_APPROVAL: _ClassVar[PayloadType]
    PAYLOAD_TYPE_ROUND_OPENING: _ClassVar[PayloadType]
    PAYLOAD_TYPE_COMMITMENT_SET: _ClassVar[PayloadType]
    PAYLOAD_TYPE_SIGNING_PACKAGE: _ClassVar[PayloadType]
    PAYLOAD_TYPE_SHARE_SET: _ClassVar[PayloadType]
    PAYLOAD_TYPE_HEARTBEAT: _ClassVar[PayloadType]
PAYLOAD_TYPE_UNKNOWN: PayloadType
PAYLOAD_TYPE_GENESIS: PayloadType
PAYLOAD_TYPE_HEADERS: PayloadType
PAYLOAD_TYPE_VAULT_PROPOSAL: PayloadType
PAYLOAD_TYPE_COSIGNER_KEY: PayloadType
PAYLOAD_TYPE_CERTIFICATE_DRAFT: PayloadType
PAYLOAD_TYPE_CERTIFICATE_SIGNATURE: PayloadType
PAYLOAD_TYPE_CERTIFICATE: PayloadType
PAYLOAD_TYPE_MANIFEST_PROPOSAL: PayloadType
PAYLOAD_TYPE_VERDICT: PayloadType
PAYLOAD_TYPE_APPROVAL: PayloadType
PAYLOAD_TYPE_ROUND_OPENING: PayloadType
PAYLOAD_TYPE_COMMITMENT_SET: PayloadType
PAYLOAD_TYPE_SIGNING_PACKAGE: PayloadType
PAYLOAD_TYPE_SHARE_SET: PayloadType
PAYLOAD_TYPE_HEARTBEAT: PayloadType

class Signed(_message.Message):
    __slots__ = ("body", "key_id", "signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    key_id: bytes
    signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., key_id: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class KeySignature(_message.Message):
    __slots__ = ("key_id", "signature")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    key_id: bytes
    signature: bytes
    def __init__(self, key_id: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Countersigned(_message.Message):
    __slots__ = ("body", "signatures")
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    signatures: _containers.RepeatedCompositeFieldContainer[KeySignature]
    def __init__(self, body: _Optional[bytes] = ..., signatures: _Optional[_Iterable[_Union[KeySignature, _Mapping]]] = ...) -> None: ...

class Envelope(_message.Message):
    __slots__ = ("type", "genesis", "sender", "incarnation", "sequence", "previous", "recipient", "expires_at_s", "payload")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    GENESIS_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_S_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    type: PayloadType
    genesis: bytes
    sender: bytes
    incarnation: bytes
    sequence: int
    previous: bytes
    recipient: bytes
    expires_at_s: int
    payload: bytes
    def __init__(self, type: _Optional[_Union[PayloadType, str]] = ..., genesis: _Optional[bytes] = ..., sender: _Optional[bytes] = ..., incarnation: _Optional[bytes] = ..., sequence: _Optional[int] = ..., previous: _Optional[bytes] = ..., recipient: _Optional[bytes] = ..., expires_at_s: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...
