"""MailboxService: the one RPC of the signer nodes, a bounded long poll.

An answer means that the outbox is durable. A poll that finds no room among those that wait is
answered at once; of two polls of one node the older is let go.
"""

# ruff: noqa: N802 - methods are named as in the .proto file

from __future__ import annotations

import threading
import time
from typing import Final

import grpc

from custodyd.api.identity import caller_of
from custodyd.api.premises import LOOK_EVERY_S, Premises
from custodyd.errors import CustodydError, ErrorId
from custodyd.signing import mailbox
from signer_node.mailbox.v1 import mailbox_pb2, mailbox_pb2_grpc

MAX_OUTBOX: Final = 256
MAX_WAIT_S: Final = 25.0
MAX_INBOX: Final = 256
MAX_INBOX_BYTES: Final = 8 * 1024 * 1024
# What is left of the deadline for the answer's own way.
_ANSWER_S: Final = 0.5


class Mailbox(mailbox_pb2_grpc.MailboxServiceServicer):
    """See proto/signer_node/mailbox/v1/mailbox.proto."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._lock = threading.Lock()
        self._latest: dict[str, object] = {}

    def Sync(
        self, request: mailbox_pb2.SyncRequest, context: grpc.ServicerContext
    ) -> mailbox_pb2.SyncResponse:
        node = caller_of(context).name
        if len(request.outbox) > MAX_OUTBOX:
            raise CustodydError(
                ErrorId.ARGUMENT_INVALID, f"at most {MAX_OUTBOX} envelopes", field="outbox"
            )
        premises = self._premises
        cursor = request.cursor if request.store_incarnation == premises.incarnation else 0
        mailbox.receive(premises.store, premises.context(), node, request.outbox, cursor)
        wait_s = min(request.wait_ms / 1000, MAX_WAIT_S, context.time_remaining() - _ANSWER_S)
        inbox = self._await_inbox(node, cursor, wait_s, context)
        return mailbox_pb2.SyncResponse(
            store_incarnation=premises.incarnation,
            inbox=[
                mailbox_pb2.InboxItem(sequence=sequence, envelope=envelope)
                for sequence, envelope in inbox
            ],
        )

    def _await_inbox(
        self, node: str, cursor: int, wait_s: float, context: grpc.ServicerContext
    ) -> list[tuple[int, bytes]]:
        poll = object()
        with self._lock:
            self._latest[node] = poll
        ends = time.monotonic() + wait_s
        seen = self._premises.store.changes.seen()
        inbox = self._fetch(node, cursor)
        if inbox or not self._premises.long_polls.take():
            return inbox
        try:
            while not inbox and self._may_wait(node, poll, ends, context):
                left_s = max(0.0, ends - time.monotonic())
                self._premises.store.changes.wait(seen, min(left_s, LOOK_EVERY_S))
                seen = self._premises.store.changes.seen()
                inbox = self._fetch(node, cursor)
            return inbox
        finally:
            self._premises.long_polls.give_back()

    def _may_wait(
        self, node: str, poll: object, ends: float, context: grpc.ServicerContext
    ) -> bool:
        with self._lock:
            is_latest = self._latest[node] is poll
        return (
            is_latest
            and time.monotonic() < ends
            and context.is_active()
            and not self._premises.stopping.is_set()
        )

    def _fetch(self, node: str, cursor: int) -> list[tuple[int, bytes]]:
        with self._premises.store.reading() as connection:
            found = mailbox.fetch(connection, node, cursor, MAX_INBOX)
        taken: list[tuple[int, bytes]] = []
        size = 0
        for sequence, envelope in found:
            size += len(envelope)
            if taken and size > MAX_INBOX_BYTES:
                break
            taken.append((sequence, envelope))
        return taken
