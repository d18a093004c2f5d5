"""Tables come as migrations, all or nothing; a database that is not ours, damaged or newer is refused in words."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from cds_service.adapters.ledger import Database, Key, Ledger, check_key, read_key
from cds_service.adapters.ledger.database import address
from cds_service.adapters.ledger.migrating import MIGRATIONS, _config, known, migrate
from cds_service.adapters.ledger.schema import metadata
from cds_service.errors import SettingsError
from tests.ledger.conftest import SECRET, OpenLedger, accepted, many

BROKEN = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "0003", "0002", None, None
def upgrade():
    op.create_table("half", sa.Column("id", sa.Integer()))
    {then}
"""


@pytest.fixture
def next_version(tmp_path: Path) -> Callable[[str], Path]:
    """Make migrations with a second one, which does something after its table was made."""

    def make(then: str) -> Path:
        folder = tmp_path / f"migrations-{then[:5].strip()}"
        shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "versions" / "v0003_next.py").write_text(BROKEN.format(then=then))
        return folder

    return make


def tables(database: Database) -> set[str]:
    from sqlalchemy import inspect

    with database.reading() as connection:
        return set(inspect(connection).get_table_names())


# --- from nothing -----------------------------------------------------------------------------------------------------


def test_migrating_from_nothing_makes_the_tables_of_the_schema(database: Database) -> None:
    with database.reading() as connection:
        assert [] == compare_metadata(MigrationContext.configure(connection), metadata)


def test_opening_again_changes_nothing(url: str, opened: OpenLedger) -> None:
    opened(url).feedback([accepted()], "a-service")

    assert 1 == many(opened(url).database, "feedback")


def test_used_tokens_are_kept_without_a_log_on_postgresql(database: Database) -> None:
    if database.path is None:
        with database.reading() as connection:
            found = connection.exec_driver_sql("SELECT relpersistence FROM pg_class WHERE relname='replays'").scalar()
        assert "u" == found


def test_the_files_are_for_their_owner_only(sqlite_url: str, opened: OpenLedger) -> None:
    ledger = opened(sqlite_url)
    ledger.feedback([accepted()], "a-service")
    ledger.replays.seen("issuer", "jti", 2e9, 1e9)
    read_key({}, sqlite_url)
    path = ledger.database.path

    assert path is not None
    modes = {one.name: oct(one.stat().st_mode & 0o777) for one in path.parent.iterdir()}
    assert {"0o600"} == set(modes.values()), modes
    assert 5 <= len(modes)


# --- versions ---------------------------------------------------------------------------------------------------------


def test_the_versions_read_from_the_names_of_files_are_those_of_alembic() -> None:
    scripts = ScriptDirectory.from_config(_config(MIGRATIONS))

    assert sorted(script.revision for script in scripts.walk_revisions()) == known(MIGRATIONS)
    assert scripts.get_current_head() == known(MIGRATIONS)[-1]


def test_a_migration_that_fails_leaves_nothing_behind(database: Database, next_version: Callable[[str], Path]) -> None:
    before = tables(database)

    with pytest.raises(SettingsError):
        migrate(database, next_version("raise OSError"))

    assert before == tables(database)
    migrate(database)


def test_a_newer_database_is_refused_in_words(database: Database, next_version: Callable[[str], Path]) -> None:
    migrate(database, next_version("pass"))

    with pytest.raises(SettingsError, match="newer version"):
        migrate(database)


def test_before_the_tables_change_the_file_is_copied(sqlite_url: str, next_version: Callable[[str], Path]) -> None:
    database = Database(sqlite_url)
    migrate(database)
    migrate(database, next_version("pass"))

    assert database.path is not None
    copy = database.path.with_name("ledger.db.0002.bak")
    assert "0o600" == oct(copy.stat().st_mode & 0o777)
    with sqlite3.connect(copy) as old:
        assert [("0002",)] == old.execute("SELECT version_num FROM alembic_version").fetchall()


# --- what cannot be opened --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "mysql://a/b", "sqlite://", "sqlite:///:memory:", "oracle://x", "postgresql+psycopg2://x/y"],
)
def test_what_is_no_address_of_ours_is_refused(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        address(url)

    assert "CDS_DATABASE_URL" == refused.value.where


def test_a_password_is_never_repeated() -> None:
    with pytest.raises(SettingsError) as refused:
        Ledger.open("postgresql://cds:s3cret-word@127.0.0.1:1/x", SECRET)

    assert "s3cret-word" not in str(refused.value)


def test_a_damaged_file_is_refused_and_left_alone(sqlite_url: str, opened: OpenLedger) -> None:
    ledger = opened(sqlite_url)
    ledger.feedback([accepted(f"card-{number}") for number in range(200)], "a-service")
    ledger.close()
    path = ledger.database.path
    assert path is not None
    raw = bytearray(path.read_bytes())
    raw[4096:12288] = os.urandom(8192)
    path.write_bytes(raw)

    with pytest.raises(SettingsError):
        Ledger.open(sqlite_url, SECRET)

    assert bytes(raw) == path.read_bytes()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("this is a text file, and a long one at that" * 100)

    with pytest.raises(SettingsError, match=r"cannot be opened|damaged"):
        Ledger.open(f"sqlite:///{tmp_path}/ledger.db", SECRET)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError):
        Ledger.open(f"sqlite:///{tmp_path}/file/ledger.db", SECRET)


# --- the key ----------------------------------------------------------------------------------------------------------


def test_another_key_is_refused_until_it_is_accepted(url: str, opened: OpenLedger) -> None:
    opened(url)
    other = Key(b"another key, just as long as the first one was")

    with pytest.raises(SettingsError, match="another key"):
        Ledger.open(url, other)

    database = Database(url)
    check_key(database, other, accept=True)
    check_key(database, other)
    database.close()


def test_a_key_is_made_once_beside_a_sqlite_file(sqlite_url: str) -> None:
    assert read_key({}, sqlite_url) == read_key({}, sqlite_url)


def test_a_key_is_never_shown(sqlite_url: str) -> None:
    key = read_key({}, sqlite_url)

    assert "Key(...)" == repr(key)


def test_with_postgresql_the_key_has_to_be_given() -> None:
    with pytest.raises(SettingsError, match="has to be given"):
        read_key({}, "postgresql://x/y")


@pytest.mark.parametrize("weak", ["short", "a" * 64, "password password password"])
def test_a_weak_key_is_refused(weak: str) -> None:
    with pytest.raises(SettingsError):
        read_key({"CDS_PSEUDONYM_KEY": weak}, "sqlite:///x.db")


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("abcdefghijklmnopqrstuvwxyz0123456789")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="0600"):
        read_key({"CDS_PSEUDONYM_KEY_FILE": str(path)}, "sqlite:///x.db")

    path.chmod(0o600)
    assert b"abcdefghijklmnopqrstuvwxyz0123456789" == read_key({"CDS_PSEUDONYM_KEY_FILE": str(path)}, "").secret
