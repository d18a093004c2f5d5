"""
What goes wrong inside: one rule never silences another, nothing is ever a 500, nothing is quoted (HOUSE.md 6 and 8).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import date
from typing import Any, NoReturn

import msgspec
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from cds_service.facts.evidence import NO, UNKNOWN, YES, Judgement, Verdict
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from cds_service.web.cds import Engine
from cds_service.web.logs import ALLOWED, JsonLines
from tests.build import (
    LEFT_OUT,
    NOW,
    RXNORM,
    SERVICE,
    SNOMED,
    Resource,
    body,
    bundle,
    call,
    concept,
    condition,
    fired,
    observation,
    outcome,
    patient,
    prescription,
    quantity,
    to_json,
)
from tests.orders import draft, order_call

Tell = Callable[..., TestResponse]
MARK = "MARKED"
KIDNEY = [condition(), observation(value=8.1), observation("calcium-total", 9)]


def post(app: Flask, raw: bytes) -> TestResponse:
    """Post a body to the service."""
    return app.test_client().post(SERVICE, data=raw, content_type="application/json")


def broken(
    book: RuleBook, name: str, clause: Callable[..., Judgement], service_id: str = "calcinosis-patient-view"
) -> RuleBook:
    """Return the book with one rule of a service replaced by another clause."""
    service = book.services[service_id]
    rules = tuple(msgspec.structs.replace(rule, when=clause) if rule.id == name else rule for rule in service.rules)
    services = {**book.services, service.service.id: msgspec.structs.replace(service, rules=rules)}

    return msgspec.structs.replace(book, services=services)


def explode(*_: Any) -> NoReturn:
    """Fail as a rule might, with data in the message."""
    raise ZeroDivisionError(f"{MARK} Rossi, Anna")


# --- what cannot be used ----------------------------------------------------------------------------------------------

NOBODY: Resource = {"identifier": {"system": "urn:oid:1.2.3", "value": MARK}}
UNNAMED: Resource = {"medicationCodeableConcept": LEFT_OUT, "medicationReference": {"reference": f"Medication/{MARK}"}}


@pytest.mark.parametrize(
    ("sent", "unknown", "missing"),
    [
        ([condition(), observation(value=8.1, subject=NOBODY)], {"eskd-hyperphosphatemia", "eskd-missing-labs"}, ""),
        ([condition(subject=NOBODY), observation(value=8.1)], {"eskd-hyperphosphatemia"}, "conditions"),
        ([condition(), prescription(**UNNAMED)], {"vka-calciphylaxis-risk"}, "medications"),
    ],
    ids=["results", "conditions", "orders"],
)
def test_what_was_sent_and_could_not_be_used_is_not_taken_for_nothing(
    book: RuleBook, sent: list[Resource], unknown: set[str], missing: str
) -> None:
    """Nobody knows whose it is, or which drug: no card says that there is none, and no silence that all is well."""
    app = create_app(Settings(auth="none"), book=book, clock=NOW.timestamp)
    answer = post(app, body(*sent)).json or {}
    gaps = {gap["rule"]: gap["missing"] for gap in answer["extension"]["org.calcinosis-cds"]["not_evaluated"]}

    assert unknown <= gaps.keys()
    assert not unknown & fired(answer).keys()
    assert all(missing in " ".join(gaps[rule]) for rule in unknown)
    assert MARK not in json.dumps(answer)


# --- one rule fails --------------------------------------------------------------------------------------------------


@pytest.fixture(params=[ZeroDivisionError, RecursionError, KeyError, ValueError, AssertionError, MemoryError])
def lame(request: pytest.FixtureRequest, book: RuleBook) -> Flask:
    def fail(*_: Any) -> NoReturn:
        raise request.param(f"{MARK} Rossi, Anna")

    return create_app(Settings(auth="none"), book=broken(book, "vka-calciphylaxis-risk", fail), clock=NOW.timestamp)


def test_a_rule_that_fails_does_not_silence_the_others(lame: Flask) -> None:
    response = post(lame, body(*KIDNEY, prescription()))

    assert 200 == response.status_code
    assert "eskd-hyperphosphatemia" in fired(response.json or {})


def test_a_rule_that_failed_is_said_and_counted(lame: Flask) -> None:
    answer = post(lame, body(*KIDNEY, prescription())).json or {}
    gaps = {gap["rule"] for gap in answer["extension"]["org.calcinosis-cds"]["not_evaluated"]}

    assert "vka-calciphylaxis-risk" in gaps
    assert [1] == [count for name, count in lame.extensions["cds"].counted.items() if name.startswith("failed ")]


def test_what_a_rule_said_as_it_failed_is_never_repeated(lame: Flask) -> None:
    assert MARK.encode() not in post(lame, body(*KIDNEY, prescription())).data


def test_a_rule_whose_card_cannot_be_written_does_not_silence_the_others(book: RuleBook) -> None:
    """
    A finding without evidence leaves every hole of its wording empty.
    """
    odd = broken(book, "vka-calciphylaxis-risk", lambda *_: Judgement(YES, ""))
    app = create_app(Settings(auth="none"), book=odd, clock=NOW.timestamp)

    assert {"eskd-hyperphosphatemia", "vka-calciphylaxis-risk"} <= set(fired(post(app, body(*KIDNEY)).json or {}))


# --- nothing but the patient is known --------------------------------------------------------------------------------

NOBODY_ELSE = {"patient": patient()}


@pytest.mark.parametrize("kind", ["observations", "conditions", "medications", "procedures"])
def test_a_kind_of_which_there_is_nothing_is_something_known(app: Flask, kind: str) -> None:
    assert 200 == post(app, to_json(call({**NOBODY_ELSE, kind: bundle()}))).status_code


def test_a_card_that_age_alone_justifies_is_not_lost(book: RuleBook) -> None:
    odd = broken(book, "jdm-calcinosis", lambda *_: Judgement(YES, ""))
    response = post(create_app(Settings(auth="none"), book=odd, clock=NOW.timestamp), to_json(call(NOBODY_ELSE)))

    assert 200 == response.status_code
    assert ["jdm-calcinosis"] == list(fired(response.json or {}))


@pytest.mark.parametrize("hook", ["order-select", "order-sign"])
@pytest.mark.parametrize(("verdict", "status"), [(YES, 200), (NO, 200), (UNKNOWN, 412)])
def test_an_order_of_this_call_is_something_known(book: RuleBook, hook: str, verdict: Verdict, status: int) -> None:
    service = f"calcinosis-{hook}"
    odd = broken(book, "calcium-vitd-order-high-product", lambda *_: Judgement(verdict, ""), service)
    said = {**order_call(hook, draft(concept("1894", RXNORM))), "prefetch": NOBODY_ELSE}
    client = create_app(Settings(auth="none"), book=odd, clock=NOW.timestamp).test_client()

    assert status == client.post(f"/cds-services/{service}", json=said).status_code


# --- everything fails ------------------------------------------------------------------------------------------------


@pytest.fixture
def down(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setattr(Engine, "answer", explode)

    return make_app()


def test_an_unexpected_failure_is_503_and_asks_to_come_again(down: Flask) -> None:
    response = post(down, body())

    assert (503, "5") == (response.status_code, response.headers["Retry-After"])
    assert response.json is not None
    assert "OperationOutcome" == response.json["resourceType"]
    assert "Traceback" not in response.text


def test_an_unexpected_failure_repeats_nothing(down: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        response = post(down, body())

    formatted = [JsonLines().format(record) for record in caplog.records]
    assert MARK not in response.text
    assert MARK not in "".join([*formatted, caplog.text])
    assert "ZeroDivisionError" in "".join(formatted)


# --- what is logged --------------------------------------------------------------------------------------------------


def marked(resource: Resource) -> Resource:
    """Put a mark on everything that can name a patient or be quoted from a record."""
    return {
        **resource,
        "text": {"status": "generated", "div": f"<div>{MARK}-NARRATIVE</div>"},
        "identifier": [{"value": f"{MARK}-MRN"}],
    }


HOSTILE = [
    marked(condition(concept("46177005", SNOMED, f"{MARK}-TEXT", f"{MARK}-DISPLAY"))),
    marked(observation(valueQuantity=quantity(8.1, unit=f"mg/dL{{{MARK}-UNIT}}"), note=[{"text": f"{MARK}-NOTE"}])),
    marked(prescription(medicationCodeableConcept=concept("855332", RXNORM, f"{MARK}-DRUG"))),
]
NAMED = marked(patient(name=[{"family": f"{MARK}-NAME"}]))
STRANGER = observation(subject={"reference": f"Patient/{MARK}-ID"})
TOKEN = {"access_token": f"{MARK}-TOKEN", "token_type": "Bearer", "expires_in": 300, "scope": "x", "subject": "x"}
CONTEXT = {"userId": f"Practitioner/{MARK}-USER", "patientId": "pat-1"}
ENVELOPE: dict[str, Any] = {
    "fhirServer": f"https://{MARK}.example/fhir",
    "fhirAuthorization": TOKEN,
    "hookInstance": f"{MARK}-INSTANCE",
    "context": CONTEXT,
}
NO_DATA = {"conditions": outcome(), "observations": f"{MARK}-PAGE"}
BAD_ID = {**ENVELOPE, "context": {**CONTEXT, "patientId": f"{MARK} ID"}}
CALLS: list[tuple[str, bytes, int]] = [
    ("answered", body(*HOSTILE, **ENVELOPE, values={"patient": NAMED}), 200),
    ("another patient", body(*HOSTILE, STRANGER, **ENVELOPE), 412),
    ("no data", body(values=NO_DATA, **ENVELOPE), 200),
    ("bad id", body(**BAD_ID), 400),
    ("bad hook", body(**{**ENVELOPE, "hook": f"{MARK}-HOOK"}), 400),
    ("not JSON", b'{"hook": "' + MARK.encode() + b"-RAW", 400),
    ("twice", body(**ENVELOPE)[:-1] + b',"hook":"' + MARK.encode() + b'"}', 400),
    ("deep", b"[" * 100 + MARK.encode(), 400),
]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.DEBUG)

    return lambda: "\n".join([*(JsonLines().format(record) for record in caplog.records), caplog.text])


@pytest.mark.parametrize(("raw", "status"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
def test_nothing_that_names_a_patient_is_logged(app: Flask, logged: Callable[[], str], raw: bytes, status: int) -> None:
    response = post(app, raw)

    assert response.status_code in {status, 412}
    assert MARK not in logged()


@pytest.mark.parametrize("raw", [row[1] for row in CALLS[1:]], ids=[row[0] for row in CALLS[1:]])
def test_no_refusal_quotes_what_was_sent(app: Flask, raw: bytes) -> None:
    response = post(app, raw)

    assert response.status_code >= 400 or not (response.json or {})["cards"]
    assert MARK not in response.text


@pytest.mark.parametrize(
    "path",
    [
        f"/cds-services/{MARK}",
        f"/{MARK}",
        f"{SERVICE}?patient={MARK}",
        f"{SERVICE}/{MARK}",
        f"/cds-services/{MARK}%0d%0aX: y",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_address_is_logged_or_repeated(app: Flask, logged: Callable[[], str], path: str, method: str) -> None:
    response = app.test_client().open(
        path, method=method, data=body(), content_type="application/json", headers={"X-Request-Id": f"{MARK} ID"}
    )

    assert MARK not in response.text
    assert MARK not in str(response.headers)
    assert MARK not in logged()


def test_every_line_of_the_log_has_allowed_fields_only(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="cds_service"):
        for _, raw, _ in CALLS:
            post(app, raw)
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records if record.name == "cds_service"]

    assert len(CALLS) == len(lines)
    assert {"time", "level", *ALLOWED} >= {name for line in lines for name in line}
    assert {"call"} == {line["event"] for line in lines}


def test_a_log_line_says_how_a_call_ended(make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture) -> None:
    def results(app: Flask, *raws: bytes, media: str = "application/json") -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="cds_service"):
            for raw in raws:
                app.test_client().post(SERVICE, data=raw, content_type=media)
        return [record.__dict__["fields"]["result"] for record in caplog.records if record.name == "cds_service"]

    assert ["200", "not-json"] == results(make_app(), body(*KIDNEY), b"{")
    assert ["http-415"] == results(make_app(), body(), media="text/plain")
    assert ["401 no-issuers"] == results(make_app(auth="jwt"), body())


def test_a_log_line_never_breaks_and_never_carries_a_message() -> None:
    record = logging.LogRecord("cds_service", logging.INFO, "", 0, f"{MARK}\nforged", None, None)
    record.__dict__["fields"] = {"event": "call\n{}", "patient": MARK, "ms": 1.5}
    line = JsonLines().format(record)

    assert "\n" not in line
    assert MARK not in line
    assert {"time", "level", "event", "ms"} == set(json.loads(line))


# --- the clock -------------------------------------------------------------------------------------------------------


def test_the_clock_is_read_once_per_call_and_handed_down(book: RuleBook) -> None:
    ticks: list[float] = []

    def clock() -> float:
        ticks.append(NOW.timestamp())
        return ticks[-1]

    app = create_app(Settings(auth="none"), book=book, clock=clock)
    post(app, body(*KIDNEY))

    assert 1 == len(ticks)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati", "UTC"])
def test_the_zone_of_the_machine_makes_no_difference(app: Flask, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        there = fired(post(app, body(condition(), observation(value=8.1, days=89.9))).json or {})
    finally:
        monkeypatch.undo()
        time.tzset()

    assert "eskd-hyperphosphatemia" in there
    assert date(2026, 3, 1) == NOW.date()
