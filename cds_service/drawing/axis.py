"""Axes that a person can read: which stretch of time is shown, where its ticks stand, round numbers beside a plot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from cds_service.facts.dates import DAY

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# How many days back a chart may look; a longer history is listed, not drawn.
SPANS = (7, 14, 30, 61, 92, 183, 365, 730)
# To the left of the oldest result, so that it does not lie on the edge.
_ROOM = 0.03
# Fewer moments than this are no trend yet: they are shown within three months, and what was given meanwhile.
FEW, THREE_MONTHS = 4, 92
_STEPS_IN_DAYS = (1, 2, 7, 14)
_STEPS_IN_MONTHS = (1, 2, 3, 6, 12)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def beginning(moments: Iterable[float], now: float) -> float:
    """Return where the time axis begins: the shortest span that shows every moment, or the longest there is."""
    ages = {now - moment for moment in moments}
    age = max(ages, default=0.0) / DAY * (1 + _ROOM)
    least = THREE_MONTHS if len(ages) < FEW else 0
    days = next((span for span in SPANS if age <= span and span >= least), SPANS[-1])
    return now - days * DAY


def day_of(moment: float) -> str:
    """Write a day as it stands on a chart: 1 Mar 2026."""
    when = _EPOCH + timedelta(seconds=moment)
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}"


def ticks(start: float, end: float, most: int) -> list[tuple[float, str]]:
    """Return at most so many ticks between two moments, with what stands below each."""
    for step in _STEPS_IN_DAYS:
        found = list(_days(start, end, step))
        if len(found) <= most:
            return list(_worded(found, "day"))
    for step in _STEPS_IN_MONTHS:
        found = list(_months(start, end, step))
        if len(found) <= most:
            return list(_worded(found, "month"))
    return list(_worded(list(_months(start, end, 24))[-most:], "month"))


def _days(start: float, end: float, step: int) -> Iterator[datetime]:
    first = math.ceil(start / DAY)
    if step % 7 == 0:
        first += (4 - first) % 7  # 1970-01-01 was a Thursday: weeks begin on Monday
    for day in range(first, int(end // DAY) + 1, step):
        yield _EPOCH + timedelta(days=day)


def _months(start: float, end: float, step: int) -> Iterator[datetime]:
    begun = _EPOCH + timedelta(seconds=start)
    number = begun.year * 12 + begun.month - 1
    number += -number % step
    while (when := datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)).timestamp() <= end:
        if when.timestamp() >= start:
            yield when
        number += step


def _worded(moments: list[datetime], unit: str) -> Iterator[tuple[float, str]]:
    """Name each tick; the year stands at the first tick and where it changes."""
    last = 0
    for when in moments:
        day = f"{when.day} " if unit == "day" else ""
        year = f" {when.year}" if when.year != last else ""
        last = when.year
        yield when.timestamp(), f"{day}{MONTHS[when.month - 1]}{year}"


def scale(values: Iterable[float], most: int = 5) -> list[float]:
    """Return round numbers that hold all values between the first and the last, so few that they can be read."""
    found = list(values)
    low, high = min(found), max(found)
    if high - low < abs(high) * 0.02:
        low, high = low - (abs(low) * 0.1 or 1), high + (abs(high) * 0.1 or 1)
    room = (high - low) * 0.06
    low, high = max(0.0, low - room) if low >= 0 else low - room, high + room
    step = _round_step((high - low) / (most - 1))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(part * power for part in (1, 2, 2.5, 5, 10) if part * power >= least * 0.999)


def number(value: float) -> str:
    """Write a round number without needless zeros."""
    return f"{value:.3f}".rstrip("0").rstrip(".")
