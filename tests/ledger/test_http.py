"""Over HTTP: feedback is acknowledged when it is on disk, calls are written down, switches are obeyed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from cds_service import decoding
from cds_service.adapters.ledger import Ledger
from cds_service.adapters.ledger.database import PATIENCE
from cds_service.adapters.ledger.verifying import verify
from cds_service.protocol.caller import Caller
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from tests.build import NOW, SERVICE, body, condition, observation, patient
from tests.ledger.conftest import SECRET, OpenLedger, many
from tests.ledger.test_feedback import locked
from tests.moments import quickest, spent

FEEDBACK = f"{SERVICE}/feedback"
ITEM = {
    "card": "4e0a3a1e-890e-462f-8d3c-bbd46b18a0a1",
    "outcome": "overridden",
    "outcomeTimestamp": "2026-03-01T12:30:00Z",
    "overrideReason": {"reason": {"code": "x", "system": "https://y.example"}, "userComment": "not Mrs Example"},
}
KIDNEY = (patient(), condition(), observation(value=6.5), observation("calcium-total", 9.0), observation("pth", 300))


class Site:
    """A service with a ledger."""

    def __init__(self, book: RuleBook, ledger: Ledger | None) -> None:
        self.app: Flask = create_app(Settings(auth="none"), book=book, clock=NOW.timestamp, ledger=ledger)
        self.client = self.app.test_client()

    def tell(self, *items: Any, raw: bytes | None = None, to: str = FEEDBACK, **options: Any) -> TestResponse:
        said = json.dumps({"feedback": list(items)}).encode() if raw is None else raw
        return self.client.post(to, data=said, **{"content_type": "application/json", **options})

    def ask(self) -> dict[str, Any]:
        answer = self.client.post(SERVICE, data=body(*KIDNEY), content_type="application/json")
        assert 200 == answer.status_code
        return dict(answer.json or {})


@pytest.fixture
def site(book: RuleBook, ledger: Ledger) -> Site:
    return Site(book, ledger)


def not_evaluated(answer: dict[str, Any]) -> dict[str, list[str]]:
    said = answer.get("extension", {}).get("org.calcinosis-cds", {}).get("not_evaluated", ())
    return {one["rule"]: one["missing"] for one in said}


# --- feedback ---------------------------------------------------------------------------------------------------------


def test_feedback_is_acknowledged_with_an_empty_object(site: Site, ledger: Ledger) -> None:
    answers = [site.tell(ITEM), site.tell(ITEM), site.tell(ITEM, {**ITEM, "card": "another"})]

    assert [(200, b"{}")] * 3 == [(one.status_code, one.data) for one in answers]
    assert "no-store" == answers[0].headers["Cache-Control"]
    assert 2 == many(ledger.database, "feedback")


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b"", ""),
        (b"[]", ""),
        (b"{}", "/feedback"),
        (b'{"feedback":[]}', "/feedback"),
        (b'{"feedback":[1]}', "/feedback/0"),
        (b'{"feedback":[{"card":"","outcome":"accepted"}]}', "/feedback/0/card"),
        (b'{"feedback":[{"card":"x","outcome":"ignored"}]}', "/feedback/0/outcome"),
        (b'{"feedback":[{"card":"x","outcome":"overridden"}]}', "/feedback/0/outcomeTimestamp"),
    ],
)
def test_what_is_no_feedback_is_refused_with_the_place(site: Site, raw: bytes, where: str) -> None:
    answer = site.tell(raw=raw)

    assert 400 == answer.status_code
    assert ([where] if where else None) == (answer.json or {})["issue"][0].get("expression")


def test_one_wrong_item_refuses_the_message(site: Site, ledger: Ledger) -> None:
    assert 400 == site.tell(ITEM, {**ITEM, "outcome": "shrugged"}).status_code
    assert 0 == many(ledger.database, "feedback")


def test_an_unknown_service_another_type_and_another_method(site: Site) -> None:
    assert 404 == site.tell(ITEM, to="/cds-services/nobody/feedback").status_code
    assert 415 == site.tell(ITEM, content_type="text/plain").status_code
    assert 405 == site.client.get(FEEDBACK).status_code


def test_what_cannot_be_stored_is_not_acknowledged(site: Site, ledger: Ledger) -> None:
    with locked(ledger):
        answer = site.tell(ITEM)

    assert 503 == answer.status_code
    assert answer.headers["Retry-After"].isdecimal()
    assert "Example" not in answer.text
    assert 200 == site.tell(ITEM).status_code


def test_without_a_ledger_nothing_is_acknowledged(book: RuleBook) -> None:
    answer = Site(book, None).tell(ITEM)

    assert (503, True) == (answer.status_code, "Retry-After" in answer.headers)


def test_while_used_tokens_cannot_be_looked_up_feedback_of_a_client_waits(
    site: Site, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Caller("https://ehr.example")
    monkeypatch.setattr(site.app.extensions["cds"].door, "admit", lambda _path, _environ: known)
    assert 200 == site.tell(ITEM).status_code
    ledger.replays._rests_until = time.monotonic() + 60

    assert 503 == site.tell(ITEM).status_code


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_a_call_is_written_down_with_its_cards(site: Site, ledger: Ledger) -> None:
    answer = site.ask()
    assert ledger.flush(60)

    with ledger.database.reading() as connection:
        content, service = connection.exec_driver_sql("SELECT content, service FROM decisions").one()
        cards = connection.exec_driver_sql("SELECT id FROM cards ORDER BY number").scalars().all()
    said = decoding.decode(content)
    assert [card["uuid"] for card in answer["cards"]] == list(cards) == [card["id"] for card in said["cards"]]
    assert "eskd-hyperphosphatemia" in {one["rule"] for one in said["fired"]}
    assert SERVICE.endswith(service)
    assert [] == verify(ledger.database, SECRET).problems


def test_hooks_are_answered_at_once_while_the_ledger_is_locked(site: Site, ledger: Ledger) -> None:
    site.ask()
    with locked(ledger):
        slowest = quickest(lambda: max(spent(site.ask) for _ in range(4)))
    assert slowest < PATIENCE / 4
    assert ledger.flush(60)
    assert 21 == many(ledger.database, "decisions")


def test_hooks_are_answered_without_a_database(site: Site, sqlite_url: str, book: RuleBook, opened: OpenLedger) -> None:
    ledger = opened(sqlite_url)
    gone = Site(book, ledger)
    assert ledger.database.path is not None
    for path in ledger.database.path.parent.iterdir():
        path.unlink()

    assert site.ask()["cards"][0]["summary"] == gone.ask()["cards"][0]["summary"]
    assert 503 == gone.tell(ITEM).status_code


def test_an_override_over_http_keeps_quiet_in_another_process(url: str, book: RuleBook, opened: OpenLedger) -> None:
    one, other = opened(url), opened(url)
    first, second = Site(book, one), Site(book, other)
    cards = first.ask()["cards"]
    assert one.flush(60)
    before = "2026-03-01T11:59:00Z"
    second.tell(*({**ITEM, "card": card["uuid"], "outcomeTimestamp": before} for card in cards))
    other.look()
    one.look()

    for site in (first, second):
        held = site.ask()["extension"]["org.calcinosis-cds"]["held_back"]
        assert any("overridden on 2026-03-01" in each["reason"] for each in held)


# --- switches ---------------------------------------------------------------------------------------------------------


def test_a_rule_that_is_off_is_not_asked_and_named(site: Site, ledger: Ledger) -> None:
    ledger.switch("rule", "eskd-hyperphosphatemia", True, "dr-1", "wrong")
    answer = site.ask()

    assert ["switched off by the hospital"] == not_evaluated(answer)["eskd-hyperphosphatemia"]
    assert not any("eskd-hyperphosphatemia" in json.dumps(card) for card in answer["cards"])
    ledger.switch("rule", "eskd-hyperphosphatemia", False, "dr-1", "corrected")
    assert "eskd-hyperphosphatemia" not in not_evaluated(site.ask())


@pytest.mark.parametrize(("scope", "name"), [("service", SERVICE.rpartition("/")[2]), ("all", "")])
def test_a_service_that_is_off_says_of_every_rule_that_it_is(
    site: Site, ledger: Ledger, book: RuleBook, scope: str, name: str
) -> None:
    ledger.switch(scope, name, True, "dr-1", "wrong")
    answer = site.ask()
    active = {rule.id for rule in book.services[SERVICE.rpartition("/")[2]].rules if rule.status == "active"}

    assert [] == answer["cards"]
    assert active == set(not_evaluated(answer))
    assert 200 == site.tell(ITEM).status_code  # what was shown before may still be answered


def test_with_every_rule_off_the_answer_is_no_error(site: Site, ledger: Ledger, book: RuleBook) -> None:
    for rule in book.services[SERVICE.rpartition("/")[2]].rules:
        ledger.switch("rule", rule.id, True, "dr-1", "wrong")

    assert [] == site.ask()["cards"]


def test_a_call_that_nobody_can_read_is_answered_when_all_is_off(site: Site, ledger: Ledger) -> None:
    """The switch may have been thrown because of such calls."""
    ledger.switch("all", "", True, "dr-1", "wrong")

    assert 200 == site.client.post(SERVICE, data=b"{", content_type="application/json").status_code
