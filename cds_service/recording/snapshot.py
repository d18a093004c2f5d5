"""
Facts as they are kept: values, codes, dates and states, in the shape of JSON; no word that somebody typed.

Left out is what no verdict depends on: how the record words a diagnosis, how the laboratory wrote a result, ids of
resources, free text of dosages. Birth dates of adults become ages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import TypeVar

import msgspec

from cds_service.errors import CdsError
from cds_service.facts import age
from cds_service.facts.dates import When
from cds_service.facts.doses import daily
from cds_service.facts.model import (
    Answer,
    Answers,
    Diagnosis,
    Draft,
    Facts,
    Measurement,
    Medication,
    PastMedication,
    Person,
    Procedure,
    SetAside,
)
from cds_service.recording.reach import FEW, since

_T = TypeVar("_T")
# Of one test so many results at most, or as many as a rule read. Rules of today read 2 of a test as a rule, and never
# more than a window of 90 days; a chart of an intensive care unit may hold hundreds.
MOST = 100
# From this age on the age in years is enough: limits for children hold below 18, so for results of the last 12 years
# it makes no difference.
GROWN = 30
# Ages over 89 are one class (HIPAA Safe Harbor, 45 CFR 164.514(b)(2)(i)(C)).
OLDEST = 90
# Codes and units that mean nothing here are kept for the drift list, if they look like one, and not like words.
_CODE = re.compile(r"(?=.*[0-9])[A-Za-z0-9.^/_-]{1,32}")
_SYSTEM = re.compile(r"[A-Za-z0-9.:/_-]{0,120}")
_UNIT = re.compile(r"[A-Za-zµμ0-9/%*.^\[\]{}_-]{1,16}")
_MOST_SEEN = 200
_DOSE_UNIT = re.compile(r"[a-zµμ]{1,6}(/[a-z]{1,3})?|\[iu\](/d)?")
_SEXES = ("female", "male", "other", "unknown")
# In UTC, as all is; without saying so arithmetic and wording take half the time.
_EPOCH, _FIRST = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None), date(1970, 1, 1).toordinal()


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """A result: its value in the unit of its series. ``status`` "" is final, as nearly all are."""

    value: Decimal
    when: str
    comparator: str = ""
    status: str = ""
    upper: Decimal | None = None
    notes: tuple[str, ...] = ()


class Aside(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that was set aside, and why. Without ``rank`` it has none."""

    kind: str
    reason: str
    concept: str = ""
    when: str = ""
    rank: tuple[float, int] | None = None


class Series(msgspec.Struct, frozen=True, omit_defaults=True):
    """The results of a test, newest first, in one unit. ``cut`` says that there were more than are kept."""

    unit: str = ""
    results: tuple[Kept, ...] = ()
    asides: tuple[Aside, ...] = ()
    cut: bool = False


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """A qualitative result."""

    meaning: str
    when: str
    status: str = "final"
    rank: tuple[float, int] = (0.0, 0)
    how: str = "code"


class Tests(msgspec.Struct, frozen=True, omit_defaults=True):
    """The qualitative results of a test, newest first."""

    results: tuple[Told, ...] = ()
    asides: tuple[Aside, ...] = ()


