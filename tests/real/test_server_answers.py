"""
Answers recorded from two FHIR servers, served again: the service reads them as it reads prefetch (../shared/data).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from flask import Flask

from cds_service.facts import bundles
from cds_service.protocol.prefetch import State
from tests.build import ROOT, call, to_json
from tests.faults.asking import Make, post, reasons
from tests.faults.servers import Asked, Reply, answering, not_found, running

DATA = ROOT.parent / "shared" / "data" / "server-responses"
SERVERS = ("medplum", "sekmet")
CASTS = ("mimic-esrd", "mimic-anticoag", "syn-esrd", "syn-dialysis", "syn-lupus")
KINDS = {
    "Observation": ("phosphate", "calcium", "albumin-1"),
    "Condition": ("conditions-active", "conditions-all-p1"),
    "MedicationRequest": ("medrequests-include",),
}
Json = dict[str, Any]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="recorded answers are kept outside the project (../shared/data)"),
]


def recorded(server: str, name: str) -> Json:
    found: Json = json.loads((DATA / server / f"{name}.json").read_bytes())
    return found


def bases(server: str) -> str:
    return {"medplum": "http://127.0.0.1:18103/fhir/R4", "sekmet": "http://127.0.0.1:18090/fhir"}[server]


def route(server: str, who: str, turn: int) -> Callable[[Asked], Reply]:
    """Answer with what was recorded for a patient; of several answers for one kind the one whose turn it is."""

    def answer(asked: Asked) -> Reply:
        target = urlsplit(asked.target)
        kind = target.path.removeprefix("/fhir/").partition("/")[0]
        if kind == "Patient":
            body: Any = recorded(server, f"{who}.patient")
        elif "_offset" in dict(parse_qsl(target.query)):
            return not_found()  # only first pages were recorded
        elif kind in KINDS:
            body = recorded(server, f"{who}.{KINDS[kind][turn % len(KINDS[kind])]}")
        else:
            body = recorded(server, "ok.empty")
        text = json.dumps(body).replace(bases(server), f"http://{asked.headers['host']}/fhir")
        return Reply(text.encode())

    return answer


@pytest.mark.parametrize("turn", [0, 1, 2])
@pytest.mark.parametrize("who", CASTS)
@pytest.mark.parametrize("server", SERVERS)
def test_what_a_server_answered_is_read(make_app: Make, server: str, who: str, turn: int) -> None:
    patient_id = recorded(server, f"{who}.patient")["id"]
    with running(answering(route(server, who, turn))) as fake:
        app: Flask = make_app(fhir_allow=f"{fake.base}/fhir", fhir_budget_ms=20_000)
        context = {"userId": "Practitioner/1", "patientId": patient_id}
        access = {"fhirServer": f"{fake.base}/fhir", "fhirAuthorization": {"access_token": "x", "expires_in": 300}}
        response, _ = post(app, to_json(call({}, context=context, **access)))

        assert (200, set()) == (response.status_code, reasons(response))
        paged = [path for path in fake.paths if "_offset=" in path and "_offset=0" not in path]
        assert all(path.startswith("/fhir/") for path in paged)


@pytest.mark.parametrize("server", SERVERS)
def test_its_refusals_are_gaps(make_app: Make, server: str) -> None:
    with running(answering(lambda _: Reply(recorded(server, "err.notfound"), 404))) as fake:
        app: Flask = make_app(fhir_allow=f"{fake.base}/fhir", fhir_budget_ms=20_000)
        response, _ = post(app, to_json(call({}, fhirServer=f"{fake.base}/fhir")))

        assert (412, {"status-404"}) == (response.status_code, reasons(response))


@pytest.mark.parametrize("server", SERVERS)
def test_an_empty_list_of_its_is_an_empty_list(server: str) -> None:
    raw = json.dumps(recorded(server, "ok.empty")).encode()

    assert State.EMPTY is bundles.open_value(msgspec.Raw(raw)).state


def test_everything_of_a_hapi_server_is_one_page_of_a_patient(make_app: Make) -> None:
    """
    A searchset of a real HAPI server, as the answer to every search: what it holds besides is set aside.
    """
    path = DATA.parent / "spec-examples" / "hapi-everything" / "michael_carter_everything.json"
    bundle = json.loads(path.read_bytes())
    people = [one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == "Patient"]

    def answer(asked: Asked) -> Reply:
        kind = asked.target.removeprefix("/fhir/").partition("?")[0].partition("/")[0]
        if kind == "Patient":
            return Reply(people[0])
        entries = [one for one in bundle["entry"] if one["resource"]["resourceType"] == kind]
        none = {"resourceType": "Bundle", "type": "searchset", "total": 0}
        return Reply({**bundle, "link": [], "entry": entries, "total": len(entries)} if entries else none)

    with running(answering(answer)) as fake:
        app: Flask = make_app(fhir_allow=f"{fake.base}/fhir", fhir_budget_ms=20_000)
        context = {"userId": "Practitioner/1", "patientId": people[0]["id"]}
        response, _ = post(app, to_json(call({}, context=context, fhirServer=f"{fake.base}/fhir")))

        assert (200, set()) == (response.status_code, reasons(response))
