"""Working in the sandbox: a deed changes the chart, fires its hook, and tells the service what became of its cards."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask

from cds_service.adapters.ledger import Key, Ledger
from cds_service.web import Settings, create_app
from cds_service.web.sandbox.advice import Shown, actions, read_advice
from cds_service.web.sandbox.calling import Call
from cds_service.web.sandbox.charts import MOST_CALLS, MOST_DRAFTS
from cds_service.web.sandbox.visits import COOKIE, MOST_CHARTS, Visits
from tests.fixtures import calls
from tests.web.clinician import FLAGSHIP, Clinician

WARFARIN, ENEMA = "Warfarin 5 mg tablet", "Sodium phosphate enema"


@pytest.fixture
def at_chart() -> Clinician:
    """Give a clinician who has just opened the chart of a dialysis patient with a high phosphate."""
    return Clinician().open()


@pytest.fixture
def with_ledger(tmp_path: Path) -> Iterator[Flask]:
    """Give the service with a ledger, which takes feedback."""
    key = Key(b"a key for tests, of which nobody need be afraid")
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", key, lambda: calls.cast().noon)
    yield create_app(
        Settings(auth="none", sandbox=True), book=calls.book(), clock=lambda: calls.cast().noon, ledger=ledger
    )
    ledger.close(1.0)


def test_choosing_an_order_drafts_it_and_shows_what_the_service_says(at_chart: Clinician) -> None:
    at_chart.do("choose", choice="warfarin")
    context = at_chart.sent()["context"]

    assert WARFARIN in at_chart.text
    assert ["warning"] == [card.indicator for card in at_chart.cards("order-select")]
    assert context["selections"] == [f"MedicationRequest/{at_chart.chart.drafts[0]['id']}"]
    assert ["draft"] == [entry["resource"]["status"] for entry in context["draftOrders"]["entry"]]
    assert at_chart.sent()["prefetch"].keys() == calls.templates("order-select").keys()


def test_only_the_order_that_is_being_chosen_is_selected(at_chart: Clinician) -> None:
    at_chart.do("choose", choice="warfarin").do("choose", choice="order-phosphate")
    context = at_chart.sent()["context"]

    assert 2 == len(context["draftOrders"]["entry"])
    assert [one for one in context["selections"] if one.startswith("ServiceRequest/")] == context["selections"]


def test_the_call_is_the_one_that_an_ehr_makes_which_follows_discovery(at_chart: Clinician) -> None:
    sent, made = at_chart.sent(), calls.call(FLAGSHIP)

    assert "https://ehr.example.org/" in sent["fhirServer"]
    assert made["context"] == sent["context"]
    assert made["prefetch"].keys() == sent["prefetch"].keys()
    assert all(_resources(made["prefetch"][key]) == _resources(sent["prefetch"][key]) for key in made["prefetch"])


def _resources(value: Any) -> list[Any]:
    """Return the resources of a prefetch value: a Bundle names its server, which is another."""
    return [entry["resource"] for entry in value.get("entry", ())] if value["resourceType"] == "Bundle" else [value]


def test_an_accepted_suggestion_becomes_an_order_in_the_chart_and_feedback(with_ledger: Flask) -> None:
    page = Clinician(with_ledger).open().accept("Order serum phosphate", "patient-view")
    feedback = page.sent()["feedback"]

    assert ["Phosphate"] == [one["code"]["text"] for one in page.chart.drafts]
    assert "✓ Order serum phosphate: drafted Phosphate" in page.text
    assert "Feedback sent." in page.text
    assert ("accepted", 200) == (feedback[0]["outcome"], page.chart.calls[0].status)
    assert feedback[0]["card"] == page.cards()[0].uuid


def test_the_same_suggestion_is_accepted_once(at_chart: Clinician) -> None:
    card = at_chart.cards()[0]
    form = {"service": "calcinosis-patient-view", "card": card.uuid, "suggestion": card.card["suggestions"][0]["uuid"]}
    at_chart.do("accept", **form).do("accept", **form)

    assert 1 == len(at_chart.chart.drafts)


def test_a_service_without_a_ledger_takes_no_feedback_and_the_chart_says_so(at_chart: Clinician) -> None:
    at_chart.accept("Order serum phosphate", "patient-view")

    assert "Feedback was not taken: the service answered 503." in at_chart.text
    assert 1 == len(at_chart.chart.drafts)


def test_a_harmful_order_is_taken_away_by_the_suggestion_of_its_card(at_chart: Clinician) -> None:
    at_chart.do("choose", choice="phosphate-enema").accept(f"Remove the order: {ENEMA}", "order-select")

    assert [] == at_chart.chart.drafts
    assert f"removed {ENEMA}" in at_chart.text
    assert ENEMA not in at_chart.html.split('id="orders-title"')[1].split("</section>")[0].split("</select>")[1]


def test_an_override_says_why_and_quiets_the_card(with_ledger: Flask) -> None:
    page = Clinician(with_ledger).open()
    card = page.cards()[0]
    reason = card.card["overrideReasons"][0]
    page.do("override", service="calcinosis-patient-view", card=card.uuid, reason=reason["code"], comment="seen today")
    [item] = page.sent()["feedback"]

    assert {"reason": reason, "userComment": "seen today"} == item["overrideReason"]
    assert f"Overridden: {reason['display']}: seen today" in page.text
    assert "Feedback sent." in page.text

    page.do("look")

    assert "overridden on 2026-03-01" in page.text


def test_an_override_of_one_visitor_quiets_nothing_of_another(with_ledger: Flask) -> None:
    page = Clinician(with_ledger).open()
    page.do("override", service="calcinosis-patient-view", card=page.cards()[0].uuid, reason="x")

    assert "overridden on" not in Clinician(with_ledger).open().text


def test_orders_that_nothing_is_said_about_are_signed_at_once(at_chart: Clinician) -> None:
    at_chart.do("choose", choice="order-phosphate").do("sign")

    assert [] == at_chart.chart.drafts
    assert ["active"] == [one["status"] for one in at_chart.chart.added]
    assert "Signed orders" in at_chart.text


def test_orders_with_cards_are_signed_when_the_clinician_says_so_again(at_chart: Clinician) -> None:
    at_chart.do("choose", choice="warfarin").do("sign")

    assert 1 == len(at_chart.chart.drafts)
    assert "read the cards, then decide" in at_chart.text
    assert [] == at_chart.cards("order-select")

    at_chart.do("finish")

    assert [] == at_chart.chart.drafts
    assert [] == at_chart.cards("order-sign")

    at_chart.do("look")

    assert any(
        entry["resource"]["medicationCodeableConcept"]["text"] == WARFARIN
        for entry in at_chart.sent()["prefetch"]["medications"]["entry"]
    )


def test_a_signed_order_is_dispatched(at_chart: Clinician) -> None:
    at_chart.do("choose", choice="phosphate-enema").do("sign").do("finish")
    order = f"MedicationRequest/{at_chart.chart.added[0]['id']}"
    at_chart.do("dispatch", reference=order)

    assert [order] == at_chart.sent()["context"]["dispatchedOrders"]
    assert ["critical"] == [card.indicator for card in at_chart.cards("order-dispatch")]


def test_a_patient_is_admitted_and_discharged(at_chart: Clinician) -> None:
    at_chart.do("admit")

    assert at_chart.chart.encounter == at_chart.sent()["context"]["encounterId"]
    assert "encounter-start" == at_chart.chart.calls[0].hook

    at_chart.do("discharge")

    assert "encounter-discharge" == at_chart.chart.calls[0].hook
    assert "Complete discharge" in at_chart.text

    at_chart.do("leave")

    assert "not admitted" in at_chart.text
    assert not at_chart.cards("encounter-start")


def test_a_new_problem_fires_and_stands_in_the_list(at_chart: Clinician) -> None:
    at_chart.do("add-problem", choice="skin-necrosis")

    assert ["critical"] == [card.indicator for card in at_chart.cards("problem-list-item-create")]
    assert "Skin necrosis" in at_chart.html.split('id="problems-title"')[1].split("</ul>")[0]

    at_chart.do("look")

    assert "critical" == at_chart.cards()[0].indicator


def test_a_refill_is_an_order_that_waits(at_chart: Clinician) -> None:
    page = Clinician(key="warfarin-for-af-on-dialysis").open()
    page.do("refill", reference="warfarin-for-af-on-dialysis-warfarin")

    assert "medication-refill" == page.chart.calls[0].hook
    assert ["draft"] == [one["status"] for one in page.chart.drafts]
    assert page.cards("medication-refill")


def test_an_appointment_is_booked() -> None:
    page = Clinician(key="dialysis-leg-ulcer-normal-labs").open().do("book", choice="skin-biopsy")

    assert "appointment-book" == page.chart.calls[0].hook
    assert page.cards("appointment-book")


@pytest.mark.parametrize(
    ("deed", "form"),
    [
        ("choose", {"choice": "arsenic"}),
        ("choose", {}),
        ("add-problem", {"choice": ""}),
        ("book", {"choice": "x"}),
        ("refill", {"reference": "x"}),
        ("remove", {"reference": "x"}),
        ("dispatch", {"reference": "x"}),
        ("sign", {}),
        ("discharge", {}),
        ("accept", {"service": "x", "card": "x", "suggestion": "x"}),
        ("accept", {"service": "calcinosis-patient-view", "card": "", "suggestion": ""}),
        ("override", {"service": "calcinosis-patient-view", "card": "x"}),
    ],
)
def test_what_makes_no_sense_does_nothing(at_chart: Clinician, deed: str, form: dict[str, str]) -> None:
    at_chart.do(deed, **form)

    assert 1 == len(at_chart.chart.calls)
    assert not at_chart.chart.drafts
    assert not at_chart.chart.added


def test_a_deed_that_there_is_not_is_not_found(at_chart: Clinician) -> None:
    assert 404 == at_chart.client.post(f"/sandbox/{FLAGSHIP}/burn").status_code


def test_a_closed_chart_opens_as_it_was(at_chart: Clinician) -> None:
    at_chart.do("choose", choice="warfarin")
    at_chart.client.post(f"/sandbox/{FLAGSHIP}/close")

    assert [] == at_chart.open().chart.drafts


def test_cards_can_be_shown_in_an_eighth_of_the_screen(at_chart: Clinician) -> None:
    at_chart.html = at_chart.client.post(
        "/sandbox/view", data={"key": FLAGSHIP, "width": "eighth"}, follow_redirects=True
    ).text

    assert 'class="screen eighth"' in at_chart.html


# --- sessions -------------------------------------------------------------------------------------------------------


def test_a_session_is_a_secret_that_other_sites_cannot_use(at_chart: Clinician) -> None:
    cookie = at_chart.client.get_cookie(COOKIE, path="/sandbox")

    assert cookie is not None
    assert (True, "Strict", "/sandbox") == (cookie.http_only, cookie.same_site, cookie.path)
    assert 43 == len(cookie.value)


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_form_of_another_site_is_refused(at_chart: Clinician, headers: dict[str, str]) -> None:
    answer = at_chart.client.post(f"/sandbox/{FLAGSHIP}/choose", data={"choice": "warfarin"}, headers=headers)

    assert 403 == answer.status_code
    assert not at_chart.chart.drafts


def test_two_visitors_work_in_charts_of_their_own(at_chart: Clinician) -> None:
    other = Clinician(at_chart.app).open()
    at_chart.do("choose", choice="warfarin")

    assert [] == other.open().chart.drafts


def test_without_its_cookie_a_form_leads_back_to_the_list(at_chart: Clinician) -> None:
    at_chart.client.delete_cookie(COOKIE, path="/sandbox")
    answer = at_chart.client.post(f"/sandbox/{FLAGSHIP}/choose", data={"choice": "warfarin"}, follow_redirects=True)

    assert "The session has ended" in answer.text


def test_sessions_end_after_a_while_and_are_not_many() -> None:
    now = [0.0]
    visits = Visits(most=2, idle=10.0, clock=lambda: now[0])
    first, second = visits.start(), visits.start()
    visits.find(first.id)
    third = visits.start()

    assert [first, None, third] == [visits.find(one.id) for one in (first, second, third)]

    now[0] = 10.1

    assert visits.find(first.id) is None
    assert 0 == len(visits)


def test_a_session_keeps_few_charts_drafts_and_calls(at_chart: Clinician) -> None:
    for _ in range(MOST_CALLS + 2):
        at_chart.do("look")
    for number in range(MOST_DRAFTS + 2):
        at_chart.chart.add_draft({"resourceType": "ServiceRequest", "id": f"x{number}"})

    assert (MOST_CALLS, MOST_DRAFTS) == (len(at_chart.chart.calls), len(at_chart.chart.drafts))

    for member in calls.cast().members[1 : MOST_CHARTS + 1]:
        at_chart.client.get(f"/sandbox/{member.patient}")

    with pytest.raises(KeyError):  # the oldest is closed
        at_chart.chart.shown()


# --- answers that are not ours ---------------------------------------------------------------------------------------


def answered(status: int, body: Any) -> Call:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Call(1, "patient-view", "/cds-services/x", "", status, 1.0, zlib.compress(b"{}"), zlib.compress(raw))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        {"cards": 7},
        {"cards": [7, None]},
        {"cards": [], "extension": []},
        {"extension": {"x": 1}},
    ],
)
def test_an_odd_answer_shows_no_card_and_breaks_nothing(body: Any) -> None:
    advice = read_advice(answered(200, body))

    assert ([], "", {}) == (advice.cards, advice.problem, advice.said)


def test_a_refusal_is_shown_in_its_words() -> None:
    outcome = {"issue": [{"details": {"text": "Not now."}, "diagnostics": "Later."}]}

    assert "The service answered 503: Not now. Later." == read_advice(answered(503, outcome)).problem
    assert "The service answered 502: without saying why." == read_advice(answered(502, b"<html>")).problem


def test_a_card_of_another_service_is_read_as_far_as_it_goes() -> None:
    card = {"summary": 7, "indicator": "hard-stop", "suggestions": [{"label": "x", "actions": [{"type": "dance"}, 3]}]}
    shown = read_advice(answered(200, {"cards": [card]})).cards[0]

    assert ("info", "") == (shown.indicator, shown.uuid)
    assert [] == list(actions(shown.card["suggestions"][0]))
    assert Shown({}).reason("x") is None
