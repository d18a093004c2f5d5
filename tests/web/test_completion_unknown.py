"""
A server that could not show the patient is not believed when it finds nothing: nothing would look like safety.
"""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from cds_service.adapters.ehr import LocalRecord
from tests.build import LEFT_OUT, PATIENT, bundle, entry, fired, observation, outcome, patient, prefetch
from tests.faults import servers
from tests.faults.asking import SICK, TIGHT, Make, asking, post, reasons
from tests.faults.servers import Asked, Behaviour, Reply, Server, answering, fhir, running

# A patient about whom a card says what is missing, once nothing was found: sent are only the conditions.
SENT = prefetch(
    *SICK[:2],
    **dict.fromkeys(
        ("patient", "observations", "medications", "pastMedications", "statements", "procedures"), LEFT_OUT
    ),
)
EMPTY: dict[str, Any] = {
    "nothing": bundle(),
    "Epic's nothing": bundle(entry(outcome("warning"), search={"mode": "outcome"}), total=0),
    "only what was included": bundle(
        entry({"resourceType": "Medication", "id": "m"}, search={"mode": "include"}), total=LEFT_OUT
    ),
}
HIDDEN: dict[str, Reply | Behaviour] = {
    "status-401": Reply({}, 401),
    "status-403": Reply({}, 403),
    "status-500": Reply({}, 500),
    "not-fhir-json": Reply(b"<html>", kind="text/html"),
    "unreachable": servers.reset,
}


@pytest.fixture
def app_of(make_app: Make) -> Any:
    def make(server: Server, **settings: Any) -> Flask:
        return make_app(**{"fhir_allow": f"{server.base}/fhir", "fhir_budget_ms": 8_000, **settings})

    return make


def hiding(patient_: Reply | Behaviour, search: Any) -> Behaviour:
    """Answer every search alike, and for the Patient otherwise."""
    return answering(lambda asked: Reply(search) if "?" in asked.target else patient_)


def gaps(answer: Any) -> dict[str, str]:
    return dict(answer["extension"]["org.calcinosis-cds"].get("not_fetched", {}))


def unknown(answer: Any) -> set[str]:
    return {one["rule"] for one in answer["extension"]["org.calcinosis-cds"]["not_evaluated"]}


@pytest.mark.parametrize("why", HIDDEN)
@pytest.mark.parametrize("name", EMPTY)
def test_where_the_patient_was_not_shown_empty_searches_are_gaps(app_of: Make, why: str, name: str) -> None:
    with running(hiding(HIDDEN[why], EMPTY[name])) as server:
        response, _ = post(app_of(server), asking(server, {**SENT, "observations": bundle(observation(value=8.1))}))

    assert 200 == response.status_code
    found = gaps(response.json)
    assert why == found.pop("patient")
    assert {"patient-not-shown"} == set(found.values())
    assert {"medications", "statements", "procedures"} <= set(found)


@pytest.mark.parametrize("why", HIDDEN)
def test_nothing_is_said_to_be_missing_by_such_a_server(app_of: Make, why: str) -> None:
    sent = {**SENT, "pastMedications": bundle(), "statements": bundle()}
    with running(hiding(Reply(patient()), bundle())) as server:
        assert "eskd-missing-labs" in fired(post(app_of(server), asking(server, sent))[0].json or {})
    with running(hiding(HIDDEN[why], bundle())) as server:
        response, _ = post(app_of(server), asking(server, sent))

    assert 200 == response.status_code
    assert {why, "patient-not-shown"} == reasons(response)
    assert "eskd-missing-labs" not in fired(response.json or {})
    assert "eskd-missing-labs" in unknown(response.json)


def test_so_where_the_patient_came_too_late(app_of: Make) -> None:
    """
    On a machine that stands still the searches come too late as well.
    """
    sent = {**SENT, "observations": bundle(observation(value=8.1))}
    with running(hiding(servers.hang, bundle())) as server:
        response, _ = post(app_of(server, **TIGHT), asking(server, sent))

    assert "too-late" == gaps(response.json).pop("patient")
    assert {"medications", "pastMedications", "statements", "procedures"} < set(gaps(response.json))
    assert {"too-late", "patient-not-shown"} >= reasons(response)


def test_so_where_something_else_came_in_place_of_the_patient(app_of: Make) -> None:
    sent = {**SENT, "pastMedications": bundle(), "statements": bundle(), "medications": bundle()}
    with running(hiding(Reply(outcome()), bundle())) as server:
        response, _ = post(app_of(server), asking(server, sent))

    assert {"patient-not-shown"} == reasons(response)


def test_what_such_a_server_does_find_counts(app_of: Make) -> None:
    record = fhir(LocalRecord(PATIENT, SICK))

    def hides(asked: Asked) -> Reply:
        return record(asked) if "?" in asked.target else Reply({}, 403)

    with running(answering(hides)) as server:
        response, _ = post(app_of(server), asking(server))

    found = gaps(response.json)
    assert "status-403" == found["patient"]
    assert not {"observations", "conditions"} & set(found)
    assert {"patient-not-shown"} == {why for key, why in found.items() if key != "patient"}


def test_where_the_client_sent_the_patient_nobody_asks_for_him(app_of: Make) -> None:
    with running(hiding(Reply({}, 403), bundle())) as server:
        response, _ = post(app_of(server), asking(server, {**SENT, "patient": patient()}))

        assert not any("?" not in path for path in server.paths)
    assert (200, set()) == (response.status_code, reasons(response))
