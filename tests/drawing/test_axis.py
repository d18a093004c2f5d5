"""Axes: the stretch of time that shows everything, ticks that can be read, round numbers that hold all values."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cds_service.drawing import axis
from cds_service.facts.dates import DAY
from tests.build import NOW

NOON = NOW.timestamp()


@pytest.mark.parametrize(
    ("ages", "days"),
    [
        ((), 92),
        ((6,), 92),
        ((1, 2, 3, 6.5), 7),
        ((1, 2, 3, 7), 14),
        ((1, 20, 25, 29), 30),
        ((10, 40, 70, 120), 183),
        ((1, 2, 3, 360), 730),
        ((1, 2, 3, 4_000), 730),
    ],
)
def test_the_shortest_span_that_shows_everything(ages: tuple[float, ...], days: int) -> None:
    """Fewer than four moments are no trend: three months of treatment are shown around them."""
    assert NOON - days * DAY == axis.beginning([NOON - age * DAY for age in ages], NOON)


@pytest.mark.parametrize(
    ("days", "most", "first", "last"),
    [
        (7, 9, "23 Feb 2026", "1 Mar"),
        (14, 9, "16 Feb 2026", "28 Feb"),
        (92, 9, "1 Dec 2025", "23 Feb"),
        (183, 9, "Sep 2025", "Mar"),
        (365, 9, "May 2025", "Mar"),
        (730, 9, "Apr 2024", "Jan 2026"),
        (730, 4, "Jul 2024", "Jan 2026"),
    ],
)
def test_ticks_are_named_with_the_year_where_it_changes(days: int, most: int, first: str, last: str) -> None:
    found = axis.ticks(NOON - days * DAY, NOON, most)

    assert (first, last) == (found[0][1], found[-1][1])


@given(days=some.integers(2, 800), most=some.integers(3, 12), back=some.integers(0, 20_000))
def test_ticks_stand_where_they_say_and_never_too_many(days: int, most: int, back: int) -> None:
    end = NOON - back * DAY
    found, year = axis.ticks(end - days * DAY, end, most), 0

    assert len(found) <= most
    for moment, name in found:
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment)
        year = int(named[0]) if (named := re.findall(r"\d{4}", name)) else year
        assert end - days * DAY <= moment <= end
        assert axis.MONTHS[when.month - 1] in name
        assert year == when.year
        assert when.day == 1 or name.startswith(f"{when.day} ")
        assert 0 == when.hour


@given(some.lists(some.floats(0.01, 5_000), min_size=1, max_size=20), some.integers(3, 7))
def test_round_numbers_hold_every_value(values: list[float], most: int) -> None:
    ticks = axis.scale(values, most)
    steps = {round(two - one, 6) for one, two in pairwise(ticks)}

    assert ticks[0] <= min(values) <= max(values) <= ticks[-1]
    assert 2 <= len(ticks) <= most + 2
    assert max(steps) - min(steps) < 1e-4
    assert ticks[0] >= 0


def test_numbers_and_days_are_written_as_people_write_them() -> None:
    assert ["5.5", "0", "1200", "0.125"] == list(map(axis.number, (5.5, 0.0, 1200.0, 0.125)))
    assert "1 Mar 2026" == axis.day_of(NOON)
