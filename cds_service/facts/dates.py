"""FHIR dates of any precision, as the interval of time they may mean."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import msgspec

DAY = 86_400
_SHORT = re.compile(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?")
_LEAP_SECOND = re.compile(r":60(?=$|[.Z+-])")
_EPOCH = date(1970, 1, 1).toordinal()


class When(msgspec.Struct, frozen=True, gc=False):
    """
    A moment as precisely as it was recorded: from ``start`` to ``end``, in seconds since 1970 (UTC).

    ``first`` and ``last`` are the calendar days (counted from 1970-01-01) it may fall on. A time without a zone is
    read as UTC and marked ``zoneless``.
    """

    start: float
    end: float
    first: int
    last: int
    zoneless: bool = False

    @property
    def day(self) -> str:
        """Show the day (or month, or year) as a clinician reads it: 2026-02-17, 2026-02, 2026."""
        first = date.fromordinal(self.first + _EPOCH)
        if self.last - self.first > 31:
            return f"{first:%Y}"
        return f"{first:%Y-%m}" if self.last > self.first else first.isoformat()


_kept: dict[str, When | None] = {}


def parse(text: str | None) -> When | None:
    """Read a FHIR date, dateTime or instant; None where it is none (or no day that exists)."""
    if text is None or len(text) > 40:
        return None
    if text not in _kept:
        if len(_kept) > 20_000:
            _kept.clear()
        try:
            _kept[text] = _read(text)
        except (ValueError, OverflowError):
            _kept[text] = None
    return _kept[text]


def _read(text: str) -> When | None:
    if len(text) > 10:
        return _moment(text)
    short = _SHORT.fullmatch(text)
    if not short:
        return None
    year, month, day = (int(part) if part else 0 for part in short.groups())
    first = date(year, month or 1, day or 1)
    return _days(first, _last_day(first, month, day))


def _last_day(first: date, month: int, day: int) -> date:
    if day:
        return first
    if month:
        return date(first.year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return date(first.year, 12, 31)


def _days(first: date, last: date) -> When:
    low, high = first.toordinal() - _EPOCH, last.toordinal() - _EPOCH
    return When(low * DAY, high * DAY + DAY - 1, low, high)


def _moment(text: str) -> When | None:
    if text[10] != "T":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.fromisoformat(_LEAP_SECOND.sub(":59", text))
    zoneless = moment.tzinfo is None
    seconds = (moment.replace(tzinfo=UTC) if zoneless else moment).timestamp()
    day = int(seconds // DAY)
    return When(seconds, seconds, day, day, zoneless)


def span(start: When | None, end: When | None) -> When | None:
    """Return the end of a period, or its start where it is open; None where it ends before it starts."""
    if start and end and end.end < start.start:
        return None
    return end or start
