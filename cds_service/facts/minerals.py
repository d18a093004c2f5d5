"""Calcium and phosphate taken together: high for the age, persistently high, normal, abnormal (KNOWLEDGE 2.1, 2.3)."""

from __future__ import annotations

from decimal import Decimal

from cds_service.facts import calcium
from cds_service.facts.age import ByAge, agreed, limits
from cds_service.facts.evidence import NO, UNKNOWN, YES, Judgement, Verdict, above, every, some
from cds_service.facts.kidney import describe
from cds_service.facts.model import LABS, Facts, Measurement
from cds_service.facts.newest import compared, lacking, newest
from cds_service.facts.series import recent

# KNOWLEDGE 2.1, mg/dL: upper limits of normal for phosphate below 1, 12 and 18 completed years (labs.yaml tells the
# same, and a test compares them). From 18 on the threshold of the rule holds.
PHOSPHATE_BY_AGE: ByAge = ((1, Decimal("8.0")), (12, Decimal("6.5")), (18, Decimal("5.5")))
# KNOWLEDGE 2.1: the product may reach 65 mg2/dL2 below 12 years (KDOQI pediatric).
PRODUCT_LIMIT_OF_CHILDREN, PRODUCT_CHILD_BELOW = Decimal(65), 12
# KNOWLEDGE 5.1, CC-24: two results at least 14 days apart.
PERSISTS_DAYS = 14
# KNOWLEDGE 2.3: an ionized calcium above this is hypercalcemia.
IONIZED_ABOVE = Decimal("1.33")


def phosphate_over(facts: Facts, result: Measurement, adult: Decimal) -> Verdict:
    """Say whether a phosphate is above the limit of the age at which it was taken."""
    return agreed(tuple(above(result, limit) for limit in _limits(facts, result, adult)))


def _limits(facts: Facts, result: Measurement, adult: Decimal) -> tuple[Decimal, ...]:
    return limits(facts, result.when, PHOSPHATE_BY_AGE, adult)


def phosphate_high(facts: Facts, *, within: int, phosphate_above: Decimal) -> Judgement:
    """Judge whether the newest phosphate is above the upper limit of the patient's age."""
    return facts.once(("phosphate-high", within, phosphate_above), lambda: _high(facts, within, phosphate_above))


def _high(facts: Facts, within: int, adult: Decimal) -> Judgement:
    judged = compared(
        facts,
        "phosphate above the limit of the age",
        "phosphate",
        within,
        lambda result: phosphate_over(facts, result, adult),
    )
    results = [one for one in judged.items if isinstance(one, Measurement)]
    if judged.verdict is UNKNOWN and any(len(_limits(facts, one, adult)) > 1 for one in results):
        return Judgement(UNKNOWN, judged.wording, items=judged.items, missing=("birth date",))
    return judged


def phosphate_persists(facts: Facts, *, within: int, phosphate_above: Decimal) -> Judgement:
    """Judge whether phosphate was too high for the age twice, at least 14 days apart, the newest result included."""
    now = phosphate_high(facts, within=within, phosphate_above=phosphate_above)
    label = f"phosphate above the limit of the age, twice at least {PERSISTS_DAYS} days apart"
    if now.verdict is NO or not now.items:
        return Judgement(now.verdict, label, (now,), missing=now.missing)
    return every(label, (now, _earlier(facts, within, phosphate_above)))


def _earlier(facts: Facts, within: int, adult: Decimal) -> Judgement:
    results = recent(facts.measurements.get("phosphate", ()), facts.today, within)
    label = f"an earlier phosphate, at least {PERSISTS_DAYS} days older, above the limit"
    earlier = [one for one in results[1:] if results[0].when.first - one.when.last >= PERSISTS_DAYS]
    verdicts = [(phosphate_over(facts, one, adult), one) for one in earlier]
    sure = next((one for verdict, one in verdicts if verdict is YES), None)
    if sure is not None:
        return Judgement(YES, lambda: f"{label}: {describe(sure)}", items=(sure,))
    if any(verdict is UNKNOWN for verdict, _ in verdicts) or not facts.covers(LABS, within):
        return Judgement(UNKNOWN, f"{label}: not known", missing=("phosphate",))
    return lacking(facts, label, "phosphate", within)


def normal(facts: Facts, *, within: int, calcium_above: Decimal, phosphate_above: Decimal) -> Judgement:
    """Judge whether calcium and phosphate are both known and neither is too high; what was never measured is a NO."""
    key = ("mineral-labs-normal", within, calcium_above, phosphate_above)
    return facts.once(key, lambda: _normal(facts, within, calcium_above, phosphate_above))


def _normal(facts: Facts, within: int, calcium_above: Decimal, phosphate_above: Decimal) -> Judgement:
    high = _both(facts, within, calcium_above, phosphate_above)
    found = next((one for one in high if one.verdict is YES), None)
    if found is not None:
        return Judgement(NO, lambda: f"calcium and phosphate normal: no, {found.label}", high, items=found.items)
    results = (_calcium(facts, within), newest(facts, facts.measurements.get("phosphate", ()), within))
    absent = tuple(name for name, one in zip(("calcium", "phosphate"), results, strict=True) if one is None)
    if any(one.verdict is UNKNOWN for one in high):
        missing = tuple(dict.fromkeys((*(name for one in high for name in one.missing), *absent)))
        return Judgement(UNKNOWN, "calcium and phosphate normal: not known", high, missing=missing)
    if absent:
        label = f"calcium and phosphate normal: no usable {' and no usable '.join(absent)} within {within} days"
        return Judgement(NO, label, high)
    items = tuple(one for one in results if one is not None)
    return Judgement(YES, lambda: f"calcium and phosphate not high: {' and '.join(map(_named, items))}", items=items)


def _named(result: Measurement) -> str:
    """Say a result with the name of its test."""
    names = {calcium.CORRECTED: "calcium", "calcium-ionized": "ionized calcium"}
    return f"{names.get(result.analyte, result.analyte)} {describe(result)}"


def _both(facts: Facts, within: int, calcium_above: Decimal, phosphate_above: Decimal) -> tuple[Judgement, Judgement]:
    return (
        calcium.hypercalcemia(facts, calcium_above=calcium_above, ionized_above=IONIZED_ABOVE, within=within),
        phosphate_high(facts, within=within, phosphate_above=phosphate_above),
    )


def _calcium(facts: Facts, within: int) -> Measurement | None:
    total = newest(facts, calcium.corrected(facts), within)
    return total or newest(facts, facts.measurements.get("calcium-ionized", ()), within)


def abnormal(
    facts: Facts,
    *,
    within: int,
    calcium_above: Decimal,
    phosphate_above: Decimal,
    product_above: Decimal,
    paired_within: int,
) -> Judgement:
    """Judge whether calcium, phosphate or their product is too high."""
    return some(
        "calcium or phosphate abnormal",
        (
            *_both(facts, within, calcium_above, phosphate_above),
            product_high(facts, within=within, product_above=product_above, paired_within=paired_within),
        ),
    )


def product_high(facts: Facts, *, within: int, product_above: Decimal, paired_within: int) -> Judgement:
    """Judge whether the newest Ca x P is too high; children below 12 have a higher limit."""
    by_age: ByAge = ((PRODUCT_CHILD_BELOW, max(PRODUCT_LIMIT_OF_CHILDREN, product_above)),)
    return compared(
        facts,
        "Ca x P product above its limit",
        calcium.PRODUCT,
        within,
        lambda one: agreed(tuple(above(one, limit) for limit in limits(facts, one.when, by_age, product_above))),
        calcium.product(facts, paired_within),
    )
