"""What a key generation is about and what it gives, as documents say it. Nothing secret is here.

1. Who takes part follows from the genesis alone: its roster's host keys in its order, its
   threshold. A proposal adds a vault's name, nothing else.
2. People compare one fingerprint, which covers all of that.
3. The public half of the outcome is a FrostKey. Its chain code is a digest over key and recovery
   data, so nobody chooses it:
       recovery   = tagged_hash("custodyd/recovery-data/v1", recovery data)
       chain code = tagged_hash("custodyd/chain-code/v1", threshold key || recovery)
4. Whom a fault names follows from who looks (kernel.dkg.faults): a participant can never tell
   another participant from the coordinator that frames it.
"""

from __future__ import annotations

from typing import Final

from signer_node.kernel.curve import tagged_hash
from signer_node.kernel.dkg.chilldkg import SessionParams, params_hash
from signer_node.kernel.dkg.faults import (
    FaultyCoordinator,
    FaultyParticipant,
    FaultyParticipantOrCoordinator,
    ProtocolFault,
)
from signer_node.kernel.dkg.simplpedpop import DKGOutput
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.vault import FrostKey, FrostMember, VaultProposal
from signer_node.kernel.errors import ErrorId, Refusal

RECOVERY_TAG: Final = "custodyd/recovery-data/v1"
CHAIN_CODE_TAG: Final = "custodyd/chain-code/v1"
CEREMONY_TAG: Final = "custodyd/ceremony/v1"
RANDOMNESS_TAG: Final = "custodyd/keygen-randomness/v1"
_FINGERPRINT_BYTES: Final = 8
_EPOCH_BYTES: Final = 4


def session_params(genesis: Genesis) -> SessionParams:
    """Rule 1."""
    return SessionParams(tuple(seat.host_key for seat in genesis.signers), genesis.threshold)


def ceremony_fingerprint(genesis: Genesis, proposal: VaultProposal) -> bytes:
    """Rule 2: 8 bytes, the same for every attempt."""
    name = proposal.vault.encode("ascii")
    data = (
        proposal.genesis
        + params_hash(session_params(genesis))
        + proposal.epoch.to_bytes(_EPOCH_BYTES, "big")
        + name
    )
    return tagged_hash(CEREMONY_TAG, data)[:_FINGERPRINT_BYTES]


def mixed_randomness(system: bytes, operator: bytes) -> bytes:
    """32 bytes from the system's 32 and what an operator added, so that neither alone decides."""
    return tagged_hash(RANDOMNESS_TAG, system + operator)


def recovery_digest(recovery_data: bytes) -> bytes:
    """Rule 3: what names recovery data without telling it."""
    return tagged_hash(RECOVERY_TAG, recovery_data)


def chain_code(threshold_key: bytes, recovery: bytes) -> bytes:
    """Rule 3: the chain code of a threshold key (33 bytes)."""
    return tagged_hash(CHAIN_CODE_TAG, threshold_key + recovery)


def frost_key(genesis: Genesis, output: DKGOutput, recovery_data: bytes) -> FrostKey:
    """Rule 3: the public half of what a key generation among the genesis's signers gave."""
    recovery = recovery_digest(recovery_data)
    members = zip(genesis.signers, output.pubshares, strict=True)
    return FrostKey(
        threshold_key=output.thresh_pk,
        chain_code=chain_code(output.thresh_pk, recovery),
        pubshares=tuple(FrostMember(seat.name, pubshare) for seat, pubshare in members),
        recovery=recovery,
    )


def named(genesis: Genesis, fault: ProtocolFault) -> Refusal:
    """Rule 4: the refusal that says who may be at fault."""
    roster = [seat.name for seat in genesis.signers]
    match fault:
        case FaultyParticipant():
            detail = f"{roster[fault.participant_id]}: {fault.what}"
            return Refusal(ErrorId.KEYGEN_PARTICIPANT_FAULTY, detail)
        case FaultyParticipantOrCoordinator():
            detail = f"{roster[fault.participant_id]} or the coordinator: {fault.what}"
            return Refusal(ErrorId.KEYGEN_PARTICIPANT_OR_COORDINATOR_FAULTY, detail)
        case FaultyCoordinator():
            return Refusal(ErrorId.KEYGEN_COORDINATOR_FAULTY, fault.what)
        case _:
            detail = f"somebody else or the coordinator: {fault}"
            return Refusal(ErrorId.KEYGEN_PARTICIPANT_OR_COORDINATOR_FAULTY, detail)
