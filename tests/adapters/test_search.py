"""Searches are answered as a FHIR server answers them."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.adapters.ehr import LocalRecord
from tests.build import (
    ICD10CM,
    LEFT_OUT,
    LOINC,
    PATIENT,
    SNOMED,
    clinical,
    codings,
    concept,
    condition,
    medication,
    observation,
    patient,
    prescription,
    procedure,
    quantity,
    reference,
    statement,
    verification,
)

CONTEXT = {"patientId": PATIENT, "userId": "Practitioner/dr-1"}
OURS = "patient={{context.patientId}}"


def search(template: str, *resources: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Search a record that holds these resources."""
    found = LocalRecord(PATIENT, resources, **options).answer(template, CONTEXT)
    assert found is not None
    return found


def ids(bundle: dict[str, Any], mode: str = "match") -> list[str]:
    """List the ids that a search found."""
    return [entry["resource"]["id"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == mode]


# --- whose ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", ["patient", "subject"])
@pytest.mark.parametrize("value", ["{{context.patientId}}", "Patient/{{context.patientId}}"])
def test_a_search_finds_the_resources_of_its_patient(parameter: str, value: str) -> None:
    ours, other = observation(id="ours"), observation(id="other", subject=reference("pat-2"))

    assert ["ours"] == ids(search(f"Observation?{parameter}={value}", ours, other))


def test_an_absolute_reference_to_the_same_server_is_ours() -> None:
    base = "https://ehr.example.org/fhir"
    ours = observation(id="ours", subject={"reference": f"{base}/Patient/{PATIENT}"})
    elsewhere = observation(id="elsewhere", subject={"reference": f"https://other.example/Patient/{PATIENT}"})

    assert ["ours"] == ids(search(f"Observation?{OURS}", ours, elsewhere, base=base))


def test_a_resource_without_a_subject_is_nobodys() -> None:
    assert [] == ids(search(f"Observation?{OURS}", observation(subject=LEFT_OUT)))


# --- codes and statuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("2777-1", True),
        (f"{LOINC}|2777-1", True),
        (f"{LOINC}|", True),
        ("17861-6,2777-1", True),
        (f"{SNOMED}|2777-1", False),
        ("|2777-1", False),
        ("17861-6", False),
        ("2777", False),
    ],
)
def test_a_code_is_found_with_or_without_its_system(wanted: str, *, found: bool) -> None:
    assert found == bool(ids(search(f"Observation?{OURS}&code={wanted}", observation("phosphate"))))


def test_every_coding_of_a_code_counts() -> None:
    twice = condition(codings((SNOMED, "46177005"), (ICD10CM, "N18.6")), id="twice")

    assert ["twice"] == ids(search(f"Condition?{OURS}&code=N18.6", twice))


def test_a_panel_is_found_by_the_code_of_a_part() -> None:
    part = {"code": concept("2777-1", LOINC), "valueQuantity": quantity(7.1)}
    panel = observation("24320-4", id="panel", component=[part])

    assert ["panel"] == ids(search(f"Observation?{OURS}&code=2777-1", panel))


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("Condition?clinical-status=active,recurrence", ["active"]),
        ("Condition?clinical-status=resolved", ["resolved"]),
        ("Condition?verification-status=refuted", ["refuted"]),
        ("MedicationRequest?status=active&intent=order", ["request"]),
        ("MedicationRequest?status=stopped", []),
        ("MedicationRequest?code=855332", ["request"]),
        ("MedicationStatement?status=active", ["statement"]),
        ("Procedure?status=completed,in-progress", ["procedure"]),
        ("Procedure?_id=procedure", ["procedure"]),
    ],
)
def test_statuses_are_told_apart(template: str, found: list[str]) -> None:
    record = [
        condition(id="active"),
        condition(id="resolved", clinicalStatus=clinical("resolved")),
        condition(id="refuted", clinicalStatus=LEFT_OUT, verificationStatus=verification("refuted")),
        prescription(id="request"),
        statement(id="statement"),
        procedure(id="procedure"),
    ]

    assert found == ids(search(template, *record))


def test_a_category_is_found_in_a_list_and_in_the_object_that_epic_sends() -> None:
    listed = observation(id="listed", category=[concept("laboratory")])
    single = observation(id="single", category=concept("laboratory"))
    other = observation(id="other", category=[concept("vital-signs")])

    assert ["listed", "single"] == ids(search("Observation?category=laboratory", listed, single, other))


def test_a_condition_without_a_status_is_not_found_by_status() -> None:
    """
    As on real servers; MIMIC's Conditions have none.
    """
    assert [] == ids(search("Condition?clinical-status=active", condition(clinicalStatus=LEFT_OUT)))


def test_a_condition_without_a_status_is_found_when_it_shall_count() -> None:
    unsaid = condition(id="unsaid", clinicalStatus=LEFT_OUT)
    over = condition(id="over", clinicalStatus=clinical("resolved"))

    assert ["unsaid"] == ids(search("Condition?clinical-status=active", unsaid, over, lenient_status=True))


