"""Every problem of a call is told once, with its place; what is sound is left in peace."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from cds_service.linting import Report, lint
from cds_service.linting.problems import ERROR, MODELS, NOTE, SERVICE, WARNING, Problem, gathered
from cds_service.rules import RuleBook
from tests.build import (
    LOINC,
    NOW,
    ROOT,
    STRANGER,
    condition,
    observation,
    patient,
    prescription,
    quantity,
    reference,
)
from tests.fixtures import calls

Json = dict[str, Any]
Look = Callable[[Any], Report]
KEYS = ("patient", "observations", "conditions", "medications", "statements", "procedures", "pastMedications")


@pytest.fixture(scope="module")
def look(book: RuleBook) -> Look:
    """Lint a call, or bytes."""

    def at(call: Any) -> Report:
        raw = call if isinstance(call, bytes) else json.dumps(call).encode()
        return lint(raw, book, book.services["calcinosis-patient-view"], NOW.timestamp())

    return at


def entries(*resources: Json) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in resources]}


@pytest.fixture
def call() -> Json:
    """Give a sound call that brings every key."""
    values: Json = {key: {"resourceType": "Bundle", "type": "searchset"} for key in KEYS}
    values |= {"patient": patient(), "observations": entries(observation()), "conditions": entries(condition())}
    return {
        "hook": "patient-view",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/1", "patientId": "pat-1"},
        "prefetch": values,
    }


def told(report: Report, slug: str) -> Problem:
    """Return the one problem of a kind."""
    found = [one for one in report.problems if one.slug == slug]
    assert 1 == len(found), [f"{one.slug} {one.pointer} {one.what}" for one in report.problems]
    return found[0]


def test_a_sound_call_is_left_in_peace(look: Look, call: Json) -> None:
    report = look(call)

    assert (True, ()) == (report.sound, report.problems)
    assert report.answer.startswith("The service would answer: ")
    assert "every rule could be evaluated" in report.answer


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "fixtures/requests/patient-view").glob("*"))])
def test_every_fixture_can_be_looked_at(look: Look, name: str) -> None:
    report = look((ROOT / "fixtures" / "requests" / "patient-view" / f"{name}.json").read_bytes())

    assert not [one for one in report.problems if one.severity == ERROR and name != "labs-not-loaded"]
    assert set(KEYS) == {one.key for one in report.keys}


def test_every_fault_of_the_envelope_is_told_not_only_the_first(look: Look, call: Json) -> None:
    call |= {"hook": "order-sign", "context": {"patientId": 7, "encounterId": ["x"]}, "fhirServer": 1}
    del call["hookInstance"]

    pointers = [one.pointer for one in look(call).problems if one.severity == ERROR]

    assert {
        "/hook",
        "/hookInstance",
        "/context/patientId",
        "/context/userId",
        "/context/encounterId",
        "/fhirServer",
    } <= set(pointers)


@pytest.mark.parametrize(
    "raw",
    [b"", b"nonsense", b"[]", b'"text"', b"\xff", b"{}", b'{"a": 1}', b'{"a":' * 3000 + b"1" + b"}" * 3000],
    ids=["empty", "nonsense", "array", "text", "not-utf-8", "nothing", "no-fhir", "deep"],
)
def test_what_is_no_call_is_said_plainly(look: Look, raw: bytes) -> None:
    report = look(raw)

    assert "it cannot be read" in report.answer
    assert report.count(ERROR)


def test_a_member_that_stands_twice_is_told_and_the_rest_is_still_looked_at(look: Look, call: Json) -> None:
    twice = json.dumps(call).replace('"hook":', '"hook": "patient-view", "hook":', 1).encode()

    report = look(twice)

    assert 1 == report.count(ERROR)
    assert "Were the errors mended" in report.answer
    assert report.keys


def test_what_is_set_aside_is_told_with_place_reason_and_remedy(look: Look, call: Json) -> None:
    unitless = observation(valueQuantity={"value": 7.1})
    call["prefetch"]["observations"] = entries(observation(), unitless, observation(status="entered-in-error"))

    report = look(call)
    problem = told(report, "unit-missing")

    assert "/prefetch/observations/entry/1/resource" == problem.pointer
    assert "Observation (phosphate) is set aside." == problem.what
    assert "UCUM" in problem.todo
    assert "status-entered-in-error (1)" in told(report, "rightly-aside").why


def test_the_same_thing_many_times_is_told_once(look: Look, call: Json) -> None:
    call["prefetch"]["observations"] = entries(*(observation(valueQuantity={"value": 7}) for _ in range(9)))

    problem = told(look(call), "unit-missing")

    assert (9, 4) == (problem.times, len(problem.also))


def test_what_is_no_fhir_r4_is_found_by_the_models_with_its_place(look: Look, call: Json) -> None:
    odd = prescription(category={"text": "an object"}, authoredOn="yesterday")
    call["prefetch"]["medications"] = entries(odd)

    found = [one for one in look(call).problems if one.found_by == MODELS]

    assert {
        "/prefetch/medications/entry/0/resource/category",
        "/prefetch/medications/entry/0/resource/authoredOn",
    } <= {one.pointer for one in found}


def test_a_bundle_is_held_to_fhir_too(look: Look, call: Json) -> None:
    call["prefetch"]["conditions"]["total"] = "many"

    assert "/prefetch/conditions/total" in [one.pointer for one in look(call).problems if one.found_by == MODELS]


def test_another_patients_data_are_an_error_at_their_place(look: Look, call: Json) -> None:
    strange = observation(subject=reference(STRANGER))
    call["prefetch"]["observations"] = entries(observation(), strange)

    problem = told(look(call), "stranger")

    assert (ERROR, "/prefetch/observations/entry/1/resource") == (problem.severity, problem.pointer)


def test_of_two_patients_only_the_stranger_is_blamed(look: Look, call: Json) -> None:
    call["prefetch"]["mother"] = patient(id=STRANGER)

    assert "/prefetch/mother" == told(look(call), "stranger").pointer


def test_keys_that_were_renamed_are_told(look: Look) -> None:
    report = look((ROOT / "fixtures" / "requests" / "patient-view" / "epic-open-chart.json").read_bytes())

    renamed = {one.pointer for one in report.problems if one.slug == "key-renamed"}
    assert "/prefetch/observations-user" in renamed
    assert {"observations-user"} <= {one.sent_as for one in report.keys}


def test_keys_are_told_by_what_is_known_of_them(look: Look, call: Json) -> None:
    del call["prefetch"]["procedures"]
    call["prefetch"]["conditions"] = "<html>404</html>"
    call["prefetch"]["observations"]["link"] = [{"relation": "next", "url": "https://ehr.example/more"}]

    report = look(call)

    assert (WARNING, "/prefetch/procedures") == (told(report, "key-missing").severity, "/prefetch/procedures")
    assert (ERROR, "/prefetch/conditions") == (told(report, "key-failed").severity, told(report, "key-failed").pointer)
    assert "/prefetch/observations" == told(report, "key-truncated").pointer
    assert "cds-service prefetch --hook patient-view" in told(report, "key-missing").todo


def test_where_a_fhir_server_is_named_a_missing_key_is_a_note(look: Look, call: Json) -> None:
    del call["prefetch"]["procedures"]
    call["fhirServer"] = "https://ehr.example/fhir"

    assert NOTE == told(look(call), "key-missing").severity


# --- codes -----------------------------------------------------------------------------------------------------------


def coded(code: str, system: str | None = LOINC, display: str = "") -> Json:
    coding = {"code": code} | ({"system": system} if system else {}) | ({"display": display} if display else {})
    return observation(code={"coding": [coding]})


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (coded("2777-7"), "2777-1 is Phosphate"),
        (coded("2777-1", None), "it is Phosphate in LOINC"),
        (coded("2777-1", "http://local/codes"), "it is Phosphate in LOINC"),
        (coded("PHOS", "http://local/codes", "Phosphate, serum"), "worded like Phosphate"),
    ],
    ids=["slip", "no-system", "other-system", "wording"],
)
def test_codes_that_are_nearly_ours_are_told_with_what_they_are_near(
    look: Look, call: Json, resource: Json, said: str
) -> None:
    call["prefetch"]["observations"] = entries(observation(), resource)

    problem = told(look(call), "near-miss")

    assert said in problem.what
    assert "/prefetch/observations/entry/1/resource" == problem.pointer


def test_words_without_a_code_are_told_where_they_name_something(look: Look, call: Json) -> None:
    call["prefetch"]["conditions"] = entries(condition(), condition(code={"text": "Calciphylaxis of the thigh"}))

    problem = told(look(call), "near-miss")

    assert problem.what.startswith("Words without a code mean nothing")
    assert "Calciphylaxis" in problem.what


def test_codes_that_are_near_nothing_are_told_together(look: Look, call: Json) -> None:
    call["prefetch"]["observations"] = entries(observation(), coded("8302-2"), coded("55284-4"))

    problem = told(look(call), "not-ours")

    assert (NOTE, 2) == (problem.severity, problem.times)


def test_a_unit_of_another_test_is_told_with_those_that_are_read(look: Look, call: Json) -> None:
    call["prefetch"]["observations"] = entries(observation(valueQuantity=quantity(7.1, "furlong")))

    assert "mg/dL" in told(look(call), "unit").why


# --- files that are no call ------------------------------------------------------------------------------------------


def test_a_prefetch_alone_is_read_as_that(look: Look, call: Json) -> None:
    call["prefetch"]["observations"] = entries(observation(valueQuantity={"value": 7}))

    report = look(call["prefetch"])

    assert "it was read as the prefetch of one" in told(report, "not-a-call").what
    assert "/observations/entry/0/resource" == told(report, "unit-missing").pointer


def test_one_value_of_a_prefetch_is_read_as_that(look: Look, call: Json) -> None:
    report = look(entries(observation(valueQuantity={"value": 7})))

    assert '"observations"' in told(report, "not-a-call").what
    assert "/entry/0/resource" == told(report, "unit-missing").pointer


def test_a_record_of_many_kinds_is_read_by_what_it_holds(look: Look) -> None:
    report = look((calls.FIXTURES / "patients" / "dialysis-high-phosphate.json").read_bytes())

    assert 1 == len([one for one in report.keys if one.key == "observations" and one.state == "loaded"])
    assert "card" in report.answer


def test_more_resources_than_are_looked_at_are_said(book: RuleBook, call: Json) -> None:
    call["prefetch"]["observations"] = entries(*(observation() for _ in range(30)))
    raw = json.dumps(call).encode()

    report = lint(raw, book, book.services["calcinosis-patient-view"], NOW.timestamp(), most=10)

    assert "the first 10 were looked at" in told(report, "too-many").what


def test_orders_of_the_context_are_held_to_fhir_too(book: RuleBook) -> None:
    path = ROOT / "fixtures" / "requests" / "order-select" / "nothing-named-yet.json"

    report = lint(path.read_bytes(), book, book.services["calcinosis-order-select"], calls.cast().noon)

    found = [one.pointer for one in report.problems if one.found_by == MODELS]
    assert any(one.startswith("/context/draftOrders/entry/0/resource") for one in found)


def test_nothing_is_changed_by_looking(look: Look, call: Json) -> None:
    before = deepcopy(call)

    assert look(call) == look(before)
    assert before == call


def test_the_costly_problems_come_first_and_the_report_is_plain_json(look: Look, call: Json) -> None:
    del call["context"]["userId"]
    call["prefetch"]["observations"] = entries(observation(valueQuantity={"value": 7}), coded("8302-2"))

    report = look(call)
    shown = json.loads(json.dumps(report.as_json()))

    severities = [one.severity for one in report.problems]
    assert sorted(severities, key=[ERROR, WARNING, NOTE].index) == severities
    assert (1, False) == (shown["errors"], shown["sound"])
    assert [(ERROR, SERVICE), (WARNING, SERVICE), (NOTE, SERVICE)] == [group[:2] for group in report.groups()]


def test_gathering_keeps_all_places_that_are_shown() -> None:
    problems = [Problem(NOTE, f"/{place}", "The same.") for place in range(3)]

    [one] = gathered(problems)

    assert (3, "/0", ("/1", "/2")) == (one.times, one.pointer, one.also)
