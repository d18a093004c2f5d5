"""The derived facts that rules may name with ``is``, and the computed measurements they may name like a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from cds_service.facts import calcium, exposures, kidney, lesions, minerals, observed, patterns, ratio
from cds_service.facts.evidence import Judgement
from cds_service.facts.model import CONDITIONS, PAST_MEDICATIONS, PATIENT, PROCEDURES, Facts, Measurement

KIDNEY = ("met-eskd", "dialysis-status", "aki", "ktx", "ktx-fail", "ktx-proc", *kidney.DIALYSIS, "egfr")
# Names of KINDS are no concepts: they say that such data must be asked for.
CALCIUM = ("calcium-total", "calcium-corrected", "albumin")
MINERALS = (PATIENT, *CALCIUM, "calcium-ionized", "phosphate")
# An ulcer may be explained by the code that stands before that of its site.
ULCER = ("les-ulcer", *(concept for pair in lesions.CAUSE_AND_SITE for concept in pair))
LESIONS = ("les-strong", *ULCER, "les-pain", "les-nodule", "les-purpura")
ESKD = ("met-eskd", "dialysis-status", *kidney.DIALYSIS)


class DerivedFact(msgspec.Struct, frozen=True):
    """
    A fact computed from others: what it is called, what it must be told, and which concepts it reads.

    Where ``kinds`` of data are complete and have none of what it ``rests_on``, it is not so (nothing: it may be all
    the same).
    """

    name: str
    judge: Callable[..., Judgement]
    reads: tuple[str, ...]
    needs: tuple[str, ...] = ()
    rests_on: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


class DerivedMeasurement(msgspec.Struct, frozen=True):
    """
    A measurement computed from others.

    ``window`` says that it must be told how far apart its parts may lie (hours), ``against`` that it must be told
    the limit that it is measured against where the laboratory gave none.
    """

    name: str
    label: str
    unit: str
    decimals: int
    series: Callable[..., Sequence[Measurement]]
    reads: tuple[str, ...]
    window: bool = False
    against: bool = False

    @property
    def told(self) -> str:
        """Return the qualifier without which it cannot be computed."""
        return "paired_within" if self.window else "upper_limit" if self.against else ""


# What facts about lesions must be told, and what they rest on.
_LESIONS = (("within",), observed.LESIONS, (CONDITIONS,))
DERIVED = {
    fact.name: fact
    for fact in (
        DerivedFact("eskd", kidney.failure, KIDNEY, rests_on=ESKD, kinds=(CONDITIONS, PROCEDURES)),
        DerivedFact("working-kidney-transplant", kidney.transplant_works, KIDNEY),
        DerivedFact("failed-kidney-transplant", kidney.transplant_failed, ("ktx-fail",)),
        DerivedFact("advanced-ckd", kidney.advanced_disease, (*KIDNEY, "advanced-ckd-codes"), ("egfr_below",)),
        DerivedFact(
            "hypercalcemia",
            calcium.hypercalcemia,
            (*CALCIUM, "calcium-ionized"),
            ("calcium_above", "ionized_above", "within"),
        ),
        DerivedFact("newer-ionized-calcium", calcium.newer_ionized, (*CALCIUM, "calcium-ionized"), ("within",)),
        DerivedFact("ischemic-lesion", lesions.ischemic, ("les-strong",), *_LESIONS),
        DerivedFact("ischemic-lesion-or-ulcer", lesions.ischemic_or_ulcer, ("les-strong", *ULCER), *_LESIONS),
        DerivedFact("calciphylaxis-lesion", lesions.suspicious, LESIONS, *_LESIONS),
        DerivedFact("explained-ulcer", lesions.explained_ulcer, ("les-explained",), *_LESIONS),
        DerivedFact("skin-lesion", lesions.to_review, (*LESIONS, "les-explained"), *_LESIONS),
        DerivedFact(
            "phosphate-high-for-age", minerals.phosphate_high, (PATIENT, "phosphate"), ("within", "phosphate_above")
        ),
        DerivedFact(
            "phosphate-persistently-high",
            minerals.phosphate_persists,
            (PATIENT, "phosphate"),
            ("within", "phosphate_above"),
        ),
        DerivedFact("mineral-labs-normal", minerals.normal, MINERALS, ("within", "calcium_above", "phosphate_above")),
        DerivedFact(
            "mineral-labs-abnormal",
            minerals.abnormal,
            (*MINERALS, "cap-product"),
            ("within", "calcium_above", "phosphate_above", "product_above", "paired_within"),
        ),
        DerivedFact(
            "tumor-lysis",
            patterns.tumor_lysis,
            (PATIENT, *CALCIUM, "phosphate", "urate", "potassium"),
            (
                "urate_above",
                "potassium_above",
                "phosphate_above",
                "phosphate_child_above",
                "calcium_below",
                "hours",
                "criteria",
            ),
        ),
        DerivedFact(
            "calcium-alkali",
            patterns.calcium_alkali,
            (*CALCIUM, "calcium-ionized", "bicarbonate", "egfr", "creatinine"),
            ("calcium_above", "bicarbonate_above", "egfr_below", "creatinine_above", "within", "paired_within"),
        ),
        DerivedFact(
            "high-calcium-low-phosphate-high-alp",
            patterns.parathyroid_pattern,
            (PATIENT, *CALCIUM, "phosphate", "alp"),
            ("calcium_above", "alp_above", "phosphate_below", "within", "paired_days"),
        ),
        DerivedFact(
            "recent-parenteral-exposure",
            exposures.parenteral,
            ("ca-iv", "phosphate-salts", "tpn", PAST_MEDICATIONS),
            ("within",),
        ),
        DerivedFact(
            "low-dose-or-unknown-warfarin", exposures.low_dose_warfarin, (exposures.WARFARIN,), ("daily_at_most",)
        ),
        DerivedFact("warfarin-for-calcinosis", exposures.warfarin_for_calcinosis, (exposures.WARFARIN,)),
        DerivedFact("calcinosis-assessed", observed.assessed, (observed.IMAGING,), ("within",)),
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
        DerivedMeasurement(ratio.PTH_RATIO, "PTH", ratio.UNIT, 1, ratio.pth_ratio, ("pth",), against=True),
    )
}


def series(facts: Facts, name: str, told: Decimal | int | None = None) -> Sequence[Measurement]:
    """
    Return the results of a measurement, newest first, whether the laboratory reported it or we compute it.

    ``told`` is what a computed one must be told: hours, or a limit.
    """
    computed = COMPUTED.get(name)
    if computed is None:
        return facts.measurements.get(name, ())
    if not computed.told or told is None:
        return computed.series(facts)
    return computed.series(facts, int(told) if computed.window else told)
