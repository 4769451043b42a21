from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SignerEnrolment(_message.Message):
    __slots__ = ("identity_key", "host_key", "operators")
    IDENTITY_KEY_FIELD_NUMBER: _ClassVar[int]
    HOST_KEY_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    identity_key: bytes
    host_key: bytes
    operators: _containers.RepeatedCompositeFieldContainer[OperatorEnrolment]
    def __init__(self, identity_key: _Optional[bytes] = ..., host_key: _Optional[bytes] = ..., operators: _Optional[_Iterable[_Union[OperatorEnrolment, _Mapping]]] = ...) -> None: ...

class OperatorEnrolment(_message.Message):
    __slots__ = ("person", "role", "key")
    PERSON_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    person: str
    role: str
    key: bytes
    def __init__(self, person: _Optional[str] = ..., role: _Optional[str] = ..., key: _Optional[bytes] = ...) -> None: ...

class BackendEnrolment(_message.Message):
    __slots__ = ("request_key", "people")
    REQUEST_KEY_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    request_key: bytes
    people: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_key: _Optional[bytes] = ..., people: _Optional[_Iterable[str]] = ...) -> None: ...

class EnrollRequest(_message.Message):
    __slots__ = ("token", "certificate_request", "signer", "backend", "admin")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    ADMIN_FIELD_NUMBER: _ClassVar[int]
    token: str
    certificate_request: bytes
    signer: SignerEnrolment
    backend: BackendEnrolment
    admin: AdminEnrolment
    def __init__(self, token: _Optional[str] = ..., certificate_request: _Optional[bytes] = ..., signer: _Optional[_Union[SignerEnrolment, _Mapping]] = ..., backend: _Optional[_Union[BackendEnrolment, _Mapping]] = ..., admin: _Optional[_Union[AdminEnrolment, _Mapping]] = ...) -> None: ...

class AdminEnrolment(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EnrollResponse(_message.Message):
    __slots__ = ("certificate", "certificate_authority", "coordinator_address")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    certificate_authority: bytes
    coordinator_address: str
    def __init__(self, certificate: _Optional[bytes] = ..., certificate_authority: _Optional[bytes] = ..., coordinator_address: _Optional[str] = ...) -> None: ...
