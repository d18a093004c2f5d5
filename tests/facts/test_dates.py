"""
Dates of any precision, as the interval they may mean; what is no date is none, and nothing raises.
"""

from __future__ import annotations

import pytest

from cds_service.facts.dates import DAY, parse, span
from cds_service.facts.evidence import NO, UNKNOWN, YES, Verdict, apart, within_days

TODAY = "2026-03-01"


def number(text: str) -> int:
    """Return the number of a day."""
    found = parse(text)
    assert found is not None

    return found.first


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026", "2026-01-01", "2026-12-31"),
        ("2024-02", "2024-02-01", "2024-02-29"),
        ("2026-02", "2026-02-01", "2026-02-28"),
        ("2026-12", "2026-12-01", "2026-12-31"),
        ("2026-02-17", "2026-02-17", "2026-02-17"),
        ("2026-02-17T23:30:00Z", "2026-02-17", "2026-02-17"),
        ("2026-02-17T23:30:00-05:00", "2026-02-18", "2026-02-18"),
        ("2026-02-17T00:30:00+14:00", "2026-02-16", "2026-02-16"),
        ("2026-02-17T10:00:00.123456789Z", "2026-02-17", "2026-02-17"),
        ("2026-02-17T10:00:60Z", "2026-02-17", "2026-02-17"),
        ("2026-02-17T23:59:60Z", "2026-02-17", "2026-02-17"),
        ("2026-02-17T10:00Z", "2026-02-17", "2026-02-17"),
        ("0001-01-01", "0001-01-01", "0001-01-01"),
        ("9998-12", "9998-12-01", "9998-12-31"),
    ],
)
def test_a_date_is_the_interval_it_may_mean(text: str, first: str, last: str) -> None:
    found = parse(text)

    assert found is not None
    assert (number(first), number(last)) == (found.first, found.last)


@pytest.mark.parametrize(("text", "shown"), [("2026", "2026"), ("2026-02", "2026-02"), ("2026-02-17", "2026-02-17")])
def test_a_date_is_shown_as_precisely_as_it_was_recorded(text: str, shown: str) -> None:
    found = parse(text)

    assert found is not None
    assert shown == found.day


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        " ",
        "0",
        "0000",
        "0000-01-01",
        "99999",
        "10000-01-01",
        "-2026",
        "2026-",
        "2026-00",
        "2026-13",
        "2026-02-00",
        "2026-02-30",
        "2025-02-29",
        "2026-2-1",
        "20260217",
        "17.02.2026",
        "02/17/2026",
        "2026-02-17 10:00:00",
        "2026-02-17t10:00:00z",
        "2026-02-17T",
        "2026-02-17T10",
        "2026-02-17T24:00:00Z",
        "2026-02-17T25:00:00Z",
        "2026-02-17T10:60:00Z",
        "2026-02-17T10:00:61Z",
        "2026-02-17T10:00:00+25:00",
        "2026-02-17T10:00:00Zulu",
        "2026-02-17T10:00:00Z ",
        "2026-W08-2T10:00:00Z",
        "2026-048T10:00:00Z",
        "\uff12\uff10\uff12\uff16",
        "2026-02-17T1\u0660:00:00Z",
        "2026-02-17T10:00:00,5Z",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "yesterday",
        "2026-02-17T10:00:00Z" * 100,
        "\x00",
        "<b>2026</b>",
    ],
    ids=repr,
)
def test_what_is_no_date_is_none(text: str | None) -> None:
    assert None is parse(text)


@pytest.mark.parametrize("text", ["9999", "9999-12", "9999-12-31"])
def test_the_end_of_all_dates_raises_nothing(text: str) -> None:
    found = parse(text)

    assert found is None or found.last >= found.first


def test_a_time_without_a_zone_is_marked() -> None:
    zoneless, zoned = parse("2026-02-17T10:00:00"), parse("2026-02-17T10:00:00Z")

    assert zoneless is not None
    assert zoned is not None
    assert (True, False, zoned.start) == (zoneless.zoneless, zoned.zoneless, zoneless.start)


