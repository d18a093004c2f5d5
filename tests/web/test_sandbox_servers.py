"""Charts of a FHIR server in the sandbox: only of servers that may be read, and by whoever may read them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask

from cds_service.adapters.ehr import LocalRecord
from cds_service.adapters.fhir import Origins
from cds_service.protocol.access import Access
from cds_service.web import Settings, create_app
from cds_service.web.sandbox.servers import Place, Servers
from tests.fixtures import calls
from tests.web.clinician import FLAGSHIP, Clinician

TOKEN = "secret-7f3a"


class Handler(BaseHTTPRequestHandler):
    """A FHIR server with one patient of the cast, which asks for a token."""

    record: LocalRecord
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.say(401, {"resourceType": "OperationOutcome", "issue": []})
            return
        url = self.path.removeprefix("/fhir/")
        if url.startswith("Patient?"):
            person = self.record.answer(f"Patient/{FLAGSHIP}", {})
            self.say(200, {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": person}]})
            return
        found = self.record.answer(url, {})
        self.say(404 if found is None else 200, found or {"resourceType": "OperationOutcome", "issue": []})

    def say(self, status: int, body: Any) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def server(asked: list[str]) -> Iterator[str]:
    """Give the address of a FHIR server."""
    handler = type("Here", (Handler,), {"record": calls.record(FLAGSHIP), "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{listening.server_port}/fhir"
        listening.shutdown()


def app(allow: str = "", **more: Any) -> Flask:
    settings = Settings(auth=more.pop("auth", "none"), sandbox=True, fhir_allow=allow, fhir_budget_ms=5_000)
    return create_app(settings, book=calls.book(), clock=lambda: calls.cast().noon)


def at_server(application: Flask, url: str, token: str = TOKEN) -> Clinician:
    """Choose a server."""
    page = Clinician(application, "chart-1")
    page.html = page.client.post("/sandbox/server", data={"url": url, "token": token}, follow_redirects=True).text
    return page


def opened(application: Flask, url: str) -> Clinician:
    """Open the chart of the server's patient."""
    page = at_server(application, url)
    page.html = page.client.post("/sandbox/server/open", data={"patient": FLAGSHIP}, follow_redirects=True).text
    return page


def test_a_chart_of_a_server_of_this_machine_shows_the_same_cards(server: str) -> None:
    page = opened(app(), server)
    sent = page.sent()

    assert "Paula Invented" in page.text
    assert ["warning"] == [card.indicator for card in page.cards()]
    assert (server, TOKEN) == (sent["fhirServer"], sent["fhirAuthorization"]["access_token"])
    assert sent["prefetch"].keys() == calls.templates().keys()


def test_the_list_of_a_server_names_its_patients(server: str) -> None:
    assert "Paula Invented" in at_server(app(), server).text


def test_no_page_shows_the_token_and_no_address_the_patient(server: str) -> None:
    page = opened(app(), server)
    behind = page.client.get("/sandbox/chart-1/calls/1")

    assert TOKEN not in page.html + behind.text
    assert FLAGSHIP not in behind.request.path
    assert TOKEN not in repr(Place(server, TOKEN))


def test_with_the_prefetch_left_out_the_service_reads_the_server_itself(server: str, asked: list[str]) -> None:
    page = opened(app(server), server)
    asked.clear()
    page.do("prefetch", prefetch="no")

    assert "prefetch" not in page.sent()
    assert asked
    assert ["warning"] == [card.indicator for card in page.cards()]
    assert "fired" in page.client.get("/sandbox/chart-1/calls/2").text


def test_what_was_signed_here_goes_along_with_what_the_server_holds(server: str) -> None:
    page = opened(app(), server).do("choose", choice="warfarin").do("sign").do("finish").do("look")
    medications = [one["resource"] for one in page.sent()["prefetch"]["medications"]["entry"]]

    assert {"active"} == {one["status"] for one in medications}
    assert "Warfarin 5 mg tablet" in {one["medicationCodeableConcept"]["text"] for one in medications}
    assert 4 == len(medications)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "https://fhir.example.org/r4",
        "http://10.0.0.1/fhir",
        "file:///etc/passwd",
        "http://127.0.0.1@evil.example/fhir",
        "http://127.0.0.1.evil.example/fhir",
        "http://localhost.evil.example/",
        "http://[::ffff:10.0.0.1]/",
        "",
    ],
)
def test_no_other_server_is_ever_contacted(url: str) -> None:
    page = Clinician(app())
    answer = page.client.post("/sandbox/server", data={"url": url})

    assert 403 == answer.status_code
    assert "may not be read" in answer.text


@pytest.mark.parametrize(
    "whence",
    [{"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}, {"base_url": "http://rebound.example"}],
    ids=["another machine", "another name"],
)
def test_servers_of_this_machine_are_for_who_sits_at_it(server: str, whence: Any, asked: list[str]) -> None:
    application = app()

    assert 403 == application.test_client().post("/sandbox/server", data={"url": server}, **whence).status_code
    assert [] == asked


def test_where_the_service_asks_for_tokens_nobody_else_reads_records_through_the_sandbox(server: str) -> None:
    client = app(server, auth="jwt").test_client()
    outside: Any = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}

    assert 403 == client.post("/sandbox/server", data={"url": server}, **outside).status_code
    assert server not in client.get("/sandbox/", **outside).text
    assert server in client.get("/sandbox/").text


@pytest.mark.parametrize(
    ("token", "said"), [("", "the server asks for a token"), ("a b", "the token has characters that no token has")]
)
def test_a_server_that_does_not_answer_is_told_in_words(server: str, token: str, said: str) -> None:
    assert said in at_server(app(), server, token).text


def test_a_server_that_is_not_there_is_told_in_words() -> None:
    assert "nobody answers at this address" in at_server(app(), "http://127.0.0.1:1/fhir").text


@pytest.mark.parametrize("patient", ["nobody", "../admin", "a/b", "", "x" * 300])
def test_a_patient_that_cannot_be_read_opens_no_chart(server: str, patient: str) -> None:
    page = at_server(app(), server)
    answer = page.client.post("/sandbox/server/open", data={"patient": patient})

    assert 502 == answer.status_code


def test_without_a_server_chosen_there_is_no_list_of_patients() -> None:
    client = app().test_client()

    assert "session has ended" in client.get("/sandbox/server", follow_redirects=True).text
    assert "session has ended" in client.post("/sandbox/server/open", follow_redirects=True).text


def test_the_server_beside_the_demo_is_offered_and_its_token_known(server: str) -> None:
    application = app(server)
    application.extensions["sandbox_fhir"] = Access(server, TOKEN)

    assert "on the FHIR server beside this" in application.test_client().get("/sandbox/").text
    assert "Paula Invented" in at_server(application, server, token="").text


def test_servers_that_may_be_read_are_those_of_the_settings() -> None:
    servers = Servers(Origins.read("https://fhir.example.org/r4"))

    assert servers.may_read("https://fhir.example.org/r4", at_home=False)
    assert not servers.may_read("https://fhir.example.org", at_home=True)
    assert not servers.may_read("http://127.0.0.1:8080", at_home=False)
    assert all(
        servers.may_read(f"http://{host}:8080/fhir", at_home=True) for host in ("localhost", "[::1]", "127.0.0.2")
    )
