"""The audit: who did what, when, from where; a chain of keyed hashes (45 CFR 164.312(b); ADMIN.md, "Audit")."""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from cds_service.adapters.governance import checking
from cds_service.adapters.governance.checking import Told
from cds_service.adapters.governance.errors import clean
from cds_service.adapters.governance.tables import LARGEST, audit
from cds_service.adapters.ledger.database import Database
from cds_service.adapters.ledger.schema import marks

_HEAD = "audit head"
_START = "0" * 64
# What an entry follows where it cannot be told what the newest one was: ``verify`` finds the break for ever.
_LOST = ""
_PAGE = 500


class Entry(msgspec.Struct, frozen=True):
    """One deed. ``at`` is in seconds since 1970 (UTC), ``origin`` the address of whoever did it, or "shell"."""

    number: int
    at: float
    who: str
    role: str
    action: str
    subject: str
    old: str
    new: str
    origin: str
    previous: str = ""
    hash: str = ""


class Head(msgspec.Struct, frozen=True):
    """The newest entry as it was noted apart from the entries: cutting them off does not change it."""

    number: int
    hash: str
    seal: str

    @classmethod
    def read(cls, connection: Connection) -> Head | None:
        """Read the note; None where there is none that can be read."""
        told = connection.execute(select(marks.c.value).where(marks.c.name == _HEAD)).scalar() or ""
        number, _, rest = told.partition(" ")
        digest, _, seal = rest.partition(" ")
        return cls(int(number), digest, seal) if number.isdecimal() and seal else None