# --- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("date=2026-02-19", ["day", "moment"]),
        ("date=eq2026-02", ["day", "moment", "month"]),
        ("date=gt2026-02-19", ["month", "later"]),
        ("date=ge2026-02-19", ["day", "moment", "month", "later"]),
        ("date=lt2026-02-19", ["month", "period"]),
        ("date=le2026-02-19", ["day", "moment", "month", "period"]),
        ("date=ge2026-02-20&date=le2026-02-28", ["month"]),
        ("date=2026-01-02,2026-03-01", ["later"]),
    ],
)
def test_dates_are_compared_as_fhir_defines_it(wanted: str, found: list[str]) -> None:
    period = {"start": "2026-01-01", "end": "2026-01-03"}
    record = [
        observation(id="day", effectiveDateTime="2026-02-19"),
        observation(id="moment", effectiveDateTime="2026-02-19T08:10:00Z"),
        observation(id="month", effectiveDateTime="2026-02"),
        observation(id="period", effectiveDateTime=LEFT_OUT, effectivePeriod=period),
        observation(id="later", effectiveDateTime="2026-03-01"),
        observation(id="undated", effectiveDateTime=LEFT_OUT),
    ]

    assert found == ids(search(f"Observation?{wanted}", *record))


def test_each_type_has_its_own_date() -> None:
    assert ["a"] == ids(search("Condition?recorded-date=ge2026", condition(id="a", recordedDate="2026-01-01")))
    assert ["b"] == ids(search("Condition?onset-date=2020", condition(id="b", onsetDateTime="2020-05-01")))
    assert ["c"] == ids(
        search("MedicationRequest?authoredon=2026-01-30", prescription(id="c", authoredOn="2026-01-30"))
    )
    assert ["d"] == ids(search("Procedure?date=2026-02-27", procedure(id="d", performedDateTime="2026-02-27")))


# --- order and pages --------------------------------------------------------------------------------------------------


def test_the_newest_comes_first_and_the_undated_last() -> None:
    record = [
        observation(id="old", days=30),
        observation(id="undated", effectiveDateTime=LEFT_OUT),
        observation(id="new", days=1),
    ]

    assert ["new", "old", "undated"] == ids(search("Observation?_sort=-date", *record))
    assert ["old", "new", "undated"] == ids(search("Observation?_sort=date", *record))


def test_a_cut_answer_says_how_many_there_are_and_that_there_is_more() -> None:
    bundle = search("Observation?_sort=-date&_count=2", *(observation(days=days) for days in range(5)))

    assert (2, 5) == (len(bundle["entry"]), bundle["total"])
    assert ["self", "next"] == [link["relation"] for link in bundle["link"]]


def test_an_answer_that_fits_has_no_next_page() -> None:
    bundle = search("Observation?_count=2", observation(), observation())

    assert ["self"] == [link["relation"] for link in bundle["link"]]


def test_nothing_found_is_a_bundle_without_entries() -> None:
    bundle = search(f"Observation?{OURS}")

    assert (0, False) == (bundle["total"], "entry" in bundle)


# --- included medications ---------------------------------------------------------------------------------------------


def test_the_medication_that_an_order_refers_to_comes_with_it() -> None:
    order = prescription(
        id="order", medicationCodeableConcept=LEFT_OUT, medicationReference={"reference": "Medication/tablet"}
    )
    bundle = search("MedicationRequest?status=active", order, order | {"id": "again"}, medication(id="tablet"))

    assert (["order", "again"], ["tablet"], 2) == (ids(bundle), ids(bundle, "include"), bundle["total"])


def test_a_reference_that_leads_nowhere_stays_as_it_is() -> None:
    order = prescription(medicationCodeableConcept=LEFT_OUT, medicationReference={"reference": "Medication/gone"})

    assert order == search("MedicationRequest?status=active", order)["entry"][0]["resource"]


# --- what is not supported --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("Observation?patient=1&value-quantity=gt5", "value-quantity"),
        ("Observation?code:in=http://x", "code:in"),
        ("Observation?clinical-status=active", "clinical-status"),
        ("Observation?_sort=-recorded-date", "recorded-date"),
        ("Observation?_sort=code", "code"),
        ("Observation?_include=Observation:patient", "_include"),
        ("Slot?schedule=1", "Slot"),
        ("Observation?date=sa2026", "sa"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(template: str, named: str) -> None:
    """
    A template that no server would understand must not look as if the record were empty.
    """
    with pytest.raises(ValueError, match=named):
        search(template, observation())


@pytest.mark.parametrize(
    "broken",
    [
        {"code": "2777-1"},
        {"code": {"coding": "2777-1"}},
        {"code": {"coding": [None, {"code": ["2777-1"]}]}},
        {"component": {"code": "2777-1"}, "code": None},
        {"subject": f"Patient/{PATIENT}"},
        {"subject": {"reference": ["Patient/pat-1"]}},
        {"effectiveDateTime": 20260219},
        {"effectivePeriod": {"start": 2026}},
        {"medicationReference": ["Medication/x"]},
    ],
)
def test_a_broken_resource_breaks_no_search(broken: dict[str, Any]) -> None:
    template = f"Observation?{OURS}&code=2777-1&date=ge2020&_sort=-date"

    assert "sound" in ids(search(template, observation(id="broken") | broken, observation(id="sound")))


def test_a_read_finds_the_resource_or_nothing() -> None:
    record = LocalRecord(PATIENT, [patient()])

    assert PATIENT == (record.answer("Patient/{{context.patientId}}", CONTEXT) or {})["id"]
    assert record.answer("Patient/somebody-else", CONTEXT) is None
