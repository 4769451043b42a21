"""Alembic enters here; the connection is the one that `store.migrate` began a transaction on."""

from __future__ import annotations

from alembic import context

from custodyd.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
context.run_migrations()
