"""
How far back a page that was cut off reaches.

A server that sorts newest first and stops after so many results has sent everything newer than the last one it sent:
"nothing within 90 days" can be decided if the page reaches back further than that.
"""

from __future__ import annotations

from collections.abc import Iterable

from cds_service.facts.dates import When, parse, span
from cds_service.facts.records import Lab, Record
from cds_service.facts.series import moment_of


def oldest_day(records: Iterable[Record | Lab | None]) -> int | None:
    """
    Return the day up to which a page is complete; None if it is not sorted newest first or not fully dated.

    Results of one moment prove no order: a server that does not sort may send just them.
    """
    newest: When | None = None
    oldest: When | None = None
    for record in records:
        when = _when(record)
        if when is None or (oldest is not None and when.start > oldest.end):
            return None
        newest, oldest = newest or when, when
    return oldest.last if newest and oldest and newest.start > oldest.end else None


def _when(record: Record | Lab | None) -> When | None:
    if record is None:
        return None
    if isinstance(record, Lab):
        return moment_of(record)
    if record.performedPeriod:
        return span(record.performedPeriod.start, record.performedPeriod.end)
    return parse(record.performedDateTime)
