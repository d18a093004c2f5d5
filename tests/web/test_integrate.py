"""The page for those who connect an EHR: what it shows, what it looks at, and what it keeps to itself."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from cds_service.protocol.access import Access
from cds_service.publishing.registering import EHRS
from cds_service.web.integrate import LIMIT, UNKNOWN_ADDRESS
from tests.build import ROOT, body, condition, observation, patient

MESSY = (ROOT / "fixtures" / "requests" / "patient-view" / "messy-record.json").read_text(encoding="utf-8")
PUBLIC = "https://cds.hospital.example"


@pytest.fixture(scope="module")
def demo(make_app: Callable[..., Flask]) -> FlaskClient:
    """Give the service as the demo runs it."""
    return make_app(sandbox=True).test_client()


@pytest.fixture(scope="module")
def production(make_app: Callable[..., Flask]) -> FlaskClient:
    """Give the service as a hospital runs it."""
    return make_app(auth="jwt", public_url=PUBLIC).test_client()


def test_the_addresses_to_register_are_shown(production: FlaskClient) -> None:
    page = production.get("/integrate/").text

    assert f"{PUBLIC}/cds-services/calcinosis-order-sign" in page
    assert "CDS_ISSUERS" in page
    assert "Authorization: Bearer $TOKEN" in page


def test_a_host_header_is_not_believed_in_production(make_app: Callable[..., Flask]) -> None:
    page = make_app(auth="jwt").test_client().get("/integrate/", headers={"Host": "evil.example"}).text

    assert "evil.example" not in page
    assert UNKNOWN_ADDRESS in page
    assert "CDS_PUBLIC_URL" in page


@pytest.mark.parametrize("ehr", EHRS)
def test_templates_are_shown_for_every_ehr(production: FlaskClient, ehr: str) -> None:
    answer = production.get(f"/integrate/?for={ehr}")

    assert 200 == answer.status_code
    assert "Patient/{{context.patientId}}" in answer.text
    assert ("left out" in answer.text.lower()) == (ehr == "oracle-health")


def test_an_ehr_that_nobody_knows_is_not_there(production: FlaskClient) -> None:
    assert 404 == production.get("/integrate/?for=nobody").status_code


def test_the_demo_names_its_fhir_server(make_app: Callable[..., Flask]) -> None:
    app = make_app(sandbox=True)
    app.extensions["sandbox_fhir"] = Access("http://127.0.0.1:8390/fhir", "sandbox-token")

    page = app.test_client().get("/integrate/").text

    assert "http://127.0.0.1:8390/fhir" in page
    assert "Bearer sandbox-token" in page


# --- looking at a call -----------------------------------------------------------------------------------------------


def test_a_pasted_call_is_looked_at(demo: FlaskClient) -> None:
    answer = demo.post("/integrate/", data={"call": MESSY, "service": "calcinosis-patient-view"})

    assert 200 == answer.status_code
    assert "It has no unit." in answer.text
    assert "/prefetch/observations/entry/3/resource" in answer.text


def test_a_file_is_looked_at(demo: FlaskClient) -> None:
    data = {"file": (io.BytesIO(MESSY.encode()), "call.json")}

    answer = demo.post("/integrate/", data=data, content_type="multipart/form-data")

    assert "It has no unit." in answer.text


def test_what_is_pasted_is_shown_as_text_only(demo: FlaskClient) -> None:
    hostile = '{"hook": "<script>alert(1)</script>", "prefetch": {"</textarea><img src=x>": {"resourceType": "<b>"}}}'

    page = demo.post("/integrate/", data={"call": hostile}).text

    assert "<script>" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("text", ["", "   "])
def test_nothing_is_not_looked_at(demo: FlaskClient, text: str) -> None:
    answer = demo.post("/integrate/", data={"call": text})

    assert 400 == answer.status_code
    assert "There is nothing to look at" in answer.text


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (
            "multipart/form-data; boundary=cut",
            b'--cut\r\nContent-Disposition: form-data; name="call"\r\n\r\n' + b"x" * LIMIT + b"\r\n--cut--\r\n",
        ),
        ("application/x-www-form-urlencoded", b"call=" + b"x" * LIMIT),
    ],
    ids=["multipart", "urlencoded"],
)
def test_what_is_too_large_is_not_looked_at(demo: FlaskClient, kind: str, raw: bytes) -> None:
    answer = demo.post("/integrate/", data=raw, content_type=kind)

    assert 413 == answer.status_code
    assert "512 kB" in answer.text


def test_a_machine_gets_json(demo: FlaskClient) -> None:
    answer = demo.post("/integrate/lint", data=MESSY, content_type="application/json")

    assert 200 == answer.status_code
    assert answer.get_json()["warnings"] >= 4


def test_a_machine_that_sends_too_much_is_refused(demo: FlaskClient) -> None:
    answer = demo.post("/integrate/lint", data=b"x" * (LIMIT + 1), content_type="application/json")

    assert (413, "OperationOutcome") == (answer.status_code, answer.get_json()["resourceType"])


def test_the_service_is_the_one_of_the_hook_or_the_one_chosen(demo: FlaskClient) -> None:
    call = body(patient(), condition(), observation())

    by_hook = demo.post("/integrate/lint", data=call).get_json()
    by_name = demo.post("/integrate/lint?service=calcinosis-order-sign", data=call).get_json()

    assert "calcinosis-patient-view" == by_hook["service"]
    assert "calcinosis-order-sign" == by_name["service"]
    assert 404 == demo.post("/integrate/lint?service=nobody", data=call).status_code


def test_one_call_is_looked_at_at_a_time(make_app: Callable[..., Flask]) -> None:
    """Linting costs much more than answering: whoever comes second is asked to wait, and hooks are answered."""
    app = make_app(sandbox=True)
    client = app.test_client()

    with app.extensions["integrate"].one:
        page = client.post("/integrate/", data={"call": MESSY})
        machine = client.post("/integrate/lint", data=MESSY)

    assert (503, 503) == (page.status_code, machine.status_code)
    assert "Try again" in page.text
    assert 200 == client.post("/integrate/lint", data=MESSY).status_code


def test_in_production_nothing_can_be_pasted_unless_the_site_says_so(
    production: FlaskClient, make_app: Callable[..., Flask]
) -> None:
    allowed = make_app(auth="jwt", public_url=PUBLIC, lint_form=True).test_client()

    assert 404 == production.post("/integrate/lint", data=MESSY).status_code
    assert 404 == production.post("/integrate/", data={"call": MESSY}).status_code
    assert "<form" not in production.get("/integrate/").text
    assert "cds-service lint-request" in production.get("/integrate/").text
    assert 200 == allowed.post("/integrate/lint", data=MESSY).status_code


def test_nothing_of_what_was_pasted_is_logged_or_kept(demo: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    marked = MESSY.replace("messy-record", "very-private-id")
    with caplog.at_level(logging.DEBUG):
        answer = demo.post("/integrate/lint", data=marked)

    assert 200 == answer.status_code
    assert "very-private-id" not in caplog.text
    assert "very-private-id" not in demo.get("/integrate/").text
    assert "no-store" == answer.headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/integrate/", "/integrate/?for=epic"])
def test_the_page_runs_no_script_and_loads_nothing_from_elsewhere(production: FlaskClient, path: str) -> None:
    answer = production.get(path)

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "<script" not in answer.text
    assert "no-referrer" == answer.headers["Referrer-Policy"]


def test_the_curl_commands_lead_to_addresses_that_answer(demo: FlaskClient) -> None:
    page = demo.get("/integrate/").text

    assert "curl -s http://localhost/cds-services</code>" in page
    assert 200 == demo.get("/cds-services").status_code
    assert json.loads(demo.post("/integrate/lint", data=MESSY).data)["keys"]
