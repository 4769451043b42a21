from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VaultKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VAULT_KIND_UNKNOWN: _ClassVar[VaultKind]
    VAULT_KIND_WSH_SORTEDMULTI: _ClassVar[VaultKind]
VAULT_KIND_UNKNOWN: VaultKind
VAULT_KIND_WSH_SORTEDMULTI: VaultKind

class VaultProposal(_message.Message):
    __slots__ = ("genesis", "vault", "kind", "epoch")
    GENESIS_FIELD_NUMBER: _ClassVar[int]
    VAULT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    genesis: bytes
    vault: str
    kind: VaultKind
    epoch: int
    def __init__(self, genesis: _Optional[bytes] = ..., vault: _Optional[str] = ..., kind: _Optional[_Union[VaultKind, str]] = ..., epoch: _Optional[int] = ...) -> None: ...

class Cosigner(_message.Message):
    __slots__ = ("node", "xpub", "fingerprint", "possession")
    NODE_FIELD_NUMBER: _ClassVar[int]
    XPUB_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    POSSESSION_FIELD_NUMBER: _ClassVar[int]
    node: str
    xpub: str
    fingerprint: bytes
    possession: bytes
    def __init__(self, node: _Optional[str] = ..., xpub: _Optional[str] = ..., fingerprint: _Optional[bytes] = ..., possession: _Optional[bytes] = ...) -> None: ...

class CosignerKey(_message.Message):
    __slots__ = ("genesis", "vault", "kind", "epoch", "cosigner")
    GENESIS_FIELD_NUMBER: _ClassVar[int]
    VAULT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    COSIGNER_FIELD_NUMBER: _ClassVar[int]
    genesis: bytes
    vault: str
    kind: VaultKind
    epoch: int
    cosigner: Cosigner
    def __init__(self, genesis: _Optional[bytes] = ..., vault: _Optional[str] = ..., kind: _Optional[_Union[VaultKind, str]] = ..., epoch: _Optional[int] = ..., cosigner: _Optional[_Union[Cosigner, _Mapping]] = ...) -> None: ...

class VaultCertificate(_message.Message):
    __slots__ = ("genesis", "vault", "kind", "epoch", "threshold", "descriptor", "transcript", "cosigners")
    GENESIS_FIELD_NUMBER: _ClassVar[int]
    VAULT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    COSIGNERS_FIELD_NUMBER: _ClassVar[int]
    genesis: bytes
    vault: str
    kind: VaultKind
    epoch: int
    threshold: int
    descriptor: str
    transcript: bytes
    cosigners: _containers.RepeatedCompositeFieldContainer[Cosigner]
    def __init__(self, genesis: _Optional[bytes] = ..., vault: _Optional[str] = ..., kind: _Optional[_Union[VaultKind, str]] = ..., epoch: _Optional[int] = ..., threshold: _Optional[int] = ..., descriptor: _Optional[str] = ..., transcript: _Optional[bytes] = ..., cosigners: _Optional[_Iterable[_Union[Cosigner, _Mapping]]] = ...) -> None: ...

class CertificateSignature(_message.Message):
    __slots__ = ("certificate", "signature")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    signature: bytes
    def __init__(self, certificate: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...
