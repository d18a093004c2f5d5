"""The script that fills the FHIR server of the compose sandbox, against a server of four lines."""

from __future__ import annotations

import json
import runpy
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.house.source import ROOT

LOADER = runpy.run_path(str(ROOT / "deploy" / "sandbox" / "load_fixtures.py"))


class Server(BaseHTTPRequestHandler):
    """Takes every Bundle, but one whose first resource is called "refused"."""

    received: list[dict[str, Any]]

    def do_GET(self) -> None:
        self.answer(200)

    def do_POST(self) -> None:
        bundle = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.received.append(bundle)
        self.answer(422 if bundle["entry"][0]["resource"]["id"] == "refused" else 200)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Give a FHIR server's address, and the list of what it was sent."""
    received: list[dict[str, Any]] = []
    handler = type("Handler", (Server,), {"received": received})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{listening.server_port}", received
        listening.shutdown()


def write_patient(folder: Path, identifier: str) -> None:
    """Write a fixture of one patient."""
    entry = {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": identifier}}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
    (folder / f"{identifier}.json").write_text(json.dumps(bundle), encoding="utf-8")


def test_a_patient_is_put_under_its_own_id(tmp_path: Path, server: tuple[str, list[dict[str, Any]]]) -> None:
    write_patient(tmp_path, "frida")

    assert 0 == LOADER["main"](str(tmp_path), server[0])

    sent = server[1][0]
    assert "transaction" == sent["type"]
    assert {"method": "PUT", "url": "Patient/frida"} == sent["entry"][0]["request"]


def test_one_refused_patient_does_not_stop_the_others(
    tmp_path: Path, server: tuple[str, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    for identifier in ("refused", "zoe"):
        write_patient(tmp_path, identifier)

    assert 1 == LOADER["main"](str(tmp_path), server[0])

    assert "zoe.json: loaded\n" == capsys.readouterr().out


def test_the_stories_can_be_told_as_if_they_were_todays(
    tmp_path: Path, server: tuple[str, list[dict[str, Any]]]
) -> None:
    """
    The day of the cast becomes today; whoever was born then is born as much earlier as all else is moved.
    """
    today = datetime.now(UTC).date()
    (tmp_path / "cast.yaml").write_text(f"day: {today - timedelta(days=10)}\n", encoding="utf-8")
    patients = tmp_path / "patients"
    patients.mkdir()
    resource = {"resourceType": "Patient", "id": "frida", "deceasedDateTime": f"{today - timedelta(days=11)}T08:00:00Z"}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource}]}
    (patients / "frida.json").write_text(json.dumps(bundle), encoding="utf-8")

    assert 0 == LOADER["main"](str(patients), server[0], "--as-if-today")

    sent = server[1][0]["entry"][0]["resource"]
    assert f"{today - timedelta(days=1)}T08:00:00Z" == sent["deceasedDateTime"]


def test_every_fixture_can_be_loaded() -> None:
    for path in sorted((ROOT / "fixtures" / "patients").glob("*.json")):
        LOADER["transaction"](json.loads(path.read_bytes()))