class Coded(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    A diagnosis, medication, order or procedure: the code by which it was recognised, when, and what rules ask of it.

    ``reference`` numbers the orders of a call; ``wording`` tells apart procedures that the record words differently.
    """

    concept: str = ""
    kind: str = ""
    system: str = ""
    code: str = ""
    how: str = "code"
    when: str = ""
    active: bool = True
    encounter: bool = False
    began: str = ""
    route: str = ""
    dose: tuple[Decimal, str] | None = None
    reasons: tuple[str, ...] = ()
    until: str = ""
    reference: str = ""
    selected: bool = True
    wording: int = 0


class Who(msgspec.Struct, frozen=True, omit_defaults=True):
    """The patient: birth date of those below 30, of others the least and the greatest age in years."""

    born: str = ""
    ages: tuple[int, int] | None = None
    sex: str = ""
    deceased: bool = False


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """The facts of one call."""

    now: float
    person: Who
    states: dict[str, str] = {}
    horizons: dict[str, int] = {}
    measurements: dict[str, Series] = {}
    answers: dict[str, Tests] = {}
    diagnoses: tuple[Coded, ...] = ()
    medications: tuple[Coded, ...] = ()
    past: tuple[Coded, ...] = ()
    procedures: tuple[Coded, ...] = ()
    observed: tuple[Coded, ...] = ()
    orders: tuple[Coded, ...] = ()
    about_orders: bool = False
    unusable: tuple[Aside, ...] = ()
    seen: tuple[tuple[str, str, str, int], ...] = ()


def snapshot(facts: Facts, units: Mapping[str, str], reach: Mapping[str, int] | None = None) -> Snapshot:
    """
    Take down facts. ``units`` says in which unit each analyte is kept.

    ``reach`` says of which tests rules compare results over how many days (see ``reach_of``): what no rule can read is
    then left out. Without it every result is kept, up to MOST of a test.
    """
    words = _Wordings()
    observed = facts.once("observed", facts.observed) if facts.observed is not None else {}
    return Snapshot(
        now=facts.now,
        person=_who(facts.person, facts.today),
        states={kind: state.name for kind, state in facts.states.items()},
        horizons=facts.horizons,
        measurements=_measurements(facts, units, reach),
        answers={name: _tests(answers) for name, answers in facts.answers.items()},
        diagnoses=tuple(_diagnosis(one) for one in _all(facts.diagnoses)),
        medications=tuple(_medication(one) for one in _all(facts.medications)),
        past=tuple(_medication(one) for one in _all(facts.past_medications)),
        procedures=tuple(_procedure(one, words) for one in _all(facts.procedures)),
        observed=tuple(
            _diagnosis(one) if isinstance(one, Diagnosis) else _procedure(one, words) for one in _all(observed)
        ),
        orders=tuple(_order(one, number) for number, one in enumerate(facts.orders, 1)),
        about_orders=facts.about_orders,
        unusable=tuple(_aside(one) for one in facts.unusable),
        seen=tuple(_seen(facts)),
    )


def _all(by_concept: Mapping[str, Sequence[_T]]) -> Iterator[_T]:
    return (one for items in by_concept.values() for one in items)


def _who(person: Person, today: int) -> Who:
    sex = person.sex if person.sex in _SEXES else ""
    if person.born is None:
        return Who(sex=sex, deceased=person.deceased)
    least, greatest = age.years(person.born, today)
    if least < GROWN:
        return Who(moment(person.born), sex=sex, deceased=person.deceased)
    return Who(ages=(min(least, OLDEST), min(greatest, OLDEST)), sex=sex, deceased=person.deceased)


def _measurements(facts: Facts, units: Mapping[str, str], reach: Mapping[str, int] | None) -> dict[str, Series]:
    if reach is None:
        return {name: _series(series, units.get(name, "")) for name, series in facts.measurements.items()}
    first, today = since(facts), facts.today
    return {
        name: _series(series, units.get(name, ""), min(first, today - reach.get(name, 0)))
        for name, series in facts.measurements.items()
    }


def _series(series: Sequence[Measurement], unit: str, first: int | None = None) -> Series:
    """Keep what somebody has read, the newest few, and what is not older than the ``first`` day."""
    read = getattr(series, "looked_at", 0)
    most, results, cut = max(MOST, read), list[Kept](), getattr(series, "cut", False)
    for place, one in enumerate(series):
        if place >= read and (place >= most or (first is not None and place >= FEW and one.when.last < first)):
            cut = True
            break
        results.append(_result(one))
    return Series(unit, tuple(results), tuple([_aside(one) for one in getattr(series, "asides", ())]), cut=cut)


def _result(one: Measurement) -> Kept:
    status = "" if one.status == "final" else one.status
    return Kept(one.value, moment(one.when), one.comparator, status, one.upper, one.notes)


def _tests(answers: Answers) -> Tests:
    return Tests(
        tuple(
            Told(one.meaning, moment(one.when), one.status, one.rank, one.how) for one in answers.newest_first()[:MOST]
        ),
        tuple(_aside(one) for one in answers.asides()),
    )


def _aside(one: SetAside) -> Aside:
    return Aside(one.kind, one.reason, one.concept, moment(one.when), None if one.rank == (0.0, 0) else one.rank)


def _diagnosis(one: Diagnosis) -> Coded:
    return Coded(
        one.concept,
        "diagnosis",
        one.system,
        one.code,
        one.how,
        moment(one.when),
        active=one.active,
        encounter=one.encounter,
        began=moment(one.began),
    )


def _medication(one: Medication) -> Coded:
    until = moment(one.until) if isinstance(one, PastMedication) else ""
    return Coded(
        one.concept,
        "medication",
        one.system,
        one.code,
        one.how,
        moment(one.when),
        route=one.route,
        dose=_dose(one),
        reasons=one.reasons,
        until=until,
    )


def _order(one: Draft, number: int) -> Coded:
    kind = one.reference.partition("/")[0]
    kept = _medication(one)
    return msgspec.structs.replace(kept, kind="order", reference=f"{kind}/{number}", selected=one.selected)


class _Wordings:
    """Numbers for wordings: equal ones get the same, and nobody can tell what they were."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def number(self, words: str) -> int:
        return self._known.setdefault(words, len(self._known))


def _procedure(one: Procedure, words: _Wordings) -> Coded:
    return Coded(
        one.concept,
        "procedure",
        one.system,
        one.code,
        one.how,
        moment(one.when),
        wording=words.number(one.display),
    )


def _dose(one: Medication) -> tuple[Decimal, str] | None:
    """Return the daily dose, if its dosage says one; a unit that may be words becomes one that nobody knows."""
    found = None
    with suppress(CdsError):
        found = daily(one.dosage) if one.dosage else None
    return found and (found[0], found[1] if _DOSE_UNIT.fullmatch(found[1]) else "other")


def _seen(facts: Facts) -> Iterator[tuple[str, str, str, int]]:
    for (kind, system, code), times in islice(facts.seen.items(), _MOST_SEEN):
        if kind == "units":
            yield kind, system, code if _UNIT.fullmatch(code) else "other", times
        else:
            known = bool(_SYSTEM.fullmatch(system) and (_CODE.fullmatch(code) or not system))
            yield kind, system if known else "other", code if known and _CODE.fullmatch(code) else "other", times


def moment(when: When | None) -> str:
    """Write a moment as FHIR does, as precisely as it was recorded; "" for none."""
    if when is None:
        return ""
    if when.end > when.start or when.last > when.first:
        return _days(when.first, when.last)
    if when.offset:  # The day that a card showed is the day by that clock.
        return (_EPOCH + timedelta(0, when.start + when.offset)).isoformat() + _zone(when.offset)
    exact = (_EPOCH + timedelta(0, when.start)).isoformat()
    return exact if when.zoneless else f"{exact}Z"


def _zone(offset: int) -> str:
    """Write how far a clock was ahead of UTC, or behind: +05:30."""
    hours, minutes = divmod(abs(offset) // 60, 60)
    return f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}"


@lru_cache(maxsize=8192)
def _days(first: int, last: int) -> str:
    """Write a day, a month or a year."""
    day = date.fromordinal(first + _FIRST).isoformat()
    return day if last == first else day[: 4 if last - first > 31 else 7]


def trail_of(items: Iterable[object]) -> list[list[str]]:
    """Say in codes, values and dates what a finding rests on."""
    return [_said(item) for item in items]


def _said(item: object) -> list[str]:
    if isinstance(item, Measurement):
        parts = [part for one in item.parts for part in _said(one)]
        return [item.analyte, f"{item.comparator}{item.value:f}", moment(item.when), *parts]
    if isinstance(item, Answer):
        return [item.concept, item.meaning, moment(item.when)]
    if isinstance(item, Diagnosis | Medication | Procedure):
        return [item.concept, item.system, item.code, item.how, moment(item.when)]
    return []
