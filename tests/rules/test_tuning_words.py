"""Decisions in words, and who asks for a second person."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import msgspec
import pytest

from cds_service.rules.book import RuleBook
from cds_service.rules.model import Dated
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
        (decided("phosphate_high", Decimal("6.5")), True),
        (decided("phosphate_high", Decimal("4.5")), True),
        (decided("phosphate_high", Decimal("5.5")), False),
        (decided("phosphate_high", Decimal("5.50")), False),
        (decided("lookback_days", Decimal(30)), True),
        (decided("quiet_hours", 24), False),
        (decided("rollout", 50), True),
        (decided("rollout", 100), False),
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
    assert asked == bool(needs_approval(one, book, TODAY, 0, files=book))
    assert needs_approval(one, book, TODAY, 0, files=book, everything=True)


@pytest.mark.parametrize(
    ("days", "evaluations", "asked"), [(0, 0, True), (13, 199, True), (14, 0, False), (0, 200, False)]
)
def test_a_rule_in_pilot_goes_live_after_two_weeks_or_two_hundred_evaluations(
    book: RuleBook, days: int, evaluations: int, asked: bool
) -> None:
    piloting = tuned(book, [decided("status", "pilot")], TODAY)

    why = needs_approval(decided("status", "active"), piloting, TODAY + timedelta(days), evaluations, files=book)

    assert asked == bool(why)


def test_a_rule_that_never_was_in_pilot_does_not_go_live_because_time_has_passed(book: RuleBook) -> None:
    retired = tuned(book, [decided("status", "retired")], TODAY)

    assert needs_approval(decided("status", "active"), retired, TODAY + timedelta(100), 0, files=book)


def test_the_reason_names_the_guideline_value_with_its_unit(book: RuleBook) -> None:
    why = needs_approval(decided("phosphate_high", Decimal("6.50")), book, TODAY, 0, files=book)

    assert "6.5 mg/dL is not the guideline value of the rule file, 5.5 mg/dL" == why


def test_going_back_to_the_guideline_value_needs_nobody_whatever_is_in_force(book: RuleBook) -> None:
    now = tuned(book, [decided("phosphate_high", Decimal("6.5"))], TODAY)

    assert not needs_approval(decided("phosphate_high", Decimal("5.5")), now, TODAY, 0, files=book)
    assert needs_approval(decided("phosphate_high", Decimal("6.5")), now, TODAY, 0, files=book)


def with_values(book: RuleBook, *values: Dated) -> RuleBook:
    """Return a book whose files say something else of a number."""
    rule = book.rules["eskd-hyperphosphatemia"]
    number = msgspec.structs.replace(rule.thresholds["phosphate_high"], values=values)
    changed = msgspec.structs.replace(rule, thresholds={**rule.thresholds, "phosphate_high": number})
    return msgspec.structs.replace(book, rules={**book.rules, rule.id: changed}, memo={})


def test_the_value_of_a_site_file_was_reviewed_and_needs_nobody_either(book: RuleBook) -> None:
    """Both ways back are open to one person; whatever lies between or beyond is not."""
    long_ago = TODAY - timedelta(900)
    files = with_values(book, Dated(long_ago, Decimal("5.5")), Dated(TODAY, Decimal("6.0"), "site"))
    asked = {
        value: bool(needs_approval(decided("phosphate_high", Decimal(value)), files, TODAY, 0, files=files))
        for value in ("5.5", "5.7", "6.0", "6.5")
    }

    assert {"5.5": False, "5.7": True, "6.0": False, "6.5": True} == asked


@pytest.mark.parametrize(
    ("until", "asked"), [(None, True), (TODAY + timedelta(20), False), (TODAY + timedelta(40), True)]
)
def test_a_guideline_value_that_will_change_is_one_only_until_then(
    book: RuleBook, until: date | None, asked: bool
) -> None:
    change = TODAY + timedelta(30)
    files = with_values(book, Dated(TODAY - timedelta(9), Decimal("5.5")), Dated(change, Decimal("5.0")))
    one = decided("phosphate_high", Decimal("5.5"), until=until)

    assert asked == bool(needs_approval(one, files, TODAY, 0, files=files))


def test_a_switch_that_the_files_have_on_is_put_back_by_one_person(book: RuleBook) -> None:
    rule = book.rules["vka-calciphylaxis-risk"]
    on = msgspec.structs.replace(rule.thresholds["include_advanced_ckd"], values=(Dated(TODAY, True),))
    changed = msgspec.structs.replace(rule, thresholds={**rule.thresholds, "include_advanced_ckd": on})
    files = msgspec.structs.replace(book, rules={**book.rules, rule.id: changed}, memo={})
    asked = [
        bool(needs_approval(decided("include_advanced_ckd", value, rule.id), files, TODAY, 0, files=files))
        for value in (True, False)
    ]

    assert [False, True] == asked


def test_a_share_of_encounters_is_lowered_by_two_and_raised_by_one(book: RuleBook) -> None:
    half = tuned(book, [decided("rollout", 50)], TODAY)

    assert needs_approval(decided("rollout", 49), half, TODAY, 0, files=book)
    assert not needs_approval(decided("rollout", 60), half, TODAY, 0, files=book)


def test_a_rule_in_pilot_may_be_made_ready_for_a_few_encounters(book: RuleBook) -> None:
    piloting = tuned(book, [decided("status", "pilot")], TODAY)

    assert not needs_approval(decided("rollout", 10), piloting, TODAY, 0, files=book)
