"""Back-tests under way: worked on by one process, shown by any."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select, update

from cds_service.adapters.governance.errors import clean
from cds_service.adapters.governance.tables import trials
from cds_service.adapters.ledger.database import Database

# Without progress for so long, the process that worked on it has ended. Results are kept for a week.
SILENCE, KEPT = 30.0, 7 * 86_400.0
# Bytes of chance in an id: nobody finds the back-test of another by guessing.
_CHANCE = 12


class Trial(msgspec.Struct, frozen=True):
    """
    A back-test. ``state`` is "running", "done", "failed" (``why`` says why) or "stopped": its process has ended.

    ``done`` of ``total`` patients are looked at.
    """

    id: str
    at: float
    who: str
    state: str
    done: int
    total: int
    request: dict[str, Any]
    result: dict[str, Any]
    why: str = ""


class Trials:
    """The back-tests of one database."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock

    def start(self, who: str, request: dict[str, Any]) -> str:
        """Take note of a back-test that begins; return its id."""
        number, now = secrets.token_urlsafe(_CHANCE), self._clock()
        row = {"id": number, "at": now, "touched": now, "who": who, "state": "running", "done": 0, "total": 0}
        with self._database.writing() as connection:
            connection.execute(delete(trials).where(trials.c.at < now - KEPT))
            connection.execute(insert(trials), row | {"request": request, "result": {}, "why": ""})
        return number

    def progress(self, number: str, done: int, total: int) -> None:
        """Say how far it is."""
        self._write(number, durable=False, done=done, total=total)

    def finish(self, number: str, result: dict[str, Any]) -> None:
        """Keep what was found."""
        self._write(number, state="done", result=result)

    def fail(self, number: str, why: str) -> None:
        """Say why it could not be done."""
        self._write(number, state="failed", why=why[:2000])

    def _write(self, number: str, *, durable: bool = True, **values: Any) -> None:
        asked = update(trials).where(trials.c.id == number).values(touched=self._clock(), **values)
        with self._database.writing(durable=durable) as connection:
            connection.execute(asked)

    def get(self, number: str) -> Trial | None:
        """Return a back-test."""
        with self._database.reading() as connection:
            row = connection.execute(select(trials).where(trials.c.id == clean(number))).mappings().first()
        return self._read(row) if row else None

    def recent(self, who: str | None = None, limit: int = 20) -> list[Trial]:
        """Return the newest back-tests, of somebody or of all."""
        asked = select(trials).order_by(trials.c.at.desc()).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(asked.where(trials.c.who == who) if who else asked).mappings().all()
        return [self._read(row) for row in rows]

    def _read(self, row: Any) -> Trial:
        told = {name: row[name] for name in Trial.__struct_fields__}
        if row["state"] == "running" and self._clock() - row["touched"] > SILENCE:
            told["state"] = "stopped"
        return Trial(**told)
