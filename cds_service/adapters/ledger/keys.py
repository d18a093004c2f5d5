"""The key that makes pseudonyms: from the environment or a file, never from the database that they stand in."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec
from sqlalchemy import insert, select

from cds_service.adapters.ledger.database import Database, address
from cds_service.adapters.ledger.schema import marks
from cds_service.errors import SettingsError

KEY, KEY_FILE = "CDS_PSEUDONYM_KEY", "CDS_PSEUDONYM_KEY_FILE"
# 32 characters of random text are more than any search can try; a word or a date is not.
SHORTEST = 32
_MARK = "key "


class Key(msgspec.Struct, frozen=True):
    """A key; it is never shown."""

    secret: bytes

    def __repr__(self) -> str:
        """Show nothing."""
        return "Key(...)"

    def purpose(self, name: str) -> bytes:
        """Return a key for one purpose, from which neither this key nor that of another purpose can be told."""
        return hashlib.blake2b(name.encode(), key=hashlib.sha512(self.secret).digest(), digest_size=32).digest()

    def mark(self) -> str:
        """Return by what a database recognises this key again."""
        return self.purpose("mark").hex()[:32]


def read_key(environment: Mapping[str, str], url: str) -> Key:
    """
    Read the key from CDS_PSEUDONYM_KEY or the file that CDS_PSEUDONYM_KEY_FILE names.

    Beside a SQLite file one is made if need be. With PostgreSQL, which several machines share, it has to be given.
    """
    if given := environment.get(KEY, "").strip():
        return _checked(given, KEY)
    if named := environment.get(KEY_FILE, "").strip():
        return _from_file(Path(named))
    target = address(url)
    if target.get_backend_name() != "sqlite":
        raise _bad(KEY, "With PostgreSQL the key of the pseudonyms has to be given: every machine needs the same.")
    beside = Path(f"{target.database}.key")
    if not beside.exists():
        _make(beside)
    return _from_file(beside)


def known_key(environment: Mapping[str, str], database: Database) -> Key | None:
    """Return the key that a ledger is written with, if it is at hand; none is made."""
    beside = database.path and database.path.with_name(f"{database.path.name}.key")
    if not any(environment.get(name, "").strip() for name in (KEY, KEY_FILE)) and not (beside and beside.exists()):
        return None
    try:
        key = read_key(environment, database.url.render_as_string(hide_password=False))
    except SettingsError:
        return None
    with database.reading() as connection:
        current = connection.execute(select(marks.c.value).where(marks.c.name == "current key")).scalar()
    return key if current == key.mark() else None


def _make(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Written under another name first: two that start at once must not read half a key.
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    except OSError as failure:
        raise _bad(KEY_FILE, f"The key of the pseudonyms cannot be written: {failure.strerror}.") from None


def _from_file(path: Path) -> Key:
    try:
        if path.stat().st_mode & 0o077:
            raise _bad(KEY_FILE, "The file with the key of the pseudonyms can be read by others: make it 0600.")
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise _bad(KEY_FILE, "The file with the key of the pseudonyms cannot be read.") from None
    return _checked(text, KEY_FILE)


def _checked(text: str, name: str) -> Key:
    if len(text) < SHORTEST or len(set(text)) < 10:
        raise _bad(name, f"The key of the pseudonyms must have at least {SHORTEST} random characters.")
    return Key(text.encode())


def _bad(name: str, what: str) -> SettingsError:
    return SettingsError(
        what,
        where=name,
        slug="bad-key",
        remedy='Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"',
    )


def check_key(database: Database, key: Key, *, accept: bool = False) -> None:
    """
    Refuse a key that is not the one this ledger is written with: every patient would get a second pseudonym.

    A new ledger takes the key it is given; ``accept`` makes an old one go on with another.
    """
    with database.writing() as connection:
        known = connection.execute(select(marks.c.name).where(marks.c.name.startswith(_MARK))).scalars().all()
        current = connection.execute(select(marks.c.value).where(marks.c.name == "current key")).scalar()
        if current == key.mark():
            return
        if known and not accept:
            raise SettingsError(
                "The ledger was written with another key.",
                where=KEY,
                slug="other-key",
                why="With a new key every patient gets a second pseudonym, and quiet times are forgotten.",
                remedy='Give the old key, or run "cds-service ledger new-key" to go on with the new one.',
            )
        if _MARK + key.mark() not in known:
            connection.execute(insert(marks).values(name=_MARK + key.mark(), value=""))
        connection.execute(marks.delete().where(marks.c.name == "current key"))
        connection.execute(insert(marks).values(name="current key", value=key.mark()))
