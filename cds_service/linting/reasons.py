"""Why something that was sent is not used, in words, and what its sender can do. The codes are those of intake."""

from __future__ import annotations

# RELIABILITY.md, section 4: reason code, what it means, what to do.
_REASONS = {
    "ambiguous": ("It has several values at once.", "Send one value[x]."),
    "ambiguous-code": ("Its codings name different things.", "Check the mapping of the local code."),
    "bad-date": ("Its date is none.", "Send dates as FHIR writes them: 2026-03-01 or 2026-03-01T12:00:00Z."),
    "code-without-system": ("Its code stands without a system.", "Send coding.system with every coding.code."),
    "comparator-unknown": ("Its comparator is none of <, <=, >, >=.", "Send the comparators of FHIR R4."),
    "data-absent": ("It says itself that the value is missing.", ""),
    "do-not-perform": ("It says what must not be given.", ""),
    "family-history": ("It is about a relative.", ""),
    "future-date": ("It is dated in the future.", "Check the clock and the time zone of the sender."),
    "differential": ("Its verification says: one of several possibilities.", ""),
    "entered-in-error": ("Its verification says: entered in error.", ""),
    "hemolysed": ("The specimen was hemolysed.", ""),
    "implausible": ("The value cannot be right in this unit.", "Check the unit: mg/dL and mmol/L mixed up, perhaps."),
    "many-ingredients": ("The product has too many ingredients to count as this medication.", ""),
    "merged-record": ("It is another record of the same person.", ""),
    "misfit": ("It does not have the shape of FHIR R4.", "See what fhir.resources says of the same place."),
    "modifier-extension": (
        "A modifier extension may turn its meaning round.",
        "Leave it out, or ask for it to be known.",
    ),
    "no-subject": ("It does not say whose it is.", "Send subject (or patient) as a reference to the Patient."),
    "no-value": ("It has no value.", ""),
    "not-an-order": ("Its intent is not an order.", ""),
    "not-numeric": ("Its value is no number.", "Send valueQuantity with a unit."),
    "not-systemic": ("The medication is for local use.", ""),
    "other-fhir-version": ("It is written in another version of FHIR.", "Send FHIR R4 (4.0.1)."),
    "provisional": ("Its verification says: provisional.", ""),
    "refuted": ("Its verification says: refuted.", ""),
    "status-unknown": ("Its status is none of FHIR R4, or missing.", "Send a status of FHIR R4."),
    "stranger": ("It is another patient's.", "Limit every query to context.patientId."),
    "unconfirmed": ("Its verification says: unconfirmed.", ""),
    "undated": ("It has no date that can be used.", "Send effectiveDateTime."),
    "unit-conflict": ("Its unit and the UCUM code disagree.", "Send the same unit as text and as code."),
    "unit-missing": ("It has no unit.", "Send valueQuantity.unit, or system and code of UCUM."),
    "unit-unknown": ("Its unit is none of this test.", "Send a unit that the test is measured in, in UCUM."),
    "unreadable-code": ("Its code says nothing.", "Send a coding or a text."),
    "unrelated-server": (
        "It refers to a server other than fhirServer.",
        "Send relative references, or name the server in CDS_FHIR_BASES.",
    ),
    "unresolved": (
        "The medication it refers to did not come along.",
        "Send the Medication too: in the Bundle, or contained (_include=MedicationRequest:medication).",
    ),
}
# These are as they should be: the record says that they do not count.
EXPECTED = frozenset(
    {"do-not-perform", "family-history", "merged-record", "not-an-order", "not-systemic", "many-ingredients"}
    | {"differential", "entered-in-error", "provisional", "refuted", "unconfirmed", "data-absent", "hemolysed"}
)


def explained(reason: str) -> tuple[str, str]:
    """Return what a reason code means, and what to do about it ("" where nothing has to be done)."""
    if reason in _REASONS:
        return _REASONS[reason]
    if reason.startswith("status-"):
        return f'Its status is "{reason.removeprefix("status-")}".', ""
    return f"Reason: {reason}.", ""


def is_expected(reason: str) -> bool:
    """Say whether leaving it out is simply what the record asks for."""
    return reason in EXPECTED or (reason.startswith("status-") and reason != "status-unknown")
