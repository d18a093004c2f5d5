"""Rows deleted on purpose: when their time has passed, or because a patient is to be forgotten."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, Select, delete, insert, select

from cds_service.adapters.ledger.database import Database
from cds_service.adapters.ledger.schema import cards, decisions, feedback, marks, purges

DAY = 86_400
# So many rows in one transaction: feedback must not wait for a purge.
_AT_ONCE = 500
TIME, PATIENT = "time", "patient"
_DAILY = "purged on day"
_LONG_PAUSE = 45


class Purged(msgspec.Struct):
    """How much was deleted."""

    decisions: int = 0
    cards: int = 0
    feedback: int = 0


def daily(database: Database, days: int, now: float) -> Purged | None:
    """
    Delete what has passed its time, once a day by whichever process comes first; None where nothing was to be done.

    After a long pause nothing is deleted before the next day: it may be the clock that is wrong.
    """
    today = int(now // DAY)
    with database.writing() as connection:
        done = connection.execute(select(marks.c.value).where(marks.c.name == _DAILY)).scalar()
        if done is not None and int(done) >= today:
            return None
        connection.execute(delete(marks).where(marks.c.name == _DAILY))
        connection.execute(insert(marks).values(name=_DAILY, value=str(today)))
    if done is None or today - int(done) > _LONG_PAUSE:
        return None
    return older_than(database, now - days * DAY, now)


def older_than(database: Database, before: float, now: float) -> Purged:
    """Delete decisions and cards from before a moment, and feedback received before it."""
    found = _purge(database, _rows().where(decisions.c.at < before), TIME, now)
    old = select(feedback.c.number).where(feedback.c.received < before).limit(_AT_ONCE)
    while True:
        with database.writing() as connection:
            numbers = connection.execute(old).scalars().all()
            connection.execute(delete(feedback).where(feedback.c.number.in_(numbers)))
        found.feedback += len(numbers)
        if len(numbers) < _AT_ONCE:
            return found


def patient(database: Database, pseudonyms: Collection[str], now: float) -> Purged:
    """Delete every decision about a patient, its cards, and what clinicians answered to them."""
    return _purge(database, _rows().where(decisions.c.patient.in_(pseudonyms)), PATIENT, now)


def _rows() -> Select[Any]:
    columns = (decisions.c.number, decisions.c.id, decisions.c.chain, decisions.c.place, decisions.c.hash)
    return select(*columns).order_by(decisions.c.chain, decisions.c.place).limit(_AT_ONCE)


def _purge(database: Database, which: Select[Any], why: str, now: float) -> Purged:
    found = Purged()
    while True:
        with database.writing() as connection:
            rows = connection.execute(which).mappings().all()
            _delete(connection, rows, why, now, found)
        if len(rows) < _AT_ONCE:
            return found


def _delete(connection: Connection, rows: Sequence[RowMapping], why: str, now: float, found: Purged) -> None:
    if not rows:
        return
    ids = [row["id"] for row in rows]
    shown = connection.execute(select(cards.c.id).where(cards.c.decision.in_(ids))).scalars().all()
    if why == PATIENT:  # a comment may name the patient; else feedback has a time of its own
        found.feedback += connection.execute(delete(feedback).where(feedback.c.card.in_(shown))).rowcount
    connection.execute(delete(cards).where(cards.c.decision.in_(ids)))
    connection.execute(delete(decisions).where(decisions.c.number.in_([row["number"] for row in rows])))
    gaps = [
        {"at": now, "why": why, "chain": run[0]["chain"], "first": run[0]["place"], "last": run[-1]["place"],
         "hash": run[-1]["hash"]}
        for run in _runs(rows)
    ]  # fmt: skip
    connection.execute(insert(purges), gaps)
    found.decisions += len(rows)
    found.cards += len(shown)


def _runs(rows: Sequence[RowMapping]) -> Iterator[list[RowMapping]]:
    """Yield rows that follow each other in one chain, together."""
    run: list[RowMapping] = []
    for row in rows:
        if run and (run[-1]["chain"], run[-1]["place"] + 1) != (row["chain"], row["place"]):
            yield run
            run = []
        run.append(row)
    if run:
        yield run
