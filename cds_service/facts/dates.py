"""FHIR dates of any precision, as the interval of time they may mean."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import msgspec

DAY = 86_400
_SHORT = re.compile(r"([0-9]{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01]))?)?")
# FHIR's own pattern for dateTime, but that seconds and zone may be left out: both occur in real records.
_LONG = re.compile(r"[0-9-]{10}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:[0-9]{2})?")
_LEAP_SECOND = re.compile(r"(T[0-9]{2}:[0-9]{2}):60")
_EPOCH = date(1970, 1, 1).toordinal()
_FIRST, _LAST = date.min.toordinal() - _EPOCH, date.max.toordinal() - _EPOCH


class When(msgspec.Struct, frozen=True, gc=False):
    """
    A moment as precisely as it was recorded: from ``start`` to ``end``, in seconds since 1970 (UTC).

    ``first`` and ``last`` are the calendar days (UTC, counted from 1970-01-01) it may fall on; everything is compared
    by them. A time without a zone is read as UTC and marked ``zoneless``.
    """

    start: float
    end: float
    first: int
    last: int
    zoneless: bool = False

    @property
    def day(self) -> str:
        """Show the day (or month, or year) as it was written: 2026-02-17, 2026-02, 2026 (KNOWLEDGE 5.0, item 6)."""
        return _shown(self.first, self.last)

    @property
    def offset(self) -> int:
        """Say how many seconds the clock of whoever wrote it was ahead of UTC; what is compared never asks."""
        return 0


class Elsewhere(When, frozen=True, gc=False):
    """
    A moment that was written by a clock other than UTC, which was so many seconds ``ahead``.

    It is equal to the same moment written by any other clock: only the day that is shown differs.
    """

    ahead: int = 0

    @property
    def day(self) -> str:
        """Show the day as it was written."""
        written = int((self.start + self.ahead) // DAY)
        return _shown(written, written)

    @property
    def offset(self) -> int:
        """Say how many seconds that clock was ahead of UTC."""
        return self.ahead

    def __eq__(self, other: object) -> bool:
        """Compare moments, however they were written."""
        return isinstance(other, When) and (self.start, self.end, self.zoneless) == (
            other.start,
            other.end,
            other.zoneless,
        )

    def __hash__(self) -> int:
        """Be found where the same moment in UTC is."""
        return hash(When(self.start, self.end, self.first, self.last, self.zoneless))


@lru_cache(maxsize=8192)
def _shown(first: int, last: int) -> str:
    day = date.fromordinal(first + _EPOCH)
    if last - first > 31:
        return f"{day:%Y}"
    return f"{day:%Y-%m}" if last > first else day.isoformat()


_kept: dict[str, When | None] = {}


def parse(text: str | None) -> When | None:
    """Read a FHIR date, dateTime or instant; None where it is none (or no day that exists)."""
    if text is None or len(text) > 40:
        return None
    found = _kept.get(text)
    if found is None and text not in _kept:
        if len(_kept) > 20_000:
            _kept.clear()
        with suppress(ValueError, OverflowError):
            found = _read(text)
        _kept[text] = found
    return found


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
    if not _LONG.fullmatch(text):
        return None
    moment = datetime.fromisoformat(_LEAP_SECOND.sub(r"\1:59", text) if ":60" in text else text)
    zoneless = moment.tzinfo is None
    seconds = (moment.replace(tzinfo=UTC) if zoneless else moment).timestamp()
    day = int(seconds // DAY)
    # In UTC a moment may fall on a day before the first or after the last that a calendar can show.
    if not _FIRST <= day <= _LAST:
        return None
    if text[-1] != "Z" and (ahead := moment.utcoffset()):
        return Elsewhere(seconds, seconds, day, day, ahead=round(ahead.total_seconds()))
    return When(seconds, seconds, day, day, zoneless)


def span(start: str | None, end: str | None) -> When | None:
    """Return the end of a period, or its start where it is open; None where it ends before it starts, or on no day."""
    first, last = parse(start), parse(end)
    if (end and last is None) or (first and last and last.end < first.start):
        return None
    return last or first
