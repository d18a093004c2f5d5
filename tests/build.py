"""
Small, valid FHIR R4 resources and hook calls: what a test does not mention stays ordinary.

Every builder takes further members by name; ``LEFT_OUT`` as a value takes a member away. ``token("1e400")`` writes a
value that Python's own JSON writer would not write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from cds_service.facts import Facts

Resource = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
PATIENT = "pat-1"
STRANGER = "pat-2"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SERVER = "https://ehr.example/fhir"
SERVICE = "/cds-services/calcinosis-patient-view"


class LeftOut:
    """The value of a member that is to be taken away."""

    def __repr__(self) -> str:
        """Say it plainly, the same in every process: test ids hold it."""
        return "left out"


LEFT_OUT = LeftOut()

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ATC = "http://www.whocc.no/atc"
UCUM = "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem"

# LOINC code and usual unit of the tests that these tests speak of most.
TESTS = {
    "calcium-total": ("17861-6", "mg/dL"),
    "calcium-corrected": ("46099-8", "mg/dL"),
    "calcium-ionized": ("1995-0", "mmol/L"),
    "phosphate": ("2777-1", "mg/dL"),
    "albumin": ("1751-7", "g/dL"),
    "cap-product": ("50675-8", "mg2/dL2"),
    "pth": ("2731-8", "pg/mL"),
    "alp": ("6768-6", "U/L"),
    "creatinine": ("2160-0", "mg/dL"),
    "egfr": ("62238-1", "mL/min/{1.73_m2}"),
    "potassium": ("2823-3", "mmol/L"),
}
# A prefetch key for every kind of resource that the service asks for.
KEYS = {
    "Patient": "patient",
    "Observation": "observations",
    "Condition": "conditions",
    "MedicationRequest": "medications",
    "MedicationStatement": "statements",
    "Procedure": "procedures",
    "FamilyMemberHistory": "conditions",
    "Medication": "medications",
}
ESKD, AKI, NECROSIS, CALCINOSIS = "46177005", "14669001", "95347000", "21323007"
HEMODIALYSIS, TRANSPLANTATION, TRANSPLANT = "302497006", "70536003", "161665007"
WARFARIN, WARFARIN_TABLET = "11289", "855332"
_TOKEN = re.compile(rb'"@@(.*?)@@"')
_numbers = count(1)


# --- moments ---------------------------------------------------------------------------------------------------------


def ago(days: float = 0, *, hours: float = 0) -> str:
    """Return the FHIR instant that lies so long before NOW."""
    return (NOW - timedelta(days=days, hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(days: float) -> str:
    """Return the FHIR date that lies so many days before NOW."""
    return (NOW - timedelta(days=days)).strftime("%Y-%m-%d")


# --- parts -----------------------------------------------------------------------------------------------------------


def concept(code: Any = LEFT_OUT, system: Any = LEFT_OUT, text: Any = LEFT_OUT, display: Any = LEFT_OUT) -> Resource:
    """Return a CodeableConcept with at most one coding."""
    coding = without(system=system, code=code, display=display)
    return without(coding=[coding] if coding else LEFT_OUT, text=text)


def coded(code: Any, system: str) -> Any:
    """Return a CodeableConcept for a code; what already is a code element stays as it is."""
    return concept(code, system) if isinstance(code, str) else code


def codings(*pairs: tuple[str, str]) -> Resource:
    """Return a CodeableConcept with several codings, each given as (system, code)."""
    return {"coding": [{"system": system, "code": code} for system, code in pairs]}


def quantity(value: Any, in_: Any = "mg/dL", **members: Any) -> Resource:
    """Return a Quantity in UCUM whose text is its code; a left out unit leaves system and code out too."""
    known = {} if in_ is LEFT_OUT else {"unit": in_, "system": UCUM, "code": in_}
    return without(**{"value": value, **known, **members})


def reference(patient: str = PATIENT) -> Resource:
    """Return a reference to a patient."""
    return {"reference": f"Patient/{patient}"}


def without(**members: Any) -> Resource:
    """Return the members that were not left out."""
    return {name.rstrip("_"): value for name, value in members.items() if value is not LEFT_OUT}


def token(text: str) -> str:
    """Return a placeholder that ``to_json`` replaces by exactly this text, quotes and all."""
    return f"@@{text}@@"


# --- resources -------------------------------------------------------------------------------------------------------


def _resource(kind: str, ordinary: Resource, members: Resource) -> Resource:
    start = {"resourceType": kind, "id": f"{kind.lower()}-{next(_numbers)}"}
    return without(**{**start, **ordinary, **members})


def patient(**members: Any) -> Resource:
    """Return the hook's patient, a woman of 58."""
    return _resource("Patient", {"id": PATIENT, "birthDate": "1967-11-20", "gender": "female"}, members)


def observation(
    test: str = "phosphate", value: Any = 7.1, unit: Any = None, *, days: float = 10, **members: Any
) -> Resource:
    """Return a final result of a test, by our name for it or by its LOINC code."""
    code, usual = TESTS.get(test, (test, "mg/dL"))
    ordinary = {
        "status": "final",
        "code": concept(code, LOINC),
        "subject": reference(),
        "effectiveDateTime": ago(days),
        "valueQuantity": quantity(value, usual if unit is None else unit),
    }
    return _resource("Observation", ordinary, members)


