"""What was recorded, read in the order in which it was written, a batch at a time: nobody reads a row twice."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import error as zlib_error

import msgspec
from sqlalchemy import RowMapping, Table, func, select

from cds_service.adapters.ledger.database import Database
from cds_service.adapters.ledger.schema import cards, decisions, feedback, purges
from cds_service.insight.events import Answer, Call, Content, Glance, read_content, read_glance

# So many rows at once: between two batches others may write.
BATCH = 1_000
_PATIENCE = 30.0


def rows(database: Database, table: Table, after: int = 0, batch: int = BATCH) -> Iterator[list[RowMapping]]:
    """Yield the rows of a table whose number is greater, oldest first, in batches. Raises Unavailable."""
    while True:
        found = select(table).where(table.c.number > after).order_by(table.c.number).limit(batch)
        with database.reading(patience=_PATIENCE) as connection:
            read = list(connection.execute(found).mappings())
        if read:
            yield read
            after = read[-1]["number"]
        if len(read) < batch:
            return


def calls(database: Database, after: int = 0, batch: int = BATCH) -> Iterator[list[Call]]:
    """Yield recorded decisions as figures need them, oldest first, in batches."""
    for read in rows(database, decisions, after, batch):
        yield [call(row) for row in read]


def newest(database: Database, before: int = 0, limit: int = 200) -> list[Call]:
    """Return recorded decisions, newest first, those before a number (0: from the newest on)."""
    found = select(decisions).order_by(decisions.c.number.desc()).limit(limit)
    if before:
        found = found.where(decisions.c.number < before)
    with database.reading(patience=_PATIENCE) as connection:
        return [call(row) for row in connection.execute(found).mappings()]


def by_card(database: Database) -> dict[str, Call]:
    """Return the recorded decisions that showed a card, by the card; without a look at their facts."""
    columns = (decisions.c.number, decisions.c.id, decisions.c.at, decisions.c.service, decisions.c.patient)
    asked = select(*columns, decisions.c.content).where(decisions.c.id.in_(select(cards.c.decision)))
    with database.reading(patience=_PATIENCE) as connection:
        found = [call(row) for row in connection.execute(asked).mappings()]
    return {card.id: one for one in found for card in one.content.cards}


def latest_facts(database: Database, since: float, limit: int) -> list[tuple[int, str, str, bytes]]:
    """Return the newest recorded facts of each patient at each service: number, patient, service, facts."""
    numbers = (
        select(func.max(decisions.c.number).label("number"))
        .where(decisions.c.at >= since, func.length(decisions.c.facts) > 0)
        .group_by(decisions.c.patient, decisions.c.service)
        .order_by(func.max(decisions.c.number).desc())
        .limit(limit)
        .subquery()
    )
    columns = (decisions.c.number, decisions.c.patient, decisions.c.service, decisions.c.facts)
    with database.reading(patience=_PATIENCE) as connection:
        found = connection.execute(select(*columns).join(numbers, numbers.c.number == decisions.c.number))
        return [tuple(row) for row in found]


def commented(database: Database, limit: int) -> list[Answer]:
    """Return the newest answers that have a comment."""
    found = select(feedback).where(feedback.c.comment != "").order_by(feedback.c.number.desc()).limit(limit)
    with database.reading(patience=_PATIENCE) as connection:
        return [answer(row) for row in connection.execute(found).mappings()]


def call(row: RowMapping) -> Call:
    """Read one decision; what cannot be read (a test's row, an older form) counts as a call that said nothing."""
    try:
        content = read_content(row["content"])
    except msgspec.DecodeError:
        content = Content()
    return Call(row["number"], row["id"], row["at"], row["service"], row["patient"], content, _glance(row.get("facts")))


def _glance(packed: bytes | None) -> Glance | None:
    try:
        return read_glance(packed or b"")
    except (msgspec.DecodeError, ValueError, zlib_error):
        return None


def answers(database: Database, after: int = 0, batch: int = BATCH) -> Iterator[list[Answer]]:
    """Yield what clinicians answered, in the order in which it was received, in batches."""
    for read in rows(database, feedback, after, batch):
        yield [answer(row) for row in read]


def answer(row: RowMapping) -> Answer:
    """Read one feedback."""
    names = ("number", "card", "outcome", "at", "received", "reason", "reason_system", "reason_display")
    return Answer(
        **{name: row[name] for name in names},
        suggestions=tuple(row["suggestions"]),
        service=row["service"],
        comment=row["comment"],
        issuer=row["issuer"],
    )


def shown(database: Database, after: int = 0, batch: int = BATCH) -> Iterator[list[RowMapping]]:
    """Yield the cards that were shown, oldest first, in batches."""
    yield from rows(database, cards, after, batch)


def deleted(database: Database) -> tuple[int, int]:
    """Return a mark of what was deleted: when it changes, what was counted has to be counted anew."""
    with database.reading(patience=_PATIENCE) as connection:
        newest = connection.execute(select(func.max(purges.c.number))).scalar() or 0
        return newest, connection.execute(select(func.min(feedback.c.number))).scalar() or 0
