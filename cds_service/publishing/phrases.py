"""How the words of the rule language read in a sentence: derived facts, qualifiers, units."""

from __future__ import annotations

from decimal import Decimal

from cds_service.facts import model
from cds_service.rules.model import Value
from cds_service.terminology.units import spelled

# What a derived fact is called in a sentence, and what it means (as hooks/README.md says it). A test holds that every
# derived fact stands here.
FACTS = {
    "eskd": (
        "kidney failure (ESKD)",
        "by diagnosis, or dialysis in the last 45 days without acute kidney injury; not with a working transplant",
    ),
    "advanced-ckd": (
        "advanced kidney disease",
        "kidney failure, or CKD stage 4 or 5 by diagnosis, or the newest eGFR of the last 365 days below the limit",
    ),
    "working-kidney-transplant": (
        "a working kidney transplant",
        (
            "a transplant, not failed, no dialysis after it, eGFR since then 15 or more (or none and no dependence on "
            "dialysis)"
        ),
    ),
    "failed-kidney-transplant": (
        "a failed kidney transplant",
        "failure of the graft is recorded (rejection alone is not failure)",
    ),
    "hypercalcemia": (
        "hypercalcemia",
        "corrected or ionized calcium too high; an ionized calcium in range within 48 hours cancels a high total",
    ),
    "newer-ionized-calcium": (
        "an ionized calcium newer than the corrected one",
        "an ionized calcium is newer than the corrected calcium by more than 48 hours",
    ),
    "ischemic-lesion": ("an ischemic skin lesion", "class S: necrosis, gangrene, livedo, ischemic ulcer"),
    "ischemic-lesion-or-ulcer": (
        "an ischemic skin lesion or an unexplained ulcer",
        "class S (necrosis, gangrene, livedo, ischemic ulcer), or an ulcer without another explanation",
    ),
    "calciphylaxis-lesion": (
        "a lesion that suggests calciphylaxis",
        (
            "class S (necrosis, gangrene, livedo, ischemic ulcer), an unexplained ulcer, or nodules or purpura of skin "
            "that hurts"
        ),
    ),
    "explained-ulcer": ("an explained ulcer", "an ulcer from pressure, diabetic foot, veins or arteries"),
    "skin-lesion": (
        "a skin lesion to review",
        (
            "an ischemic lesion, an ulcer, nodules or purpura of skin that hurts, an explained ulcer, or pain of the "
            "skin alone"
        ),
    ),
    "phosphate-high-for-age": (
        "phosphate high for the patient's age",
        "the newest usable phosphate is above the limit of adults, or of children of that age (KNOWLEDGE 2.1)",
    ),
    "phosphate-persistently-high": (
        "phosphate persistently high for the patient's age",
        "two usable results at least 14 days apart are both above the limit for the age (KNOWLEDGE 2.1)",
    ),
    "mineral-labs-normal": (
        "calcium and phosphate normal",
        "both are known, neither is above its limit",
    ),
    "mineral-labs-abnormal": (
        "calcium, phosphate or their product too high",
        "at least one of them is above its limit",
    ),
    "tumor-lysis": (
        "laboratory signs of tumor lysis",
        "enough of these within the time: urate, potassium or phosphate above, corrected calcium below its limit",
    ),
    "calcium-alkali": (
        "the laboratory pattern of calcium-alkali syndrome",
        "calcium and bicarbonate above their limits, and eGFR below or creatinine above its limit, close in time",
    ),
    "high-calcium-low-phosphate-high-alp": (
        "high calcium with low phosphate and high alkaline phosphatase",
        "calcium and alkaline phosphatase above, phosphate below its limit, close in time",
    ),
    "recent-parenteral-exposure": (
        "recent parenteral calcium, phosphate or nutrition",
        "IV calcium, IV phosphate or parenteral nutrition in the time given, also if since stopped or completed",
    ),
    "low-dose-or-unknown-warfarin": (
        "warfarin in a low dose, or in one that is not stated",
        "warfarin ordered or taken whose daily dose is at most the limit, or not stated",
    ),
    "warfarin-for-calcinosis": (
        "warfarin for calcinosis",
        "warfarin ordered or taken with a stated reason that means calcinosis",
    ),
    "calcinosis-assessed": (
        "an assessment of calcinosis on record",
        "imaging or a note of an assessment of calcinosis",
    ),
}
# Which kind of data a kind of concept is read from, and what cannot be told when it was not loaded (facts/model.py).
READ_FROM = {
    "measurement": model.LABS,
    "diagnosis": model.CONDITIONS,
    "medication": model.MEDICATIONS,
    "procedure": model.PROCEDURES,
}
KINDS = {
    model.PATIENT: "patient (birth date, sex)",
    model.LABS: "laboratory results",
    model.CONDITIONS: "conditions",
    model.MEDICATIONS: "medication orders",
    model.PAST_MEDICATIONS: "past medication orders",
    model.STATEMENTS: "medication statements",
    model.PROCEDURES: "procedures",
}
HEADINGS = {"fires": "fires", "stays_silent": "stays silent", "cannot_tell": "cannot tell"}
LIMITS = {"above": "above", "at_least": "at least", "below": "below", "at_most": "at most"}
_UNITS = {"n": "", "h": "hours", "x": "times", "mg/d": "mg a day"}
_UPPER = {"egfr": "eGFR", "alp": "ALP", "pth": "PTH"}


def unit(text: str) -> str:
    """Write a unit as a clinician reads it."""
    return _UNITS.get(text, spelled(text.replace("{1.73_m2}", "1.73 m2")))


def number(value: Value) -> str:
    """Write a number without needless zeros; a switch is on or off."""
    if isinstance(value, bool):
        return "on" if value else "off"
    plain = f"{Decimal(value):f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def quantity(value: Value, of: str) -> str:
    """Write a number with its unit: "90 days", "5.5 mg/dL", "1 day"."""
    named = unit(of)
    if value == 1 and named in ("days", "hours", "years", "points"):
        named = named.removesuffix("s")
    return number(value) if isinstance(value, bool) else f"{number(value)} {named}".strip()


def qualifier(key: str, amount: str) -> str:
    """Say a qualifier of a derived fact: "eGFR below 30 mL/min/1.73 m2", "within 90 days"."""
    said = {
        "hours": f"within {amount}",
        "criteria": f"at least {amount} of them",
        "paired_within": f"their parts at most {amount} apart",
        "paired_days": f"their parts at most {amount} apart",
        "daily_at_most": f"at most {amount}",
        "phosphate_child_above": f"phosphate of a child above {amount}",
    }
    first, *rest = key.split("_")
    return said.get(key) or " ".join([_UPPER.get(first, first), *rest, amount])