def condition(code: Any = ESKD, system: str = SNOMED, *, days: float = 200, **members: Any) -> Resource:
    """Return an active, confirmed condition that was recorded some days ago."""
    ordinary = {
        "clinicalStatus": concept("active", f"{HL7}/condition-clinical"),
        "verificationStatus": concept("confirmed", f"{HL7}/condition-ver-status"),
        "code": coded(code, system),
        "subject": reference(),
        "recordedDate": day(days),
    }
    return _resource("Condition", ordinary, members)


def clinical(status: str) -> Resource:
    """Return a clinicalStatus."""
    return concept(status, f"{HL7}/condition-clinical")


def verification(status: str) -> Resource:
    """Return a verificationStatus."""
    return concept(status, f"{HL7}/condition-ver-status")


ENCOUNTER_DIAGNOSIS = [concept("encounter-diagnosis", f"{HL7}/condition-category")]


def prescription(code: str = WARFARIN_TABLET, system: str = RXNORM, **members: Any) -> Resource:
    """Return an active MedicationRequest, of warfarin unless told otherwise."""
    ordinary = {
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": concept(code, system),
        "subject": reference(),
        "authoredOn": day(30),
    }
    return _resource("MedicationRequest", ordinary, members)


def statement(code: str = WARFARIN_TABLET, system: str = RXNORM, **members: Any) -> Resource:
    """Return an active MedicationStatement, of warfarin unless told otherwise."""
    ordinary = {"status": "active", "medicationCodeableConcept": concept(code, system), "subject": reference()}
    return _resource("MedicationStatement", ordinary, members)


def medication(code: str = WARFARIN_TABLET, system: str = RXNORM, **members: Any) -> Resource:
    """Return a Medication, for requests that refer to one."""
    return _resource("Medication", {"code": concept(code, system)}, members)


def procedure(code: Any = HEMODIALYSIS, system: str = SNOMED, *, days: float = 2, **members: Any) -> Resource:
    """Return a procedure that was carried out, hemodialysis unless told otherwise."""
    ordinary = {
        "status": "completed",
        "code": coded(code, system),
        "subject": reference(),
        "performedDateTime": ago(days),
    }
    return _resource("Procedure", ordinary, members)


def family(code: str = ESKD, system: str = SNOMED, **members: Any) -> Resource:
    """Return a disease of the patient's mother."""
    ordinary = {
        "status": "completed",
        "patient": reference(),
        "relationship": concept("MTH", f"{HL7}/v3-RoleCode"),
        "condition": [{"code": concept(code, system)}],
    }
    return _resource("FamilyMemberHistory", ordinary, members)


def outcome(severity: str = "error", **members: Any) -> Resource:
    """Return an OperationOutcome."""
    ordinary = {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": "processing"}]}
    return without(**{**ordinary, **members})


# --- Bundles and calls -----------------------------------------------------------------------------------------------


def entry(resource: Any, **members: Any) -> Resource:
    """Return an entry of a search result."""
    return without(**{"resource": resource, "search": {"mode": "match"}, **members})


def bundle(*resources: Resource, **members: Any) -> Resource:
    """Return a search result that holds these resources, or entries that were already made."""
    entries = [one if "resource" in one else entry(one) for one in resources]
    ordinary: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(entries)}
    return without(**{**ordinary, **({"entry": entries} if entries else {}), **members})


def prefetch(*resources: Resource, **values: Any) -> Resource:
    """
    Return prefetch values with everything loaded: each resource under its key, and empty Bundles elsewhere.

    Further values by key replace or, with LEFT_OUT, take away what stands there.
    """
    kinds: dict[str, list[Resource]] = {key: [] for key in KEYS.values()}
    for one in resources:
        kinds[KEYS[one["resourceType"]]].append(one)
    people = kinds.pop("patient")
    found: Resource = {"patient": people[0] if people else patient()}
    return without(**{**found, **{key: bundle(*several) for key, several in kinds.items()}, **values})


def call(values: Any = LEFT_OUT, **members: Any) -> Resource:
    """Return a patient-view call with these prefetch values."""
    ordinary = {
        "hook": "patient-view",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/dr-1", "patientId": PATIENT},
        "prefetch": values,
    }
    return without(**{**ordinary, **members})


def to_json(value: Any, *, indent: int | None = None, separators: tuple[str, str] = (",", ":")) -> bytes:
    """Write a value as JSON, compact unless an indent is given, with every ``token`` as it was written."""
    text = json.dumps(value, indent=indent, separators=separators if indent is None else None, ensure_ascii=False)
    return _TOKEN.sub(
        lambda found: json.loads(b'"' + found.group(1) + b'"').encode(), text.encode("utf-8", "surrogatepass")
    )


def fired(answer: Resource) -> dict[str, str]:
    """Return the rules that speak in the cards of an answer, each with the indicator of its card."""
    return {
        rule["id"]: card["indicator"]
        for card in answer["cards"]
        for rule in card["extension"]["org.calcinosis-cds"]["rules"]
    }


def body(*resources: Resource, values: Mapping[str, Any] | None = None, **members: Any) -> bytes:
    """Return the JSON of a patient-view call with these resources."""
    return to_json(call(prefetch(*resources, **(values or {})), **members))


# --- what was read ---------------------------------------------------------------------------------------------------


def measured(facts: Facts) -> set[str]:
    """Return the tests of which there is a usable result."""
    return {name for name, results in facts.measurements.items() if results}


def amounts(facts: Facts, test: str = "phosphate") -> list[float]:
    """List the usable values of a test, newest first."""
    return [float(result.value) for result in facts.measurements.get(test, ())]


def reasons(facts: Facts) -> list[str]:
    """List why something was set aside."""
    return [aside.reason for aside in facts.set_aside]
