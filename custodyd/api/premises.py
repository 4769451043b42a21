"""What all handlers stand on, made once by the daemon."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from custodyd.api.slots import Desk
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import withdrawal_pb2
from custodyd.store import Store
from custodyd.store.context import StageContext
from custodyd.store.group_commit import GroupCommit
from custodyd.withdrawals.service import Intake
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.signed import Body

# Threads of the server; every wait below is capped well under it, so that short calls get through.
WORKERS: Final = 64
MAX_STREAMS: Final = 16
MAX_LONG_POLLS: Final = 24
# A wait looks at the database this often: another replica may have written.
LOOK_EVERY_S: Final = 0.5


class Cap:
    """At most so many at once; who comes later is told so instead of waiting."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)

    def take(self) -> bool:
        """Whether there was room; if so, `give_back` must follow."""
        return self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """End what `take` began."""
        self._free.release()


@dataclass(frozen=True, slots=True)
class Premises:
    """The store, the stages' context as it is now, the writer of intake, caps and the end."""

    store: Store
    context: Callable[[], StageContext]
    desk: Desk
    intake: GroupCommit[Intake, withdrawal_pb2.Withdrawal]
    incarnation: bytes
    page_key: bytes
    version: str
    stopping: threading.Event = field(default_factory=threading.Event)
    streams: Cap = field(default_factory=lambda: Cap(MAX_STREAMS))
    long_polls: Cap = field(default_factory=lambda: Cap(MAX_LONG_POLLS))

    def genesis(self) -> Body[Genesis]:
        """The genesis; raises GENESIS_MISSING."""
        genesis = self.context().genesis
        if genesis is None:
            raise CustodydError(ErrorId.GENESIS_MISSING)
        return genesis

    def now_s(self) -> int:
        """Seconds since 1970."""
        return self.context().now_s()
