"""The words about measurements: the newest, the lowest, the highest, a rise, a fall, and what was not done."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from cds_service.facts import derived
from cds_service.facts.derived import COMPUTED
from cds_service.facts.evidence import NO, UNKNOWN, YES, Judgement, Verdict, above, below, within_days
from cds_service.facts.kidney import absence, reported
from cds_service.facts.model import LABS, Answer, Facts, Measurement, SetAside
from cds_service.facts.numbers import short
from cds_service.facts.observations import UNUSABLE_NUMBER, words_for
from cds_service.facts.series import recent
from cds_service.rules.model import Clause, Values, kept
from cds_service.rules.scope import Scope
from cds_service.schemas.strict_yaml import Mapping
from cds_service.terminology import Terminology

LIMITS = {"above": "above", "at_least": "at least", "below": "below", "at_most": "at most"}


def label_of(terminology: Terminology, name: str) -> str:
    """Return the name of a measurement as a clinician reads it."""
    return COMPUTED[name].label if name in COMPUTED else terminology.label(name)


def unit_of(terminology: Terminology, name: str) -> str:
    """Return the unit in which a measurement is compared."""
    return COMPUTED[name].unit if name in COMPUTED else terminology.analytes[name].unit


def latest(clause: Mapping, scope: Scope) -> Clause:
    """``latest``: the newest usable result, if it is not too old, against its limits."""
    return _picked(clause, scope, "latest")


def lowest(clause: Mapping, scope: Scope) -> Clause:
    """``lowest``: the lowest usable result in a time."""
    return _picked(clause, scope, "lowest")


def highest(clause: Mapping, scope: Scope) -> Clause:
    """``highest``: the highest usable result in a time."""
    return _picked(clause, scope, "highest")


def _numeric(clause: Mapping, word: str, scope: Scope) -> str:
    """Return the measurement that a word names, if it is one in numbers."""
    name = scope.concept(clause, word, ("measurement",), single=True)
    if name in scope.terminology.analytes and scope.terminology.analytes[name].qualitative:
        scope.fail(
            f'"{name}" is positive or negative, not a number; "{word}" needs a number.',
            clause.lines[word],
            slug="qualitative",
            remedy=f"Write positive: {name}.",
        )
    return name


class _Asked(msgspec.Struct, frozen=True):
    """What a clause asks of a measurement, with the numbers of the day."""

    word: str
    name: str
    label: str
    days: int | None
    limits: tuple[tuple[str, Decimal], ...]
    unit: str
    told: Decimal | None

    @property
    def wording(self) -> str:
        """Say the whole question: "latest Phosphate within 90 days above 5.5 mg/dL"."""
        limits = " and ".join(f"{LIMITS[key]} {limit} {self.unit}" for key, limit in self.limits)
        return f"{self.label} {limits}".strip()

    @property
    def needs_all(self) -> bool:
        """Say whether every result must meet a limit, not just one."""
        return any(key not in _ONE_SUFFICES[self.word] for key, _ in self.limits)


def _picked(clause: Mapping, scope: Scope, word: str) -> Clause:
    name = _numeric(clause, word, scope)
    unit, shown = unit_of(scope.terminology, name), f"{word} {label_of(scope.terminology, name)}"
    limits = [(key, scope.threshold(clause, key, unit)) for key in LIMITS if key in clause]
    within = scope.threshold(clause, "within", "days") if "within" in clause else None
    told = _told(clause, word, name, scope)

    @kept
    def ask(values: Values) -> _Asked:
        days = int(values[within]) if within else None
        return _Asked(
            word,
            name,
            f"{shown} within {days} days" if days is not None else shown,
            days,
            tuple((key, Decimal(values[limit])) for key, limit in limits),
            unit,
            Decimal(values[told]) if told else None,
        )

    def judge(facts: Facts, values: Values) -> Judgement:
        asked = ask(values)
        results = derived.series(facts, name, asked.told)
        return _judge(facts, asked, results[:1] if word == "latest" else results)

    return judge


# What a computed measurement must be told, with the unit of the threshold that tells it.
_TELLS = {"paired_within": "h", "upper_limit": "pg/mL"}


def _told(clause: Mapping, word: str, name: str, scope: Scope) -> str | None:
    """Return the threshold that tells a computed measurement what it must be told, if it needs to be told anything."""
    needed = COMPUTED[name].told if name in COMPUTED else ""
    if needed and needed not in clause:
        scope.fail(
            f'"{word}: {name}" needs {needed}.',
            clause.lines[word],
            slug="missing-qualifier",
            remedy=f"Add {needed}: and the name of a threshold in {_TELLS[needed]}.",
        )
    for other in _TELLS:
        if other != needed and other in clause:
            why = "which is measured by itself" if not needed else f"which needs {needed}"
            scope.fail(
                f'"{other}" does not go with "{word}: {name}", {why}.', clause.lines[other], slug="wrong-qualifier"
            )
    if not needed:
        return None
    scope.told[name] = scope.threshold(clause, needed, _TELLS[needed])
    return scope.told[name]


def _judge(facts: Facts, asked: _Asked, results: Sequence[Measurement]) -> Judgement:
    found = recent(results, facts.today, asked.days)
    if not found:
        return _none_usable(facts, asked.label, asked.name, results, asked.days)
    verdicts = [_over(asked.word, found, key, limit) for key, limit in asked.limits]
    verdict = NO if NO in verdicts else UNKNOWN if UNKNOWN in verdicts else YES
    chosen = found[0] if len(found) == 1 else _telling(asked, found)
    more = ""
    if (verdict is NO or asked.needs_all) and not _all_known(facts, asked):
        more, verdict = ", but more results exist than were sent", UNKNOWN
    missing = (asked.name,) if verdict is UNKNOWN else ()
    said = lambda: f"{asked.wording}: {show(chosen, asked.unit)}{more}"  # noqa: E731
    return Judgement(verdict, said, items=(chosen,), missing=missing)


def _all_known(facts: Facts, asked: _Asked) -> bool:
    """Say whether no result that could decide is missing; on a page sorted newest first the newest is the newest."""
    return facts.covers(LABS, asked.days) or (asked.word == "latest" and LABS in facts.horizons)


# "highest above a limit" holds as soon as one result is above it; "highest below a limit" only when all are.
_ONE_SUFFICES = {"latest": tuple(LIMITS), "highest": ("above", "at_least"), "lowest": ("below", "at_most")}


def _over(word: str, results: Sequence[Measurement], key: str, limit: Decimal) -> Verdict:
    if len(results) == 1:
        return compare(results[0], key, limit)
    verdicts = [compare(one, key, limit) for one in results]
    order = (YES, UNKNOWN, NO) if key in _ONE_SUFFICES[word] else (NO, UNKNOWN, YES)
    return next(verdict for verdict in order if verdict in verdicts)


def _telling(asked: _Asked, found: Sequence[Measurement]) -> Measurement:
    """Return the result to show: the extreme one among those that meet the limits, else among all."""
    meeting = [one for one in found if all(compare(one, key, limit) is YES for key, limit in asked.limits)]
    candidates = meeting or found
    if asked.word == "latest":
        return candidates[0]
    return (min if asked.word == "lowest" else max)(candidates, key=lambda one: one.value)


def compare(result: Measurement, key: str, limit: Decimal) -> Verdict:
    """Compare a result with a limit in the sense of a qualifier."""
    if key in ("above", "at_least"):
        return above(result, limit, or_equal=key == "at_least")
    return below(result, limit, or_equal=key == "at_most")


def show(result: Measurement | Answer, unit: str = "") -> str:
    """Show a result as it was reported, with its day; in the unit of its limit too, where that is another."""
    if isinstance(result, Answer):
        return f"{result.said}, {result.when.day}"
    in_ours = f" ({result.comparator}{short(result.value)} {unit})"
    return f"{reported(result)}{in_ours if unit and result.value != result.reported else ''}, {result.when.day}"


def _none_usable(facts: Facts, label: str, name: str, results: Sequence[Measurement], days: int | None) -> Judgement:
    aside = facts.newest_aside(*(COMPUTED[name].reads if name in COMPUTED else (name,)))
    hint = _hint(aside) if aside else ""
    if results and days is not None and any(within_days(one.when, facts.today, days) is UNKNOWN for one in results):
        return Judgement(UNKNOWN, f"{label}: only a result whose date is too vague{hint}", missing=(name,))
    if not facts.covers(LABS, days):
        return Judgement(UNKNOWN, f"{label}: no usable result, and not all results are known{hint}", missing=(name,))
    if results:
        newest = results[0]
        return Judgement(NO, lambda: f"{label}: no usable result; the newest is {show(newest)}{hint}")
    return absence(f"{label}: no usable result{hint}")


def _hint(aside: SetAside) -> str:
    day = aside.when.day if aside.when else "unknown date"
    return f"; a result of {day} was set aside: {words_for(aside.reason)}"


def not_done(clause: Mapping, scope: Scope) -> Clause:
    """
    ``not_done``: no result that can be relied on in a time.

    A newest result whose number cannot be used (unit missing or unknown, value implausible) also counts as not
    done, whatever came before it: it asks for a repeat (KNOWLEDGE, CC-04).
    """
    name = scope.concept(clause, "not_done", ("measurement",))
    concepts, shown = scope.terminology.members(name), label_of(scope.terminology, name)
    if name not in scope.terminology.analytes and name in scope.terminology.groups:
        shown = label_of(scope.terminology, concepts[0])
    within = scope.threshold(clause, "within", "days")
    days_of = kept(lambda values: int(values[within]))

    def judge(facts: Facts, values: Values) -> Judgement:
        return _judge_not_done(facts, shown, concepts, days_of(values))

    return judge


def _judge_not_done(facts: Facts, shown: str, concepts: tuple[str, ...], days: int) -> Judgement:
    label = f"no {shown} within {days} days"
    newest: list[Measurement | Answer] = [
        series[0] for concept in concepts if (series := facts.measurements.get(concept, ()))
    ]
    if facts.answers:
        newest += [facts.answers[one].newest_first()[0] for one in concepts if _answered(facts, one)]
    aside = facts.newest_aside(*concepts)
    if aside and aside.reason in UNUSABLE_NUMBER and within_days(aside.when, facts.today, days) is YES:
        day = aside.when.day if aside.when else ""
        return Judgement(
            YES,
            f"{label} that can be used: the newest, of {day}, is not usable: {words_for(aside.reason)}",
            absent=shown,
        )
    last = max(newest, key=lambda one: one.rank) if newest else None
    verdict = NO if last is None else within_days(last.when, facts.today, days)
    if last is not None and verdict is YES:
        return Judgement(NO, lambda: f"{label}: {show(last)}", items=(last,))
    if verdict is UNKNOWN:
        return Judgement(UNKNOWN, f"{label}: a result whose date is too vague", missing=concepts[:1])
    if not facts.covers(LABS, days):
        return Judgement(UNKNOWN, f"{label}: not all results are known", missing=concepts[:1])
    hint = f"the newest is {show(last)}" if last is not None else "none on record"
    ignored = f"; a result of {aside.when.day} was set aside: {words_for(aside.reason)}" if aside and aside.when else ""
    return Judgement(YES, f"{label}: {hint}{ignored}", absent=shown)


def _answered(facts: Facts, test: str) -> bool:
    return test in facts.answers and bool(facts.answers[test].newest_first())


def rise(clause: Mapping, scope: Scope) -> Clause:
    """``rise``: from the lowest earlier result in a time to the newest one."""
    return _change(clause, scope, "rise", up=True)


def fall(clause: Mapping, scope: Scope) -> Clause:
    """``fall``: from the highest earlier result in a time to the newest one."""
    return _change(clause, scope, "fall", up=False)


def _change(clause: Mapping, scope: Scope, word: str, *, up: bool) -> Clause:
    name = _numeric(clause, word, scope)
    if "within" not in clause or ("by_at_least" in clause) == ("by_factor" in clause):
        scope.fail(
            f'"{word}" needs within, and either by_at_least or by_factor.', clause.line, slug="missing-qualifier"
        )
    within, told = scope.threshold(clause, "within", "days"), _told(clause, word, name, scope)
    by = scope.threshold(clause, "by_at_least", unit_of(scope.terminology, name)) if "by_at_least" in clause else ""
    factor = "" if by else scope.threshold(clause, "by_factor", "x")
    shown = f"{word} of {label_of(scope.terminology, name)}"

    def judge(facts: Facts, values: Values) -> Judgement:
        days = int(values[within])
        series = derived.series(facts, name, Decimal(values[told]) if told else None)
        results = recent(series, facts.today, days)
        label = f"{shown} within {days} days"
        if len(results) < 2:
            return _none_usable(facts, f"{label}, from two results", name, (), None)
        apart = Decimal(values[by]) if by else Decimal(0)
        return _judge_change(facts, label, name, results, apart, Decimal(values[factor]) if factor else Decimal(1), up)

    return judge


def _judge_change(
    facts: Facts, label: str, name: str, results: Sequence[Measurement], by: Decimal, factor: Decimal, up: bool
) -> Judgement:
    newest, earlier = results[0], results[1:]
    base = (min if up else max)(earlier, key=lambda one: one.value)
    if up:
        verdict = above(newest, base.value * factor + by, or_equal=True)
    else:
        raised = msgspec.structs.replace(newest, value=newest.value * factor + by)
        verdict = below(raised, base.value, or_equal=True)
    # Where the base is only a bound ("<5"), or earlier results were not sent, neither YES nor NO is certain.
    if base.comparator or (verdict is NO and not facts.state(LABS).conclusive):
        verdict = UNKNOWN
    return Judgement(
        verdict,
        lambda: f"{label}: from {show(base)} to {show(newest)}",
        items=(newest, base),
        missing=(name,) if verdict is UNKNOWN else (),
    )
