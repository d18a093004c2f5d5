"""The database behind the ledger: a SQLite file with a write-ahead log, or PostgreSQL; one transaction at a time."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from cds_service import decoding
from cds_service.errors import SettingsError, Unavailable

# How long a transaction waits for a lock that another process holds, in seconds (RELIABILITY 3.19); on PostgreSQL also
# how long for each answer, and GRACE (bounded.py) longer where the server stands still.
PATIENCE = 2.0
# All who write to PostgreSQL take this lock: numbers then grow in the order in which rows can be seen, and whoever
# asks for "all after the last" misses none.
_WRITERS = 7_412
# SQLite's primary result codes (https://sqlite.org/rescode.html).
_SQLITE = {
    5: "locked",
    6: "locked",
    8: "read-only",
    10: "io-error",
    11: "corrupt",
    13: "full",
    14: "gone",
    26: "corrupt",
}
_POSTGRESQL = {"55P03": "locked", "57014": "locked", "53100": "full", "25006": "read-only", "58030": "io-error"}


class Database:
    """
    A database that is open.

    Every failure of the outside world is errors.Unavailable, whose slug says what kind it is: "ledger-locked",
    "ledger-full", "ledger-io-error", "ledger-read-only", "ledger-corrupt", "ledger-gone".
    """

    def __init__(self, url: str, *, make: bool = True) -> None:
        self.url = address(url)
        self.path = Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None
        if self.path is not None and make:
            make_file(self.path)
        if self.path is not None and not self.path.exists():
            raise unusable("There is no ledger here.", f"The file {self.path.name} does not exist.")
        self.engine = _sqlite(self.path) if self.path is not None else _postgresql(self.url)
        self._file = _identity(self.path)

    @contextmanager
    def writing(self, *, patience: float = PATIENCE, durable: bool = True) -> Iterator[Connection]:
        """
        Open a transaction that writes; it is on disk when the block has been left, unless it need not be ``durable``.

        SQLite always writes through (FULL): a commit that did not would leave a hole in the log, behind which a
        durable one could be lost.
        """
        with self._transaction({"writing": True, "patience": patience, "durable": durable}) as connection:
            yield connection
        self._check_file()

    @contextmanager
    def reading(self, *, patience: float = PATIENCE) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._transaction({"writing": False, "patience": patience, "durable": False}) as connection:
            yield connection

    @contextmanager
    def _transaction(self, options: dict[str, Any]) -> Iterator[Connection]:
        pool = self.engine.pool
        try:
            with self.engine.connect().execution_options(**options) as connection:
                try:
                    with connection.begin():
                        yield connection
                finally:
                    if self.engine.pool is not pool:  # disposed of meanwhile: nobody would take it there, or close it
                        connection.invalidate()
        except (DBAPIError, PoolTimeout) as failure:
            kind = reason(failure)
            if kind is None:
                raise
            if kind != "locked":
                self.engine.dispose()  # what was opened before the trouble may not know of its end
            raise unavailable(kind) from None

    def _check_file(self) -> None:
        """Refuse what was written to a file that has since been deleted or replaced: nobody will find it there."""
        if self.path is not None and _identity(self.path) != self._file:
            self.engine.dispose()
            raise unavailable("gone")

    def close(self) -> None:
        """Close every connection. Nothing may be open when a process forks."""
        self.engine.dispose()

    def forget(self) -> None:
        """In a process that was forked: forget connections, which belong to the parent."""
        self.engine.dispose(close=False)


def reason(failure: BaseException) -> str | None:
    """Name what kept the database from answering; None where the statement itself was at fault."""
    if isinstance(failure, PoolTimeout):
        return "locked"
    if not isinstance(failure, DBAPIError):
        return None
    original = failure.orig
    code = getattr(original, "sqlite_errorcode", None)
    if code is not None:
        return _SQLITE.get(code & 0xFF, "gone" if "no such table" in str(original) else None)
    state = getattr(original, "sqlstate", None)
    if state in _POSTGRESQL:
        return _POSTGRESQL[state]
    lost = failure.connection_invalidated or state is None or state[:2] in ("08", "53", "57", "58", "XX")
    return (
        "gone" if lost and type(failure).__name__ in ("OperationalError", "InterfaceError", "InternalError") else None
    )


def unavailable(kind: str) -> Unavailable:
    """Return the error that says why the ledger cannot be used now."""
    return Unavailable("The ledger cannot be used now.", slug=f"ledger-{kind}")


def address(url: str) -> URL:
    """Read a database address. Raises SettingsError; the address itself, which may hold a password, is not repeated."""
    try:
        target = make_url(url)
    except ArgumentError:
        raise unusable("CDS_DATABASE_URL is no database address.", "") from None
    if target.drivername in ("postgres", "postgresql"):
        return target.set(drivername="postgresql+psycopg")
    if target.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise unusable("The ledger can be kept in SQLite or PostgreSQL.", "")
    if target.get_backend_name() == "sqlite" and target.database in (None, "", ":memory:"):
        raise unusable("The ledger needs a file: a database in memory would forget what was acknowledged.", "")
    return target


def unusable(what: str, why: str) -> SettingsError:
    """Return the error that says why the service does not start with this database."""
    return SettingsError(
        what,
        where="CDS_DATABASE_URL",
        slug="ledger-unusable",
        why=why,
        remedy="Check that the address is right, and that the file or server can be written; see docs/ledger.md.",
    )


def make_file(path: Path) -> None:
    """Make an empty database file that only its owner can read, if there is none."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as failure:
        raise unusable("The ledger's file cannot be made.", failure.strerror or "") from None


