"""check looks at the fixtures too: patients are FHIR R4, and hook calls can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cds_service.cli.fixtures import fault, faults
from tests.build import LEFT_OUT, bundle, call, observation, patient, prescription


def put(folder: Path, name: str, document: Any) -> Path:
    """Write one fixture, and return the folder of all."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_text(text, encoding="utf-8")
    return folder


def test_sound_fixtures_have_no_faults(tmp_path: Path) -> None:
    put(tmp_path, "patients/a.json", bundle(patient(), observation()))
    put(tmp_path, "requests/patient-view/a.json", call())
    put(tmp_path, "population/Patient.ndjson", json.dumps(patient()))
    put(tmp_path, "refusals/broken.json", "{")

    assert [] == list(faults(tmp_path))


@pytest.mark.parametrize(
    ("name", "document", "said"),
    [
        ("patients/a.json", bundle(observation(status=5)), "status"),
        ("patients/a.json", bundle(observation(colour="red")), "colour"),
        ("patients/a.json", bundle(prescription(intent=LEFT_OUT)), "intent"),
        ("patients/a.json", bundle({"resource": {"resourceType": "Observance"}}), "not a valid FHIR Model"),
        ("patients/a.json", {"resourceType": "Bundle", "type": "collection", "entry": [{}]}, "not a valid FHIR Model"),
        ("patients/a.json", "{", "a.json"),
        ("population/Patient.ndjson", '{"resourceType": "Patient"}\n{', "resource 2"),
        ("requests/patient-view/a.json", call(hook="order-sign"), "wrong-hook"),
        ("requests/patient-view/a.json", call(context=LEFT_OUT), "/context"),
    ],
)
def test_a_faulty_fixture_is_named(tmp_path: Path, name: str, document: Any, said: str) -> None:
    (found,) = faults(put(tmp_path, name, document))

    assert Path(name).name in found
    assert said in found


def test_a_fault_says_where_in_the_resource() -> None:
    assert fault(observation(valueQuantity={"value": "high"})).startswith("valueQuantity.value: ")
