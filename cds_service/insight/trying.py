"""What could be otherwise: changes to the facts that one clause reads, tried until it says what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import combinations

import msgspec

from cds_service.facts import model
from cds_service.facts.evidence import NO, Item, Verdict
from cds_service.facts.kidney import describe
from cds_service.facts.model import Facts
from cds_service.insight import numbers
from cds_service.insight.changes import (
    ADDED,
    AGE,
    ANSWERED,
    COSTS,
    LOADED,
    NEWER,
    NO_RESULT,
    OLDER,
    REMOVED,
    SEX,
    SWITCHED,
    Change,
    all_applied,
)
from cds_service.insight.numbers import short
from cds_service.rules.model import Clause, Threshold, Values
from cds_service.terminology import Terminology

LOADABLE = {
    model.LABS: "the laboratory results",
    model.CONDITIONS: "the diagnoses",
    model.MEDICATIONS: "the medication orders",
    model.STATEMENTS: "the medication statements",
    model.PROCEDURES: "the procedures",
}
# Of so many changes pairs and triples are tried at most: each costs one evaluation of a clause.
_MOST_ROUGH = 18
_MOST_STRIPPED = 10
_YEARS = (Decimal(1), Decimal(18), Decimal(30))
_RECORDED = {"diagnosis": "an active diagnosis", "medication": "taken now", "procedure": "carried out lately"}


class Leaf(msgspec.Struct, frozen=True):
    """
    One clause without clauses below it: what it judges, what it reads, and the thresholds it compares with.

    ``reads`` are concepts in the order in which the clause names them; ``orders`` those that an order may be.
    """

    judge: Clause
    reads: tuple[str, ...]
    orders: tuple[str, ...] = ()
    word: str = ""
    says: str = ""
    limits: tuple[Threshold, ...] = ()


class Trial(msgspec.Struct, frozen=True):
    """A clause, the facts it is asked about, and what it is to say instead."""

    leaf: Leaf
    facts: Facts
    values: Values
    want: Verdict
    words: Terminology

    def works(self, change: Change) -> bool:
        """Say whether the clause says what is wanted with this change."""
        return self.leaf.judge(*change.applied(self.facts, self.values)).verdict is self.want

    def numbers(self, unit: str) -> list[Decimal]:
        """Return the thresholds of the clause that are in a unit."""
        limits = [one for one in self.leaf.limits if one.unit == unit and one.unit]
        return sorted({Decimal(self.values[one.name]) for one in limits})

    @property
    def days(self) -> list[int]:
        """Return the limits of the clause in days."""
        return [int(one) for one in self.numbers("days")]


def smallest(trial: Trial) -> tuple[Change, ...] | None:
    """Return the smallest change that makes the clause say what is wanted, or several; None where none were found."""
    working = [change for change in every(trial) if trial.works(change)]
    found = min(working, key=lambda change: change.cost, default=None)
    if found:
        return (found,)
    # What is to hold no more rests on facts that are there: to take these away is nearer than to add others.
    first, second = (stripped, together) if trial.want is NO else (together, stripped)
    return first(trial) or second(trial) or between(trial)


def between(trial: Trial) -> tuple[Change, ...] | None:
    """Return a number that lies between two limits of what is computed from it: tried step by step."""
    tests = [name for name in trial.leaf.reads if trial.facts.measurements.get(name)]
    analytes = ((name, trial.words.analytes[name]) for name in tests if name in trial.words.analytes)
    found = [one for name, analyte in analytes for one in numbers.stepwise(trial.facts, name, analyte, trial.works)]
    best = min(found, key=lambda change: change.cost, default=None)
    return (best,) if best else None


def together(trial: Trial) -> tuple[Change, ...] | None:
    """
    Return two or three changes that work together, for clauses that look at several things at once.

    Rough ones first, with numbers as far from normal as a living patient can have them; these are then brought as
    near as they get. Where that finds nothing: one rough change, and whatever works once it was made.
    """
    rough = [one for name in trial.leaf.reads for one in _rough(trial, name)][:_MOST_ROUGH]
    for many in (2, 3):
        for some in combinations(rough, many):
            if len({one.about for one in some}) == many and _work(trial, some):
                return _nearer(trial, some)
    pairs = [pair for one in rough if (pair := _second(trial, one))]
    return min(pairs, key=lambda pair: pair[0].cost + pair[1].cost, default=None)


def _second(trial: Trial, first: Change) -> tuple[Change, Change] | None:
    """Return the smallest change that works once the first was made."""
    facts, values = first.applied(trial.facts, trial.values)
    again = msgspec.structs.replace(trial, facts=facts, values=values)
    names = [name for name in trial.leaf.reads if name not in (first.about, model.PATIENT)]
    working = [one for name in names for one in _about(again, name) if again.works(one)]
    second = min(working, key=lambda change: change.cost, default=None)
    return (first, second) if second else None


def stripped(trial: Trial) -> tuple[Change, ...] | None:
    """
    Return what makes a clause not hold that rests on several facts: what is not known is known, and nothing is there.

    What it rests on is taken away, thing after thing, until the clause says what is wanted.
    """
    found = tuple(change for change in every(trial) if change.kind == LOADED)
    for _ in range(_MOST_STRIPPED):
        judged = trial.leaf.judge(*all_applied(found, trial.facts, trial.values))
        if judged.verdict is trial.want:
            return found
        known = {change.about for change in found}
        named = ((_concept(item), item) for one in judged.walk() for item in one.items)
        concept, item = next(((name, item) for name, item in named if name and name not in known), ("", None))
        if item is None:
            return None
        found += (_taken_away(trial, concept, item),)
    return None


def _concept(item: object) -> str:
    parts = getattr(item, "parts", ())
    return _concept(parts[0]) if parts else getattr(item, "analyte", "") or getattr(item, "concept", "")


def _taken_away(trial: Trial, concept: str, item: Item) -> Change:
    label = trial.words.label(concept)
    if trial.words.kind(concept) == "measurement":
        label = numbers.named(label)
        return Change(NO_RESULT, concept, words=f"there were no result of {label}", cost=COSTS[NO_RESULT])
    return _gone(concept, label, describe(item))


def _work(trial: Trial, changes: tuple[Change, ...]) -> bool:
    return trial.leaf.judge(*all_applied(changes, trial.facts, trial.values)).verdict is trial.want


def _nearer(trial: Trial, changes: tuple[Change, ...]) -> tuple[Change, ...]:
    for place, one in enumerate(changes):
        others = (*changes[:place], *changes[place + 1 :])
        facts, values = all_applied(others, trial.facts, trial.values)
        again = msgspec.structs.replace(trial, facts=facts, values=values)
        near = [change for change in _about(again, one.about) if again.works(change)]
        best = min(near, key=lambda change: change.cost, default=one)
        if _work(trial, (*changes[:place], best, *changes[place + 1 :])):
            changes = (*changes[:place], best, *changes[place + 1 :])
    return changes


def _rough(trial: Trial, name: str) -> Iterator[Change]:
    kind = trial.words.kind(name) if name not in (*model.KINDS, model.PAST_MEDICATIONS) else None
    if kind == "measurement" and not trial.words.analytes[name].qualitative:
        yield from numbers.rough(trial.facts, name, trial.words.analytes[name])
    elif kind in _KINDS:
        label = trial.words.label(name)
        words = f"{label} were recorded as {_RECORDED[kind]}"
        yield Change(ADDED, name, kind, words=words, cost=COSTS[ADDED], label=label)


def every(trial: Trial) -> Iterator[Change]:
    """Yield every change to what the clause reads; numbers only where they work."""
    for kind, said in LOADABLE.items():
        if not trial.facts.state(kind).conclusive:
            yield Change(LOADED, kind, words=f"{said} were sent completely", cost=COSTS[LOADED])
    for name in trial.leaf.reads:
        yield from _about(trial, name)
    yield from _orders(trial)
    if trial.leaf.word == "enabled":
        name = trial.leaf.says
        turned = "off" if trial.values[name] else "on"
        means = next((one.means for one in trial.leaf.limits if one.name == name), name)
        yield Change(SWITCHED, name, words=f'the setting "{means}" were {turned}', cost=COSTS[SWITCHED])
    if trial.leaf.word == "sex":
        yield Change(SEX, trial.leaf.says, words=f"the recorded sex were {trial.leaf.says}", cost=COSTS[SEX])
        other = "male" if trial.leaf.says == "female" else "female"
        yield Change(SEX, other, words=f"the recorded sex were {other}", cost=COSTS[SEX])


def _about(trial: Trial, name: str) -> Iterator[Change]:
    if name == model.PATIENT:
        yield from _ages(trial)
        return
    kind = trial.words.kind(name)
    if kind == "measurement":
        yield from _of_test(trial, name)
    elif kind in _KINDS:
        yield from _KINDS[kind](trial, name, kind)


def _of_test(trial: Trial, name: str) -> Iterator[Change]:
    label = numbers.named(trial.words.label(name))
    if trial.words.analytes[name].qualitative:
        for said in ("positive", "negative"):
            yield Change(ANSWERED, name, said, words=f"{label} were {said}", cost=COSTS[ANSWERED])
        return
    yield from numbers.changes(
        trial.facts, name, trial.words.analytes[name], trial.numbers(trial.words.analytes[name].unit), trial.works
    )
    if results := trial.facts.measurements.get(name, ()):
        yield from _dates(trial, name, f"the newest {label}", f"the last {label}", results[0])
        yield Change(NO_RESULT, name, words=f"there were no result of {label}", cost=COSTS[NO_RESULT])


def _dates(
    trial: Trial, name: str, newest: str, last: str, item: model.Measurement | model.Diagnosis | model.Procedure
) -> Iterator[Change]:
    """Yield the same thing at another time: just inside each limit in days, and just outside."""
    then = item.when
    ago = trial.facts.today - then.last if then is not None else 0
    dated = f"{ago} days" if then is not None else "unknown"
    for days in dict.fromkeys((*trial.days, 0)):
        words = f"{newest} were at most {days} days old (it is {dated})" if days else f"{newest} were of today"
        yield Change(NEWER, name, value=Decimal(days), words=words, cost=_moved(ago, days))
    for days in trial.days:
        words = f"{last} were more than {days} days ago (it is {dated})"
        yield Change(OLDER, name, value=Decimal(days + 1), words=words, cost=_moved(ago, days + 1))


def _moved(ago: int, days: int) -> float:
    return COSTS[NEWER] + abs(ago - days) / 365


def _diagnoses(trial: Trial, name: str, kind: str) -> Iterator[Change]:
    label, facts = trial.words.label(name), trial.facts
    recorded = [*facts.diagnoses.get(name, ()), *_seen(facts, name), *facts.procedures.get(name, ())]
    yield Change(ADDED, name, kind, words=f"{label} were recorded as {_RECORDED[kind]}", cost=COSTS[ADDED], label=label)
    if kind == "procedure":
        for often in (int(one) for one in trial.numbers("n") if one > 1):
            words = f"{label} were recorded {often} times"
            yield Change(ADDED, name, kind, Decimal(often), words, COSTS[ADDED] * often / 2, label)
    if recorded:
        yield _gone(name, label, describe(recorded[0]))
        yield from _dates(trial, name, f"the newest {label}", f"the last {label}", recorded[0])


def _seen(facts: Facts, name: str) -> Sequence[model.Diagnosis | model.Procedure]:
    return facts.once("observed", facts.observed).get(name, ()) if facts.observed is not None else ()


def _gone(name: str, label: str, recorded: str) -> Change:
    return Change(REMOVED, name, words=f"{label} were not recorded (it is: {recorded})", cost=COSTS[REMOVED])


def _medications(trial: Trial, name: str, kind: str) -> Iterator[Change]:
    label, facts = trial.words.label(name), trial.facts
    taken = facts.medications.get(name, ())
    yield Change(ADDED, name, kind, words=f"{label} were {_RECORDED[kind]}", cost=COSTS[ADDED], label=label)
    if model.PAST_MEDICATIONS in trial.leaf.reads:
        words = f"{label} had been given and ended today"
        yield Change(ADDED, name, "past medication", words=words, cost=COSTS[ADDED] + 0.1, label=label)
    if taken or facts.past_medications.get(name):
        yield _gone(name, label, describe(taken[0]) if taken else "it has ended")


_KINDS: dict[str, Callable[[Trial, str, str], Iterator[Change]]] = {
    "diagnosis": _diagnoses,
    "procedure": _diagnoses,
    "medication": _medications,
}


def _orders(trial: Trial) -> Iterator[Change]:
    if not trial.facts.about_orders:
        return
    ordered = {one.concept for one in trial.facts.orders}
    for name in trial.leaf.orders:
        order = trial.words.orders.get(name)
        label = order.name if order else trial.words.label(name)
        yield Change(ADDED, name, "order", words=f"{label} were ordered", cost=COSTS[ADDED], label=label)
        if name in ordered:
            yield Change(REMOVED, name, "order", words=f"{label} were not ordered", cost=COSTS[REMOVED])


def _ages(trial: Trial) -> Iterator[Change]:
    """Yield other ages: on both sides of each limit; without limits, an infant, a child and adults."""
    unit = trial.leaf.says if trial.leaf.word == "age" else "years"
    limits = trial.numbers(unit) if trial.leaf.word == "age" else list(_YEARS)
    for limit in limits:
        yield Change(
            AGE, model.PATIENT, unit, limit, f"the patient were {short(limit)} {unit} old or older", COSTS[AGE]
        )
        if limit >= 1:
            words = f"the patient were younger than {short(limit)} {unit}"
            yield Change(AGE, model.PATIENT, unit, limit - 1, words, COSTS[AGE])
