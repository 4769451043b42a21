"""The coordinator's envelopes: signed, numbered and chained, in the transaction that posts them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, insert, select, update

from custodyd.store.schema import ENVELOPE_HEADS
from signer_node.kernel import curve
from signer_node.kernel.documents.envelope import Envelope, PayloadType
from signer_node.kernel.documents.fields import ZERO_DIGEST
from signer_node.kernel.documents.signed import document_digest
from signer_node.wire import encode, signed_bytes

FIRST_SEQUENCE: Final = 1


@dataclass(frozen=True, slots=True)
class Sealer:
    """`custodyd.store.context.Seal` by the envelope key; one incarnation for each start."""

    genesis: bytes
    incarnation: bytes
    now_s: Callable[[], int]
    lifetime_s: int
    _secret: bytes = field(repr=False)

    def __call__(
        self,
        connection: Connection,
        type: PayloadType,  # noqa: A002 - the document's own word
        recipient: bytes,
        payload: bytes,
        /,
    ) -> bytes:
        """The next envelope of this incarnation, as Signed bytes."""
        sequence, previous = self._head(connection)
        sender = curve.xonly_from_secret(self._secret)
        body = encode(
            Envelope(
                type=type,
                genesis=self.genesis,
                sender=sender,
                incarnation=self.incarnation,
                sequence=sequence,
                previous=previous,
                recipient=recipient,
                expires_at_s=self.now_s() + self.lifetime_s,
                payload=payload,
            )
        )
        digest = document_digest(Envelope, body)
        self._advance(connection, sequence, digest)
        signature = curve.sign_schnorr(self._secret, digest, secrets.token_bytes(curve.AUX_BYTES))
        return signed_bytes(body, sender, signature)

    def _head(self, connection: Connection) -> tuple[int, bytes]:
        mine = ENVELOPE_HEADS.c.incarnation == self.incarnation
        row = connection.execute(select(ENVELOPE_HEADS).where(mine)).one_or_none()
        return (FIRST_SEQUENCE, ZERO_DIGEST) if row is None else (row.sequence + 1, bytes(row.head))

    def _advance(self, connection: Connection, sequence: int, head: bytes) -> None:
        values = {"sequence": sequence, "head": head}
        if sequence == FIRST_SEQUENCE:
            connection.execute(
                insert(ENVELOPE_HEADS).values(incarnation=self.incarnation, **values)
            )
        else:
            mine = ENVELOPE_HEADS.c.incarnation == self.incarnation
            connection.execute(update(ENVELOPE_HEADS).where(mine).values(**values))
