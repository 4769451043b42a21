"""Holders of secrets and of session state.

To the signer's machines this module guarantees: what holds a secret shows nothing of itself in a
log or a traceback, is neither copied nor pickled, and a session state serves one step ("The state
must not be reused", ChillDKG, API of the steps).
"""

from typing import Generic, TypeVar

from signer_node.kernel.dkg.faults import StateUsed

Held = TypeVar("Held")


class Secret:
    """A base for what holds secrets: it shows nothing of itself and cannot be pickled or copied."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __reduce__(self) -> str:
        raise TypeError(f"{type(self).__name__} is neither copied nor pickled")


class OneUse(Secret, Generic[Held]):
    """Keeps a state for the one step that may take it."""

    __slots__ = ("_held",)

    def __init__(self, held: Held) -> None:
        self._held: Held | None = held

    def take(self) -> Held:
        """Return what is held and forget it; raises `StateUsed` the second time."""
        held, self._held = self._held, None
        if held is None:
            raise StateUsed(f"{type(self).__name__} was already used")
        return held
