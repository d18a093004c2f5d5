"""From a record to the hook call that an EHR sends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from cds_service.adapters.ehr import LocalRecord, hook_request
from cds_service.adapters.ehr.context import newest_encounter
from cds_service.protocol import HookRequest
from cds_service.protocol.context import SHAPES
from tests.build import LEFT_OUT, PATIENT, condition, medication, observation, patient, prescription, procedure, to_json
from tests.orders import ABOUT, draft, service_draft

TEMPLATES = {
    "patient": "Patient/{{context.patientId}}",
    "observations": "Observation?patient={{context.patientId}}&_count=200",
}


def moment(text: str) -> float:
    """Return a moment in seconds since 1970."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# --- the call ---------------------------------------------------------------------------------------------------------


def test_a_call_has_what_cds_hooks_requires() -> None:
    call = hook_request(
        "patient-view", LocalRecord(PATIENT, [patient(), observation()]), TEMPLATES, user_id="Practitioner/dr-1"
    )

    assert 4 == UUID(call.pop("hookInstance")).version
    assert {"patient", "observations"} == call.pop("prefetch").keys()
    assert {"hook": "patient-view", "context": {"userId": "Practitioner/dr-1", "patientId": PATIENT}} == call


def test_encounter_server_and_instance_are_sent_when_known() -> None:
    call = hook_request(
        "encounter-start",
        LocalRecord(PATIENT, []),
        {},
        user_id="Practitioner/dr-1",
        encounter_id="e1",
        hook_instance="i1",
        fhir_server="https://ehr.example.org/fhir",
    )

    assert ("e1", "i1") == (call["context"]["encounterId"], call["hookInstance"])
    assert "https://ehr.example.org/fhir" == call["fhirServer"]
    assert "prefetch" not in call


@pytest.mark.parametrize("hook", SHAPES)
def test_a_call_of_any_hook_has_what_it_requires(hook: str) -> None:
    about = [draft(), service_draft(), condition(id="c"), {"resourceType": "Appointment", "id": "a"}]
    call = hook_request(hook, LocalRecord(PATIENT, []), {}, user_id="Practitioner/dr-1", about=about)
    read = HookRequest.parse(to_json(call), hook)

    assert PATIENT == read.patient_id
    if hook in ABOUT:
        kinds = {one["resource"]["resourceType"] for one in call["context"][ABOUT[hook]]["entry"]}
        assert kinds == HELD.get(hook, {"MedicationRequest", "ServiceRequest"})


HELD = {"appointment-book": {"Appointment"}, "problem-list-item-create": {"Condition"}}


def test_an_order_comes_with_the_medication_it_refers_to() -> None:
    order = draft(medicationCodeableConcept=LEFT_OUT, medicationReference={"reference": "Medication/m"})
    record = LocalRecord(PATIENT, [order, prescription(), medication(id="m"), medication(id="n")])
    context = hook_request("order-sign", record, {}, user_id="Practitioner/dr-1")["context"]

    assert ["draft-1", "m"] == [one["resource"]["id"] for one in context["draftOrders"]["entry"]]


def test_the_encounter_is_the_newest_of_the_record() -> None:
    began = {"old": {"start": "2025-01-01"}, "new": {"start": "2026-01-01"}, "odd": None}
    visits = [{"resourceType": "Encounter", "id": name, "period": period} for name, period in began.items()]

    assert "new" == newest_encounter(visits)
    assert "" == newest_encounter([])


def test_a_patient_who_is_not_there_is_null_and_a_list_is_empty() -> None:
    call = hook_request("patient-view", LocalRecord(PATIENT, []), TEMPLATES, user_id="Practitioner/dr-1")

    assert call["prefetch"]["patient"] is None
    assert 0 == call["prefetch"]["observations"]["total"]


@pytest.mark.parametrize(
    ("template", "user", "sent"),
    [
        ("Practitioner/{{userPractitionerId}}", "Practitioner/dr-1", True),
        ("Practitioner/{{ userPractitionerId }}", "Practitioner/dr-1", True),
        ("PractitionerRole/{{userPractitionerRoleId}}", "PractitionerRole/r-1", True),
        ("Practitioner/{{userPractitionerId}}", "PractitionerRole/r-1", False),
        ("Encounter/{{context.encounterId}}", "Practitioner/dr-1", False),
        ("Patient/{{today()}}", "Practitioner/dr-1", False),
    ],
)
def test_a_template_whose_token_has_no_value_is_not_honoured(template: str, user: str, *, sent: bool) -> None:
    record = LocalRecord(PATIENT, [])

    assert sent == ("key" in record.prefetch({"key": template}, {"patientId": PATIENT, "userId": user}))


def test_a_value_cannot_add_a_parameter_to_a_search() -> None:
    record = LocalRecord("1&_count=0", [observation(subject={"reference": "Patient/1&_count=0"})])

    found = record.prefetch(TEMPLATES, {"patientId": "1&_count=0"})

    assert 1 == len(found["observations"]["entry"])


# --- the whole record -------------------------------------------------------------------------------------------------


def test_everything_is_everything_by_kind() -> None:
    order = prescription(
        status="stopped", medicationCodeableConcept=LEFT_OUT, medicationReference={"reference": "Medication/m"}
    )
    record = LocalRecord(
        PATIENT, [patient(), observation("2951-2"), condition(), order, medication(id="m"), procedure()]
    )

    everything = record.everything()

    counts = {key: len(value.get("entry", ())) for key, value in everything.items() if key != "patient"}
    assert {"observations": 1, "conditions": 1, "medications": 2, "statements": 0, "procedures": 1} == counts
    assert PATIENT == everything["patient"]["id"]


# --- the newest day ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "newest",
    [
        observation(effectiveDateTime="2026-02-19T08:10:00+00:00"),
        observation(effectiveDateTime=LEFT_OUT, effectivePeriod={"start": "2026-02-19", "end": "2026-12-31"}),
        condition(recordedDate="2026-02-19"),
        prescription(authoredOn="2026-02-19"),
        procedure(performedDateTime="2026-02-19"),
    ],
)
def test_the_newest_day_ends_when_its_last_result_can_have_come(newest: dict[str, Any]) -> None:
    old = observation(effectiveDateTime="2019-01-01")

    assert moment("2026-02-19T23:59:59") == LocalRecord(PATIENT, [patient(), old, newest]).newest()


def test_what_rules_do_not_read_does_not_count_as_newest() -> None:
    bill = {"resourceType": "Claim", "id": "c", "authoredOn": "2030-01-01"}

    assert LocalRecord(PATIENT, [patient(), bill]).newest() is None


def test_a_patient_who_died_is_looked_at_just_before() -> None:
    dead = patient(deceasedDateTime="2026-02-10")
    after = observation(effectiveDateTime="2026-02-19")

    assert moment("2026-02-09T23:59:59") == LocalRecord(PATIENT, [dead, after]).newest()


def test_a_death_long_after_the_last_result_changes_nothing() -> None:
    dead = patient(deceasedDateTime="2026-02-10")

    newest = LocalRecord(PATIENT, [dead, observation(effectiveDateTime="2025-02-19")]).newest()

    assert moment("2025-02-19T23:59:59") == newest
