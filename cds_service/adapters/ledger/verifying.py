"""Whether the ledger is as it was written: chains computed anew, seals looked at, and what admins did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, select

from cds_service.adapters.governance.audit import Audit
from cds_service.adapters.ledger import feedback as stored
from cds_service.adapters.ledger.chain import beginning, link
from cds_service.adapters.ledger.database import Database, is_sound
from cds_service.adapters.ledger.keys import Key
from cds_service.adapters.ledger.schema import chains, decisions, feedback, purges

# Reading a large ledger takes its time, and disturbs nobody.
_PATIENCE = 3_600.0
_MOST_PROBLEMS = 100


class Report(msgspec.Struct):
    """What was looked at, and what is wrong."""

    chains: int = 0
    decisions: int = 0
    purged: int = 0
    feedback: int = 0
    entries: int = 0
    problems: list[str] = []


def verify(database: Database, key: Key, *older: Key) -> Report:
    """
    Compute every hash anew. Problems name chains, places and numbers, never what stands there.

    ``older`` are keys from before ``ledger new-key``.
    """
    report = Report(problems=[])
    if not is_sound(database):
        report.problems.append("The file is damaged (SQLite's own check).")
    with database.reading(patience=_PATIENCE) as connection:
        for problem in (*_chains(connection, report), *_feedback(connection, (key, *older), report)):
            if len(report.problems) < _MOST_PROBLEMS:
                report.problems.append(problem)
    kept = Audit(database, key.purpose("audit"), time.time)
    told = [f"Audit: {one}" for one in kept.verify(*(one.purpose("audit") for one in older))]
    report.problems += told[: max(0, _MOST_PROBLEMS - len(report.problems))]
    report.entries = kept.count()
    return report


def _chains(connection: Connection, report: Report) -> Iterator[str]:
    begun = {row["id"]: row for row in connection.execute(select(chains)).mappings()}
    deleted = _deleted(connection, report)
    ends: dict[str, int] = {}
    current, expected, previous = "", 0, ""
    for row in _decisions(connection):
        if row["chain"] != current:
            current, expected = row["chain"], 0
            report.chains += 1
            if current not in begun:
                yield f"Chain {current}: its beginning is missing."
                continue
            previous = beginning(begun[current])
        while expected < row["place"] and (current, expected) in deleted:
            expected, previous = deleted[current, expected]
        if row["place"] != expected:
            yield f"Chain {current}: {row['place'] - expected} row(s) from place {expected} are missing."
        elif link(previous, row) != row["hash"]:
            yield f"Chain {current}: the row at place {expected} was changed."
        expected, previous = row["place"] + 1, row["hash"]
        ends[current] = expected
        report.decisions += 1
    yield from _cut_off(begun.values(), ends, deleted)


def _decisions(connection: Connection) -> Iterator[RowMapping]:
    found = select(decisions).order_by(decisions.c.chain, decisions.c.place).execution_options(yield_per=500)
    yield from connection.execute(found).mappings()


def _deleted(connection: Connection, report: Report) -> dict[tuple[str, int], tuple[int, str]]:
    """Return what was deleted on purpose: from which place of a chain, up to which, and the last hash."""
    found = {}
    for row in connection.execute(select(purges)).mappings():
        found[row["chain"], row["first"]] = (row["last"] + 1, row["hash"])
        report.purged += row["last"] - row["first"] + 1
    return found


def _cut_off(begun: Any, ends: dict[str, int], deleted: dict[tuple[str, int], tuple[int, str]]) -> Iterator[str]:
    """Look whether the rows that later chains know as the newest are still there, or were purged."""
    for row in begun:
        chain, place = row["after_chain"], row["after_place"]
        end = ends.get(chain, 0)
        while (chain, end) in deleted:
            end = deleted[chain, end][0]
        if chain and end <= place:
            yield f"Chain {chain}: the end is missing, from place {end} to at least {place}."


def _feedback(connection: Connection, keys: tuple[Key, ...], report: Report) -> Iterator[str]:
    secrets = [key.purpose("seal") for key in keys]
    found = select(feedback).order_by(feedback.c.number).execution_options(yield_per=500)
    for row in connection.execute(found).mappings():
        report.feedback += 1
        if all(stored.seal(row, secret) != row["seal"] for secret in secrets):
            yield f"Feedback {row['number']} was changed, or written with another key."
