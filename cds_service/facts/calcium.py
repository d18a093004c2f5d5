"""
Calcium: corrected for albumin, multiplied by phosphate, and when it counts as too high.

These are the only clinical numbers in Python; each has its paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from cds_service.facts.dates import DAY
from cds_service.facts.evidence import HOUR, NO, UNKNOWN, YES, Judgement, above, apart, below, within_days
from cds_service.facts.model import LABS, Facts, Measurement

CORRECTED, PRODUCT = "corrected-calcium", "ca-p-product"
# Payne's formula as KNOWLEDGE 0.1 gives it: Ca + 0.8 x (4.0 - albumin), mg/dL and g/dL. It misclassifies often in
# kidney failure (Clase 2000; Lian 2018, PMID 29627804), so cards say "estimate" and ionized calcium wins.
PER_GRAM, NORMAL_ALBUMIN = Decimal("0.8"), Decimal("4.0")
# KNOWLEDGE 2.3: albumin within 7 days of the calcium (chosen without a direct source: section 11, doubt 6).
ALBUMIN_WINDOW = 7 * DAY
# KNOWLEDGE 2.3: an ionized calcium of 1.15 mmol/L or more, up to the upper limit, within 48 h cancels a high total.
IONIZED_LOW, IONIZED_WINDOW = Decimal("1.15"), 48 * HOUR
_UP, _DOWN = (">", ">="), ("<", "<=")


def corrected(facts: Facts) -> tuple[Measurement, ...]:
    """
    Return the albumin-corrected calcium over time, newest first, in mg/dL.

    Where the laboratory reported a corrected value that is not older than the total, that one comes first.
    """
    reported = [
        msgspec.structs.replace(
            result, analyte=CORRECTED, notes=(*result.notes, "corrected by the laboratory"), parts=(result,)
        )
        for result in facts.measurements.get("calcium-corrected", ())
    ]
    albumins = facts.measurements.get("albumin", ())
    computed = [_correct(total, albumins) for total in facts.measurements.get("calcium-total", ())]
    return tuple(sorted([*reported, *computed], key=lambda result: result.when.end, reverse=True))


def _correct(total: Measurement, albumins: Sequence[Measurement]) -> Measurement:
    albumin = nearest(albumins, total, ALBUMIN_WINDOW)
    if albumin is None:
        return msgspec.structs.replace(
            total, analyte=CORRECTED, parts=(total,), notes=(*total.notes, "no albumin, not corrected")
        )
    if albumin.value >= NORMAL_ALBUMIN and albumin.comparator not in _DOWN:
        return msgspec.structs.replace(
            total, analyte=CORRECTED, parts=(total, albumin), notes=(*total.notes, "albumin normal, no correction")
        )
    value = total.value + PER_GRAM * max(Decimal(0), NORMAL_ALBUMIN - albumin.value)
    return _computed(
        total,
        CORRECTED,
        value,
        "mg/dL",
        _bound(total.comparator, _turned(albumin.comparator)),
        (total, albumin),
        "estimate: Ca + 0.8 x (4.0 - albumin)",
    )


def product(facts: Facts, window_hours: int) -> tuple[Measurement, ...]:
    """
    Return the calcium-phosphate product in mg2/dL2, newest first.

    The newest phosphate is multiplied by the corrected calcium nearest to it in time, if that lies within the
    window; only without such a pair does a product reported by the laboratory count (KNOWLEDGE 2.3).
    """
    calciums = corrected(facts)
    phosphates = facts.measurements.get("phosphate", ())
    pairs = [pair for phosphate in phosphates[:3] if (pair := _multiply(phosphate, calciums, window_hours * HOUR))]
    if pairs and pairs[0].parts[1] is phosphates[0]:
        return tuple(pairs)
    return tuple(
        msgspec.structs.replace(
            result, analyte=PRODUCT, notes=(*result.notes, "product reported by the laboratory"), parts=(result,)
        )
        for result in facts.measurements.get("cap-product", ())
    )


def _multiply(phosphate: Measurement, calciums: Sequence[Measurement], window: float) -> Measurement | None:
    calcium = nearest(calciums, phosphate, window)
    if calcium is None:
        return None
    older = min(calcium, phosphate, key=lambda result: result.when.end)
    return _computed(
        older,
        PRODUCT,
        calcium.value * phosphate.value,
        "mg2/dL2",
        _bound(calcium.comparator, phosphate.comparator),
        (calcium, phosphate),
        calcium.notes[-1] if calcium.notes else "",
    )


def _computed(
    base: Measurement,
    analyte: str,
    value: Decimal,
    unit: str,
    comparator: str,
    parts: tuple[Measurement, ...],
    note: str,
) -> Measurement:
    notes = (*base.notes, note) if note and note not in base.notes else base.notes
    return Measurement(analyte, value, value, unit, base.when, comparator, base.status, base.rank, notes, parts)


def nearest(results: Sequence[Measurement], to: Measurement, window: float) -> Measurement | None:
    """Return the result nearest in time to another, if it lies within the window (seconds); of equals the newer."""
    best = min(results, key=lambda result: apart(result.when, to.when), default=None)
    return best if best is not None and apart(best.when, to.when) <= window else None


def _turned(comparator: str) -> str:
    """A low albumin raises the corrected calcium: a bound on one is the opposite bound on the other."""
    return {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(comparator, "")


def _bound(one: str, other: str) -> str:
    """Combine two comparators of numbers that grow together; opposite ones leave nothing certain ("?")."""
    if not one or not other:
        return one or other
    if (one in _UP) != (other in _UP):
        return "?"
    return one if len(one) < len(other) else other


def hypercalcemia(facts: Facts, *, calcium_above: Decimal, ionized_above: Decimal, within: int) -> Judgement:
    """Judge whether calcium is too high: by ionized calcium where there is one, else corrected for albumin (KNOWLEDGE 2.3)."""
    ionized = _newest(facts, facts.measurements.get("calcium-ionized", ()), within)
    if ionized and above(ionized, ionized_above) is YES:
        return Judgement(YES, "hypercalcemia: ionized calcium is high", items=(ionized,))
    total = _newest(facts, corrected(facts), within)
    if total is None:
        state = facts.state(LABS)
        known = state.conclusive
        return Judgement(
            NO if known else UNKNOWN,
            "hypercalcemia: no usable calcium in the time looked at",
            missing=() if known else ("calcium",),
        )
    verdict = above(total, calcium_above)
    calming = nearest(facts.measurements.get("calcium-ionized", ()), total, IONIZED_WINDOW)
    if verdict is YES and calming and below(calming, IONIZED_LOW) is NO and above(calming, ionized_above) is NO:
        return Judgement(
            NO,
            "hypercalcemia: ionized calcium within 48 h is in range, so the high total does not count",
            items=(calming, total),
        )
    return Judgement(
        verdict,
        "hypercalcemia: albumin-corrected calcium",
        items=(total,),
        missing=("calcium",) if verdict is UNKNOWN else (),
    )


def _newest(facts: Facts, results: Sequence[Measurement], within: int) -> Measurement | None:
    return next((result for result in results if within_days(result.when, facts.today, within) is YES), None)
