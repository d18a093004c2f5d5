"""The words of the rule language: each is one function that turns a clause into a closure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal

import msgspec

from cds_service.facts import derived
from cds_service.facts.dates import When
from cds_service.facts.evidence import NO, UNKNOWN, YES, Judgement, within_days
from cds_service.facts.kidney import absence, presence
from cds_service.facts.model import (
    CONDITIONS,
    MEDICATIONS,
    PATIENT,
    PROCEDURES,
    STATEMENTS,
    Diagnosis,
    Facts,
    Medication,
    Procedure,
)
from cds_service.rules import measuring
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
    within = scope.threshold(clause, "within", "days") if "within" in clause else None

    def judge(facts: Facts, values: Values) -> Judgement:
        known = facts.diagnoses
        found = [one for name in concepts if name in known for one in known[name] if one.active or not active]
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

    def judge(facts: Facts, values: Values) -> Judgement:
        known = facts.procedures
        found = [one for concept in concepts if concept in known for one in known[concept]]
        return _recent(facts, label, found, values, within, PROCEDURES)

    return judge


def _age(clause: Mapping, scope: Scope) -> Clause:
    if clause["age"] != "years":
        scope.fail('"age" is counted in years.', clause.lines["age"], slug="wrong-value", remedy="Write age: years.")
    limits = [(key, scope.threshold(clause, key, "years")) for key in ("at_least", "below") if key in clause]
    if not limits:
        scope.fail('"age" needs at_least or below.', clause.line, slug="missing-qualifier")
    scope.reads.add(PATIENT)

    def judge(facts: Facts, values: Values) -> Judgement:
        return _judge_age(facts, [(key, Decimal(values[name])) for key, name in limits])

    return judge


def _judge_age(facts: Facts, limits: list[tuple[str, Decimal]]) -> Judgement:
    wording = " and ".join(f"{key.replace('_', ' ')} {limit} years" for key, limit in limits)
    if facts.person.born is None:
        return Judgement(UNKNOWN, f"age {wording}: no usable birth date", missing=("birth date",))
    youngest, oldest = _years(facts.person.born, facts.today)
    checks = [
        (youngest >= limit, oldest >= limit) if key == "at_least" else (oldest < limit, youngest < limit)
        for key, limit in limits
    ]
    verdict = YES if all(sure for sure, _ in checks) else UNKNOWN if all(possible for _, possible in checks) else NO
    return Judgement(verdict, f"age {wording}: {youngest}", missing=("birth date",) if verdict is UNKNOWN else ())


def _years(born: When, today: int) -> tuple[int, int]:
    """Return the least and the greatest age in completed years."""
    epoch = date(1970, 1, 1).toordinal()
    now = date.fromordinal(today + epoch)

    def completed(day: int) -> int:
        birth = date.fromordinal(day + epoch)
        return now.year - birth.year - ((now.month, now.day) < (birth.month, birth.day))

    return completed(born.last), completed(born.first)


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
    "ionized_above": "mmol/L",
}


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
        return {key: int(values[name]) if key == "within" else values[name] for key, name in names.items()}

    return lambda facts, values: judge_fact(facts, **tell(values))


def _enabled(clause: Mapping, scope: Scope) -> Clause:
    name = scope.threshold(clause, "enabled", "")

    def judge(_facts: Facts, values: Values) -> Judgement:
        return Judgement(YES, f"setting {name} is on") if values[name] else absence(f"setting {name} is off")

    return judge


_LIMITS = ("above", "at_least", "below", "at_most")
WORDS: dict[str, Word] = {
    "has": Word(_has, ("within",), "an active, confirmed diagnosis"),
    "had": Word(_had, ("within",), "a confirmed diagnosis, active or past"),
    "taking": Word(_taking, (), "a medication that is active today"),
    "done": Word(_done, ("within",), "a procedure that was carried out"),
    "age": Word(_age, ("at_least", "below"), "the patient's age in years"),
    "sex": Word(_sex, (), "the recorded sex"),
    "is": Word(
        _is, ("within", "egfr_below", "calcium_above", "ionized_above"), "a derived fact, such as kidney failure"
    ),
    "enabled": Word(_enabled, (), "a switch among the thresholds that is on"),
    "latest": Word(measuring.latest, (*_LIMITS, "within", "paired_within"), "the newest usable result"),
    "lowest": Word(measuring.lowest, (*_LIMITS, "within", "paired_within"), "the lowest usable result in a time"),
    "highest": Word(measuring.highest, (*_LIMITS, "within", "paired_within"), "the highest usable result in a time"),
    "rise": Word(
        measuring.rise,
        ("within", "by_at_least", "by_factor", "paired_within"),
        "a rise from the lowest earlier result to the newest",
    ),
    "fall": Word(
        measuring.fall,
        ("within", "by_at_least", "by_factor", "paired_within"),
        "a fall from the highest earlier result to the newest",
    ),
    "not_done": Word(measuring.not_done, ("within",), "no result that can be relied on in a time"),
}
