"""Procedures that were carried out."""

from __future__ import annotations

from collections.abc import Iterator

from cds_service.facts import model
from cds_service.facts.dates import DAY, When, parse, span
from cds_service.facts.model import Procedure, SetAside
from cds_service.facts.records import Period, Record
from cds_service.facts.shared import Desk

CARRIED_OUT = frozenset({"completed", "in-progress"})
# KNOWLEDGE 2.3: continuous or emergency dialysis is never maintenance dialysis, by whatever broader code it goes too.
EMERGENCY = "crrt"


def read(record: Record, desk: Desk) -> Iterator[Procedure | SetAside]:
    """Yield the procedures that a Procedure resource means, or the reason why it counts for none."""
    meaning = desk.reader.procedures(bytes(record.code))
    if not meaning.matches:
        desk.unmatched(model.PROCEDURES, meaning)
        return
    when = _when(record, desk.now)
    reason = _unusable(record, desk, when)
    for match in [one for one in meaning.matches if one.concept == EMERGENCY] or meaning.matches:
        if reason:
            yield SetAside(model.PROCEDURES, reason, match.concept, when)
        else:
            name = meaning.display or desk.reader.terminology.label(match.concept)
            yield Procedure(match.concept, match.system, match.code, match.how, name, when)


def _when(record: Record, now: float) -> When | None:
    """Return when it was carried out: at the end of its period, and today where it has begun and not ended."""
    if record.performedDateTime:
        return parse(record.performedDateTime)
    period = record.performedPeriod
    if not period:
        return None
    when = span(period.start, period.end)
    if when and record.status == "in-progress" and _lasts(period, now):
        today = int(now // DAY)
        return When(now, now, today, today)
    return when


def _lasts(period: Period, now: float) -> bool:
    began, ended = parse(period.start), parse(period.end)
    return began is not None and began.start <= now + DAY and (ended is None or ended.end > now)


def _unusable(record: Record, desk: Desk, when: When | None) -> str:
    if record.status not in CARRIED_OUT:
        return f"status-{record.status}" if record.status in _KNOWN else "status-unknown"
    return "future-date" if when and when.start > desk.now + DAY else ""


_KNOWN = frozenset({"preparation", "not-done", "on-hold", "stopped", "entered-in-error", "unknown"})
