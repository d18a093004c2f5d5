"""
Alarms in both directions: rules that jumped, and rules that went silent, which nobody complains about.

A day is compared with the same weekday of the eight weeks before it: two Poisson rates, each with its own number of
evaluations, by the exact conditional test (given the sum of both, the day's count is binomial).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

import msgspec

from cds_service.insight.counting import NO, PILOT_NO, PILOT_UNKNOWN, PILOT_YES, UNKNOWN, YES, Counts, Track
from cds_service.insight.events import as_date
from cds_service.insight.intervals import tail_at_least, tail_at_most

WEEKS, WEEK = 8, 7
# So many complete days are looked at; today is not over.
LOOKED_AT = 7
# With about 40 rules on 7 days, two kinds of rates and two directions, about one false alarm in two weeks.
UNLIKELY = 0.0005
# A hook or rule that is not asked for so many times its longest pause of the eight weeks before is told.
PAUSES, LEAST_PAUSE = 2, 2
JUMPED, DROPPED, SILENT, UNASKED = "jumped", "dropped", "silent", "not asked"
FINDINGS, UNKNOWNS = "findings", "evaluations without an answer"


class Alarm(msgspec.Struct, frozen=True):
    """
    A rule that does not behave as it did.

    ``kind`` is jumped, dropped, silent or not asked; ``what`` says of which count; ``day`` is counted from 1970-01-01;
    ``observed`` of ``asked`` on that day or since then, ``expected`` by the weeks before, ``p`` by chance.
    """

    rule: str
    kind: str
    what: str
    day: int
    observed: int
    asked: int
    expected: float
    p: float

    @property
    def words(self) -> str:
        """Say what happened."""
        when = as_date(self.day).isoformat()
        if self.kind == UNASKED:
            return f"Not asked since {when}, after {self.expected:.1f} evaluations a day in the 8 weeks before."
        if self.kind == SILENT:
            return (
                f"No finding in {self.asked} evaluations since {when}; "
                f"by the 8 weeks before, {self.expected:.1f} were to be expected."
            )
        return (
            f"{self.observed} {self.what} in {self.asked} evaluations on {when}; "
            f"by the same weekdays of the 8 weeks before, {self.expected:.1f} were to be expected."
        )


def found(counts: Counts, names: Iterable[str], today: int) -> list[Alarm]:
    """Return the alarms of some rules, the least likely first."""
    alarms = [alarm for name in names if name in counts.tracks for alarm in _of(name, counts.tracks[name], today)]
    return sorted(alarms, key=lambda one: (one.p, one.rule, one.kind))


def _of(rule: str, track: Track, today: int) -> Iterator[Alarm]:
    asked, fired, unknown = daily(track)
    silent = list(_silence(rule, asked, fired, today))
    yield from silent
    yield from _pause(rule, asked, today)
    for what, happened in ((FINDINGS, fired), (UNKNOWNS, unknown)):
        if not (silent and what == FINDINGS):
            yield from _change(rule, what, asked, happened, today)


def daily(track: Track) -> tuple[Counter[int], Counter[int], Counter[int]]:
    """Return of each day how often a rule was asked, fired, and could not tell, active or in pilot."""
    asked, fired, unknown = Counter[int](), Counter[int](), Counter[int]()
    for (_, _, day), tally in track.tallies.items():
        asked[day] += sum(tally[place] for place in (YES, NO, UNKNOWN, PILOT_YES, PILOT_NO, PILOT_UNKNOWN))
        fired[day] += tally[YES] + tally[PILOT_YES]
        unknown[day] += tally[UNKNOWN] + tally[PILOT_UNKNOWN]
    return asked, fired, unknown


def _change(rule: str, what: str, asked: Counter[int], happened: Counter[int], today: int) -> Iterator[Alarm]:
    """Yield the newest of the last days that differs from its weekday."""
    for day in range(today - 1, today - 1 - LOOKED_AT, -1):
        before = [day - WEEK * week for week in range(1, WEEKS + 1)]
        base, count = sum(asked[one] for one in before), sum(happened[one] for one in before)
        if not asked[day] or not base:
            continue
        more, less = poisson(happened[day], asked[day], count, base)
        if min(more, less) < UNLIKELY:
            expected = count / base * asked[day]
            kind, p = (JUMPED, more) if more < less else (DROPPED, less)
            yield Alarm(rule, kind, what, day, happened[day], asked[day], expected, p)
            return


def poisson(count: int, asked: int, base_count: int, base_asked: int) -> tuple[float, float]:
    """Return how likely so many or more, and so many or fewer, are if both rates are the same."""
    share, together = asked / (asked + base_asked), count + base_count
    return tail_at_least(count, together, share), tail_at_most(count, together, share)


def _silence(rule: str, asked: Counter[int], fired: Counter[int], today: int) -> Iterator[Alarm]:
    """Yield a rule that fired, and has not for longer than its usual gap explains."""
    spoke = [day for day, times in fired.items() if times and day <= today]
    if not spoke:
        return
    last = max(spoke)
    base = range(last - WEEKS * WEEK + 1, last + 1)
    count, base_asked = sum(fired[day] for day in base), sum(asked[day] for day in base)
    since = sum(times for day, times in asked.items() if last < day <= today)
    if since:
        _, p = poisson(0, since, count, base_asked)
        if p < UNLIKELY:
            yield Alarm(rule, SILENT, FINDINGS, last + 1, 0, since, count / base_asked * since, p)


def _pause(rule: str, asked: Counter[int], today: int) -> Iterator[Alarm]:
    """Yield a rule that nobody asks any more, though its service was called day by day."""
    days = sorted(day for day, times in asked.items() if times and day <= today)
    if not days:
        return
    last = days[-1]
    weeks = [day for day in days if day > last - WEEKS * WEEK]
    longest = max((later - earlier for earlier, later in pairwise(weeks)), default=0)
    if len(weeks) >= WEEK and today - last > max(PAUSES * longest, LEAST_PAUSE):
        rate = sum(asked[day] for day in weeks) / (last - weeks[0] + 1)
        yield Alarm(rule, UNASKED, "evaluations", last, 0, 0, rate, 0.0)
