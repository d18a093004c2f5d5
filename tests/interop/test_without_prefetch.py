"""
With prefetch switched off, and a FHIR server as the only source, the cast gets the same cards.

The server is the one of the demo: sekmet-fhir, which is not ours, and asks for a token.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from cds_service.adapters.sandbox_server import SandboxServer
from tests.fixtures import calls, moments

Json = dict[str, Any]
CAST = [member.patient for member in calls.cast().members]
MOMENTS = dict(moments.moments())


@pytest.fixture(scope="module")
def service(fhir: SandboxServer, fetching: Callable[[str], FlaskClient]) -> FlaskClient:
    """Give a service that may read from the server."""
    return fetching(fhir.base)


def without_prefetch(call: Json, server: SandboxServer, token: str = "") -> Json:
    """Take the prefetch out of a call, and say instead where the patient's record can be read."""
    rest = {name: value for name, value in call.items() if name != "prefetch"}
    authorization = {
        "access_token": token or server.token,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "patient/*.read",
        "subject": "calcinosis-cds",
    }
    return rest | {"fhirServer": server.base, "fhirAuthorization": authorization}


def asked(service: FlaskClient, call: Json) -> Json:
    """Call the service, which must answer with cards."""
    response = service.post(f"/cds-services/calcinosis-{call['hook']}", json=call)
    assert 200 == response.status_code, response.text
    answer: Json = response.get_json()
    return answer


def plain(node: Any) -> Any:
    """Return an answer without what differs each time: the uuids of cards and suggestions, ids of new orders."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items() if key not in ("uuid", "id")}
    return [plain(one) for one in node] if isinstance(node, list) else node


@pytest.mark.parametrize("patient", CAST)
def test_the_cast_gets_the_same_answer_without_prefetch(
    service: FlaskClient, fhir: SandboxServer, patient: str
) -> None:
    """Cards, suggestions, links, and what could not be evaluated: all the same."""
    call = calls.call(patient)

    assert plain(calls.answer(call)) == plain(asked(service, without_prefetch(call, fhir)))


@pytest.mark.parametrize("name", MOMENTS)
def test_every_other_hook_gets_the_same_answer_without_prefetch(
    service: FlaskClient, fhir: SandboxServer, name: str
) -> None:
    """Orders, appointments and problems that are not saved yet stand in the context; the record is fetched."""
    call = MOMENTS[name]

    assert plain(calls.answer(call)) == plain(asked(service, without_prefetch(call, fhir)))


def test_what_was_read_came_from_the_server(service: FlaskClient, fhir: SandboxServer) -> None:
    """With a token that the server does not take, nothing is known, and the refusal says so."""
    call = without_prefetch(calls.call("dialysis-high-phosphate"), fhir, token="of-somebody-else")

    response = service.post("/cds-services/calcinosis-patient-view", json=call)

    assert 412 == response.status_code
    assert "401" in response.text


def test_the_server_keeps_the_record_from_those_without_a_token(fhir: SandboxServer) -> None:
    assert 401 == requests.get(f"{fhir.base}/Patient/healthy", timeout=20).status_code


def test_orders_that_name_their_medication_by_reference_are_read(service: FlaskClient, fhir: SandboxServer) -> None:
    """As most EHRs write them. The Medication is asked for together with the orders."""
    patient, rxnorm = "warfarin-by-reference", "http://www.nlm.nih.gov/research/umls/rxnorm"
    record = json.loads(
        json.dumps(calls.record("warfarin-for-af-on-dialysis").resources).replace(
            "warfarin-for-af-on-dialysis", patient
        )
    )
    drug = {
        "resourceType": "Medication",
        "id": f"{patient}-drug",
        "code": {"coding": [{"system": rxnorm, "code": "855332", "display": "warfarin sodium 5 MG Oral Tablet"}]},
    }
    for one in record:
        if one["resourceType"] == "MedicationRequest" and "arfarin" in json.dumps(one["medicationCodeableConcept"]):
            del one["medicationCodeableConcept"]
            one["medicationReference"] = {"reference": f"Medication/{drug['id']}"}
    fhir.load([*record, drug])
    call = calls.call("warfarin-for-af-on-dialysis")
    call["context"] = {"userId": calls.USER, "patientId": patient}

    answer = asked(service, without_prefetch(call, fhir))

    assert ["warning"] == [card["indicator"] for card in answer["cards"]]
    assert "warfarin" in answer["cards"][0]["summary"].casefold()
