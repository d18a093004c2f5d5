"""Patients from files of every form that EHRs and test data come in."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from cds_service.adapters.ehr import LocalRecord, UnreadableFile, open_patients, read_patients
from tests.build import LEFT_OUT, PATIENT, call, condition, medication, observation, patient, prefetch, prescription

Json = dict[str, Any]


def write(path: Path, *documents: Json) -> Path:
    """Write JSON, or NDJSON, compressed where the name says so."""
    text = "\n".join(json.dumps(one) for one in documents) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def collection(*resources: Json, kind: str = "collection") -> Json:
    """Return a Bundle with absolute fullUrls."""
    base = "https://their.example/fhir"
    entries = [{"fullUrl": f"{base}/{one['resourceType']}/{one['id']}", "resource": one} for one in resources]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def contents(records: list[LocalRecord]) -> dict[str, list[str]]:
    """List the types of the resources of each patient."""
    return {one.patient_id: sorted(resource["resourceType"] for resource in one.resources) for one in records}


@pytest.mark.parametrize("name", ["one.json", "one.json.gz"])
@pytest.mark.parametrize("kind", ["collection", "searchset"])
def test_a_bundle_holds_a_patient(tmp_path: Path, name: str, kind: str) -> None:
    path = write(tmp_path / name, collection(patient(), observation(), condition(), kind=kind))

    assert {PATIENT: ["Condition", "Observation", "Patient"]} == contents(list(read_patients(path)))


def test_references_inside_a_transaction_are_resolved(tmp_path: Path) -> None:
    """
    Synthea writes urn:uuid references, and resources may have no id yet.
    """
    order = prescription(
        id=LEFT_OUT,
        subject={"reference": "urn:uuid:p"},
        medicationCodeableConcept=LEFT_OUT,
        medicationReference={"reference": "urn:uuid:m"},
        requester={"reference": "Practitioner?identifier=npi|1"},
    )
    entries = [
        {"fullUrl": "urn:uuid:p", "resource": patient(id="p")},
        {"fullUrl": "urn:uuid:o", "resource": order},
        {"fullUrl": "urn:uuid:m", "resource": medication(id="m")},
    ]
    path = write(tmp_path / "t.json", {"resourceType": "Bundle", "type": "transaction", "entry": entries})

    (record,) = read_patients(path)

    found = next(one for one in record.resources if one["resourceType"] == "MedicationRequest")
    assert ("o", "Patient/p", "Medication/m") == (
        found["id"],
        found["subject"]["reference"],
        found["medicationReference"]["reference"],
    )
    assert {"reference": "Practitioner?identifier=npi|1"} == found["requester"]


def test_references_to_the_bundles_own_server_become_relative(tmp_path: Path) -> None:
    absolute = observation(subject={"reference": f"https://their.example/fhir/Patient/{PATIENT}"})
    path = write(tmp_path / "s.json", collection(patient(), absolute))

    (record,) = read_patients(path)

    found = record.answer("Observation?patient={{context.patientId}}", {"patientId": PATIENT})
    assert found is not None
    assert 1 == found["total"]


def test_a_bundle_of_several_patients_is_taken_apart(tmp_path: Path) -> None:
    second = observation(subject={"reference": "Patient/b"})
    path = write(tmp_path / "many.json", collection(patient(id="b"), observation(), patient(), second))

    assert {"b": ["Observation", "Patient"], PATIENT: ["Observation", "Patient"]} == contents(list(read_patients(path)))


@pytest.mark.parametrize("ending", ["ndjson", "ndjson.gz"])
def test_a_bulk_export_is_sorted_by_patient(tmp_path: Path, ending: str) -> None:
    order = prescription(medicationCodeableConcept=LEFT_OUT, medicationReference={"reference": "Medication/m"})
    write(tmp_path / f"Patient.{ending}", patient(id="b"), patient())
    write(tmp_path / f"Observation.{ending}", observation(), observation(subject={"reference": "Patient/b"}))
    write(tmp_path / f"MedicationRequest.{ending}", order)
    write(tmp_path / f"Medication.{ending}", medication(id="m"), medication(id="unused"))
    write(tmp_path / "manifest.json", {"output": []})

    expected = {"b": ["Observation", "Patient"], PATIENT: ["Medication", "MedicationRequest", "Observation", "Patient"]}
    assert expected == contents(list(read_patients(tmp_path)))


def test_a_folder_of_bundles_is_read_whole(tmp_path: Path) -> None:
    write(tmp_path / "a.json", collection(patient(id="a")))
    write(tmp_path / "b.json.gz", collection(patient(id="b")))
    write(tmp_path / "labs-of-a.json", collection(observation(subject={"reference": "Patient/a"})))

    assert {"a": ["Observation", "Patient"], "b": ["Patient"]} == contents(list(read_patients(tmp_path)))


def test_a_hook_call_holds_the_patient_of_its_prefetch(tmp_path: Path) -> None:
    path = write(
        tmp_path / "call.json",
        call(prefetch(observation(), conditions=None, procedures={"resourceType": "OperationOutcome"})),
    )

    assert {PATIENT: ["Observation", "Patient"]} == contents(list(read_patients(path)))


def test_patients_are_counted_before_they_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "p.ndjson", *(patient(id=f"p{number}") for number in range(7)))

    with open_patients([path]) as patients:
        assert 7 == len(patients) == len(list(patients))


# --- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "body", "where"),
    [
        ("broken.json", b'{"resourceType": "Bundle"', "broken.json"),
        ("list.json", b"[]", "list.json"),
        ("other.json", b'{"a": 1}', "other.json"),
        ("lines.ndjson", b'{"resourceType": "Patient", "id": "a"}\n{"resourceType"\n', "lines.ndjson:2"),
        ("cut.json.gz", gzip.compress(b"{}" * 1000, mtime=0)[:20], "cut.json.gz"),
        ("not.json.gz", b"{}", "not.json.gz"),
        ("latin.json", b'{"resourceType": "Patient", "id": "\xe9"}', "latin.json"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, body: bytes, where: str) -> None:
    (tmp_path / name).write_bytes(body)

    with pytest.raises(UnreadableFile) as refused:
        list(read_patients(tmp_path / name))

    assert refused.value.where.endswith(where)


def test_an_empty_folder_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="holds no patients"):
        list(read_patients(tmp_path))


def test_a_refusal_never_quotes_the_record(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"resourceType": "Patient", "id": "Paula Secret" oops')

    with pytest.raises(UnreadableFile) as refused:
        list(read_patients(tmp_path / "x.json"))

    assert "Secret" not in str(refused.value)
