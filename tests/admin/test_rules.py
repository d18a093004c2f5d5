"""The pages of rules: what stands on them is what is in force, and each part is there for everybody who may look."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask

from cds_service.adapters.ledger import Ledger
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import Tuning
from tests.admin.conftest import Admin
from tests.build import NOW, ROOT

RULE, FIXTURES = "eskd-hyperphosphatemia", ROOT / "fixtures"
SignIn = Callable[[str], Admin]


@pytest.mark.parametrize("who", ["vera", "eddie", "anna", "otto", "audrey"])
def test_everybody_who_signed_in_may_look(sign_in: SignIn, who: str) -> None:
    admin = sign_in(who)

    assert 200 == admin.get("/admin/rules").status_code
    assert 200 == admin.get(f"/admin/rules/{RULE}").status_code
    assert 200 == admin.get("/admin/changes").status_code


def test_every_rule_is_listed_with_owner_review_and_version(sign_in: SignIn, book: RuleBook) -> None:
    shown = sign_in("vera").get("/admin/rules").text

    for rule in book.rules.values():
        assert f'href="/admin/rules/{rule.id}"' in shown
        assert rule.owner in shown
    assert "reviewed 2026-11-21" in shown


def test_every_rule_has_a_page(sign_in: SignIn, book: RuleBook) -> None:
    admin = sign_in("vera")
    for rule in book.rules:
        shown = admin.get(f"/admin/rules/{rule}")
        assert 200 == shown.status_code, rule
        assert "ehr-card" in shown.text, rule
        assert "not as its file says" not in shown.text, rule


def test_a_rule_that_is_not_there_has_none(sign_in: SignIn) -> None:
    assert 404 == sign_in("vera").get("/admin/rules/nobodys").status_code
    assert 404 == sign_in("vera").get("/admin/changes/7").status_code


def test_the_page_says_why_when_what_and_on_what_evidence(sign_in: SignIn) -> None:
    shown = re.sub(r"\s+", " ", sign_in("vera").get(f"/admin/rules/{RULE}").text)

    for said in (
        "Phosphate that the failed kidney no longer clears",
        "newest usable Phosphate, at most 90 days old: above 5.5 mg/dL",
        "Kidney failure with phosphate 7.1 mg/dL (2026-02-19)",
        "KDIGO 2017, 4.1",
        "on hemodialysis, phosphate 7.1 last week",
        "Nobody changed anything yet.",
        "Allowed 4.5 to 7 mg/dL; the rule file says 5.5 mg/dL; in force 5.5 mg/dL.",
    ):
        assert said in shown


def test_only_editors_are_offered_to_change(sign_in: SignIn) -> None:
    offered = f"/admin/rules/{RULE}/change/phosphate_high"

    assert offered in sign_in("eddie").get(f"/admin/rules/{RULE}").text
    assert offered not in sign_in("vera").get(f"/admin/rules/{RULE}").text


def test_numbers_that_follow_another_lead_to_it(sign_in: SignIn) -> None:
    shown = sign_in("eddie").get(f"/admin/rules/{RULE}").text

    assert 'href="/admin/rules/ca-p-product-precipitation"><code>ca-p-product-precipitation.pair_window_hours' in shown
    assert f"/admin/rules/{RULE}/change/pair_window_hours" not in shown


def test_figures_count_what_was_recorded(admin_app: Flask, sign_in: SignIn) -> None:
    """One call of the cast, with phosphate 7.1 mg/dL on dialysis, is one finding and one card."""
    call = (FIXTURES / "requests" / "patient-view" / "dialysis-high-phosphate.json").read_bytes()
    answer = admin_app.test_client().post(
        "/cds-services/calcinosis-patient-view", data=call, content_type="application/json"
    )
    assert 200 == answer.status_code
    admin_app.extensions["cds"].ledger.flush()
    shown = sign_in("vera").get(f"/admin/rules/{RULE}").text
    tiles = dict(re.findall(r"<dt>([^<]+)</dt><dd>(\d+)</dd>", shown))

    assert {"Asked": "1", "Findings": "1", "Cards shown": "1", "Overridden": "0"}.items() <= tiles.items()


def decided(app: Flask, name: str, value: object) -> None:
    """Let somebody decide something, past the forms, and this process follow."""
    desk = app.extensions["admin"]
    tuning = Tuning(RULE, name, value, NOW.date(), "eddie", "for the test of pages")  # type: ignore[arg-type]
    desk.governance.propose(tuning, base=0, role="editor", origin="test")
    desk.follow()


def test_the_card_the_examples_and_the_picked_calls_have_the_numbers_in_force(
    admin_app: Flask, sign_in: SignIn
) -> None:
    """They play on a day of the past, on which what was decided today did not hold yet."""
    decided(admin_app, "phosphate_high", Decimal("6.5"))
    admin = sign_in("vera")
    shown = admin.get(f"/admin/rules/{RULE}").text

    assert "Latest Phosphate within 90 days above 6.5 mg/dL: 7.1 mg/dL" in shown
    assert "cannot tell: 2, 1 not as its file says" in shown
    assert "above 6.5 mg/dL: 7.1 mg/dL" in admin.get("/admin/explain?example=patient-view/dialysis-high-phosphate").text


def test_a_rule_that_is_switched_off_says_so_where_it_is_listed_and_on_its_page(
    admin_app: Flask, ledger: Ledger, sign_in: SignIn
) -> None:
    admin = sign_in("vera")
    pages = (f"/admin/rules/{RULE}", "/admin/rules")
    assert [0, 0] == [admin.get(page).text.count("switched off") for page in pages]
    ledger.switch("rule", RULE, True, "otto", "a wrong card was reported")

    assert [1, 1] == [admin.get(page).text.count(">switched off<") for page in pages]


@pytest.mark.parametrize("page", ["drift", "near", "activity", "feedback"])
def test_before_the_first_call_a_page_says_that_there_is_nothing_to_go_by(sign_in: SignIn, page: str) -> None:
    """All is well cannot be said of what was never asked."""
    shown = sign_in("vera").get(f"/admin/{page}").text

    assert re.search("No calls? (was recorded|in this time)", shown)
    assert "went silent or jumped" not in shown
    assert "left out</span>" not in shown


def test_who_opens_a_trial_is_still_among_the_rules(sign_in: SignIn) -> None:
    admin = sign_in("eddie")
    sent: dict[str, Any] = {"value": "6.5", "cohort": "population", "since": NOW.date().isoformat()}
    address = admin.post(f"/admin/rules/{RULE}/change/phosphate_high", **sent).headers["Location"]

    assert 'href="/admin/rules" aria-current="page"' in admin.get(address).text
