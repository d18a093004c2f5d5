"""Patient-view payloads: one dialysis patient, 12 Conditions, as many results as asked for; all synthetic."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

BASE = "https://ehr.example.org/fhir/r4"
NEWEST = datetime(2026, 2, 27, 6, tzinfo=UTC)
# LOINC, display, local code, unit, low, high, mean, standard deviation, digits
LABS = (
    ("2777-1", "Phosphate [Mass/volume] in Serum or Plasma", "PHOS", "mg/dL", 2.5, 4.5, 6.4, 1.3, 1),
    ("17861-6", "Calcium [Mass/volume] in Serum or Plasma", "CA", "mg/dL", 8.5, 10.5, 9.8, 0.7, 1),
    ("1751-7", "Albumin [Mass/volume] in Serum or Plasma", "ALB", "g/dL", 3.5, 5.0, 3.1, 0.4, 1),
    ("2731-8", "Parathyrin.intact [Mass/volume] in Serum or Plasma", "PTH", "pg/mL", 15, 65, 640, 280, 0),
    ("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "CREAT", "mg/dL", 0.6, 1.3, 7.8, 2.1, 2),
)
CONDITIONS = (
    ("46177005", "End-stage renal disease", "N18.6"),
    ("105502003", "Dependence on renal dialysis", "Z99.2"),
    ("19034001", "Hyperparathyroidism due to renal insufficiency", "N25.81"),
    ("44054006", "Diabetes mellitus type 2", "E11.22"),
    ("59621000", "Essential hypertension", "I12.0"),
    ("238136002", "Morbid obesity", "E66.01"),
    ("49436004", "Atrial fibrillation", "I48.91"),
    ("271737000", "Anemia", "D63.1"),
    ("55822004", "Hyperlipidemia", "E78.5"),
    ("84114007", "Heart failure", "I50.9"),
    ("399068003", "History of malignant neoplasm of prostate", "Z85.46"),
    ("10601006", "Pain in lower limb", "M79.606"),
)


def payload(observations: int, seed: int, newest: datetime = NEWEST) -> bytes:
    """Return one hook request as compact JSON; another seed shifts every date and value."""
    rng = random.Random(seed)
    labs = [_observation(rng, number, observations, newest) for number in range(observations)]
    request = {
        "hook": "patient-view",
        "hookInstance": f"d1577c69-dfbe-44ad-ba6d-{seed:012d}",
        "fhirServer": BASE,
        "context": {"userId": "Practitioner/dr-9", "patientId": "pt-1", "encounterId": "enc-001"},
        "prefetch": {
            "patient": {"resourceType": "Patient", "id": "pt-1", "gender": "female", "birthDate": "1961-05-17"},
            "conditions": _bundle([_condition(number) for number in range(len(CONDITIONS))]),
            "observations": _bundle(labs),
        },
    }
    return json.dumps(request, separators=(",", ":")).encode()


def _bundle(resources: list[dict[str, Any]]) -> dict[str, Any]:
    entries = [
        {"fullUrl": f"{BASE}/{one['resourceType']}/{one['id']}", "resource": one, "search": {"mode": "match"}}
        for one in resources
    ]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}


def _observation(rng: random.Random, number: int, total: int, newest: datetime) -> dict[str, Any]:
    code, display, local, unit, low, high, mean, spread, digits = LABS[number % len(LABS)]
    value: float = round(max(0.5, rng.gauss(mean, spread)), digits) if digits else int(max(5, rng.gauss(mean, spread)))
    drawn = newest - timedelta(hours=number * 17520 // total, seconds=rng.randrange(3600))
    flag = "H" if value > high else "L" if value < low else "N"
    ucum = {"unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
    return {
        "resourceType": "Observation",
        "id": f"obs-{number:05d}",
        "meta": {
            "versionId": "1",
            "lastUpdated": f"{drawn + timedelta(hours=3):%Y-%m-%dT%H:%M:%S.000Z}",
            "source": "urn:oid:1.2.840.114350.1.13.0.1.7.2.695071",
            "profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab"],
        },
        "identifier": [
            {"use": "official", "system": "urn:oid:1.2.840.114350.1.13.0.1.7.6.798268", "value": f"{number:08d}"}
        ],
        "status": "final",
        "category": [
            _concept("http://terminology.hl7.org/CodeSystem/observation-category", "laboratory", "Laboratory")
        ],
        "code": {
            "coding": [
                {"system": "http://loinc.org", "code": code, "display": display},
                {"system": "urn:oid:1.2.840.114350.1.13.0.1.7.5.737384", "code": local, "display": display},
            ],
            "text": display.split(" [")[0],
        },
        "subject": {"reference": "Patient/pt-1", "display": "Rossi, Anna"},
        "encounter": {"reference": f"Encounter/enc-{number % 37:03d}"},
        "effectiveDateTime": f"{drawn:%Y-%m-%dT%H:%M:%SZ}",
        "issued": f"{drawn + timedelta(hours=2):%Y-%m-%dT%H:%M:%S.000Z}",
        "performer": [{"reference": "Organization/lab-1", "display": "Core Laboratory"}],
        "valueQuantity": {"value": value, **ucum},
        "interpretation": [_concept("http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", flag, flag)],
        "specimen": {"reference": f"Specimen/sp-{number:05d}", "display": "Serum"},
        "referenceRange": [
            {"low": {"value": low, **ucum}, "high": {"value": high, **ucum}, "text": f"{low} - {high} {unit}"}
        ],
    }


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def _condition(number: int) -> dict[str, Any]:
    snomed, display, icd = CONDITIONS[number]
    terms = "http://terminology.hl7.org/CodeSystem/condition"
    return {
        "resourceType": "Condition",
        "id": f"cond-{number:02d}",
        "clinicalStatus": {"coding": [{"system": f"{terms}-clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": f"{terms}-ver-status", "code": "confirmed"}]},
        "category": [_concept(f"{terms}-category", "problem-list-item", "Problem List Item")],
        "code": {
            "coding": [
                {"system": "http://snomed.info/sct", "code": snomed, "display": display},
                {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": icd, "display": display},
            ],
            "text": display,
        },
        "subject": {"reference": "Patient/pt-1"},
        "onsetDateTime": f"20{10 + number}-03-0{1 + number % 9}",
        "recordedDate": f"20{10 + number}-03-1{number % 9}",
    }
