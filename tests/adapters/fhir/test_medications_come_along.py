"""Searches of orders ask for the Medications too; a server that refuses that is asked without."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cds_service.adapters.deadline import Deadline
from cds_service.adapters.fhir import Completing, Origins, Wanted
from cds_service.adapters.fhir import completing as made
from cds_service.protocol.access import Access

ORDERS = {"medications": "MedicationRequest?patient={{context.patientId}}", "patient": "Patient/{{context.patientId}}"}


class Strict(BaseHTTPRequestHandler):
    """A server that refuses parameters it does not know, as Medplum does (recorded in ../shared)."""

    asked: list[str]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.asked.append(self.path)
        refused = "_include" in self.path or "patient=odd" in self.path
        raw = json.dumps({"resourceType": "OperationOutcome" if refused else "Bundle"}).encode()
        self.send_response(400 if refused else 200)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def strict() -> Iterator[tuple[str, list[str]]]:
    """Give the server's address, and what it was asked."""
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Strict,), {"asked": asked})) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_a_server_that_refuses_it_is_asked_without_and_remembered(strict: tuple[str, list[str]]) -> None:
    url, asked = strict
    completing = Completing(Origins.read(url), 5.0)

    for _ in range(2):
        found = completing.complete(Access(url), Wanted(ORDERS), {"patientId": "1"}, Deadline(5.0))
        assert ({"medications", "patient"}, {}) == (set(found.values), found.failed)

    assert 1 == sum("_include=MedicationRequest:medication" in path for path in asked)
    assert 2 == asked.count("/MedicationRequest?patient=1")


def test_a_client_that_names_ever_further_addresses_fills_no_memory(
    strict: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "_NARROW", 5)
    url, _ = strict
    completing = Completing(Origins.read(url), 5.0)
    for number in range(20):
        found = completing.complete(Access(f"{url}/{number}"), Wanted(ORDERS), {"patientId": "1"}, Deadline(5.0))
        assert {"medications", "patient"} == set(found.values)

    assert 5 == len(completing._narrow)


def test_one_patient_whom_the_server_refuses_changes_nothing_for_others(strict: tuple[str, list[str]]) -> None:
    """
    400 with the Medications and 400 without them says nothing about the Medications.
    """
    url, asked = strict
    completing = Completing(Origins.read(url), 5.0)
    found = completing.complete(Access(url), Wanted(ORDERS), {"patientId": "odd"}, Deadline(5.0))
    assert "status-400" == found.failed["medications"]
    completing.complete(Access(url), Wanted(ORDERS), {"patientId": "1"}, Deadline(5.0))

    assert "/MedicationRequest?patient=1&_include=MedicationRequest:medication" in asked
