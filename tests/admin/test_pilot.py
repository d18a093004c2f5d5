"""A rule that is tried silently first: set to pilot on the admin pages, counted, looked at, and let speak again."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from tests.admin.conftest import Admin, Clock, SignIn
from tests.admin.test_change import PAGE, RULE, agreed, saved
from tests.build import NOW, ROOT

TODAY = NOW.date()
CALLS = ROOT / "fixtures" / "requests" / "patient-view"
SPOKEN_OF = "dialysis-high-phosphate"


def fire(app: Flask, name: str) -> list[str]:
    """Call the service as an EHR does; return the rules that speak on its cards."""
    answer = app.test_client().post(
        "/cds-services/calcinosis-patient-view",
        data=(CALLS / f"{name}.json").read_bytes(),
        content_type="application/json",
    )
    assert 200 == answer.status_code
    cards = json.loads(answer.text)["cards"]
    app.extensions["cds"].ledger.flush()
    return [rule["id"] for card in cards for rule in card["extension"]["org.calcinosis-cds"]["rules"]]


def text_of(shown: str) -> str:
    """Return what a reader reads of a page."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", shown))).replace(" .", ".").replace(" ,", ",")


def told(admin: Admin) -> str:
    """Return what the rule's page says of its pilot."""
    found = re.search(r'aria-label="Pilot">(.*?)</div>', admin.get(PAGE).text, re.DOTALL)
    return text_of(found[1]) if found else ""


def decide(sign_in: SignIn, status: str, **fields: Any) -> None:
    """Let eddie choose a status, and anna agree to it."""
    agreed(sign_in, saved(sign_in("eddie"), f"{PAGE}/change/status", value=status, **fields))


@pytest.fixture
def piloted(admin_app: Flask, sign_in: SignIn) -> Flask:
    """Put the rule into pilot, from the pages, after it has shown its card."""
    assert RULE in fire(admin_app, SPOKEN_OF)
    decide(sign_in, "pilot")
    return admin_app


def test_a_rule_in_pilot_shows_nothing_and_is_counted(piloted: Flask, sign_in: SignIn) -> None:
    assert RULE not in fire(piloted, SPOKEN_OF)
    assert [] == fire(piloted, "healthy")
    said = told(sign_in("vera"))

    assert f"In pilot since {TODAY}: asked silently 2 times;" in said
    assert "1 finding would have shown a card, 0 times it could not tell. Nobody saw a card." in said


def test_each_call_it_would_have_spoken_of_leads_to_its_trail(piloted: Flask, sign_in: SignIn) -> None:
    fire(piloted, SPOKEN_OF)
    admin = sign_in("vera")
    shown = admin.get(PAGE).text
    [trail] = re.findall(r'href="(/admin/activity/[^"]+)"', shown)
    page = admin.get(trail).text
    said = text_of(page)

    assert "above 5.5 mg/dL: 7.1 mg/dL" in said
    assert re.search(r"Kidney failure with high phosphate fired .{0,20}pilot", said), said
    assert f"/admin/activity?rule={RULE}" in shown
    assert trail in admin.get(f"/admin/activity?rule={RULE}").text


def test_before_it_was_tried_enough_a_second_person_lets_it_speak(piloted: Flask, sign_in: SignIn) -> None:
    assert RULE not in fire(piloted, SPOKEN_OF)
    said = told(sign_in("eddie"))
    assert "Making it active needs a second person: the rule was in pilot for 0 days and 1 evaluations" in said
    decide(sign_in, "active", base="1")

    assert RULE in fire(piloted, SPOKEN_OF)
    assert "asked silently 1 time" in told(sign_in("eddie"))
    assert "Making it active" not in told(sign_in("eddie"))


def test_after_two_weeks_an_editor_lets_it_speak_alone(piloted: Flask, sign_in: SignIn, clock: Clock) -> None:
    clock.now += timedelta(days=14).total_seconds()
    editor = sign_in("eddie")
    assert "an editor may make it active without a second person" in told(editor)
    saved(editor, f"{PAGE}/change/status", value="active", base="1")

    assert RULE in fire(piloted, SPOKEN_OF)


def test_a_rule_that_was_never_silent_says_nothing_of_a_pilot(admin_app: Flask, sign_in: SignIn) -> None:
    fire(admin_app, SPOKEN_OF)

    assert "" == told(sign_in("vera"))
