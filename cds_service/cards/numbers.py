"""Measurements as a clinician reads them: value and unit as reported, converted where that differs, day, trend."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

from cds_service.cards.plain import plain
from cds_service.facts.calcium import CORRECTED, PRODUCT
from cds_service.facts.derived import COMPUTED
from cds_service.facts.model import Measurement
from cds_service.terminology import Terminology
from cds_service.terminology.units import spelled


def label(words: Terminology, name: str) -> str:
    """Return the short name of a measurement."""
    return COMPUTED[name].label if name in COMPUTED else words.label(name)


def value(words: Terminology, result: Measurement) -> str:
    """
    Show a value as it was reported; where that is another unit than ours, ours follows in parentheses.

    What was computed from a calcium in mmol/L comes in that system first: the site's own (KNOWLEDGE 2.2).
    Rounded half up for display only: comparisons use the unrounded value.
    """
    unit, decimals = _target(words, result.analyte)
    if unit.startswith("{"):  # A ratio, such as {INR}: its name says it all.
        return f"{result.comparator}{_tidy(result.reported)}"
    if result.parts and (
        len(result.parts) > 1 or (result.analyte in COMPUTED and not _reported_elsewhere(result, unit))
    ):
        return _computed(words, result, f"{result.comparator}{_rounded(result.value, decimals)} {spelled(unit)}")
    reported = f"{result.comparator}{_tidy(result.reported)} {_plain_unit(result.unit)}"
    # Potassium in mEq/L is the same number in mmol/L: said once.
    if result.unit == unit or words.units.canonical(result.unit) in (unit, None) or result.value == result.reported:
        return reported
    return f"{reported} ({result.comparator}{_rounded(result.value, decimals)} {spelled(unit)})"


def _computed(words: Terminology, result: Measurement, ours: str) -> str:
    """Show a computed value in the unit system that its first part was reported in, ours in parentheses."""
    first = result
    while first.parts:
        first = first.parts[0]
    analyte, unit = _MOLAR.get(result.analyte, ("", ""))
    if not analyte or words.units.canonical(first.unit) != _SI:
        return ours
    times, by = words.analytes[analyte].factors[unit]
    return f"{result.comparator}{_rounded(result.value * by / times, _SI_DECIMALS)} {spelled(unit)} ({ours})"


# What is computed has no factors of its own: those of what a laboratory reports of it; two decimals by KNOWLEDGE 2.2.
_SI, _SI_DECIMALS = "mmol/L", 2
_MOLAR = {CORRECTED: ("calcium-corrected", "mmol/L"), PRODUCT: ("cap-product", "mmol2/L2")}


@lru_cache(maxsize=1024)
def _plain_unit(unit: str) -> str:
    """Make the unit of a record harmless; there are few units, and each stands in most cards many times."""
    return spelled(plain(spelled(unit), 20))


def dated(words: Terminology, result: Measurement) -> str:
    """Show a value with its day."""
    return f"{value(words, result)}, {result.when.day}"


def trend(words: Terminology, results: Sequence[Measurement]) -> str:
    """Show the newest value with the two before it."""
    newest, *earlier = [dated(words, result) for result in results[:3]]
    return f"{newest} (before: {'; '.join(earlier)})" if earlier else newest


def _target(words: Terminology, name: str) -> tuple[str, int]:
    if name in COMPUTED:
        return COMPUTED[name].unit, COMPUTED[name].decimals
    analyte = words.analytes[name]
    return analyte.unit, analyte.decimals


def _reported_elsewhere(result: Measurement, unit: str) -> bool:
    return len(result.parts) == 1 and result.unit != unit


def _rounded(number: Decimal, decimals: int) -> str:
    return f"{number.quantize(_STEPS[decimals], ROUND_HALF_UP):f}"


_STEPS = tuple(Decimal(1).scaleb(-decimals) for decimals in range(10))


def _tidy(number: Decimal) -> str:
    """Show a reported number as written, but for machines' endless decimals (2.8645540033345416)."""
    written = f"{number:f}"
    return written if len(written.partition(".")[2]) <= 3 else f"{number.quantize(_STEPS[2], ROUND_HALF_UP):f}"
