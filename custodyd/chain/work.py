"""One transaction of a stage: what it changes, and the names of the transitions that it commits.

A name is told to `context.committed` only after the commit: whoever kills the process there finds
the transition on disk (tests enumerate the names from the stages' tables and do just that).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection

from custodyd.store import Store
from custodyd.store.context import StageContext
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.signed import Body


@dataclass(slots=True)
class Work:
    """An open write transaction of a stage, at one moment."""

    connection: Connection
    context: StageContext
    now_s: int
    names: list[str] = field(default_factory=list)

    def moved(self, name: str) -> None:
        """Note a transition of this transaction."""
        self.names.append(name)

    @property
    def genesis(self) -> Body[Genesis]:
        """The genesis; stages work only where there is one."""
        if self.context.genesis is None:
            raise LookupError("a stage works without a genesis")
        return self.context.genesis


@contextmanager
def working(store: Store, context: StageContext) -> Iterator[Work]:
    """A fenced write transaction; its transitions are told once it is durable."""
    with store.transaction() as connection:
        context.fence(connection)
        work = Work(connection, context, context.now_s())
        yield work
    for name in work.names:
        context.committed(name)
