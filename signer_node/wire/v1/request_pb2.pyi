from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Request(_message.Message):
    __slots__ = ("genesis", "vault", "key", "withdrawal_id", "script", "amount_sat", "account", "initiator", "issued_at_s", "valid_until_s", "memo_hash")
    GENESIS_FIELD_NUMBER: _ClassVar[int]
    VAULT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWAL_ID_FIELD_NUMBER: _ClassVar[int]
    SCRIPT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_SAT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    INITIATOR_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_S_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_S_FIELD_NUMBER: _ClassVar[int]
    MEMO_HASH_FIELD_NUMBER: _ClassVar[int]
    genesis: bytes
    vault: str
    key: bytes
    withdrawal_id: str
    script: bytes
    amount_sat: int
    account: str
    initiator: str
    issued_at_s: int
    valid_until_s: int
    memo_hash: bytes
    def __init__(self, genesis: _Optional[bytes] = ..., vault: _Optional[str] = ..., key: _Optional[bytes] = ..., withdrawal_id: _Optional[str] = ..., script: _Optional[bytes] = ..., amount_sat: _Optional[int] = ..., account: _Optional[str] = ..., initiator: _Optional[str] = ..., issued_at_s: _Optional[int] = ..., valid_until_s: _Optional[int] = ..., memo_hash: _Optional[bytes] = ...) -> None: ...

class PayerConfirmation(_message.Message):
    __slots__ = ("genesis", "manifest", "key", "confirmed_at_s")
    GENESIS_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_AT_S_FIELD_NUMBER: _ClassVar[int]
    genesis: bytes
    manifest: bytes
    key: bytes
    confirmed_at_s: int
    def __init__(self, genesis: _Optional[bytes] = ..., manifest: _Optional[bytes] = ..., key: _Optional[bytes] = ..., confirmed_at_s: _Optional[int] = ...) -> None: ...
