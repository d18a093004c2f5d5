"""The words of the rule language: each is one function that turns a clause into a closure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from cds_service.facts import age, derived, observed
from cds_service.facts.dates import When
from cds_service.facts.evidence import NO, UNKNOWN, YES, Judgement, some, within_days
from cds_service.facts.kidney import absence, describe, presence
from cds_service.facts.model import (
    CONDITIONS,
    LABS,
    MEDICATIONS,
    PATIENT,
    PROCEDURES,
    STATEMENTS,
    Diagnosis,
    Facts,
    Medication,
    Procedure,
)
from cds_service.rules import measuring, ordering
from cds_service.rules.model import Clause, Values, kept
from cds_service.rules.scope import Scope, meant
from cds_service.schemas.strict_yaml import Mapping

Dated = Diagnosis | Medication | Procedure


class Word(msgspec.Struct, frozen=True):
    """A word: how it is compiled, which qualifiers go with it, and what it says in one line."""

    compile: Callable[[Mapping, Scope], Clause]
    qualifiers: tuple[str, ...]
    says: str


def _has(clause: Mapping, scope: Scope) -> Clause:
    return _diagnosed(clause, scope, "has", active=True)


def _had(clause: Mapping, scope: Scope) -> Clause:
    return _diagnosed(clause, scope, "had", active=False)


def _diagnosed(clause: Mapping, scope: Scope, word: str, *, active: bool) -> Clause:
    name = scope.concept(clause, word, ("diagnosis",))
    concepts, label = scope.terminology.members(name), f"{word} {scope.terminology.label(name)}"
    # An old diagnosis that is recorded again is not new: began_within asks for the onset, where one is recorded.
    by_onset = "began_within" in clause
    key = "began_within" if by_onset else "within"
    within = scope.threshold(clause, key, "days") if key in clause else None
    lesions = tuple(name for name in concepts if name in observed.LESIONS)

    def judge(facts: Facts, values: Values) -> Judgement:
        known = facts.diagnoses
        found = [one for name in concepts if name in known for one in known[name] if one.active or not active]
        if lesions and facts.observed is not None:
            found += observed.lesions(facts, *lesions)
        if by_onset:
            found = [msgspec.structs.replace(one, when=one.began or one.when) for one in found]
        return _recent(facts, label, found, values, within, CONDITIONS)

    return judge


def _recent(
    facts: Facts, label: str, found: Sequence[Dated], values: Values, within: str | None, *kinds: str
) -> Judgement:
    """Judge presence; with a limit of days only what is dated inside it counts, and what is undated stays open."""
    if within is None:
        return presence(facts, label, found, *kinds)
    days = int(values[within])
    label = f"{label} within {days} days"
    recent = [(one, within_days(one.when, facts.today, days)) for one in found]
    sure = [one for one, verdict in recent if verdict is YES]
    if not sure and any(verdict is UNKNOWN for _, verdict in recent):
        return Judgement(UNKNOWN, f"{label}: on record, but without a date that decides", missing=(f"date of {label}",))
    return presence(facts, label, sure, *kinds, days=days)


def _taking(clause: Mapping, scope: Scope) -> Clause:
    name = scope.concept(clause, "taking", ("medication",))
    concepts, label = scope.terminology.members(name), f"taking {scope.terminology.label(name)}"

    def judge(facts: Facts, _values: Values) -> Judgement:
        known = facts.medications
        found = [one for concept in concepts if concept in known for one in known[concept]]
        return presence(facts, label, found, MEDICATIONS, STATEMENTS)

    return judge


def _done(clause: Mapping, scope: Scope) -> Clause:
    name = scope.concept(clause, "done", ("procedure",))
    concepts, label = scope.terminology.members(name), f"done {scope.terminology.label(name)}"
    within = scope.threshold(clause, "within", "days") if "within" in clause else None
    times = scope.threshold(clause, "times", "n") if "times" in clause else None
    noted = tuple(name for name in concepts if any(of == "LOINC" for of, _ in scope.terminology.codes[name]))
    kinds = (PROCEDURES, LABS) if noted else (PROCEDURES,)

    def judge(facts: Facts, values: Values) -> Judgement:
        known = facts.procedures
        found = [one for concept in concepts if concept in known for one in known[concept]]
        if noted and facts.observed is not None:
            found += observed.notes(facts, *noted)
        if times is not None:
            return _often(facts, label, found, int(values[times]), int(values[within]) if within else None, kinds)
        return _recent(facts, label, found, values, within, *kinds)

    return judge


def _often(
    facts: Facts, label: str, found: Sequence[Procedure], times: int, days: int | None, kinds: Sequence[str]
) -> Judgement:
    """Judge whether something was done so many times; what has two codes of the same group was done once."""
    label = f"{label} at least {times} times" + ("" if days is None else f" within {days} days")
    dated = [(one, YES if days is None else within_days(one.when, facts.today, days)) for one in found]
    sure = [one for one, verdict in dated if verdict is YES]
    possible = [one for one, verdict in dated if verdict is not NO]
    many = _occasions(sure)
    said = lambda: f"{label}: {many} on record{f', {describe(sure[0])}' if sure else ''}"  # noqa: E731
    if many >= times:
        return Judgement(YES, said, items=tuple(sure[:3]))
    gaps = tuple(kind for kind in kinds if not facts.covers(kind, days))
    if _occasions(possible) >= times:
        return Judgement(UNKNOWN, f"{label}: the dates do not decide", missing=(f"date of {label}",))
    return Judgement(UNKNOWN if gaps else NO, said, items=tuple(sure[:3]), missing=gaps)


def _occasions(found: Sequence[Procedure]) -> int:
    """Count procedures; of those that are alike in all but their concept the concept that has most counts."""
    by_concept: dict[str, Counter[tuple[When | None, str]]] = {}
    for one in found:
        by_concept.setdefault(one.concept, Counter())[(one.when, one.display)] += 1
    together: Counter[tuple[When | None, str]] = Counter()
    for counted in by_concept.values():
        together |= counted
    return together.total()


def _positive(clause: Mapping, scope: Scope) -> Clause:
    name = scope.concept(clause, "positive", ("measurement",))
    tests = scope.terminology.members(name)
    if not all(test in scope.terminology.analytes and scope.terminology.analytes[test].qualitative for test in tests):
        scope.fail(
            f'"{name}" is measured in numbers; "positive" needs a test that is positive or negative.',
            clause.lines["positive"],
            slug="not-qualitative",
            remedy="Write latest: and a limit.",
        )
    within = scope.threshold(clause, "within", "days") if "within" in clause else None
    shown = f"{scope.terminology.label(name)} positive"

    def judge(facts: Facts, values: Values) -> Judgement:
        days = int(values[within]) if within else None
        judged = tuple([_newest_answer(facts, shown, test, days) for test in tests])
        return judged[0] if len(judged) == 1 else some(shown, judged)

    return judge


def _newest_answer(facts: Facts, shown: str, test: str, days: int | None) -> Judgement:
    """Judge the newest qualitative result of a test; one that says neither leaves the answer open."""
    label = shown if days is None else f"{shown} within {days} days"
    answers = facts.answers[test].newest_first() if test in facts.answers else ()
    dated = [(one, YES if days is None else within_days(one.when, facts.today, days)) for one in answers]
    newest = next((one for one, verdict in dated if verdict is YES), None)
    if newest is None:
        if any(verdict is UNKNOWN for _, verdict in dated) or not facts.covers(LABS, days):
            return Judgement(UNKNOWN, f"{label}: no usable result, and not all results are known", missing=(test,))
        return absence(f"{label}: no usable result")
    verdict = {"positive": YES, "negative": NO}.get(newest.meaning, UNKNOWN)
    if verdict is NO and not facts.covers(LABS, days) and LABS not in facts.horizons:
        verdict = UNKNOWN
    unread = "" if newest.meaning else ", which says neither positive nor negative"
    missing = (test,) if verdict is UNKNOWN else ()
    return Judgement(verdict, lambda: f"{label}: {describe(newest)}{unread}", items=(newest,), missing=missing)


_AGES: dict[str, Callable[[When, int], tuple[int, int]]] = {"years": age.years, "days": age.days}


def _age(clause: Mapping, scope: Scope) -> Clause:
    unit = clause["age"]
    if unit not in _AGES:
        scope.fail(
            '"age" is counted in years or in days.',
            clause.lines["age"],
            slug="wrong-value",
            remedy="Write age: years, or age: days.",
        )
    limits = [(key, scope.threshold(clause, key, unit)) for key in ("at_least", "below") if key in clause]
    if not limits:
        scope.fail('"age" needs at_least or below.', clause.line, slug="missing-qualifier")
    scope.reads.add(PATIENT)

    @kept
    def ask(values: Values) -> tuple[list[tuple[str, Decimal]], str]:
        asked = [(key, Decimal(values[name])) for key, name in limits]
        return asked, " and ".join(f"{key.replace('_', ' ')} {limit} {unit}" for key, limit in asked)

    return lambda facts, values: _judge_age(facts, unit, *ask(values))


def _judge_age(facts: Facts, unit: str, limits: list[tuple[str, Decimal]], wording: str) -> Judgement:
    if facts.person.born is None:
        return Judgement(UNKNOWN, f"age {wording}: no usable birth date", missing=("birth date",))
    youngest, oldest = _AGES[unit](facts.person.born, facts.today)
    checks = [
        (youngest >= limit, oldest >= limit) if key == "at_least" else (oldest < limit, youngest < limit)
        for key, limit in limits
    ]
    verdict = YES if all(sure for sure, _ in checks) else UNKNOWN if all(possible for _, possible in checks) else NO
    return Judgement(verdict, f"age {wording}: {youngest}", missing=("birth date",) if verdict is UNKNOWN else ())


def _sex(clause: Mapping, scope: Scope) -> Clause:
    wanted = clause["sex"]
    if wanted not in ("female", "male"):
        scope.fail('"sex" must be female or male.', clause.lines["sex"], slug="wrong-value")
    scope.reads.add(PATIENT)

    def judge(facts: Facts, _values: Values) -> Judgement:
        if facts.person.sex not in ("female", "male"):
            return Judgement(UNKNOWN, f"sex {wanted}: not recorded", missing=("sex",))
        return Judgement(YES if facts.person.sex == wanted else NO, f"sex {wanted}: recorded as {facts.person.sex}")

    return judge


_PARAMETER_UNITS = {
    "within": "days",
    "egfr_below": "mL/min/{1.73_m2}",
    "calcium_above": "mg/dL",
    "calcium_below": "mg/dL",
    "ionized_above": "mmol/L",
    "phosphate_above": "mg/dL",
    "phosphate_child_above": "mg/dL",
    "phosphate_below": "mg/dL",
    "product_above": "mg2/dL2",
    "urate_above": "mg/dL",
    "potassium_above": "mmol/L",
    "bicarbonate_above": "mmol/L",
    "creatinine_above": "mg/dL",
    "alp_above": "U/L",
    "daily_at_most": "mg/d",
    "paired_within": "h",
    "paired_days": "days",
    "hours": "h",
    "criteria": "n",
}
_WHOLE = ("within", "paired_within", "paired_days", "hours", "criteria")


def _is(clause: Mapping, scope: Scope) -> Clause:
    name, line = clause["is"], clause.lines["is"]
    fact = derived.DERIVED.get(name)
    if fact is None:
        scope.fail(
            f'There is no derived fact "{name}".{meant(name, derived.DERIVED)}',
            line,
            slug="unknown-fact",
            remedy=f"The derived facts are: {', '.join(derived.DERIVED)}.",
        )
    for key in clause:
        if key != "is" and key not in fact.needs:
            scope.fail(f'"{key}" does not go with "is: {name}".', clause.lines[key], slug="wrong-qualifier")
    for key in fact.needs:
        if key not in clause:
            scope.fail(
                f'"is: {name}" needs {key}.',
                line,
                slug="missing-qualifier",
                remedy=f"Add {key}: and the name of a threshold.",
            )
    scope.reads.update(fact.reads)
    names = {key: scope.threshold(clause, key, _PARAMETER_UNITS[key]) for key in fact.needs}
    judge_fact = fact.judge

    @kept
    def tell(values: Values) -> dict[str, object]:
        return {key: int(values[name]) if key in _WHOLE else values[name] for key, name in names.items()}

    return lambda facts, values: judge_fact(facts, **tell(values))


def _enabled(clause: Mapping, scope: Scope) -> Clause:
    name = scope.threshold(clause, "enabled", "")

    def judge(_facts: Facts, values: Values) -> Judgement:
        return Judgement(YES, f"setting {name} is on") if values[name] else absence(f"setting {name} is off")

    return judge


_MEASURED = ("above", "at_least", "below", "at_most", "within", "paired_within", "upper_limit")
_CHANGED = ("within", "by_at_least", "by_factor", "paired_within", "upper_limit")
WORDS: dict[str, Word] = {
    "has": Word(_has, ("within", "began_within"), "an active, confirmed diagnosis"),
    "had": Word(_had, ("within",), "a confirmed diagnosis, active or past"),
    "taking": Word(_taking, (), "a medication that is active today"),
    "ordering": Word(ordering.ordering, (), "an order of this call, not yet signed"),
    "done": Word(_done, ("within", "times"), "a procedure that was carried out"),
    "positive": Word(_positive, ("within",), "a qualitative result that is positive"),
    "age": Word(_age, ("at_least", "below"), "the patient's age in years or days"),
    "sex": Word(_sex, (), "the recorded sex"),
    "is": Word(_is, tuple(_PARAMETER_UNITS), "a derived fact, such as kidney failure"),
    "enabled": Word(_enabled, (), "a switch among the thresholds that is on"),
    "latest": Word(measuring.latest, _MEASURED, "the newest usable result"),
    "lowest": Word(measuring.lowest, _MEASURED, "the lowest usable result in a time"),
    "highest": Word(measuring.highest, _MEASURED, "the highest usable result in a time"),
    "rise": Word(
        measuring.rise,
        _CHANGED,
        "a rise from the lowest earlier result to the newest",
    ),
    "fall": Word(
        measuring.fall,
        _CHANGED,
        "a fall from the highest earlier result to the newest",
    ),
    "not_done": Word(measuring.not_done, ("within",), "no result that can be relied on in a time"),
}
