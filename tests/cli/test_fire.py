"""fire: acting as an EHR towards any CDS Hooks service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import responses

from tests.build import PATIENT, bundle, call, condition, observation, outcome, patient, prefetch, prescription
from tests.cli.conftest import Run
from tests.orders import collection, draft

CDS, FHIR = "https://cds.example", "https://fhir.example/r4"
ANNOUNCED = {
    "id": "kidney",
    "hook": "patient-view",
    "title": "Kidney watch",
    "prefetch": {"labs": "Observation?patient={{context.patientId}}&code=2777-1"},
}
CARD = {
    "summary": "Phosphate is high",
    "indicator": "warning",
    "source": {"label": "Guideline"},
    "detail": "**Why**\n- phosphate 7.1",
    "suggestions": [{"label": "Order PTH", "actions": []}],
    "overrideReasons": [{"code": "x", "system": "y", "display": "Already addressed"}],
    "links": [{"label": "Read", "url": "https://guideline.example"}],
}
GAP = {"org.calcinosis-cds": {"not_evaluated": [{"rule": "pth-due", "missing": ["pth"]}]}}


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    """Stand in for the network, with a service that answers one card."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.get(f"{CDS}/cds-services", json={"services": [ANNOUNCED]})
        mock.post(f"{CDS}/cds-services/kidney", json={"cards": [CARD], "extension": GAP})
        yield mock


def posted(web: responses.RequestsMock) -> Any:
    """Return the hook call that was sent."""
    body = web.calls[-1].request.body
    assert isinstance(body, bytes)
    return json.loads(body)


def test_cards_are_shown_readably(run: Run, web: responses.RequestsMock, chart: Callable[..., Path]) -> None:
    result = run("fire", CDS, "--patient", chart(patient(), observation()))

    assert 0 == result.exit_code, result.output
    for said in ("Kidney watch", "[WARNING]", "Phosphate is high", "phosphate 7.1", "[ ] Order PTH"):
        assert said in result.output
    for said in ("Already addressed", "Guideline", "https://guideline.example", "pth-due - missing: pth"):
        assert said in result.output


def test_the_prefetch_is_what_the_service_asks_for(
    run: Run, web: responses.RequestsMock, chart: Callable[..., Path]
) -> None:
    run("fire", CDS, "--patient", chart(patient(), observation(), observation("2951-2"), condition()))

    sent = posted(web)
    assert {"labs"} == sent["prefetch"].keys()
    assert 1 == sent["prefetch"]["labs"]["total"]
    assert PATIENT == sent["context"]["patientId"]


def test_a_patient_can_come_from_a_fhir_server(run: Run, web: responses.RequestsMock) -> None:
    web.get(f"{FHIR}/Observation?patient={PATIENT}&code=2777-1", json=bundle(observation()))

    result = run("fire", CDS, "--fhir", FHIR, "--patient-id", PATIENT, CDS_FHIR_TOKEN="t")

    assert 0 == result.exit_code, result.output
    assert FHIR == posted(web)["fhirServer"]
    assert "Bearer t" == web.calls[1].request.headers["Authorization"]


def test_an_order_can_be_signed(run: Run, chart: Callable[..., Path], tmp_path: Path) -> None:
    """
    The orders come from a file, or are the unsigned ones of the record.
    """
    announced = {**ANNOUNCED, "id": "orders", "hook": "order-select"}
    (tmp_path / "order.json").write_text(json.dumps(draft(id="given")), encoding="utf-8")
    (tmp_path / "orders.json").write_text(json.dumps(collection(draft(id="a"), draft(id="b"))), encoding="utf-8")
    record = chart(patient(), draft(id="own"), prescription())
    for given, orders in (((), ["own"]), (("order.json",), ["given"]), (("orders.json",), ["a", "b"])):
        about = ("--about", tmp_path / given[0]) if given else ()
        with responses.RequestsMock() as web:
            web.get(f"{CDS}/cds-services", json={"services": [announced]})
            web.post(f"{CDS}/cds-services/orders", json={"cards": []})
            result = run("fire", CDS, "--patient", record, "--hook", "order-select", *about)
            context = posted(web)["context"]

        assert 0 == result.exit_code, result.output
        assert [f"MedicationRequest/{one}" for one in orders] == context["selections"]
        assert orders == [one["resource"]["id"] for one in context["draftOrders"]["entry"]]


