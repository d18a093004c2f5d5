"""The newest usable result of a time, compared: what most derived facts are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cds_service.facts.evidence import NO, UNKNOWN, Judgement, Verdict, within_days
from cds_service.facts.kidney import absence, describe
from cds_service.facts.model import LABS, Facts, Measurement

Check = Callable[[Measurement], Verdict]


def newest(facts: Facts, results: Sequence[Measurement], days: int) -> Measurement | None:
    """Return the newest result that is surely of the last so many days; results are read no further than that."""
    for result in results:
        if facts.today - result.when.first <= days:
            return result
        if facts.today - result.when.last > days:
            break
    return None


def compared(
    facts: Facts, label: str, name: str, days: int, check: Check, results: Sequence[Measurement] | None = None
) -> Judgement:
    """Judge the newest result of a test; without one the answer is NO if all results of the time are known."""
    known = facts.measurements.get(name, ()) if results is None else results
    found = newest(facts, known, days)
    if found is None:
        return lacking(facts, label, name, days, known)
    return shown(facts, label, name, days, check(found), (found,))


def shown(
    facts: Facts, label: str, name: str, days: int, verdict: Verdict, items: tuple[Measurement, ...]
) -> Judgement:
    """Word a verdict on results; a NO is certain only where no newer result can have been left out."""
    more = ""
    if verdict is NO and not facts.covers(LABS, days) and LABS not in facts.horizons:
        more, verdict = ", but more results exist than were sent", UNKNOWN
    missing = (name,) if verdict is UNKNOWN else ()
    return Judgement(verdict, lambda: f"{label}: {describe(items[0])}{more}", items=items, missing=missing)


def lacking(facts: Facts, label: str, name: str, days: int, results: Sequence[Measurement] = ()) -> Judgement:
    """Judge a test without a usable result in the time."""
    if any(within_days(one.when, facts.today, days) is UNKNOWN for one in results):
        return Judgement(UNKNOWN, f"{label}: only a result whose date is too vague", missing=(name,))
    if not facts.covers(LABS, days):
        return Judgement(UNKNOWN, f"{label}: no usable result, and not all results are known", missing=(name,))
    return absence(f"{label}: no usable result within {days} days")
