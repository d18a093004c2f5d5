"""
What two FHIR servers, Medplum and sekmet-fhir, answered about patients of others: read over HTTP by the service itself.

They differ in what an EHR's server may differ in: with and without ``total``, in links, ids and headers. The same
patients must get the same answer from both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.adapters.ehr import LocalRecord
from cds_service.facts.model import LABS, MEDICATIONS, PATIENT
from cds_service.protocol.prefetch import State
from tests.interop import recorded
from tests.interop.recorded import PATIENTS, Recording
from tests.interop.test_without_prefetch import plain

Json = dict[str, Any]
SERVICE = "calcinosis-patient-view"

pytestmark = pytest.mark.skipif(bool(recorded.missing()), reason=recorded.missing() or "there")
Replayed = dict[str, tuple[str, Recording, list[str]]]


@pytest.fixture(scope="module")
def servers() -> Iterator[Replayed]:
    """Replay both servers."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(recorded.replaying(name)) for name in recorded.BASES}


def call(base: str, patient_id: str) -> Json:
    """Return a call that brings nothing but the address of a FHIR server."""
    context = {"patientId": patient_id, "userId": "Practitioner/example"}
    return {"hook": "patient-view", "hookInstance": "replayed", "context": context, "fhirServer": base}


def newest(recording: Recording, name: str) -> float:
    """Return the end of the day of the patient's newest result: MIMIC's patients live in the 22nd century."""
    entries = [
        entry["resource"]
        for test in (*recorded.LABS, "conditions-active", "medrequests-include")
        for entry in recording.read(f"{name}.{test}").get("entry", ())
    ]
    found = LocalRecord("", entries).newest()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def answers(servers: Replayed, fetching_at: Callable[..., FlaskClient]) -> dict[tuple[str, str], Json]:
    """Ask about every patient on both servers."""
    found = {}
    for server, (base, recording, _) in servers.items():
        for identifier, name in recording.ids.items():
            client = fetching_at(base, newest(recording, name))
            response = client.post(f"/cds-services/{SERVICE}", json=call(base, identifier))
            assert 200 == response.status_code, response.text
            found[server, name] = response.get_json()
    return found


@pytest.mark.parametrize("name", PATIENTS)
def test_both_servers_lead_to_the_same_answer(answers: dict[tuple[str, str], Json], name: str) -> None:
    assert plain(answers["medplum", name]) == plain(answers["sekmet", name])


def test_every_kind_of_data_was_asked_for(servers: Replayed, answers: dict[tuple[str, str], Json]) -> None:
    for _, _, asked in servers.values():
        kinds = {address.strip("/").partition("?")[0].partition("/")[0] for address in asked}
        assert {"Patient", "Observation", "Condition", "MedicationRequest", "MedicationStatement"} <= kinds


@pytest.mark.parametrize("server", recorded.BASES)
def test_a_page_that_cannot_be_had_leaves_its_rules_in_doubt(
    servers: Replayed, server: str, facts_of: Callable[..., Any]
) -> None:
    """Orders were recorded up to the first page, whose ``next`` leads nowhere: what is not on it is not excluded."""
    base, recording, _ = servers[server]
    identifier = next(one for one, name in recording.ids.items() if name == "syn-esrd")

    facts = facts_of(base, call(base, identifier), newest(recording, "syn-esrd"))

    assert State.COMPLETE is facts.state(PATIENT)
    assert State.TRUNCATED is facts.state(MEDICATIONS)
    assert facts.state(LABS).loaded


@pytest.mark.parametrize("server", recorded.BASES)
@pytest.mark.parametrize("name", PATIENTS)
def test_the_newest_phosphate_is_the_one_the_server_put_first(
    servers: Replayed, facts_of: Callable[..., Any], server: str, name: str
) -> None:
    base, recording, _ = servers[server]
    first = next(iter(recording.read(f"{name}.phosphate").get("entry", ())), None)
    identifier = next(one for one, known in recording.ids.items() if known == name)

    facts = facts_of(base, call(base, identifier), newest(recording, name))
    found = [float(one.reported) for one in facts.measurements.get("phosphate", ())][:1]

    assert found == ([first["resource"]["valueQuantity"]["value"]] if first else [])


def test_a_patient_that_no_server_knows_is_no_patient_without_findings(
    servers: Replayed, fetching_at: Callable[..., FlaskClient]
) -> None:
    for base, _, _ in servers.values():
        client = fetching_at(base, datetime(2026, 3, 1, tzinfo=UTC).timestamp())
        response = client.post(f"/cds-services/{SERVICE}", json=call(base, "00000000-0000-4000-8000-000000000000"))
        assert 412 == response.status_code