def _identity(path: Path | None) -> tuple[int, int] | None:
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


def _sqlite(path: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        # mode=rw: a file that was deleted is not silently made anew. No isolation level: we say BEGIN ourselves.
        place = f"file:{quote(str(path.resolve()))}?mode=rw"
        made = sqlite3.connect(place, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        with closing(made.cursor()) as cursor:
            # FULL: what was acknowledged survives a power cut. secure_delete: what was purged is overwritten.
            # cache_size: 256 kB; the usual 2 MB fill up in each connection, for a quarter of an hour, and save no time.
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "cache_size=-256"):
                cursor.execute(f"PRAGMA {pragma}")
        return made

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_timeout=PATIENCE,
        max_overflow=40,
        **_BOTH,
    )
    event.listen(engine, "begin", _begin_sqlite)
    return engine


_BOTH: Any = {
    "hide_parameters": True,  # an error's text would quote what was to be stored
    "json_serializer": lambda value: msgspec.json.encode(value).decode(),
    "json_deserializer": decoding.decode,
}


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA busy_timeout={int(options.get('patience', PATIENCE) * 1000)}")
    # IMMEDIATE: a transaction that reads first and writes later could not wait for a lock.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writing") else "BEGIN")


def _postgresql(target: URL) -> Engine:
    from cds_service.adapters.ledger.bounded import bound  # needs psycopg, which is not installed for SQLite alone

    # Its warnings may quote what was to be stored; without propagation alone logging's last resort would print them.
    logging.getLogger("psycopg").disabled = True
    # A server that vanished without a word is noticed after the same time (in seconds, milliseconds).
    waits = {"connect_timeout": int(PATIENCE), "tcp_user_timeout": int(PATIENCE * 1000), "keepalives_idle": 10}
    engine = create_engine(
        target,
        connect_args=waits,
        pool_pre_ping=True,
        pool_timeout=PATIENCE,
        max_overflow=15,
        **_BOTH,
    )
    bound(engine, PATIENCE)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _begin_postgresql(connection: Connection) -> None:
    from cds_service.adapters.ledger.bounded import GRACE

    options = connection.get_execution_options()
    patience = options.get("patience", PATIENCE)
    raw: Any = connection.connection.driver_connection
    raw.limit, wait = patience + GRACE, int(patience * 1000)
    said = [f"SET LOCAL lock_timeout={wait}", f"SET LOCAL statement_timeout={wait}"]
    if options.get("writing"):
        said.append(f"SET LOCAL synchronous_commit={'on' if options.get('durable', True) else 'off'}")
        said.append(f"SELECT pg_advisory_xact_lock({_WRITERS})")
    connection.exec_driver_sql("; ".join(said))


def is_sound(database: Database, *, seconds: float | None = None) -> bool:
    """
    Say whether a SQLite file is whole, as far as can be told in so many seconds; PostgreSQL looks after itself.

    Raises Unavailable where it cannot be read at all.
    """
    if database.path is None:
        return True
    with database.reading() as connection:
        raw: Any = connection.connection.driver_connection
        steps = None if seconds is None else iter(range(int(seconds * 1_000)))
        if steps is not None:
            raw.set_progress_handler(lambda: int(next(steps, None) is None), 10_000)
        try:
            return bool(raw.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)])
        except sqlite3.DatabaseError as failure:
            # Interrupted: it is too large to be read whole now; "cds-service ledger verify" does.
            return failure.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
        finally:
            raw.set_progress_handler(None, 0)


__all__ = ["PATIENCE", "Database", "SQLAlchemyError", "address", "is_sound", "reason", "unavailable", "unusable"]
