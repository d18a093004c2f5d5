"""The collections in docs/ are what the command writes, and every request in them is answered as they say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.adapters.ledger import Key, Ledger
from cds_service.adapters.sandbox_server import SandboxServer
from cds_service.cli.collection import HTTP, POSTMAN, files
from cds_service.publishing.collection import BASE, CARD, FHIR, TOKEN, VARIABLES
from tests.build import ROOT
from tests.fixtures import calls

Json = dict[str, Any]
DOCS = ROOT / "docs"
_REQUEST = re.compile(r"(GET|POST) (\S+)(?:\nContent-Type: application/json\n\n(.*))?", re.DOTALL)


def in_http_file() -> dict[str, tuple[str, str, str, int]]:
    """Read the requests of the HTTP file by their names: method, address, body, status that is expected."""
    found = {}
    for part in re.split(r"^### ", (DOCS / HTTP).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name, about, rest = part.split("\n", 2)
        method, url, raw = _REQUEST.fullmatch(rest.strip()).groups()  # type: ignore[union-attr]
        expected = re.search(r"Expects (\d+)\.$", about)
        assert expected
        found[name] = (method, url, raw or "", int(expected[1]))
    return found


def in_postman() -> dict[str, tuple[str, str, str, int]]:
    """Read the same of the Postman collection."""
    found = {}
    for item in json.loads((DOCS / POSTMAN).read_bytes())["item"]:
        request = item["request"]
        script = "".join(item["event"][0]["script"]["exec"])
        status = int(re.findall(r"status\((\d+)\)", script)[0])
        raw = request.get("body", {}).get("raw", "")
        found[item["name"]] = (request["method"], request["url"]["raw"], raw, status)
    return found


LISTED = in_http_file() if (DOCS / HTTP).exists() else {}


@pytest.mark.parametrize("name", [HTTP, POSTMAN])
def test_the_files_are_what_the_command_writes(name: str) -> None:
    assert files(calls.book())[name] == (DOCS / name).read_text(encoding="utf-8"), "run: make docs"


def test_both_hold_the_same_requests() -> None:
    assert in_postman() == in_http_file()


def test_every_service_is_called() -> None:
    addresses = {url.rpartition("/")[2] for _, url, _, _ in LISTED.values()}

    assert set(calls.book().services) <= addresses


def test_the_files_name_their_variables_at_the_top() -> None:
    text = (DOCS / HTTP).read_text(encoding="utf-8")

    assert dict(re.findall(r"^@(\w+) = (.*)$", text, re.MULTILINE)) == VARIABLES
    assert set(re.findall(r"\{\{(\w+)\}\}", text)) == set(VARIABLES)


@pytest.fixture(scope="module")
def service(
    fhir: SandboxServer, application_with: Callable[..., FlaskClient], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlaskClient]:
    """Give the service of the demo: with its FHIR server and a ledger, on the day of the cast."""
    path: Path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    ledger = Ledger.open(f"sqlite:///{path}", Key(b"k" * 40), lambda: calls.cast().noon)
    ledger.start()
    yield application_with(fhir.base, ledger)
    ledger.close(5)


@pytest.mark.parametrize("name", LISTED)
def test_a_request_is_answered_as_it_says(service: FlaskClient, fhir: SandboxServer, name: str) -> None:
    method, url, raw, expected = LISTED[name]
    values = {BASE: "", FHIR: fhir.base, TOKEN: fhir.token, CARD: "0b7d2e0a-6a0f-4f5a-9d0b-0d9f3f6f0a11"}
    for variable, value in values.items():
        url, raw = url.replace(f"{{{{{variable}}}}}", value), raw.replace(f"{{{{{variable}}}}}", value)

    answer = service.open(url, method=method, data=raw or None, content_type="application/json" if raw else None)

    assert expected == answer.status_code, answer.text


def test_the_card_from_prefetch_does_not_grow_old(service: FlaskClient) -> None:
    """Whoever tries the collection in five years sees the same card."""
    _, _, raw, _ = LISTED["A card from prefetch"]
    from tests.interop.conftest import application

    later = application("http://127.0.0.1:1/fhir", calls.cast().noon + 5 * 365 * 86400).test_client()
    answers = [
        one.post("/cds-services/calcinosis-patient-view", data=raw, content_type="application/json").get_json()
        for one in (service, later)
    ]

    assert [["info"], ["info"]] == [[card["indicator"] for card in answer["cards"]] for answer in answers]
