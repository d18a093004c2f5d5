"""What the patient was exposed to: parenteral calcium, phosphate and nutrition, and warfarin by dose and reason."""

from __future__ import annotations

from decimal import Decimal

from cds_service.facts.doses import daily
from cds_service.facts.evidence import NO, UNKNOWN, YES, Item, Judgement, Verdict, some, within_days
from cds_service.facts.kidney import absence, presence, procedures
from cds_service.facts.model import (
    MEDICATIONS,
    PAST_MEDICATIONS,
    PROCEDURES,
    STATEMENTS,
    Facts,
    Medication,
    PastMedication,
)

INJECTION = "injection"
# The salts of this concept (gluconate, chloride, gluceptate) are given by vein; an order may leave the route out.
ALWAYS_BY_VEIN = "ca-iv"
WARFARIN = "warfarin"
# Reasons to give warfarin that are none for calcinosis (KNOWLEDGE 5.1, CC-29).
INDICATIONS = frozenset({"af", "vte", "mechvalve", "prosthetic-valve", "thrombophilia"})
CALCINOSIS = frozenset({"calcinosis-cutis", "idi-scn", "idi-genital", "idi-tumoral", "idi-circ", "idi-univ"})


def parenteral(facts: Facts, *, within: int) -> Judgement:
    """Judge whether calcium, phosphate or nutrition was given by vein in the last so many days (CC-32)."""
    return facts.once(("parenteral", within), lambda: _parenteral(facts, within))


def _parenteral(facts: Facts, within: int) -> Judgement:
    nutrition = [one for one in procedures(facts, "tpn") if within_days(one.when, facts.today, within) is YES]
    return some(
        f"calcium, phosphate or nutrition by vein within {within} days",
        (
            _given(facts, "IV calcium", "ca-iv", within),
            _given(facts, "IV phosphate", "phosphate-salts", within),
            presence(facts, "parenteral nutrition", nutrition, PROCEDURES, days=within),
        ),
    )


def _given(facts: Facts, label: str, concept: str, within: int) -> Judgement:
    """Judge whether a medicine is given by vein now, or was within so many days."""
    now, past = facts.medications.get(concept, ()), facts.past_medications.get(concept, ())
    recent = [(one, _still(one, facts, within)) for one in past]
    given: list[tuple[Medication, Verdict]] = [(one, YES) for one in now] + [(one, verdict) for one, verdict in recent]
    usual = INJECTION if concept == ALWAYS_BY_VEIN else ""
    sure = [one for one, verdict in given if verdict is YES and (one.route or usual) == INJECTION]
    if not sure and any(verdict is not NO and one.route in ("", INJECTION) for one, verdict in given):
        return Judgement(UNKNOWN, f"{label}: on record, but not by which route or until when", missing=(label,))
    return presence(facts, label, sure, MEDICATIONS, STATEMENTS, PAST_MEDICATIONS)


def _still(one: PastMedication, facts: Facts, within: int) -> Verdict:
    """Say whether an ended medicine was still given so many days ago: what began since then surely was."""
    if one.until is not None:
        return within_days(one.until, facts.today, within)
    return YES if one.when is not None and within_days(one.when, facts.today, within) is YES else UNKNOWN


def low_dose_warfarin(facts: Facts, *, daily_at_most: Decimal) -> Judgement:
    """
    Judge whether warfarin is ordered or taken whose daily dose is low, or not stated (CC-29).

    Not where its own order names another reason: atrial fibrillation, thrombosis, a heart valve, thrombophilia.
    """
    label = f"warfarin of at most {daily_at_most.normalize():f} mg a day, or of a dose not stated"
    found = [one for one in _warfarin(facts) if _is_low(one, daily_at_most)]
    if not found and _warfarin(facts):
        return absence(f"{label}: the dose is higher, or it is ordered for another reason")
    return presence(facts, label, found, MEDICATIONS, STATEMENTS)


def _is_low(one: Item, limit: Decimal) -> bool:
    if not INDICATIONS.isdisjoint(getattr(one, "reasons", ())):
        return False
    dose = dose_of(one)
    return dose is None or dose[1] not in ("mg", "mg/d") or dose[0] <= limit


def dose_of(one: Item) -> tuple[Decimal, str] | None:
    """Return the daily dose of a medicine and its unit, if its dosage says one."""
    return daily(one.dosage) if isinstance(one, Medication) and one.dosage else None


def warfarin_for_calcinosis(facts: Facts) -> Judgement:
    """Judge whether warfarin is ordered or taken for calcinosis, by the reason that the order gives (CC-29)."""
    found = [one for one in _warfarin(facts) if not CALCINOSIS.isdisjoint(getattr(one, "reasons", ()))]
    if not found and _warfarin(facts):
        return absence("warfarin for calcinosis: no such reason is given")
    return presence(facts, "warfarin for calcinosis", found, MEDICATIONS, STATEMENTS)


def _warfarin(facts: Facts) -> tuple[Item, ...]:
    """Return the warfarin that is being ordered, else what is taken: an order is judged by what it says itself."""
    ordered = tuple(one for one in facts.orders if one.selected and one.concept == WARFARIN)
    return ordered or tuple(facts.medications.get(WARFARIN, ()))
