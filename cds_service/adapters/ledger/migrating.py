"""
Tables brought up to date when the service starts, in one transaction, after a copy of the file was made.

Where they are up to date, which nearly every start finds, Alembic is not even imported: it takes 0.1 s and 10 MB.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from cds_service.adapters.ledger.database import Database, is_sound, unusable
from cds_service.errors import Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

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
            current, head = _versions(connection, MIGRATIONS)
    except Unavailable as problem:
        raise unusable("The ledger's database cannot be opened.", problem.slug) from None
    finally:
        database.close()
    if current != head:
        raise unusable("The ledger was written by an older version of this service.", "Start the service first.")


def _config(migrations: Path) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    return config


def known(migrations: Path) -> list[str]:
    """Return the versions that the migrations of a folder lead to, oldest first: v0002_governance.py leads to 0002."""
    return sorted(path.name[1:5] for path in (migrations / "versions").glob("v[0-9]*.py"))


def _versions(connection: Connection, migrations: Path) -> tuple[str | None, str]:
    """Return which version the tables have, and which they should have. Raises SettingsError for a newer one."""
    ours, current = known(migrations), None
    if inspect(connection).has_table("alembic_version"):
        current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if current is not None and current not in ours:
        raise unusable("The ledger was written by a newer version of this service.", f"Its tables are {current}.")
    return current, ours[-1]


def _upgrade(connection: Connection, path: Path | None, migrations: Path) -> None:
    current, head = _versions(connection, migrations)
    if current == head:
        return
    if current is not None and path is not None:
        _back_up(path, current)
    from alembic import command

    config = _config(migrations)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _back_up(path: Path, revision: str) -> None:
    """Copy a SQLite file before its tables change; the copy says from which version it is."""
    copy = path.with_name(f"{path.name}.{revision}.bak")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    copy.chmod(0o600)
