"""The node's part in key generations, as capabilities (core.ledger.Secrets): the half of them
that holds the host key, the states between steps, and the shares.

1. The host key comes with an operator's confirmation, for one vault and epoch, and stays in memory
   until the vault is certified, the process ends or `HOST_KEY_HELD_S` are over.
2. The randomness of an attempt is drawn afresh and mixed with what the operator added
   (kernel.rules.keygen). A state serves one step; a step that fails ends the attempt.
3. `finish_keygen` returns after share and recovery data are durable (adapters.shares).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from signer_node.adapters.entropy import fresh
from signer_node.adapters.shares import ShareName, Shares
from signer_node.core.ledger import KeygenKey
from signer_node.kernel.curve import point_from_secret
from signer_node.kernel.dkg import chilldkg
from signer_node.kernel.dkg.faults import BadHostSeckey, BadRecoveryData
from signer_node.kernel.dkg.simplpedpop import DKGOutput
from signer_node.kernel.documents.vault import FrostKey
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.rules.keygen import frost_key, mixed_randomness, session_params

HOST_KEY_HELD_S: Final = 86_400
MAX_HELD: Final = 64
_FIRST_STEP: Final = 1
_SECOND_STEP: Final = 2

_State = chilldkg.ParticipantState1 | chilldkg.ParticipantState2


@dataclass(slots=True)
class _Attempt:
    """Where this boot stands in an attempt; the state shows nothing of itself."""

    number: int
    step: int
    message: bytes
    state: _State


@dataclass(slots=True)
class _Ceremony:
    """A confirmed key generation; the secrets show nothing of themselves."""

    host_secret: bytes = field(repr=False)
    operator_entropy: bytes = field(repr=False)
    until: float = 0.0
    attempt: _Attempt | None = None


class KeygenSecrets:
    """Host keys in use, states, shares."""

    def __init__(self, shares: Shares, clock: Callable[[], float] = time.monotonic) -> None:
        self._shares = shares
        self._clock = clock
        self._ceremonies: dict[tuple[str, int], _Ceremony] = {}

    def admit_host(
        self, place: tuple[str, int], secret: bytes, entropy: bytes, public: bytes
    ) -> None:
        """Take the host key for the key generation of a vault and epoch.

        `entropy` is what the operator adds (empty: nothing). Raises Refusal(HOST_KEY_WRONG) unless
        the secret is that of the public key.
        """
        try:
            is_right = point_from_secret(secret) == public
        except ValueError:
            is_right = False
        if not is_right:
            raise Refusal(ErrorId.HOST_KEY_WRONG, f"not that of {public.hex()}")
        if len(self._ceremonies) >= MAX_HELD and place not in self._ceremonies:
            raise Refusal(ErrorId.VAULT_LIMIT_REACHED, f"{MAX_HELD} key generations at once")
        ceremony = self._ceremonies.setdefault(place, _Ceremony(secret, entropy))
        ceremony.operator_entropy = entropy
        ceremony.until = self._clock() + HOST_KEY_HELD_S

    def keygen_ready(self, vault: str, epoch: int) -> bool:
        """Whether the host key is here; rule 1."""
        ceremony = self._ceremonies.get((vault, epoch))
        if ceremony is not None and self._clock() > ceremony.until:
            self.end_keygen(vault, epoch)
            return False
        return ceremony is not None

    def keygen_said(self, key: KeygenKey) -> tuple[int, bytes] | None:
        """This attempt's step in this boot, with the message sent in it."""
        ceremony = self._ceremonies.get((key.vault, key.epoch))
        attempt = ceremony.attempt if ceremony is not None else None
        if attempt is None or attempt.number != key.attempt:
            return None
        return attempt.step, attempt.message

    def begin_keygen(self, key: KeygenKey) -> bytes:
        """The first message of an attempt; whatever attempt was before is forgotten."""
        ceremony = self._confirmed(key)
        random = mixed_randomness(fresh(chilldkg.RANDOM_BYTES), ceremony.operator_entropy)
        state, message = chilldkg.participant_step1(
            ceremony.host_secret, session_params(key.genesis), random
        )
        ceremony.attempt = _Attempt(key.attempt, _FIRST_STEP, message, state)
        return message

    def advance_keygen(self, key: KeygenKey, message: bytes) -> bytes:
        """The second message."""
        ceremony = self._confirmed(key)
        state = self._take(ceremony, key)
        if not isinstance(state, chilldkg.ParticipantState1):
            raise _interrupted(key)
        after, answer = chilldkg.participant_step2(
            ceremony.host_secret, state, message, fresh(chilldkg.RANDOM_BYTES)
        )
        ceremony.attempt = _Attempt(key.attempt, _SECOND_STEP, answer, after)
        return answer

    def finish_keygen(self, key: KeygenKey, message: bytes) -> FrostKey:
        """The outcome; rule 3."""
        state = self._take(self._confirmed(key), key)
        if not isinstance(state, chilldkg.ParticipantState2):
            raise _interrupted(key)
        output, recovery_data = chilldkg.participant_finalize(state, message)
        return self._seal_outcome(key, output, recovery_data)

    def recover_share(self, key: KeygenKey, recovery_data: bytes) -> FrostKey:
        """The outcome again; rule 3. Raises Refusal(RECOVERY_DATA_INVALID)."""
        ceremony = self._confirmed(key)
        try:
            output, params = chilldkg.participant_recover(ceremony.host_secret, recovery_data)
        except (BadRecoveryData, BadHostSeckey) as fault:
            raise Refusal(ErrorId.RECOVERY_DATA_INVALID, str(fault)) from None
        if params != session_params(key.genesis) or output.secshare is None:
            raise Refusal(ErrorId.RECOVERY_DATA_INVALID, "of another quorum")
        return self._seal_outcome(key, output, recovery_data)

    def _seal_outcome(self, key: KeygenKey, output: DKGOutput, recovery_data: bytes) -> FrostKey:
        if output.secshare is None:
            raise _interrupted(key)
        outcome = frost_key(key.genesis, output, recovery_data)
        name = ShareName(key.vault, key.epoch, outcome.recovery)
        self._shares.keep(name, output.secshare, recovery_data)
        return outcome

    def end_keygen(self, vault: str, epoch: int) -> None:
        """Forget host key and states."""
        self._ceremonies.pop((vault, epoch), None)

    def check_share(self, vault: str, epoch: int, frost: FrostKey) -> None:
        """Raise Refusal(SHARE_MISSING) unless the share kept is one of this key's."""
        secshare = self._shares.secshare(ShareName(vault, epoch, frost.recovery))
        if point_from_secret(secshare) not in [one.pubshare for one in frost.pubshares]:
            raise Refusal(ErrorId.SHARE_MISSING, f"the share kept for {vault} is another key's")

    def _confirmed(self, key: KeygenKey) -> _Ceremony:
        if not self.keygen_ready(key.vault, key.epoch):
            raise _interrupted(key)
        return self._ceremonies[key.vault, key.epoch]

    @staticmethod
    def _take(ceremony: _Ceremony, key: KeygenKey) -> _State:
        """The state of this attempt, forgotten here: what fails from now on ended the attempt."""
        attempt, ceremony.attempt = ceremony.attempt, None
        if attempt is None or attempt.number != key.attempt:
            raise _interrupted(key)
        return attempt.state


def _interrupted(key: KeygenKey) -> Refusal:
    return Refusal(ErrorId.KEYGEN_INTERRUPTED, f"{key.vault}, attempt {key.attempt}")
