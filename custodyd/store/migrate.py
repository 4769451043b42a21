"""The schema on disk: brought to this version, or found to differ from it.

Migrations stand in `store/migrations/versions`; a test holds that their sum equals METADATA.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from custodyd.errors import CustodydError, ErrorId
from custodyd.store.store import Store

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def migration_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, working in a connection that is given."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def migrate(store: Store) -> None:
    """Bring the schema to this version, in one transaction."""
    with store.transaction() as connection:
        command.upgrade(migration_config(connection), "head")


def require_schema(store: Store) -> None:
    """Raise STORE_SCHEMA_DIFFERS unless the schema is this version's."""
    wanted = ScriptDirectory.from_config(migration_config()).get_current_head()
    with store.reading() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != wanted:
        raise CustodydError(ErrorId.STORE_SCHEMA_DIFFERS, f"it is {found}, this is {wanted}")
