"""Tables brought up to date when the service starts, in one transaction, after a copy of the file was made."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from cds_service.adapters.ledger.database import Database, is_sound, unusable
from cds_service.errors import Unavailable

MIGRATIONS = Path(__file__).parent / "migrations"
# The start of the service may take so long because of other processes that migrate at the same time.
_PATIENCE = 30.0
# How long the start may spend on looking for damage; "ledger verify" takes as long as it takes.
_CHECK = 1.0


def migrate(database: Database, migrations: Path = MIGRATIONS) -> None:
    """
    Bring the tables up to date.

    Raises SettingsError where the database cannot be had, is damaged, or was written by a newer version.
    """
    try:
        if not is_sound(database, seconds=_CHECK):
            raise unusable("The ledger's file is damaged.", 'Nothing was changed; "ledger set-aside" moves it away.')
        with database.writing(patience=_PATIENCE) as connection:
            _upgrade(connection, database.path, migrations)
    except Unavailable as problem:
        raise unusable(
            "The ledger's database cannot be opened.", f"It is {problem.slug.removeprefix('ledger-')}."
        ) from None
    except (SQLAlchemyError, sqlite3.Error, OSError) as failure:
        raise unusable("The ledger's tables cannot be brought up to date.", type(failure).__name__) from None
    finally:
        database.close()  # the service forks now


def check_version(database: Database) -> None:
    """Refuse a ledger whose tables are not exactly those that we know: a command changes none."""
    try:
        with database.reading() as connection:
            current, head = _versions(connection, ScriptDirectory.from_config(_config(MIGRATIONS)))
    except Unavailable as problem:
        raise unusable("The ledger's database cannot be opened.", problem.slug) from None
    finally:
        database.close()
    if current != head:
        raise unusable("The ledger was written by an older version of this service.", "Start the service first.")


def _config(migrations: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    return config


def _versions(connection: Connection, known: ScriptDirectory) -> tuple[str | None, str | None]:
    """Return which version the tables have, and which they should have. Raises SettingsError for a newer one."""
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {script.revision for script in known.walk_revisions()}:
        raise unusable("The ledger was written by a newer version of this service.", f"Its tables are {current}.")
    return current, known.get_current_head()


def _upgrade(connection: Connection, path: Path | None, migrations: Path) -> None:
    config = _config(migrations)
    current, head = _versions(connection, ScriptDirectory.from_config(config))
    if current == head:
        return
    if current is not None and path is not None:
        _back_up(path, current)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _back_up(path: Path, revision: str) -> None:
    """Copy a SQLite file before its tables change; the copy says from which version it is."""
    copy = path.with_name(f"{path.name}.{revision}.bak")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    copy.chmod(0o600)
