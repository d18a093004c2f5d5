"""
One wrong request per file in fixtures/refusals, with the refusal it must get.

"request" says method, path, headers and the body: as JSON ("body"), as text ("body_text"), as bytes ("body_hex"),
or in parts of which some are repeated ("body_parts"). "settings" are those of the service, where they matter.
"answer" says the status, the slug of the problem, and the JSON Pointer to where it is.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.fixtures import calls

PATHS = sorted((calls.FIXTURES / "refusals").glob("*.json"))
MARKER = "marker-7f3"
SYSTEM = "https://calcinosis-cds.example/fhir/CodeSystem/problem"


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def refusal(request: pytest.FixtureRequest) -> dict[str, Any]:
    path: Path = request.param
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


@pytest.fixture
def answer(refusal: dict[str, Any]) -> TestResponse:
    request = refusal["request"]
    return client(request.get("settings", {}).get("auth", "none")).open(
        request["path"], method=request["method"], headers=request["headers"], data=body(request)
    )


@cache
def client(auth: str) -> FlaskClient:
    return calls.client(auth=auth)


def body(request: dict[str, Any]) -> bytes | None:
    if "body_hex" in request:
        return bytes.fromhex(request["body_hex"])
    if "body_parts" in request:
        return "".join(part(one) for one in request["body_parts"]).encode()
    if "body_text" in request:
        return str(request["body_text"]).encode()
    return json.dumps(request["body"]).encode() if "body" in request else None


def part(one: str | dict[str, Any]) -> str:
    return one if isinstance(one, str) else str(one["repeat"]) * int(one["times"])


def test_there_is_a_refusal_for_each_way_to_be_wrong() -> None:
    slugs = {json.loads(path.read_bytes())["answer"]["slug"] for path in PATHS}

    assert {
        *("not-json", "not-utf-8", "not-a-json-number", "duplicate-member", "too-deep"),
        *("invalid-request", "wrong-hook", "unknown-service", "wrong-patient", "no-data"),
        *("http-401", "http-404", "http-405", "http-413", "http-415"),
    } == slugs


def test_it_is_refused_with_its_status_and_problem(refusal: dict[str, Any], answer: TestResponse) -> None:
    issue = answer.get_json()["issue"][0]
    coding = issue["details"]["coding"][0]
    expected = refusal["answer"]

    assert (expected["status"], expected["slug"], SYSTEM) == (answer.status_code, coding["code"], coding["system"])
    assert expected.get("expression") == next(iter(issue.get("expression", ())), None)


def test_the_place_is_a_json_pointer_into_the_request(refusal: dict[str, Any]) -> None:
    """
    It points to a member that was sent, or to where a missing one belongs.
    """
    pointer, place = refusal["answer"].get("expression"), refusal["request"].get("body")
    if not pointer or refusal["answer"]["slug"] == "unknown-service":
        return

    *steps, _last = pointer.removeprefix("/").split("/")
    for step in steps:
        place = place[step]
    assert isinstance(place, dict)


def test_the_refusal_is_an_operation_outcome_that_says_what_is_wrong(answer: TestResponse) -> None:
    outcome = answer.get_json()
    OperationOutcome.model_validate(outcome)

    assert "application/json" == answer.mimetype
    assert "error" == outcome["issue"][0]["severity"]
    assert outcome["issue"][0]["details"]["text"].endswith(".")
    assert "cards" not in outcome


def test_nothing_of_the_request_is_repeated(refusal: dict[str, Any], answer: TestResponse) -> None:
    """
    What was sent may identify a patient. Every body carries a marker, which must not come back.
    """
    sent = body(refusal["request"])

    assert sent in (None, b"", b"null") or MARKER.encode() in sent or MARKER.encode("utf-16-le") in sent
    assert MARKER not in answer.text
    assert MARKER not in str(answer.headers)


def test_a_browser_is_told_to_keep_nothing(answer: TestResponse) -> None:
    assert ("no-store", "nosniff") == (answer.headers["Cache-Control"], answer.headers["X-Content-Type-Options"])
