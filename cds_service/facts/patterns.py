"""Patterns of several results at about the same time: tumor lysis, calcium-alkali syndrome, hyperparathyroidism."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from cds_service.facts import calcium
from cds_service.facts.age import ADULT, ByAge, agreed, limits
from cds_service.facts.dates import When
from cds_service.facts.evidence import (
    HOUR,
    NO,
    UNKNOWN,
    YES,
    Judgement,
    Verdict,
    above,
    apart,
    below,
    count,
    every,
    some,
)
from cds_service.facts.kidney import absence, describe
from cds_service.facts.minerals import IONIZED_ABOVE
from cds_service.facts.model import LABS, Facts, Measurement
from cds_service.facts.newest import Check, compared, newest

_CALLED = {"egfr": "eGFR", "alp": "ALP"}
# KNOWLEDGE 2 (alp): children reach 500 U/L without disease of bone or liver.
ALP_OF_CHILDREN = Decimal(500)
_DAY_HOURS = 24


def tumor_lysis(
    facts: Facts,
    *,
    urate_above: Decimal,
    potassium_above: Decimal,
    phosphate_above: Decimal,
    phosphate_child_above: Decimal,
    calcium_below: Decimal,
    hours: int,
    criteria: int,
) -> Judgement:
    """Judge laboratory tumor lysis: enough of its criteria among the newest results of the last hours (CC-18)."""
    by_age: ByAge = ((ADULT, phosphate_child_above),)

    def phosphate(one: Measurement) -> Verdict:
        return agreed(tuple(above(one, limit) for limit in limits(facts, one.when, by_age, phosphate_above)))

    tests: tuple[tuple[str, str, Check], ...] = (
        ("urate", f"uric acid above {urate_above} mg/dL", lambda one: above(one, urate_above)),
        ("potassium", f"potassium above {potassium_above} mmol/L", lambda one: above(one, potassium_above)),
        ("phosphate", "phosphate above its limit", phosphate),
        (calcium.CORRECTED, f"calcium below {calcium_below} mg/dL", lambda one: below(one, calcium_below)),
    )
    parts = tuple(_of_hours(facts, label, name, hours, check) for name, label, check in tests)
    return count(f"laboratory tumor lysis: at least {criteria} of 4 criteria within {hours} h", parts, criteria)


def _of_hours(facts: Facts, label: str, name: str, hours: int, check: Check) -> Judgement:
    """Judge the newest result of a test if it is of the last hours; a date without a time may leave that open."""
    results = calcium.corrected(facts) if name == calcium.CORRECTED else facts.measurements.get(name, ())
    newest_one = next(iter(results), None)
    recency = NO if newest_one is None else _within_hours(newest_one.when, facts.now, hours)
    if newest_one is not None and recency is not NO:
        verdict = check(newest_one)
        verdict = UNKNOWN if verdict is YES and recency is UNKNOWN else verdict
        missing = (name,) if verdict is UNKNOWN else ()
        return Judgement(verdict, lambda: f"{label}: {describe(newest_one)}", items=(newest_one,), missing=missing)
    if not facts.covers(LABS, hours // _DAY_HOURS + 1):
        return Judgement(UNKNOWN, f"{label}: not all results of the last {hours} h are known", missing=(name,))
    return absence(f"{label}: no usable result within {hours} h")


def _within_hours(when: When, now: float, hours: int) -> Verdict:
    if now - when.start <= hours * HOUR:
        return YES
    return NO if now - when.end > hours * HOUR else UNKNOWN


def calcium_alkali(
    facts: Facts,
    *,
    calcium_above: Decimal,
    bicarbonate_above: Decimal,
    egfr_below: Decimal,
    creatinine_above: Decimal,
    within: int,
    paired_within: int,
) -> Judgement:
    """Judge the laboratory pattern of calcium-alkali syndrome: high calcium, alkalosis, weak kidneys at one time."""
    label = f"high calcium, high bicarbonate and weak kidneys within {paired_within} h of each other"
    high = calcium.hypercalcemia(facts, calcium_above=calcium_above, ionized_above=IONIZED_ABOVE, within=within)
    anchor = next((item for item in high.items if isinstance(item, Measurement)), None)
    if high.verdict is NO or anchor is None:
        return Judgement(high.verdict, label, (high,), missing=high.missing)
    window = paired_within * HOUR
    alkali = _beside(facts, "bicarbonate", (anchor,), window, lambda one: above(one, bicarbonate_above))
    beside = (anchor, *_results(alkali))
    kidneys = some(
        "reduced kidney function",
        (
            _beside(facts, "egfr", beside, window, lambda one: below(one, egfr_below)),
            _beside(facts, "creatinine", beside, window, lambda one: above(one, creatinine_above)),
        ),
    )
    return every(label, (high, alkali, kidneys))


def parathyroid_pattern(
    facts: Facts,
    *,
    calcium_above: Decimal,
    alp_above: Decimal,
    phosphate_below: Decimal,
    within: int,
    paired_days: int,
) -> Judgement:
    """Judge the pattern of primary hyperparathyroidism: high calcium, high ALP and low phosphate at about one time."""
    label = f"high calcium, high ALP and low phosphate within {paired_days} days of each other"
    high = compared(
        facts,
        f"corrected calcium above {calcium_above} mg/dL",
        "calcium",
        within,
        lambda one: above(one, calcium_above),
        calcium.corrected(facts),
    )
    anchor = newest(facts, calcium.corrected(facts), within)
    if high.verdict is NO or anchor is None:
        return Judgement(high.verdict, label, (high,), missing=high.missing)
    by_age: ByAge = ((ADULT, max(ALP_OF_CHILDREN, alp_above)),)
    window = paired_days * _DAY_HOURS * HOUR
    bone = _beside(
        facts,
        "alp",
        (anchor,),
        window,
        lambda one: agreed(tuple(above(one, limit) for limit in limits(facts, one.when, by_age, alp_above))),
    )
    low = _beside(facts, "phosphate", (anchor, *_results(bone)), window, lambda one: below(one, phosphate_below))
    return every(label, (high, bone, low))


def _results(judged: Judgement) -> tuple[Measurement, ...]:
    return tuple(item for item in judged.items if isinstance(item, Measurement))


def _beside(facts: Facts, name: str, others: Sequence[Measurement], window: float, check: Check) -> Judgement:
    """Judge the result of a test nearest to the first of others, if it lies within the window of each of them."""
    results = facts.measurements.get(name, ())
    near = [one for one in results if all(apart(one.when, other.when) <= window for other in others)]
    label = f"{_CALLED.get(name, name)} at about the same time"
    if not near:
        if facts.state(LABS).conclusive:
            return absence(f"{label}: no usable result")
        return Judgement(UNKNOWN, f"{label}: not all results are known", missing=(name,))
    best = min(near, key=lambda one: apart(one.when, others[0].when))
    verdict = check(best)
    if verdict is NO and not facts.state(LABS).conclusive and LABS not in facts.horizons:
        verdict = UNKNOWN
    missing = (name,) if verdict is UNKNOWN else ()
    return Judgement(verdict, lambda: f"{label}: {describe(best)}", items=(best,), missing=missing)