@pytest.mark.parametrize(
    "same",
    [
        "2026-02-17T10:00:00Z",
        "2026-02-17T10:00:00+00:00",
        "2026-02-17T10:00:00-00:00",
        "2026-02-17T11:00:00+01:00",
        "2026-02-17T15:45:00+05:45",
        "2026-02-18T00:00:00+14:00",
        "2026-02-16T22:00:00-12:00",
        "2026-02-17T10:00:00.000Z",
    ],
)
def test_one_instant_is_the_same_in_every_zone(same: str) -> None:
    utc = parse("2026-02-17T10:00:00Z")

    assert utc == parse(same)
    assert parse(same) == utc
    assert {utc} == {utc, parse(same)}
    assert parse("2026-02-17T10:00:01Z") != parse(same)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-02-17T20:00:00-08:00", "2026-02-17"),
        ("2026-02-17T00:30:00+14:00", "2026-02-17"),
        ("2026-02-17T23:59:60.5-03:30", "2026-02-17"),
        ("2026-02-17T23:59-00:00", "2026-02-17"),
        ("0001-01-02T00:00:00+14:00", "0001-01-02"),
        ("9999-12-31T23:00:00+01:00", "9999-12-31"),
    ],
)
def test_the_day_that_is_shown_is_the_one_that_was_written(text: str, shown: str) -> None:
    """
    "facts with date, value as reported" (KNOWLEDGE 5.0, item 6): the laboratory's day, whatever day it was in UTC.
    """
    found = parse(text)

    assert found is not None
    assert shown == found.day


@pytest.mark.parametrize(
    ("text", "days", "verdict"),
    [
        (TODAY, 0, YES),
        ("2026-02-28", 0, NO),
        ("2026-02-28", 1, YES),
        ("2025-12-01", 90, YES),
        ("2025-11-30", 90, NO),
        ("2025-12", 90, YES),
        ("2025-11", 90, NO),
        ("2025-11", 100, UNKNOWN),
        ("2025", 90, UNKNOWN),
        ("2024", 365, NO),
        ("2026", 90, YES),
        (None, 90, UNKNOWN),
        ("2026-03-02", 90, YES),
    ],
)
def test_within_a_number_of_days_is_unknown_where_the_interval_spans_the_limit(
    text: str | None, days: int, verdict: Verdict
) -> None:
    assert verdict is within_days(parse(text), number(TODAY), days)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-02-15", "2026-02-17", "2026-02-17"),
        ("2026-02-15", None, "2026-02-15"),
        (None, "2026-02-17", "2026-02-17"),
        ("2026-02-17", "2026-02-15", None),
        ("2026-02-17T12:00:00Z", "2026-02-17", "2026-02-17"),
        (None, None, None),
        ("2026-02-15", "2026-02-30", None),
        ("2026-02-30", "2026-02-17", "2026-02-17"),
    ],
)
def test_a_period_is_its_end_or_its_open_start_and_none_if_reversed(
    start: str | None, end: str | None, expected: str | None
) -> None:
    found = span(start, end)

    assert expected == (found.day if found else None)


@pytest.mark.parametrize(
    ("one", "other", "days"),
    [
        ("2026-02-17", "2026-02-17T10:00:00Z", 0),
        ("2026-02", "2026-02-17", 0),
        ("2026-02-17T10:00:00Z", "2026-02-20T10:00:00Z", 3),
        ("2026-02-17T10:00:00Z", "2026-02-20", 2 + 14 / 24),
    ],
)
def test_vague_moments_are_as_near_as_they_can_be(one: str, other: str, days: float) -> None:
    first, second = parse(one), parse(other)
    assert first is not None
    assert second is not None

    assert pytest.approx(days * DAY) == apart(first, second)
    assert apart(first, second) == apart(second, first)
