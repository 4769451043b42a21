from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RoundOpening(_message.Message):
    __slots__ = ("manifest", "round")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    manifest: bytes
    round: int
    def __init__(self, manifest: _Optional[bytes] = ..., round: _Optional[int] = ...) -> None: ...

class CommitmentSet(_message.Message):
    __slots__ = ("manifest", "round", "boot", "commitments")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    BOOT_FIELD_NUMBER: _ClassVar[int]
    COMMITMENTS_FIELD_NUMBER: _ClassVar[int]
    manifest: bytes
    round: int
    boot: bytes
    commitments: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, manifest: _Optional[bytes] = ..., round: _Optional[int] = ..., boot: _Optional[bytes] = ..., commitments: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SignerCommitments(_message.Message):
    __slots__ = ("node", "boot", "commitments")
    NODE_FIELD_NUMBER: _ClassVar[int]
    BOOT_FIELD_NUMBER: _ClassVar[int]
    COMMITMENTS_FIELD_NUMBER: _ClassVar[int]
    node: str
    boot: bytes
    commitments: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, node: _Optional[str] = ..., boot: _Optional[bytes] = ..., commitments: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SigningPackage(_message.Message):
    __slots__ = ("manifest", "round", "approvals", "payer_confirmation", "signers")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    PAYER_CONFIRMATION_FIELD_NUMBER: _ClassVar[int]
    SIGNERS_FIELD_NUMBER: _ClassVar[int]
    manifest: bytes
    round: int
    approvals: _containers.RepeatedScalarFieldContainer[bytes]
    payer_confirmation: bytes
    signers: _containers.RepeatedCompositeFieldContainer[SignerCommitments]
    def __init__(self, manifest: _Optional[bytes] = ..., round: _Optional[int] = ..., approvals: _Optional[_Iterable[bytes]] = ..., payer_confirmation: _Optional[bytes] = ..., signers: _Optional[_Iterable[_Union[SignerCommitments, _Mapping]]] = ...) -> None: ...

class ShareSet(_message.Message):
    __slots__ = ("package", "manifest", "round", "shares")
    PACKAGE_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    package: bytes
    manifest: bytes
    round: int
    shares: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, package: _Optional[bytes] = ..., manifest: _Optional[bytes] = ..., round: _Optional[int] = ..., shares: _Optional[_Iterable[bytes]] = ...) -> None: ...
