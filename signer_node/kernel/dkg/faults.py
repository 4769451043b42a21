"""What key generation refuses, and who may be at fault (ChillDKG, "Blaming Faulty Parties").

Who is named depends on who looks. The coordinator sees each participant's message and names the
participant. A participant sees the others only through the coordinator, so a participant that it
names may have been framed by the coordinator; it says so by the type. What is said holds if the
transport delivered the messages as they were sent: our envelopes are signed, so it did.

No fault carries a secret in its text; `investigation` is an object that shows nothing of itself.
"""


class ProtocolFault(ValueError):
    """A received message that an honest run never contains."""


class FaultyParticipant(ProtocolFault):
    """Raised by the coordinator alone: this participant deviated from the protocol."""

    def __init__(self, participant_id: int, what: str) -> None:
        super().__init__(f"participant {participant_id}: {what}")
        self.participant_id = participant_id
        self.what = what


class FaultyParticipantOrCoordinator(ProtocolFault):
    """Raised by a participant: this other participant, or the coordinator that frames it."""

    def __init__(self, participant_id: int, what: str) -> None:
        super().__init__(f"participant {participant_id} or the coordinator: {what}")
        self.participant_id = participant_id
        self.what = what


class FaultyCoordinator(ProtocolFault):
    """Raised by a participant: the coordinator deviated from the protocol."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the coordinator: {what}")
        self.what = what


class UnknownFaultyParticipantOrCoordinator(ProtocolFault):
    """Raised by a participant: somebody else, and this transcript does not tell who.

    With `investigation` the coordinator's investigation message tells more
    (`participant_investigate`); without it nothing more can be learnt.
    """

    def __init__(self, what: str, investigation: object | None) -> None:
        super().__init__(f"a participant or the coordinator: {what}")
        self.what = what
        self.investigation = investigation


class MalformedMessage(ValueError):
    """Bytes that are no message of their type; whoever reads them knows whom to name."""


class BadHostSeckey(ValueError):
    """The host secret key is no key, or not the key of a participant of this session."""


class BadRandomness(ValueError):
    """The randomness is not 32 bytes, or all zero: a broken generator."""


class BadRecoveryData(ValueError):
    """Recovery data that no successful session made."""


class StateUsed(ValueError):
    """A session state was given to a second step; every state serves one."""


class BadSessionParams(ValueError):
    """Session parameters that no session can have."""


class BadThresholdOrCount(BadSessionParams):
    """Not 1 <= t <= n <= `MAX_PARTICIPANTS`."""


class InvalidHostPubkey(BadSessionParams):
    """A participant's host public key is no compressed point."""

    def __init__(self, participant_id: int) -> None:
        super().__init__(f"the host public key of participant {participant_id} is no point")
        self.participant_id = participant_id


class DuplicateHostPubkey(BadSessionParams):
    """Two participants with one host public key: at least one of them is faulty."""

    def __init__(self, participant_id1: int, participant_id2: int) -> None:
        super().__init__(f"participants {participant_id1} and {participant_id2} have the same key")
        self.participant_id1 = participant_id1
        self.participant_id2 = participant_id2


class InvalidRecoveryAck(FaultyParticipant):
    """A recovery acknowledgment does not verify; the key generation itself succeeded."""

    def __init__(self, participant_id: int) -> None:
        super().__init__(participant_id, "the recovery acknowledgment does not verify")