def test_a_complete_call_is_sent_as_it_is(run: Run, web: responses.RequestsMock, tmp_path: Path) -> None:
    document = call(prefetch(observation()), extension={"ours": 1})
    (tmp_path / "call.json").write_text(json.dumps(document), encoding="utf-8")

    run("fire", CDS, "--patient", tmp_path / "call.json")

    assert document == posted(web)


def test_the_call_can_be_kept(
    run: Run, web: responses.RequestsMock, chart: Callable[..., Path], tmp_path: Path
) -> None:
    run("fire", CDS, "--patient", chart(patient()), "--save", tmp_path / "kept.json")

    assert posted(web) == json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))


def test_a_refusal_is_explained(run: Run, web: responses.RequestsMock, chart: Callable[..., Path]) -> None:
    issue = {
        "severity": "error",
        "details": {"text": "No data."},
        "diagnostics": "Send prefetch.",
        "expression": ["/prefetch"],
    }
    web.replace("POST", f"{CDS}/cds-services/kidney", status=412, json=outcome(issue=[issue]))

    result = run("fire", CDS, "--patient", chart(patient()))

    assert 1 == result.exit_code
    for said in ("412", "No data.", "Send prefetch.", "/prefetch"):
        assert said in result.output


@pytest.mark.parametrize("junk", [[], "x", {"cards": "x"}, {"cards": [1, {"source": 5, "suggestions": {"a": 1}}]}])
def test_an_answer_that_is_no_cds_hooks_breaks_nothing(
    run: Run, web: responses.RequestsMock, chart: Callable[..., Path], junk: Any
) -> None:
    web.replace("POST", f"{CDS}/cds-services/kidney", json=junk)

    assert run("fire", CDS, "--patient", chart(patient())).exit_code in (0, 1)


def test_a_card_cannot_rewrite_the_terminal(run: Run, web: responses.RequestsMock, chart: Callable[..., Path]) -> None:
    web.replace("POST", f"{CDS}/cds-services/kidney", json={"cards": [CARD | {"summary": "all\x1b[2Jwell\x9b31m"}]})

    output = run("fire", CDS, "--patient", chart(patient())).output

    assert "\x1b" not in output
    assert "\x9b" not in output


def test_a_hook_that_nobody_answers_lists_the_services(
    run: Run, web: responses.RequestsMock, chart: Callable[..., Path]
) -> None:
    result = run("fire", CDS, "--patient", chart(patient()), "--hook", "order-sign")

    assert 2 == result.exit_code
    assert "kidney (patient-view)" in result.output


def test_of_several_services_one_is_chosen(run: Run, web: responses.RequestsMock, chart: Callable[..., Path]) -> None:
    web.replace("GET", f"{CDS}/cds-services", json={"services": [ANNOUNCED, ANNOUNCED | {"id": "second"}]})

    assert 2 == run("fire", CDS, "--patient", chart(patient())).exit_code
    assert 0 == run("fire", CDS, "--patient", chart(patient()), "--service", "kidney").exit_code


@pytest.mark.parametrize("words", [(), ("--fhir", FHIR), ("--fhir", FHIR, "--patient", ".")])
def test_a_patient_must_come_from_somewhere(run: Run, web: responses.RequestsMock, words: tuple[str, ...]) -> None:
    assert 2 == run("fire", CDS, *words).exit_code


def test_one_of_several_patients_is_chosen(run: Run, web: responses.RequestsMock, chart: Callable[..., Path]) -> None:
    both = chart(patient(), patient(id="second"))

    assert 2 == run("fire", CDS, "--patient", both).exit_code
    run("fire", CDS, "--patient", both, "--patient-id", "second")
    assert "second" == posted(web)["context"]["patientId"]


def test_a_server_that_is_not_there_is_said_not_to_be_there(run: Run, chart: Callable[..., Path]) -> None:
    result = run("fire", "http://127.0.0.1:9", "--patient", chart(patient()))

    assert 2 == result.exit_code
    assert "Nobody answers" in result.output
