"""What can be decided about a rule, in words."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from cds_service.errors import ContentError
from cds_service.publishing.parts import difference, part, parts, typed, worded
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import Chosen, Tuning, exception_text, tuned

RULE, TODAY = "eskd-hyperphosphatemia", date(2026, 11, 21)


def decided(book: RuleBook, name: str, value: Chosen, until: date | None = None) -> RuleBook:
    return tuned(book, [Tuning(RULE, name, value, TODAY, "eddie", "for a test", until)], TODAY)


def test_everything_that_can_be_decided_is_there_numbers_first(book: RuleBook) -> None:
    rule = book.rules[RULE]
    names = [one.name for one in parts(rule, book, book, TODAY)]

    assert names[: len(rule.thresholds)] == list(rule.thresholds)
    assert ["status", "indicator", "quiet_hours", "rollout"] == names[len(rule.thresholds) : len(rule.thresholds) + 4]
    assert [f"reason.{code}" for code in rule.card.override_reasons] == names[len(rule.thresholds) + 4 :]


def test_a_number_says_its_unit_its_band_and_what_the_files_say(book: RuleBook) -> None:
    one = part(RULE, "phosphate_high", book, decided(book, "phosphate_high", Decimal("6.5")), TODAY)

    assert ("6.5 mg/dL", "6.5", "mg/dL") == (one.value, one.number, one.unit)
    assert ("4.5 to 7 mg/dL", "5.5 mg/dL", "5.5 mg/dL") == (one.allowed, one.guideline, one.files)
    assert one.changed
    assert not part(RULE, "phosphate_high", book, book, TODAY).changed


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("status", "pilot", "pilot"),
        ("indicator", "critical", "critical"),
        ("quiet_hours", 48, "2 days"),
        ("quiet_hours", 36, "36 hours"),
        ("quiet_hours", 0, "not at all"),
        ("rollout", 25, "25 of 100 encounters"),
        ("rollout", 100, "all encounters"),
        ("reason.already-addressed", "Dealt with", "Dealt with"),
        ("reason.already-addressed", "", "Already addressed"),
        ("lookback_days", Decimal(30), "30 days"),
    ],
)
def test_a_decision_reads_as_people_say_it(book: RuleBook, name: str, value: Chosen, said: str) -> None:
    assert said == worded(book.rules[RULE], name, value, book)
    assert said == part(RULE, name, book, decided(book, name, value), TODAY).value


def test_an_exception_says_for_whom_it_is_and_never_which_patients(book: RuleBook) -> None:
    until = date(2026, 12, 24)
    by_diagnosis = exception_text("diagnosis", ["calciphylaxis"])
    tried = decided(book, "exception.wounds", by_diagnosis, until)
    some = worded(book.rules[RULE], "exception.some", exception_text("patients", ["a1b2", "c3d4"]), book)

    assert "exception.wounds" == parts(tried.rules[RULE], book, tried, TODAY)[-1].name
    assert part(RULE, "exception.wounds", book, tried, TODAY).value.startswith("no card for patients with a diagnosis")
    assert "no card for 2 patients" == some
    assert "none" == part(RULE, "exception.wounds", book, book, TODAY).value


def test_a_rule_has_no_part_that_it_does_not_have(book: RuleBook) -> None:
    with pytest.raises(ContentError):
        part(RULE, "nonsense", book, book, TODAY)


def test_what_is_typed_can_be_typed_again() -> None:
    values: list[Chosen | None] = [Decimal("6.50"), True, False, 720, "pilot", None]

    assert ["6.5", "true", "false", "720", "pilot", ""] == [typed(value) for value in values]


def test_a_difference_has_two_lines_or_none() -> None:
    assert ["number: 1", "number: 2"] == [line.text for line in difference("number", "1", "2")]
    assert () == difference("number", "1", "1")
