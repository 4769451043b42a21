"""Answers by idempotency key (AIP-155): the same call twice is one call.

Kept ANSWERS_KEPT_S; after that, what the call made is still recognised by its own unique id.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, insert, select

from custodyd.errors import CustodydError, ErrorId
from custodyd.store.schema import REQUEST_ANSWERS

ANSWERS_KEPT_S: Final = 30 * 86_400
# Made once: to build a statement costs more than to run it, and every intake runs these.
# By two lists and not by pairs: for pairs SQLite reads the whole table. What matches neither pair
# is left out in `find_answers`.
_FIND: Final = select(REQUEST_ANSWERS).where(
    REQUEST_ANSWERS.c.caller.in_(bindparam("callers", expanding=True)),
    REQUEST_ANSWERS.c.request_id.in_(bindparam("request_ids", expanding=True)),
)
_KEEP: Final = insert(REQUEST_ANSWERS)


@dataclass(frozen=True, slots=True)
class CallKey:
    """Who called (the certificate's identity) with which request_id."""

    caller: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, to which body."""

    key: CallKey
    method: str
    body_digest: bytes
    answer: bytes


def check_request_id(request_id: str) -> None:
    """Raise ARGUMENT_INVALID unless it is a UUID in its usual form."""
    try:
        is_usual = str(UUID(request_id)) == request_id.lower()
    except ValueError:
        is_usual = False
    if not is_usual:
        raise CustodydError(
            ErrorId.ARGUMENT_INVALID, "request_id is not a UUID", field="request_id"
        )


def find_answers(connection: Connection, keys: Collection[CallKey]) -> dict[CallKey, Answer]:
    """The answers that are stored for these keys."""
    lists = {
        "callers": list({key.caller for key in keys}),
        "request_ids": [key.request_id for key in keys],
    }
    found = {}
    for row in connection.execute(_FIND, lists):
        key = CallKey(row.caller, row.request_id)
        if key in keys:
            found[key] = Answer(key, row.method, row.body_digest, row.answer)
    return found


def require_same_body(answer: Answer, method: str, body_digest: bytes) -> None:
    """Raise REQUEST_ID_REUSED unless the answer was to this very call."""
    if (answer.method, answer.body_digest) != (method, body_digest):
        raise CustodydError(ErrorId.REQUEST_ID_REUSED, answer.key.request_id, field="request_id")


def keep_answers(connection: Connection, answers: Sequence[Answer], now_s: int) -> None:
    """Store answers, in the transaction of what they answer for."""
    if not answers:
        return
    connection.execute(
        _KEEP,
        [
            {
                "caller": answer.key.caller,
                "request_id": answer.key.request_id,
                "method": answer.method,
                "body_digest": answer.body_digest,
                "answer": answer.answer,
                "created_at_s": now_s,
            }
            for answer in answers
        ],
    )


def forget_answers(connection: Connection, now_s: int) -> int:
    """Drop answers that are old enough; returns how many."""
    return connection.execute(
        delete(REQUEST_ANSWERS).where(REQUEST_ANSWERS.c.created_at_s < now_s - ANSWERS_KEPT_S)
    ).rowcount
