from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VaultState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VAULT_STATE_UNKNOWN: _ClassVar[VaultState]
    VAULT_STATE_PROPOSED: _ClassVar[VaultState]
    VAULT_STATE_DRAFTED: _ClassVar[VaultState]
    VAULT_STATE_CERTIFIED: _ClassVar[VaultState]
VAULT_STATE_UNKNOWN: VaultState
VAULT_STATE_PROPOSED: VaultState
VAULT_STATE_DRAFTED: VaultState
VAULT_STATE_CERTIFIED: VaultState

class GetGenesisRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Genesis(_message.Message):
    __slots__ = ("genesis",)
    GENESIS_FIELD_NUMBER: _ClassVar[int]
    genesis: bytes
    def __init__(self, genesis: _Optional[bytes] = ...) -> None: ...

class Vault(_message.Message):
    __slots__ = ("vault", "kind", "state", "certificate", "descriptor", "waiting_for")
    VAULT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    vault: str
    kind: str
    state: VaultState
    certificate: bytes
    descriptor: str
    waiting_for: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, vault: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[_Union[VaultState, str]] = ..., certificate: _Optional[bytes] = ..., descriptor: _Optional[str] = ..., waiting_for: _Optional[_Iterable[str]] = ...) -> None: ...

class GetVaultRequest(_message.Message):
    __slots__ = ("vault",)
    VAULT_FIELD_NUMBER: _ClassVar[int]
    vault: str
    def __init__(self, vault: _Optional[str] = ...) -> None: ...

class ListVaultsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListVaultsResponse(_message.Message):
    __slots__ = ("vaults",)
    VAULTS_FIELD_NUMBER: _ClassVar[int]
    vaults: _containers.RepeatedCompositeFieldContainer[Vault]
    def __init__(self, vaults: _Optional[_Iterable[_Union[Vault, _Mapping]]] = ...) -> None: ...

class CreateVaultRequest(_message.Message):
    __slots__ = ("request_id", "vault", "kind")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VAULT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    vault: str
    kind: str
    def __init__(self, request_id: _Optional[str] = ..., vault: _Optional[str] = ..., kind: _Optional[str] = ...) -> None: ...

class CreateVaultResponse(_message.Message):
    __slots__ = ("vault",)
    VAULT_FIELD_NUMBER: _ClassVar[int]
    vault: Vault
    def __init__(self, vault: _Optional[_Union[Vault, _Mapping]] = ...) -> None: ...

class GetBalanceRequest(_message.Message):
    __slots__ = ("vault",)
    VAULT_FIELD_NUMBER: _ClassVar[int]
    vault: str
    def __init__(self, vault: _Optional[str] = ...) -> None: ...

class Balance(_message.Message):
    __slots__ = ("vault", "available_sat", "reserved_sat", "pending_change_sat", "pending_deposits_sat")
    VAULT_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_SAT_FIELD_NUMBER: _ClassVar[int]
    RESERVED_SAT_FIELD_NUMBER: _ClassVar[int]
    PENDING_CHANGE_SAT_FIELD_NUMBER: _ClassVar[int]
    PENDING_DEPOSITS_SAT_FIELD_NUMBER: _ClassVar[int]
    vault: str
    available_sat: int
    reserved_sat: int
    pending_change_sat: int
    pending_deposits_sat: int
    def __init__(self, vault: _Optional[str] = ..., available_sat: _Optional[int] = ..., reserved_sat: _Optional[int] = ..., pending_change_sat: _Optional[int] = ..., pending_deposits_sat: _Optional[int] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SignerStatus(_message.Message):
    __slots__ = ("node", "online", "last_seen_s", "tip_height", "journal_sequence")
    NODE_FIELD_NUMBER: _ClassVar[int]
    ONLINE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_S_FIELD_NUMBER: _ClassVar[int]
    TIP_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    node: str
    online: bool
    last_seen_s: int
    tip_height: int
    journal_sequence: int
    def __init__(self, node: _Optional[str] = ..., online: _Optional[bool] = ..., last_seen_s: _Optional[int] = ..., tip_height: _Optional[int] = ..., journal_sequence: _Optional[int] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("version", "store_incarnation", "chain_height", "chain_tip", "chain_seen_s", "signers", "last_event")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STORE_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    CHAIN_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CHAIN_TIP_FIELD_NUMBER: _ClassVar[int]
    CHAIN_SEEN_S_FIELD_NUMBER: _ClassVar[int]
    SIGNERS_FIELD_NUMBER: _ClassVar[int]
    LAST_EVENT_FIELD_NUMBER: _ClassVar[int]
    version: str
    store_incarnation: bytes
    chain_height: int
    chain_tip: str
    chain_seen_s: int
    signers: _containers.RepeatedCompositeFieldContainer[SignerStatus]
    last_event: int
    def __init__(self, version: _Optional[str] = ..., store_incarnation: _Optional[bytes] = ..., chain_height: _Optional[int] = ..., chain_tip: _Optional[str] = ..., chain_seen_s: _Optional[int] = ..., signers: _Optional[_Iterable[_Union[SignerStatus, _Mapping]]] = ..., last_event: _Optional[int] = ...) -> None: ...

class ReleaseHoldsRequest(_message.Message):
    __slots__ = ("external_ids",)
    EXTERNAL_IDS_FIELD_NUMBER: _ClassVar[int]
    external_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, external_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ReleaseHoldsResponse(_message.Message):
    __slots__ = ("released",)
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    released: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, released: _Optional[_Iterable[str]] = ...) -> None: ...

class RenewCertificateRequest(_message.Message):
    __slots__ = ("certificate_request",)
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    certificate_request: bytes
    def __init__(self, certificate_request: _Optional[bytes] = ...) -> None: ...

class RenewCertificateResponse(_message.Message):
    __slots__ = ("certificate", "certificate_authority")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    certificate_authority: bytes
    def __init__(self, certificate: _Optional[bytes] = ..., certificate_authority: _Optional[bytes] = ...) -> None: ...
