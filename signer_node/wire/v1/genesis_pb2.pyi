from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Network(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETWORK_UNKNOWN: _ClassVar[Network]
    NETWORK_MAIN: _ClassVar[Network]
    NETWORK_SIGNET: _ClassVar[Network]
    NETWORK_REGTEST: _ClassVar[Network]
NETWORK_UNKNOWN: Network
NETWORK_MAIN: Network
NETWORK_SIGNET: Network
NETWORK_REGTEST: Network

class SignerSeat(_message.Message):
    __slots__ = ("name", "identity_key", "host_key")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_KEY_FIELD_NUMBER: _ClassVar[int]
    HOST_KEY_FIELD_NUMBER: _ClassVar[int]
    name: str
    identity_key: bytes
    host_key: bytes
    def __init__(self, name: _Optional[str] = ..., identity_key: _Optional[bytes] = ..., host_key: _Optional[bytes] = ...) -> None: ...

class OperatorSeat(_message.Message):
    __slots__ = ("person", "node", "role", "key")
    PERSON_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    person: str
    node: str
    role: str
    key: bytes
    def __init__(self, person: _Optional[str] = ..., node: _Optional[str] = ..., role: _Optional[str] = ..., key: _Optional[bytes] = ...) -> None: ...

class RequestKey(_message.Message):
    __slots__ = ("key", "people")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    people: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, key: _Optional[bytes] = ..., people: _Optional[_Iterable[str]] = ...) -> None: ...

class Rules(_message.Message):
    __slots__ = ("approvals_required", "payer_confirmation_required", "max_fee_sat", "max_fee_rate_sat_vb", "max_fee_share_ppm", "max_change_outputs", "min_change_sat", "change_index_gap", "max_manifest_lifetime_s", "approval_lifetime_s", "min_input_confirmations")
    APPROVALS_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    PAYER_CONFIRMATION_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    MAX_FEE_SAT_FIELD_NUMBER: _ClassVar[int]
    MAX_FEE_RATE_SAT_VB_FIELD_NUMBER: _ClassVar[int]
    MAX_FEE_SHARE_PPM_FIELD_NUMBER: _ClassVar[int]
    MAX_CHANGE_OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    MIN_CHANGE_SAT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_INDEX_GAP_FIELD_NUMBER: _ClassVar[int]
    MAX_MANIFEST_LIFETIME_S_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_LIFETIME_S_FIELD_NUMBER: _ClassVar[int]
    MIN_INPUT_CONFIRMATIONS_FIELD_NUMBER: _ClassVar[int]
    approvals_required: int
    payer_confirmation_required: bool
    max_fee_sat: int
    max_fee_rate_sat_vb: int
    max_fee_share_ppm: int
    max_change_outputs: int
    min_change_sat: int
    change_index_gap: int
    max_manifest_lifetime_s: int
    approval_lifetime_s: int
    min_input_confirmations: int
    def __init__(self, approvals_required: _Optional[int] = ..., payer_confirmation_required: _Optional[bool] = ..., max_fee_sat: _Optional[int] = ..., max_fee_rate_sat_vb: _Optional[int] = ..., max_fee_share_ppm: _Optional[int] = ..., max_change_outputs: _Optional[int] = ..., min_change_sat: _Optional[int] = ..., change_index_gap: _Optional[int] = ..., max_manifest_lifetime_s: _Optional[int] = ..., approval_lifetime_s: _Optional[int] = ..., min_input_confirmations: _Optional[int] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("height", "header", "period_start_s")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PERIOD_START_S_FIELD_NUMBER: _ClassVar[int]
    height: int
    header: bytes
    period_start_s: int
    def __init__(self, height: _Optional[int] = ..., header: _Optional[bytes] = ..., period_start_s: _Optional[int] = ...) -> None: ...

class Genesis(_message.Message):
    __slots__ = ("label", "network", "genesis_block", "threshold", "corrupt_max", "coordinator_key", "signers", "operators", "request_keys", "rules", "checkpoint", "created_at_s")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    GENESIS_BLOCK_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CORRUPT_MAX_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNERS_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_KEYS_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_S_FIELD_NUMBER: _ClassVar[int]
    label: str
    network: Network
    genesis_block: bytes
    threshold: int
    corrupt_max: int
    coordinator_key: bytes
    signers: _containers.RepeatedCompositeFieldContainer[SignerSeat]
    operators: _containers.RepeatedCompositeFieldContainer[OperatorSeat]
    request_keys: _containers.RepeatedCompositeFieldContainer[RequestKey]
    rules: Rules
    checkpoint: Checkpoint
    created_at_s: int
    def __init__(self, label: _Optional[str] = ..., network: _Optional[_Union[Network, str]] = ..., genesis_block: _Optional[bytes] = ..., threshold: _Optional[int] = ..., corrupt_max: _Optional[int] = ..., coordinator_key: _Optional[bytes] = ..., signers: _Optional[_Iterable[_Union[SignerSeat, _Mapping]]] = ..., operators: _Optional[_Iterable[_Union[OperatorSeat, _Mapping]]] = ..., request_keys: _Optional[_Iterable[_Union[RequestKey, _Mapping]]] = ..., rules: _Optional[_Union[Rules, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., created_at_s: _Optional[int] = ...) -> None: ...
