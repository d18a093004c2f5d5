"""
Tokens are used once, in all processes: which ids were seen.

Kept apart from the ledger, since a hook call waits for it: on SQLite in a file of its own that is never waited for to
reach the disk, on PostgreSQL in a table without a log. After a power cut a token could be used twice within the
minutes that it lives; after a crash of the service it could not.

Where the store does not answer in time a hook call goes on (an EHR must not hang; SECURITY.md 1), remembered by this
process alone, and the alarm is counted; ``healthy`` says so, and feedback is then refused.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql

from cds_service.adapters.auth.replays import ReplaysInMemory
from cds_service.adapters.ledger.database import Database
from cds_service.adapters.ledger.schema import replays
from cds_service.errors import Unavailable

# A call waits so long at most, in seconds; after a failure nobody asks for a while.
PATIENCE, REST = 0.2, 5.0
PURGE_EVERY = 60.0
# What has expired is kept so long: the clock of the machine that purges may be ahead of one that still lets it in.
APART = 300.0
# So many calls of a process ask PostgreSQL at once; an answer takes a few milliseconds.
THREADS = 4


class LedgerReplays:
    """Used token ids, shared by all processes (see adapters.auth.Replays)."""

    def __init__(self, database: Database, counted: Counter[str]) -> None:
        path = database.path
        self._store: _File | _Table = _File(path.with_name(f"{path.name}.tokens")) if path else _Table(database)
        # What this process let in, and what it turned away since another had let it in: known when the store is away.
        self.counted, self._own, self._others = counted, ReplaysInMemory(), ReplaysInMemory()
        self._rests_until = self._purged = 0.0

    @property
    def healthy(self) -> bool:
        """Say whether the store answered when it was last asked."""
        return self._rests_until == 0.0

    def seen(self, issuer: str, jti: str, until: float, now: float) -> bool:
        """Say whether this id was used before, and remember it."""
        if self._rests_until and time.monotonic() < self._rests_until:
            return self._seen_here(issuer, jti, until, now)
        try:
            used = self._store.seen(_name(issuer, jti), until, now)
        except (Unavailable, sqlite3.Error, OSError):
            self._rests_until = time.monotonic() + REST
            return self._seen_here(issuer, jti, until, now)
        self._rests_until = 0.0
        if used:
            self._others.seen(issuer, jti, until, now)
            return True
        # Only the first in the store asks here, where what was used while the store was away is known. Whoever comes
        # second may be here earlier: were that one remembered as let in, both would be turned away.
        return self._own.seen(issuer, jti, until, now)

    def _seen_here(self, issuer: str, jti: str, until: float, now: float) -> bool:
        self.counted["replay store down"] += 1
        return self._own.seen(issuer, jti, until, now) or self._others.seen(issuer, jti, until, now)

    def purge(self, now: float) -> None:
        """Forget what has expired, once a minute; not on the way of a call."""
        if time.monotonic() - self._purged >= PURGE_EVERY:
            self._purged = time.monotonic()
            self._store.purge(now)

    def forget(self) -> None:
        """In a process that was forked: open anew what belongs to the parent."""
        self._store.forget()


def _name(issuer: str, jti: str) -> str:
    return hashlib.sha256(f"{len(issuer)}:{issuer}{jti}".encode("utf-8", "surrogatepass")).hexdigest()


class _File:
    """A small SQLite file; no write is waited for (synchronous=OFF)."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._pid = os.getpid()

    def _connection(self) -> sqlite3.Connection:
        if self._open is None or self._pid != os.getpid():
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
            place = f"file:{quote(str(self._path.resolve()))}?mode=rw"
            made = sqlite3.connect(place, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            for said in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF", _TABLE, _INDEX):
                made.execute(said)
            self._open, self._pid = made, os.getpid()
        return self._open

    def seen(self, name: str, until: float, now: float) -> bool:
        """Say whether a name is there that has not expired, and write it down."""
        if not self._lock.acquire(timeout=PATIENCE):
            raise TimeoutError
        try:
            # One statement decides: of two processes only one changes a row.
            return self._connection().execute(_USE, (name, until, now)).rowcount == 0
        except sqlite3.Error:
            self.close()
            raise
        finally:
            self._lock.release()

    def purge(self, now: float) -> None:
        with self._lock:
            self._connection().execute("DELETE FROM used WHERE until < ?", (now - APART,))

    def forget(self) -> None:
        self._lock, self._open = threading.Lock(), None

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


_TABLE = "CREATE TABLE IF NOT EXISTS used (id TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID"
_INDEX = "CREATE INDEX IF NOT EXISTS used_until ON used (until)"
_USE = "INSERT INTO used VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET until = excluded.until WHERE used.until < ?3"


class _Table:
    """
    A table of PostgreSQL without a write-ahead log.

    Asked in threads of its own: for a place in the pool, a new connection, or the answer of a server that stands still
    a thread may wait for seconds, and the call does not.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.forget()

    def seen(self, name: str, until: float, now: float) -> bool:
        """Say whether a name is there that has not expired, and write it down."""
        asked = self._threads.submit(self._ask, name, until, now)
        try:
            return asked.result(PATIENCE)
        finally:
            asked.cancel()  # what still waits for a thread then need not be asked any more

    def _ask(self, name: str, until: float, now: float) -> bool:
        statement = postgresql.insert(replays).values(id=name, until=until)
        statement = statement.on_conflict_do_update(
            index_elements=["id"], set_={"until": until}, where=replays.c.until < now
        )
        with self._database.reading(patience=PATIENCE) as connection:
            return connection.execute(statement.returning(replays.c.id)).first() is None

    def purge(self, now: float) -> None:
        with self._database.reading() as connection:
            connection.execute(delete(replays).where(replays.c.until < now - APART))

    def forget(self) -> None:
        """In a process that was forked: the threads are the parent's; the first calls make new ones."""
        self._threads = ThreadPoolExecutor(THREADS, "ledger-replays")