class Audit:
    """The audit of one database. ``secret`` is the ledger's key for this purpose."""

    def __init__(self, database: Database, secret: bytes, clock: Callable[[], float]) -> None:
        self._database, self._secret, self._clock = database, secret, clock

    def append(self, action: str, subject: str, who: str, role: str, origin: str, old: str = "", new: str = "") -> None:
        """Write down a deed; on disk when it returns. Raises Unavailable."""
        with self._database.writing() as connection:
            self.write(connection, action, subject, who, role, origin, old, new)

    def write(
        self,
        connection: Connection,
        action: str,
        subject: str,
        who: str,
        role: str,
        origin: str,
        old: str = "",
        new: str = "",
    ) -> None:
        """Write down a deed in the transaction that does it: both are there, or neither."""
        # Who writes holds the database's only writing lock, so nobody else can continue the same chain.
        self._write(connection, self._end(connection), (who, role, action, subject, old, new, origin))

    def adopt(self, who: str, origin: str) -> None:
        """Go on with another key: the entries up to now are verified with the older one from here on."""
        with self._database.writing() as connection:
            head, end = Head.read(connection), self._end(connection)
            if head is None or _same(head.seal, self._seal(head.number, head.hash)):
                return
            end = (max(head.number, end[0]), head.hash)
            self._write(connection, end, (who, "shell", "new key", "ledger", "", "", origin))

    def _end(self, connection: Connection) -> tuple[int, str]:
        """Return number and hash of the entry that the next one follows."""
        last, head = connection.execute(_LAST).first(), Head.read(connection)
        if head is not None and _same(head.seal, self._seal(head.number, head.hash)):
            # Where the end was cut off, the next entry leaves a gap behind it.
            return max(head.number, last.number if last else 0), head.hash
        return (last.number, _LOST) if last else (0, _START if head is None else _LOST)

    def _write(self, connection: Connection, end: tuple[int, str], told: Sequence[str]) -> None:
        who, role, action, subject, old, new, origin = (
            clean(one)[:most] for one, most in zip(told, _WIDTHS, strict=True)
        )
        entry = Entry(end[0] + 1, self._clock(), who, role, action, subject, old, new, origin, end[1])
        digest = _digest(self._secret, entry)
        connection.execute(insert(audit), msgspec.structs.asdict(msgspec.structs.replace(entry, hash=digest)))
        connection.execute(delete(marks).where(marks.c.name == _HEAD))
        noted = f"{entry.number} {digest} {self._seal(entry.number, digest)}"
        connection.execute(insert(marks), {"name": _HEAD, "value": noted})

    def _seal(self, number: int, digest: str) -> str:
        return hmac.new(self._secret, f"head {number} {digest}".encode(), hashlib.sha256).hexdigest()

    def page(
        self,
        before: int | None = None,
        limit: int = 100,
        who: str | None = None,
        action: str | None = None,
        subject: str | None = None,
    ) -> list[Entry]:
        """Return entries, newest first; those before a number, of somebody, of one kind, about something."""
        asked = select(audit).order_by(audit.c.number.desc()).limit(limit)
        if before is not None:
            asked = asked.where(audit.c.number < min(before, LARGEST))
        if who:
            asked = asked.where(audit.c.who == clean(who))
        if action:
            asked = asked.where(audit.c.action == clean(action))
        if subject:
            asked = asked.where(audit.c.subject.contains(clean(subject), autoescape=True))
        with self._database.reading() as connection:
            return [Entry(**row) for row in connection.execute(asked).mappings()]

    def actions(self) -> list[str]:
        """Return every kind of deed that there is."""
        with self._database.reading() as connection:
            return sorted(connection.execute(select(audit.c.action).distinct()).scalars())

    def all(self) -> Iterator[Entry]:
        """Return every entry, oldest first, a page at a time."""
        after = 0
        while True:
            asked = select(audit).where(audit.c.number > after).order_by(audit.c.number).limit(_PAGE)
            with self._database.reading() as connection:
                found = [Entry(**row) for row in connection.execute(asked).mappings()]
            yield from found
            if len(found) < _PAGE:
                return
            after = found[-1].number

    def count(self) -> int:
        """Return how many entries there are."""
        with self._database.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(audit)).scalar_one())

    def verify(self, *older: bytes) -> list[str]:
        """
        Compute every hash anew, and hold what was decided against what is told of it; return what is wrong, in words.

        ``older`` are the secrets of older keys. Problems name entries and changes, never what stands there.
        """
        with self._database.reading() as connection:
            # What is written while we read comes after these, and is not missed.
            head, numbers = Head.read(connection), checking.newest(connection)
        told: dict[str, list[Told]] = defaultdict(list)
        problems = [*self._entries(head, (self._secret, *older), told)]
        with self._database.reading() as connection:
            if head is None and Head.read(connection) is not None:
                return self.verify(*older)  # the first entry of all was written while we read
            return [*problems, *checking.problems(connection, numbers, told)]

    def _entries(self, head: Head | None, secrets: Sequence[bytes], told: dict[str, list[Told]]) -> Iterator[str]:
        number, previous, reached = 0, _START, False
        for entry in self.all():
            number += 1
            if entry.number != number:
                yield f"Entries {number} to {entry.number - 1} are missing."
                number = entry.number
            elif entry.previous != previous:
                yield f"Entry {entry.number} does not follow the one before it."
            if not any(_same(entry.hash, _digest(one, entry)) for one in secrets):
                yield f"Entry {entry.number} was changed."
            previous = entry.hash
            reached = reached or (head is not None and (head.number, head.hash) == (entry.number, entry.hash))
            if checking.is_about_change(entry.subject):
                told[entry.subject].append(Told(entry.action, entry.who, entry.new))
        if not reached and (head is not None or number):
            yield "The newest entries are missing."
        elif head is not None and not _same(head.seal, self._seal(head.number, head.hash)):
            yield "The note of the newest entry was changed."


def _digest(secret: bytes, entry: Entry) -> str:
    said = msgspec.json.encode(msgspec.structs.replace(entry, hash=""))
    return hmac.new(secret, said, hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


# Characters that are kept of who, role, action, subject, old, new, origin: as many as their columns hold.
_WIDTHS = (120, 40, 80, 400, None, None, 80)
_LAST = select(audit.c.number, audit.c.hash).order_by(audit.c.number.desc()).limit(1)
