"""
Calcium: corrected for albumin, multiplied by phosphate, and when it counts as too high.

These are the only clinical numbers in Python; each has its paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from heapq import merge
from itertools import islice

import msgspec

from cds_service.facts.dates import DAY
from cds_service.facts.evidence import HOUR, NO, UNKNOWN, YES, Judgement, above, apart, below, within_days
from cds_service.facts.model import LABS, Facts, Measurement
from cds_service.facts.numbers import short
from cds_service.facts.series import Lazy

CORRECTED, PRODUCT = "corrected-calcium", "ca-p-product"
UNITS = {CORRECTED: "mg/dL", "calcium-ionized": "mmol/L"}
# Payne's formula as KNOWLEDGE 0.1 gives it: Ca + 0.8 x (4.0 - albumin), mg/dL and g/dL. It misclassifies often in
# kidney failure (Clase 2000; Lian 2018, PMID 29627804), so cards say "estimate" and ionized calcium wins.
PER_GRAM, NORMAL_ALBUMIN = Decimal("0.8"), Decimal("4.0")
# KNOWLEDGE 2.3: albumin within 7 days of the calcium (chosen without a direct source: section 11, doubt 6).
ALBUMIN_WINDOW = 7 * DAY
# KNOWLEDGE 2.3: an ionized calcium of 1.15 mmol/L or more, up to the upper limit, within 48 h cancels a high total.
IONIZED_LOW, IONIZED_WINDOW = Decimal("1.15"), 48 * HOUR
_UP, _DOWN = (">", ">="), ("<", "<=")


def corrected(facts: Facts) -> Sequence[Measurement]:
    """
    Return the albumin-corrected calcium over time, newest first, in mg/dL.

    Where the laboratory reported a corrected value that is not older than the total, that one comes first.
    """
    return facts.once(CORRECTED, lambda: _corrected(facts))


def _corrected(facts: Facts) -> Lazy:
    given = [facts.measurements.get(name, ()) for name in ("calcium-corrected", "calcium-total", "albumin")]
    return Lazy(_merged(*given) if given[0] else _computed_from(*given[1:]))


# The facts themselves stay out of these generators: they live in their memo, and would keep them alive in a circle.
def _computed_from(totals: Sequence[Measurement], albumins: Sequence[Measurement]) -> Iterator[Measurement]:
    return (_correct(total, albumins) for total in totals)


def _merged(
    reported: Sequence[Measurement], totals: Sequence[Measurement], albumins: Sequence[Measurement]
) -> Iterator[Measurement]:
    ready = (
        msgspec.structs.replace(one, analyte=CORRECTED, notes=(*one.notes, "corrected by the laboratory"), parts=(one,))
        for one in reported
    )
    return merge(ready, _computed_from(totals, albumins), key=lambda one: one.when.end, reverse=True)


def _correct(total: Measurement, albumins: Sequence[Measurement]) -> Measurement:
    albumin = nearest(albumins, total, ALBUMIN_WINDOW)
    if albumin is None:
        return msgspec.structs.replace(
            total, analyte=CORRECTED, parts=(total,), notes=(*total.notes, "no albumin within 7 days, not corrected")
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
        _bound(total.comparator, _turned(albumin)),
        (total, albumin),
        "estimate: Ca + 0.8 x (4.0 - albumin)",
    )


def product(facts: Facts, window_hours: int) -> Sequence[Measurement]:
    """
    Return the calcium-phosphate product in mg2/dL2, newest first.

    The newest phosphate that has a corrected calcium within the window is multiplied by the nearest one. A product
    reported by the laboratory counts only without such a pair (KNOWLEDGE 2.3), or where the newest phosphate of all
    has none and the report is newer than the one that has.
    """
    return facts.once((PRODUCT, window_hours), lambda: _product(facts, window_hours))


# KNOWLEDGE 5.1, CC-02: a pair counts for 90 days. Beyond them only the newest phosphate is asked for its calcium, since
# every result that is read costs a call time.
LOOK_BACK = 90 * DAY


def _product(facts: Facts, window_hours: int) -> Sequence[Measurement]:
    calciums, phosphates = corrected(facts), facts.measurements.get("phosphate", ())
    reports, window = facts.measurements.get("cap-product", ()), window_hours * HOUR
    place = _first_pair(phosphates, calciums, window, facts.now - LOOK_BACK)
    if place is None or (place and reports and reports[0].when.end > phosphates[place].when.end):
        return tuple(
            msgspec.structs.replace(
                result, analyte=PRODUCT, notes=(*result.notes, "product reported by the laboratory"), parts=(result,)
            )
            for result in reports
        )
    return Lazy(_products(islice(phosphates, place, place + 3), calciums, window))


def _first_pair(
    phosphates: Sequence[Measurement], calciums: Sequence[Measurement], window: float, since: float
) -> int | None:
    """Return the place of the newest phosphate that has a calcium near it; each result is looked at once at most."""
    following = iter(calciums)
    calcium = next(following, None)
    for place, phosphate in enumerate(phosphates):
        if place and phosphate.when.end < since:
            return None
        # What is too new for this phosphate is too new for all that are older.
        while calcium and calcium.when.start - phosphate.when.end > window:
            calcium = next(following, None)
        if calcium is None:
            return None
        if phosphate.when.start - calcium.when.end <= window:
            return place
    return None


def products(facts: Facts, window_hours: int) -> Sequence[Measurement]:
    """Return the product of every phosphate that has a calcium near it, newest first; rules look at three of them."""
    newest = product(facts, window_hours)
    if not newest or len(newest[0].parts) < 2:
        return newest
    return Lazy(_products(facts.measurements.get("phosphate", ()), corrected(facts), window_hours * HOUR))


def _products(
    phosphates: Iterable[Measurement], calciums: Sequence[Measurement], window: float
) -> Iterator[Measurement]:
    found = (_multiply(phosphate, calciums, window) for phosphate in phosphates)
    return (one for one in found if one is not None)


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
    return msgspec.structs.replace(
        base, analyte=analyte, value=value, reported=value, unit=unit, comparator=comparator, notes=notes, parts=parts
    )


def nearest(results: Sequence[Measurement], to: Measurement, window: float) -> Measurement | None:
    """
    Return the result nearest in time to another, if it lies within the window (seconds); of equals the newer.

    ``results`` are newest first, so that the search ends where they grow too old.
    """
    best, least = None, float("inf")
    for result in results:
        if to.when.start - result.when.end > window:
            break
        distance = apart(result.when, to.when)
        if distance < least:
            best, least = result, distance
    return best if least <= window else None


def _turned(albumin: Measurement) -> str:
    """
    Turn a bound on albumin into the one on calcium: a low albumin raises it.

    An albumin below a limit that is itself normal may be normal: then nothing is added, so equality stays possible.
    """
    turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(albumin.comparator, "")
    return ">=" if turned == ">" and albumin.value > NORMAL_ALBUMIN else turned


def _bound(one: str, other: str) -> str:
    """Combine two comparators of numbers that grow together; opposite ones leave nothing certain ("?")."""
    if not one or not other:
        return one or other
    if (one in _UP) != (other in _UP):
        return "?"
    return one if len(one) < len(other) else other


def hypercalcemia(facts: Facts, *, calcium_above: Decimal, ionized_above: Decimal, within: int) -> Judgement:
    """Judge whether calcium is too high: ionized calcium, else the total corrected for albumin (KNOWLEDGE 2.3)."""
    ions = facts.measurements.get("calcium-ionized", ())
    ionized, total = _newest(facts, ions, within), _newest(facts, corrected(facts), within)
    if ionized and total and total.when.start - ionized.when.end > IONIZED_WINDOW:
        ionized = None  # An ionized calcium speaks for what is true within 48 h of it, not for a later total.
    by_ions = above(ionized, ionized_above) if ionized else NO
    by_total = above(total, calcium_above) if total else NO
    if ionized and by_ions is YES:
        label = f"hypercalcemia: ionized calcium {_said(ionized)} is above {ionized_above} mmol/L"
        return Judgement(YES, label, items=(ionized,))
    if total is None or by_total is NO:
        sure = by_ions is NO and facts.covers(LABS, within) and not (total is None and _vague(facts, ions, within))
        what = f"{_called(total)} {_said(total)}" if total else "no usable calcium in the time looked at"
        items, missing = (total,) if total else (), () if sure else ("calcium",)
        return Judgement(NO if sure else UNKNOWN, f"hypercalcemia: {what}", items=items, missing=missing)
    calming = nearest(ions, total, IONIZED_WINDOW)
    if by_total is YES and calming and below(calming, IONIZED_LOW) is NO and above(calming, ionized_above) is NO:
        return Judgement(
            NO,
            "hypercalcemia: ionized calcium within 48 h is in range, so the high total does not count",
            items=(calming, total),
        )
    missing = ("calcium",) if by_total is UNKNOWN else ()
    label = f"hypercalcemia: {_called(total)} {_said(total)} (limit {calcium_above} mg/dL)"
    return Judgement(by_total, label, items=(total,), missing=missing)


def newer_ionized(facts: Facts, *, within: int) -> Judgement:
    """
    Judge whether an ionized calcium is newer than the corrected one by more than 48 h.

    Then a severe total is past, and what is high today is the ionized calcium: KNOWLEDGE 0.1 lets it win, and 5.0.2
    has a limit of severe hypercalcemia for the total only. NO wherever none is known: this never proves, it only stays
    what the total says.
    """
    total = _newest(facts, corrected(facts), within)
    ionized = _newest(facts, facts.measurements.get("calcium-ionized", ()), within)
    if total is None or ionized is None or ionized.when.start - total.when.end <= IONIZED_WINDOW:
        return Judgement(NO, "ionized calcium newer than the total by more than 48 h: none on record")
    label = f"ionized calcium {_said(ionized)} is newer than {_called(total)} {_said(total)} by more than 48 h"
    return Judgement(YES, label, items=(ionized,))


def _called(total: Measurement) -> str:
    """Name a total calcium: corrected only where it was, by us or by the laboratory."""
    by_laboratory = any(part.analyte == "calcium-corrected" for part in total.parts)
    return "corrected calcium" if by_laboratory or len(total.parts) > 1 else "calcium"


def _said(result: Measurement) -> str:
    return f"{result.comparator}{short(result.value)} {UNITS[result.analyte]}, {result.when.day}"


def _vague(facts: Facts, ions: Sequence[Measurement], within: int) -> bool:
    """Say whether some calcium is dated so vaguely that it may or may not be recent."""
    return any(within_days(one.when, facts.today, within) is UNKNOWN for one in (*corrected(facts), *ions))


def _newest(facts: Facts, results: Sequence[Measurement], within: int) -> Measurement | None:
    return next((result for result in results if within_days(result.when, facts.today, within) is YES), None)
