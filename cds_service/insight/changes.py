"""One change to a record, in words and as facts: what would have to be otherwise for a rule to say otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from cds_service.facts.dates import DAY, When
from cds_service.facts.model import (
    Answer,
    Diagnosis,
    Draft,
    Facts,
    Measurement,
    Medication,
    PastMedication,
    Person,
    Procedure,
)
from cds_service.protocol.prefetch import State
from cds_service.recording.restoring import KeptAnswers, KeptSeries
from cds_service.rules.model import Values

T = TypeVar("T", Diagnosis, Medication, PastMedication, Procedure)
VALUE, NEW, ALL_VALUES, NEWER, OLDER, NO_RESULT = (
    "value", "new result", "all values", "newer", "older", "no result",
)  # fmt: skip
ADDED, REMOVED, LOADED, ANSWERED, AGE, SEX, SWITCHED = (
    "added", "removed", "loaded", "answered", "age", "sex", "switched",
)  # fmt: skip
Asked = tuple[Facts, Values]
# How large a change counts, so that the smallest can be named: a number costs the share by which it differs, a date
# the share of a year and a bit, for it says less. The rest is chosen: what was not sent is nearer than what is not so;
# sex and age hardly change.
COSTS = {
    ALL_VALUES: 0.1, NEWER: 0.15, LOADED: 0.3, NEW: 0.8, ANSWERED: 0.8, NO_RESULT: 0.9, ADDED: 1.0, REMOVED: 1.0,
    SWITCHED: 2.0, AGE: 3.0, SEX: 4.0,
}  # fmt: skip
_YEAR = 365.2425


class Change(msgspec.Struct, frozen=True):
    """
    One change: ``kind`` and what it is ``about`` (a test, a concept, a kind of data, a setting).

    ``value`` is the number of a result (in the unit of its test), of days or of years. ``cost`` says how small the
    change is: shares of the value for numbers, and for the rest numbers that were chosen here (COSTS).
    """

    kind: str
    about: str
    sort: str = ""
    value: Decimal = Decimal(0)
    words: str = ""
    cost: float = 1.0
    label: str = ""

    def applied(self, facts: Facts, values: Values) -> Asked:
        """Return the facts, and the thresholds, with this change; nothing that was derived before is kept."""
        if self.kind == SWITCHED:
            return anew(facts), {**values, self.about: not values[self.about]}
        return _APPLIED[self.kind](facts, self), values


def all_applied(changes: Iterable[Change], facts: Facts, values: Values) -> Asked:
    """Return the facts and thresholds with several changes, one after the other."""
    for change in changes:
        facts, values = change.applied(facts, values)
    return facts, values


def anew(facts: Facts, **members: Any) -> Facts:
    """Return facts with other members, and an empty memory."""
    return msgspec.structs.replace(facts, memo={}, **members)


def on_day(facts: Facts, days: int) -> When:
    """Return the calendar day that lies so many days ago; today ends now, so that nothing lies in the future."""
    day = facts.today - days
    end = facts.now if days <= 0 else day * DAY + DAY - 1
    return When(day * DAY, end, day, day)


def _results(facts: Facts, name: str, results: Sequence[Measurement]) -> Facts:
    kept = KeptSeries(results)
    kept.asides, kept.cut = list(getattr(facts.measurements.get(name, ()), "asides", ())), False
    return anew(facts, measurements={**facts.measurements, name: kept})


def _with_value(facts: Facts, change: Change) -> Facts:
    """Give the newest result another value; where there is none, there is one of today."""
    if not facts.measurements.get(change.about):
        return _with_new(facts, change)
    newest, *rest = facts.measurements[change.about]
    return _results(facts, change.about, [_valued(newest, change), *rest])


def _with_new(facts: Facts, change: Change) -> Facts:
    """Add a result of today, newer than all others, also than those that had to be set aside."""
    when = on_day(facts, 0)
    aside = facts.newest_aside(change.about)
    rank = max([(when.end, 0), *([aside.rank] if aside else [])])
    new = Measurement(change.about, change.value, change.value, change.sort, when, rank=rank)
    return _results(facts, change.about, [new, *facts.measurements.get(change.about, ())])


def _valued(result: Measurement, change: Change) -> Measurement:
    return msgspec.structs.replace(
        result, value=change.value, reported=change.value, unit=change.sort, comparator="", parts=()
    )


def _with_all_values(facts: Facts, change: Change) -> Facts:
    """Give every result that lies beyond a value that value: those above it, or those below."""
    above = change.sort.startswith(">")
    unit = change.sort[1:]
    own = msgspec.structs.replace(change, sort=unit)
    found = [
        _valued(one, own) if (one.value > change.value if above else one.value < change.value) else one
        for one in facts.measurements.get(change.about, ())
    ]
    return _results(facts, change.about, found)


def _newer(facts: Facts, change: Change) -> Facts:
    """Date the newest result or item so many days ago."""
    when = on_day(facts, int(change.value))
    if change.about in facts.measurements:
        found = list(facts.measurements[change.about])
        moved = msgspec.structs.replace(found[0], when=when, rank=(when.end, found[0].rank[1]))
        return _results(facts, change.about, sorted([moved, *found[1:]], key=lambda one: one.rank, reverse=True))
    return _items(facts, change.about, lambda items: (_dated(items[0], when), *items[1:]))


def _older(facts: Facts, change: Change) -> Facts:
    """Date every result or item that is newer so many days ago."""
    when, first = on_day(facts, int(change.value)), facts.today - int(change.value)
    if change.about in facts.measurements:
        moved = [
            one if one.when.last <= first else msgspec.structs.replace(one, when=when, rank=(when.end, one.rank[1]))
            for one in facts.measurements[change.about]
        ]
        return _results(facts, change.about, moved)
    return _items(
        facts,
        change.about,
        lambda items: tuple(
            one if one.when is not None and one.when.last <= first else _dated(one, when) for one in items
        ),
    )


def _dated(item: T, when: When) -> T:
    members = {"when": when} | ({"began": when} if getattr(item, "began", None) else {})
    return msgspec.structs.replace(item, **members)


def _without_results(facts: Facts, change: Change) -> Facts:
    return _results(facts, change.about, [])


_HELD = ("diagnoses", "medications", "procedures", "past_medications")


def _items(facts: Facts, concept: str, made: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> Facts:
    """Change what is recorded of a concept, wherever it is recorded."""
    members: dict[str, Any] = {}
    for name in _HELD:
        held: Mapping[str, tuple[Any, ...]] = getattr(facts, name)
        if held.get(concept):
            members[name] = {**held, concept: made(held[concept])}
    if facts.observed is not None:
        seen = facts.once("observed", facts.observed)
        if seen.get(concept):
            changed = {**seen, concept: made(seen[concept])}
            members["observed"] = lambda: changed
    return anew(facts, **members)


def _removed(facts: Facts, change: Change) -> Facts:
    if change.sort == "order":
        return anew(facts, orders=tuple(one for one in facts.orders if one.concept != change.about))
    return _items(facts, change.about, lambda _items: ())


def _added(facts: Facts, change: Change) -> Facts:
    """Record something as of today; ``value`` says how often, a day apart, where that is more than once."""
    for days in range(max(1, int(change.value))):
        facts = _ADDED[change.sort](facts, change.about, change.label, days)
    return facts


def _diagnosis(facts: Facts, concept: str, label: str, days: int) -> Facts:
    when = on_day(facts, days)
    new = Diagnosis(concept, "", "", "code", label, when=when, began=when)
    return anew(facts, diagnoses={**facts.diagnoses, concept: (new, *facts.diagnoses.get(concept, ()))})


def _medication(facts: Facts, concept: str, label: str, days: int) -> Facts:
    new = Medication(concept, "", "", "code", label, when=on_day(facts, days))
    return anew(facts, medications={**facts.medications, concept: (new, *facts.medications.get(concept, ()))})


def _past(facts: Facts, concept: str, label: str, days: int) -> Facts:
    when = on_day(facts, days)
    new = PastMedication(concept, "", "", "code", label, when=when, until=when)
    return anew(
        facts, past_medications={**facts.past_medications, concept: (new, *facts.past_medications.get(concept, ()))}
    )


def _procedure(facts: Facts, concept: str, label: str, days: int) -> Facts:
    new = Procedure(concept, "", "", "code", label, on_day(facts, days))
    return anew(facts, procedures={**facts.procedures, concept: (new, *facts.procedures.get(concept, ()))})


def _order(facts: Facts, concept: str, label: str, days: int) -> Facts:
    new = Draft(concept, "", "", "code", label, reference=f"MedicationRequest/tried-{days}")
    return anew(facts, orders=(new, *facts.orders), about_orders=True)


_ADDED: dict[str, Callable[[Facts, str, str, int], Facts]] = {
    "diagnosis": _diagnosis,
    "medication": _medication,
    "past medication": _past,
    "procedure": _procedure,
    "order": _order,
}


def _loaded(facts: Facts, change: Change) -> Facts:
    return anew(facts, states={**facts.states, change.about: State.COMPLETE})


def _answered(facts: Facts, change: Change) -> Facts:
    new = Answer(change.about, change.sort, change.sort, on_day(facts, 0), rank=(facts.now, 0))
    return anew(facts, answers={**facts.answers, change.about: KeptAnswers((new,), [])})


def _aged(facts: Facts, change: Change) -> Facts:
    """Let the patient have had that birthday (or been born so many days ago) yesterday."""
    days = int(change.value) if change.sort == "days" else int(int(change.value) * _YEAR) + 2
    return anew(facts, person=msgspec.structs.replace(facts.person, born=on_day(facts, days)))


def _sexed(facts: Facts, change: Change) -> Facts:
    person: Person = msgspec.structs.replace(facts.person, sex=change.about)
    return anew(facts, person=person)


_APPLIED: dict[str, Callable[[Facts, Change], Facts]] = {
    VALUE: _with_value,
    NEW: _with_new,
    ALL_VALUES: _with_all_values,
    NEWER: _newer,
    OLDER: _older,
    NO_RESULT: _without_results,
    ADDED: _added,
    REMOVED: _removed,
    LOADED: _loaded,
    ANSWERED: _answered,
    AGE: _aged,
    SEX: _sexed,
}
