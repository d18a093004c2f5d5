"""Age, in completed years or in days, and limits that depend on it; a vague birth date leaves several possible."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import lru_cache

from cds_service.facts.dates import When
from cds_service.facts.evidence import NO, UNKNOWN, YES, Verdict
from cds_service.facts.model import Facts

ADULT = 18
_EPOCH = date(1970, 1, 1).toordinal()
# "Below this many completed years this limit holds", youngest first; whoever is older has the limit of adults.
ByAge = tuple[tuple[int, Decimal], ...]


def years(born: When, first: int, last: int | None = None) -> tuple[int, int]:
    """Return the least and the greatest age in completed years between two days (counted from 1970-01-01)."""
    return _completed(born.last, first), _completed(born.first, first if last is None else last)


@lru_cache(maxsize=4096)
def _completed(born: int, day: int) -> int:
    birth, now = date.fromordinal(born + _EPOCH), date.fromordinal(day + _EPOCH)
    return now.year - birth.year - ((now.month, now.day) < (birth.month, birth.day))


def days(born: When, today: int) -> tuple[int, int]:
    """Return the least and the greatest age in days."""
    return today - born.last, today - born.first


def limits(facts: Facts, when: When, by_age: ByAge, adult: Decimal) -> tuple[Decimal, ...]:
    """Return the limits that may hold for the patient at a moment: one, unless the age may be on both sides."""
    if facts.person.born is None:
        return (*(limit for _, limit in by_age), adult)
    least, greatest = years(facts.person.born, when.first, when.last)
    ages = range(max(0, min(least, ADULT)), max(0, min(greatest, ADULT)) + 1)
    return tuple(dict.fromkeys(next((limit for below, limit in by_age if age < below), adult) for age in ages))


def agreed(verdicts: tuple[Verdict, ...]) -> Verdict:
    """Return the verdict that holds at every possible age, else UNKNOWN."""
    return YES if all(one is YES for one in verdicts) else NO if all(one is NO for one in verdicts) else UNKNOWN
