"""Decisions in words, and who asks for a second person."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import Chosen, Tuning, describe, exception_text, needs_approval, tuned

TODAY = date(2026, 3, 1)
RULE = "eskd-hyperphosphatemia"
EXCEPTION = exception_text("diagnosis", ["calciphylaxis"])


def decided(name: str, value: Chosen, rule: str = RULE, until: date | None = None) -> Tuning:
    return Tuning(rule, name, value, TODAY, "ab", "a reason that is long enough", until)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("phosphate_high", Decimal("6.5"), "phosphate that calls for review is 6.5 mg/dL"),
        ("status", "pilot", "asked silently and counted, without cards"),
        ("status", "retired", "it is not asked"),
        ("indicator", "critical", "its card is usually critical"),
        ("quiet_hours", 24, "quiet for 24 hours after an override"),
        ("rollout", 10, "shown in 10 of 100 encounters"),
        ("reason.not-applicable", "Not here", '"Does not apply to this patient" is worded "Not here"'),
        ("reason.not-applicable", "", "has its usual wording again"),
        ("exception.x", EXCEPTION, "no card for patients with Calciphylaxis (exception x)"),
        ("exception.x", exception_text("patients", ["p1", "p2"]), "no card for 2 patients (exception x)"),
        ("exception.x", exception_text("client", ["https://ehr.example"]), "calls of https://ehr.example"),
        ("exception.x", exception_text("user", ["Patient"]), "users of the kind Patient"),
        ("exception.x", "", "the exception x has ended"),
    ],
)
def test_a_decision_reads_as_a_sentence_with_its_days(book: RuleBook, name: str, value: Chosen, words: str) -> None:
    said = describe(decided(name, value, until=date(2026, 4, 1)), book)

    assert words in said
    assert said.startswith("Kidney failure with high phosphate: ")
    assert said.endswith(", from 2026-03-01 on up to the day before 2026-04-01")


def test_a_switch_is_switched_in_words(book: RuleBook) -> None:
    one = decided("include_advanced_ckd", True, "vka-calciphylaxis-risk")

    assert "is switched on, from 2026-03-01 on" in describe(one, book)


@pytest.mark.parametrize(
    ("one", "asked"),
    [
        (decided("phosphate_high", Decimal("6.5")), False),
        (decided("quiet_hours", 24), False),
        (decided("rollout", 50), False),
        (decided("rollout", 0), True),
        (decided("reason.not-applicable", "Other words"), False),
        (decided("indicator", "info"), False),
        (decided("indicator", "warning"), False),
        (decided("indicator", "critical"), True),
        (decided("status", "active"), False),
        (decided("status", "pilot"), True),
        (decided("status", "retired"), True),
        (decided("include_advanced_ckd", True, "vka-calciphylaxis-risk"), True),
        (decided("include_advanced_ckd", False, "vka-calciphylaxis-risk"), False),
        (decided("exception.x", EXCEPTION, until=TODAY + timedelta(9)), True),
        (decided("exception.x", ""), False),
    ],
)
def test_a_second_person_is_asked_for_what_may_do_harm(book: RuleBook, one: Tuning, asked: bool) -> None:
    assert asked == bool(needs_approval(one, book, TODAY, 0))
    assert needs_approval(one, book, TODAY, 0, everything=True)


@pytest.mark.parametrize(
    ("days", "evaluations", "asked"), [(0, 0, True), (13, 199, True), (14, 0, False), (0, 200, False)]
)
def test_a_rule_in_pilot_goes_live_after_two_weeks_or_two_hundred_evaluations(
    book: RuleBook, days: int, evaluations: int, asked: bool
) -> None:
    piloting = tuned(book, [decided("status", "pilot")], TODAY)

    why = needs_approval(decided("status", "active"), piloting, TODAY + timedelta(days), evaluations)

    assert asked == bool(why)


def test_a_rule_that_never_was_in_pilot_does_not_go_live_because_time_has_passed(book: RuleBook) -> None:
    retired = tuned(book, [decided("status", "retired")], TODAY)

    assert needs_approval(decided("status", "active"), retired, TODAY + timedelta(100), 0)
