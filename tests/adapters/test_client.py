"""Calls over HTTP: what an EHR sends, and what it makes of the answers."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import responses

from cds_service.adapters.ehr.client import CallFailed, HttpRecord, call_service, discover, get_json, new_session
from tests.build import PATIENT, bundle, observation, outcome, patient

FHIR = "https://fhir.example/r4"
CDS = "https://cds.example"
TEMPLATES = {
    "patient": "Patient/{{context.patientId}}",
    "observations": "Observation?patient={{context.patientId}}&code=2777-1&_sort=-date",
    "encounter": "Encounter/{{context.encounterId}}",
}
CONTEXT = {"patientId": PATIENT, "userId": "Practitioner/dr-1"}
SERVICE = {"id": "calcinosis-patient-view", "hook": "patient-view", "description": "x"}


@pytest.fixture
def web() -> Any:
    """Stand in for the network: what is not expected fails."""
    with responses.RequestsMock() as mock:
        yield mock


# --- a record on a FHIR server ----------------------------------------------------------------------------------------


def test_a_record_is_read_with_the_templates_of_the_service(web: responses.RequestsMock) -> None:
    found = bundle(observation())
    web.get(f"{FHIR}/Patient/{PATIENT}", json=patient())
    web.get(f"{FHIR}/Observation?patient={PATIENT}&code=2777-1&_sort=-date", json=found)

    values = HttpRecord(f"{FHIR}/", PATIENT, token="secret").prefetch(TEMPLATES, CONTEXT)

    assert {"patient", "observations"} == values.keys()
    assert found == values["observations"]
    assert {"Bearer secret"} == {one.request.headers["Authorization"] for one in web.calls}


@pytest.mark.parametrize("status", [404, 410])
def test_a_patient_whom_the_server_does_not_have_is_null(web: responses.RequestsMock, status: int) -> None:
    web.get(f"{FHIR}/Patient/{PATIENT}", status=status, json=outcome())

    assert {"patient": None} == HttpRecord(FHIR, PATIENT).prefetch({"patient": TEMPLATES["patient"]}, CONTEXT)


def test_what_the_server_refuses_is_sent_on_as_its_operation_outcome(web: responses.RequestsMock) -> None:
    refused = outcome(text={"status": "generated"})
    web.get(f"{FHIR}/Observation", status=403, json=refused)

    values = HttpRecord(FHIR, PATIENT).prefetch({"observations": TEMPLATES["observations"]}, CONTEXT)

    assert refused == values["observations"]


@pytest.mark.parametrize("body", ["<html>Tomcat</html>", "[]", ""])
def test_a_page_that_is_no_fhir_becomes_an_operation_outcome(web: responses.RequestsMock, body: str) -> None:
    web.get(f"{FHIR}/Observation", status=500, body=body)

    values = HttpRecord(FHIR, PATIENT).prefetch({"observations": TEMPLATES["observations"]}, CONTEXT)

    assert "OperationOutcome" == values["observations"]["resourceType"]
    assert "500" in values["observations"]["issue"][0]["details"]["text"]


# --- a CDS service ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [CDS, f"{CDS}/", f"{CDS}/cds-services"])
def test_services_are_discovered(web: responses.RequestsMock, address: str) -> None:
    web.get(f"{CDS}/cds-services", json={"services": [SERVICE, "junk", {"hook": "no id"}]})

    assert [SERVICE] == discover(address)


@pytest.mark.parametrize(("status", "body"), [(200, "[]"), (200, "{}"), (404, '{"services": []}'), (200, "not json")])
def test_a_discovery_that_is_none_is_said_to_be_none(web: responses.RequestsMock, status: int, body: str) -> None:
    web.get(f"{CDS}/cds-services", status=status, body=body)

    with pytest.raises(CallFailed, match="Discovery"):
        discover(CDS)


def test_a_call_is_posted_as_json(web: responses.RequestsMock) -> None:
    matcher = responses.matchers.json_params_matcher({"hook": "patient-view"})
    headers = responses.matchers.header_matcher({"Content-Type": "application/json", "Authorization": "Bearer t"})
    web.post(f"{CDS}/cds-services/s", json={"cards": []}, match=[matcher, headers])

    answer = call_service(CDS, "s", {"hook": "patient-view"}, token="t")

    assert (200, {"cards": []}) == (answer.status, answer.body)


def test_a_refusal_is_an_answer_too(web: responses.RequestsMock) -> None:
    web.post(f"{CDS}/cds-services/s", status=412, json=outcome())

    assert 412 == call_service(CDS, "s", {}).status


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (requests.ConnectionError(), "Nobody answers"),
        (requests.ConnectTimeout(), "Nobody answers|in time"),
        (requests.ReadTimeout(), "in time"),
        (requests.exceptions.InvalidURL(), "cannot be called"),
    ],
)
def test_a_network_that_fails_is_explained(web: responses.RequestsMock, failure: Exception, said: str) -> None:
    web.get(f"{CDS}/x", body=failure)

    with pytest.raises(CallFailed, match=said):
        get_json(f"{CDS}/x")


def test_redirects_are_not_followed(web: responses.RequestsMock) -> None:
    web.get(f"{CDS}/x", status=302, headers={"Location": "https://elsewhere.example/"})

    with pytest.raises(CallFailed, match="another address"):
        get_json(f"{CDS}/x")


def test_an_answer_without_end_is_cut_off(web: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cds_service.adapters.ehr.client.MAX_ANSWER", 10)
    web.get(f"{CDS}/x", body="x" * 1000)

    with pytest.raises(CallFailed, match="larger"):
        get_json(f"{CDS}/x")


@pytest.mark.parametrize("address", ["", "localhost:8321", "file:///etc/passwd", "ftp://x/y"])
def test_only_web_addresses_are_called(address: str) -> None:
    with pytest.raises(CallFailed, match="not a web address"):
        discover(address)


def test_a_failure_does_not_repeat_the_query(web: responses.RequestsMock) -> None:
    """
    A query names the patient.
    """
    web.get(f"{FHIR}/Observation", body=requests.ReadTimeout())

    with pytest.raises(CallFailed) as failed:
        HttpRecord(FHIR, PATIENT).prefetch({"observations": TEMPLATES["observations"]}, CONTEXT)

    assert PATIENT not in str(failed.value)


def test_settings_of_this_machine_change_no_call() -> None:
    assert not new_session().trust_env
