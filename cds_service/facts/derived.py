"""The derived facts that rules may name with ``is``, and the computed measurements they may name like a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from cds_service.facts import calcium, kidney, lesions
from cds_service.facts.evidence import Judgement
from cds_service.facts.model import Facts, Measurement

KIDNEY = ("met-eskd", "dialysis-status", "aki", "ktx", "ktx-fail", "ktx-proc", *kidney.DIALYSIS, "egfr")
CALCIUM = ("calcium-total", "calcium-corrected", "albumin")
LESIONS = ("les-strong", "les-ulcer", "les-pain", "les-nodule", "les-purpura")


class DerivedFact(msgspec.Struct, frozen=True):
    """A fact computed from others: what it is called, what it must be told, and which concepts it reads."""

    name: str
    judge: Callable[..., Judgement]
    reads: tuple[str, ...]
    needs: tuple[str, ...] = ()


class DerivedMeasurement(msgspec.Struct, frozen=True):
    """A measurement computed from others; ``window`` says that it must be told how far apart its parts may lie."""

    name: str
    label: str
    unit: str
    decimals: int
    series: Callable[..., Sequence[Measurement]]
    reads: tuple[str, ...]
    window: bool = False


DERIVED = {
    fact.name: fact
    for fact in (
        DerivedFact("eskd", kidney.failure, KIDNEY),
        DerivedFact("working-kidney-transplant", kidney.transplant_works, KIDNEY),
        DerivedFact("failed-kidney-transplant", kidney.transplant_failed, ("ktx-fail",)),
        DerivedFact("advanced-ckd", kidney.advanced_disease, (*KIDNEY, "advanced-ckd-codes"), ("egfr_below",)),
        DerivedFact(
            "hypercalcemia",
            calcium.hypercalcemia,
            (*CALCIUM, "calcium-ionized"),
            ("calcium_above", "ionized_above", "within"),
        ),
        DerivedFact("ischemic-lesion", lesions.ischemic, ("les-strong",), ("within",)),
        DerivedFact("ischemic-lesion-or-ulcer", lesions.ischemic_or_ulcer, ("les-strong", "les-ulcer"), ("within",)),
        DerivedFact("calciphylaxis-lesion", lesions.suspicious, LESIONS, ("within",)),
        DerivedFact("explained-ulcer", lesions.explained_ulcer, ("les-explained",), ("within",)),
        DerivedFact("skin-lesion", lesions.to_review, (*LESIONS, "les-explained"), ("within",)),
    )
}

COMPUTED = {
    measurement.name: measurement
    for measurement in (
        DerivedMeasurement(calcium.CORRECTED, "Corrected calcium", "mg/dL", 1, calcium.corrected, CALCIUM),
        DerivedMeasurement(
            calcium.PRODUCT,
            "Ca x P product",
            "mg2/dL2",
            1,
            calcium.product,
            (*CALCIUM, "phosphate", "cap-product"),
            window=True,
        ),
    )
}


def series(facts: Facts, name: str, window_hours: int | None = None) -> Sequence[Measurement]:
    """Return the results of a measurement, newest first, whether the laboratory reported it or we compute it."""
    computed = COMPUTED.get(name)
    if computed is None:
        return facts.measurements.get(name, ())
    if computed.window and window_hours is not None:
        return computed.series(facts, window_hours)
    return computed.series(facts)
