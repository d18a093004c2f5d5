"""
What troubles a patient, read from the raw record by wording and plain numbers: a second opinion on our own reading.

Nothing here knows our concepts, our unit conversion or our rules. It is coarse on purpose: it may see trouble where
there is none, and the tests only ask that nobody gets a card without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Resource = Mapping[str, Any]

WORDS = {
    "kidney failure": r"end.stage renal|renal dialysis|hemodialysis|dialysis|kidney transplant|transplant\w* of kidney",
    "advanced kidney disease": r"stage (4|5|IV|V)\b|end.stage renal|dialysis",
    "calcinosis": r"calcinosis|calciphylaxis|calcification of (skin|soft tissue)",
    "tumor lysis": r"tumou?r lysis",
    "malignancy": r"malignan|neoplasm|carcinoma|leukemia|lymphoma|myeloma",
    "granuloma": r"sarcoid|tubercul|histoplasm|cryptococc",
    "lesion": r"ulcer|necrosis|gangrene|livedo|purpura|pain of skin|swelling, mass and lump|nodule|panniculitis",
    "pancreas": r"pancrea",
    "antacid": r"alumin|magnesium",
    "warfarin": r"warfarin|phenprocoumon|acenocoumarol|coumadin",
    "connective tissue": r"dermatomyositis|scleroderma|systemic sclerosis|lupus|connective tissue",
}
# LOINC codes with the value (in the unit named) above which a test is trouble.
ABOVE: dict[str, dict[str, tuple[str, float]]] = {
    "calcium": {"17861-6": ("mg/dL", 9.4), "46099-8": ("mg/dL", 10.2), "1994-3": ("mmol/L", 1.29)},
    "phosphate": {"2777-1": ("mg/dL", 4.5)},
    "vitamin D": {"1989-3": ("ng/mL", 100), "62292-8": ("ng/mL", 100)},
    "PTH": {"2731-8": ("pg/mL", 25)},
}
# What each rule is about: one of each line is needed. A calcium of 9.4 may be 11 when it is corrected for albumin.
SUBJECTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "eskd-hyperphosphatemia": (("kidney failure",), ("phosphate",)),
    "ca-p-product-precipitation": (("phosphate", "calcium"),),
    "ca-p-product-target": (("advanced kidney disease", "kidney failure"), ("phosphate", "calcium")),
    "eskd-missing-labs": (("kidney failure",),),
    "eskd-skin-lesion-calciphylaxis": (("advanced kidney disease", "kidney failure"), ("lesion",)),
    "vka-calciphylaxis-risk": (("warfarin",), ("kidney failure", "calcinosis", "lesion")),
    "al-mg-antacid-renal": (("antacid",), ("advanced kidney disease", "kidney failure")),
    "hypercalcemia-workup": (("calcium",),),
    "primary-hpt-pattern": (("calcium",),),
    "secondary-tertiary-hpt": (("PTH",), ("advanced kidney disease", "kidney failure")),
    "milk-alkali": (("calcium",),),
    "vitamin-d-intoxication": (("vitamin D",),),
    "granulomatous-hypercalcemia": (("granuloma",), ("calcium",)),
    "malignancy-bone-hypercalcemia": (("malignancy",), ("calcium",)),
    "tls-parenteral-calcium": (("tumor lysis", "malignancy"),),
    "tumoral-calcinosis": (("phosphate",),),
    "nonuremic-calciphylaxis": (("lesion",),),
    "pancreatic-panniculitis": (("pancreas",), ("lesion",)),
    "iatrogenic-calcinosis": (("calcinosis", "lesion"),),
    "transplant-calcinosis": (("calcinosis", "calcium", "PTH"),),
    "jdm-calcinosis": (("connective tissue",),),
    "dm-nxp2-risk": (("connective tissue",),),
}


def troubles(resources: Sequence[Resource]) -> set[str]:
    """Name everything that may trouble a patient."""
    said = " | ".join(_wordings(resources))
    found = {name for name, words in WORDS.items() if re.search(words, said, re.IGNORECASE)}
    return found | {name for name in ABOVE if any(_above(one, name) for one in resources)}


def lacking(rule: str, found: set[str]) -> list[tuple[str, ...]]:
    """Return what a rule is about and the patient does not have; KeyError for a rule that nobody described here."""
    return [any_of for any_of in SUBJECTS.get(rule, (("calcinosis",),)) if found.isdisjoint(any_of)]


def newest(resources: Sequence[Resource], code: str) -> float | None:
    """Return the newest value of a LOINC code, as it stands in the record."""
    dated = [(one["effectiveDateTime"], value) for one in resources for value in _values(one, code)]
    return max(dated)[1] if dated else None


def _wordings(resources: Sequence[Resource]) -> Iterator[str]:
    for one in resources:
        if one["resourceType"] in ("Condition", "Procedure", "Medication", "MedicationRequest"):
            for concept in (one.get("code") or {}, one.get("medicationCodeableConcept") or {}):
                yield concept.get("text") or ""
                yield from (coding.get("display") or "" for coding in concept.get("coding", ()))


def _above(resource: Resource, name: str) -> bool:
    limits = ABOVE[name].items()
    return any(value > limit for code, (unit, limit) in limits for value in _values(resource, code, unit))


def _values(resource: Resource, code: str, unit: str = "") -> Iterator[float]:
    if resource["resourceType"] == "Observation" and code in _codes(resource):
        quantity = resource.get("valueQuantity") or {}
        if "value" in quantity and unit in ("", quantity.get("code"), quantity.get("unit")):
            yield float(quantity["value"])


def _codes(resource: Resource) -> list[str]:
    return [coding.get("code") for coding in resource["code"].get("coding", ())]
