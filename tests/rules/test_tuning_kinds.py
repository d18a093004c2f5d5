"""Everything else that an admin decides: status, urgency, quiet time, wording, rollout, exceptions."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from cds_service.errors import ContentError
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import (
    Chosen,
    Tuning,
    check,
    check_new,
    current,
    exception_text,
    kind_of,
    tuned,
    unfit,
)

TODAY = date(2026, 3, 1)
RULE = "eskd-hyperphosphatemia"
EXCEPTION = exception_text("diagnosis", ["calciphylaxis"])
SOON = TODAY + timedelta(30)


def decided(name: str, value: Chosen, *, rule: str = RULE, until: date | None = None, since: date = TODAY) -> Tuning:
    return Tuning(rule, name, value, since, "ab", "a reason that is long enough", until)


def test_each_name_is_of_one_kind() -> None:
    kinds = {
        "phosphate_high": "threshold",
        "status": "status",
        "indicator": "indicator",
        "quiet_hours": "quiet_hours",
        "rollout": "rollout",
        "reason.not-applicable": "reason",
        "exception.dialysis": "exception",
        "reason": "threshold",
        "exceptional": "threshold",
    }

    assert kinds == {name: kind_of(name) for name in kinds}


@pytest.mark.parametrize(
    ("name", "value", "before"),
    [
        ("phosphate_high", Decimal("6.5"), Decimal("5.5")),
        ("status", "pilot", "active"),
        ("indicator", "info", "warning"),
        ("quiet_hours", 24, 720),
        ("rollout", 10, 100),
        ("reason.not-applicable", "Not this one", "Does not apply to this patient"),
        ("exception.dialysis", EXCEPTION, None),
    ],
)
def test_what_is_decided_is_in_force_and_what_was_is_so_again_when_it_ends(
    book: RuleBook, name: str, value: Chosen, before: Chosen | None
) -> None:
    one = decided(name, value, until=SOON)
    values = [
        current(tuned(book, [one], day), RULE, name, day)
        for day in (TODAY - timedelta(1), TODAY, SOON - timedelta(1), SOON)
    ]

    assert [before, value, value, before] == values
    assert before == current(book, RULE, name, TODAY)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "off"),
        ("status", True),
        ("indicator", "urgent"),
        ("indicator", ""),
        ("quiet_hours", -1),
        ("quiet_hours", 8761),
        ("quiet_hours", Decimal("1.5")),
        ("quiet_hours", True),
        ("quiet_hours", "24"),
        ("rollout", 101),
        ("rollout", -1),
        ("rollout", True),
        ("reason.no-such-code", "words"),
        ("reason.mechanical-valve", "a code of another rule"),
        ("reason.not-applicable", "x" * 101),
        ("reason.not-applicable", "two\nlines"),
        ("reason.not-applicable", "<b>bold</b>"),
        ("reason.not-applicable", " blank at the edge"),
        ("reason.not-applicable", 5),
        ("exception.", EXCEPTION),
        ("exception.Big Words", EXCEPTION),
        ("exception.x", "no JSON"),
        ("exception.x", "[" * 100_000),
        ("exception.x", '{"kind": "diagnosis"}'),
        ("exception.x", '{"kind": "weather", "of": ["rain"]}'),
        ("exception.x", '{"kind": "diagnosis", "of": []}'),
        ("exception.x", '{"kind": "diagnosis", "of": "calciphylaxis"}'),
        ("exception.x", '{"kind": "diagnosis", "of": ["calciphylaxi"]}'),
        ("exception.x", '{"kind": "diagnosis", "of": ["phosphate"]}'),
        ("exception.x", '{"kind": "user", "of": ["Patients"]}'),
        ("exception.x", '{"kind": "patients", "of": ["a"], "more": 1}'),
        ("phosphate_high", Decimal("NaN")),
        ("phosphate_high", Decimal("Infinity")),
        ("phosphate_high", "6.0"),
    ],
)
def test_what_no_rule_can_have_is_refused(book: RuleBook, name: str, value: Chosen) -> None:
    with pytest.raises(ContentError):
        check(decided(name, value, until=SOON), book)


def test_an_exception_ends_after_half_a_year_at_the_latest(book: RuleBook) -> None:
    check(decided("exception.x", EXCEPTION, until=TODAY + timedelta(180)), book)

    for until in (None, TODAY + timedelta(181), TODAY, TODAY - timedelta(1)):
        with pytest.raises(ContentError):
            check(decided("exception.x", EXCEPTION, until=until), book)


def test_a_critical_card_is_quiet_for_a_week_at_most(book: RuleBook) -> None:
    critical = tuned(book, [decided("indicator", "critical")], TODAY)
    check(decided("quiet_hours", 168), critical)
    check(decided("quiet_hours", 169), book)
    with pytest.raises(ContentError) as refused:
        check(decided("quiet_hours", 169), critical)

    assert "out-of-range" == refused.value.slug


def test_a_new_decision_begins_today_at_the_earliest_and_has_a_reason(book: RuleBook) -> None:
    check_new(decided("status", "pilot"), book, TODAY)

    for one in (
        decided("status", "pilot", since=TODAY - timedelta(1)),
        Tuning(RULE, "status", "pilot", TODAY, "ab", "too short"),
        Tuning(RULE, "status", "pilot", TODAY, "ab", "  blanks    "),
    ):
        with pytest.raises(ContentError):
            check_new(one, book, TODAY)


def test_an_exception_is_ended_by_an_empty_one(book: RuleBook) -> None:
    both = [decided("exception.x", EXCEPTION, until=SOON), decided("exception.x", "")]

    assert () == tuned(book, both, TODAY).rules[RULE].exemptions


def test_an_empty_wording_is_the_usual_one_again(book: RuleBook) -> None:
    both = [decided("reason.not-applicable", "Other words"), decided("reason.not-applicable", "")]

    assert "Does not apply to this patient" == current(tuned(book, both, TODAY), RULE, "reason.not-applicable", TODAY)


def test_what_newer_files_refuse_is_skipped_and_named(book: RuleBook) -> None:
    one, other = decided("phosphate_high", Decimal("6.5")), decided("phosphate_gone", Decimal("6.5"))
    stranger, beyond = decided("status", "pilot", rule="no-such-rule"), decided("phosphate_high", Decimal(70))
    new = tuned(book, [one, other, stranger, beyond], TODAY)

    assert Decimal("6.5") == current(new, RULE, "phosphate_high", TODAY)
    assert [other, stranger, beyond] == [tuning for tuning, _ in unfit(book, [one, other, stranger, beyond])]
    assert all(why for _, why in unfit(book, [other, stranger, beyond]))


# --- the name of the book --------------------------------------------------------------------------------------------


def test_a_book_with_decisions_has_a_name_of_its_own(book: RuleBook) -> None:
    one, other = decided("phosphate_high", Decimal("6.5")), decided("phosphate_high", Decimal("6.0"))
    names = {tuned(book, found, TODAY).fingerprint for found in ([], [one], [other], [one, decided("rollout", 50)])}

    assert 4 == len(names)
    assert book.fingerprint in names


def test_a_value_that_was_put_back_gives_the_book_its_old_name(book: RuleBook) -> None:
    changed, back = decided("phosphate_high", Decimal("6.5")), decided("phosphate_high", Decimal("5.50"))

    assert book.fingerprint == tuned(book, [changed, back], TODAY).fingerprint
    assert tuned(book, [changed], TODAY).fingerprint == tuned(book, [back, changed], TODAY).fingerprint


def test_a_decision_to_come_changes_the_name_on_its_day(book: RuleBook) -> None:
    one = decided("phosphate_high", Decimal("6.5"), since=SOON)

    assert book.fingerprint == tuned(book, [one], TODAY).fingerprint
    assert book.fingerprint != tuned(book, [one], SOON).fingerprint


# --- urgency ---------------------------------------------------------------------------------------------------------


def test_of_status_indicator_and_the_rest_the_last_decision_that_holds_counts(book: RuleBook) -> None:
    for_ever, for_a_week = decided("status", "pilot"), decided("status", "retired", until=TODAY + timedelta(7))
    status = [tuned(book, [for_ever, for_a_week], day).rules[RULE].status for day in (TODAY, TODAY + timedelta(7))]

    assert ["retired", "pilot"] == status


def test_plain_data_give_the_same_decision_back(book: RuleBook) -> None:
    for one in (
        decided("phosphate_high", Decimal("6.50")),
        decided("include_advanced_ckd", True, rule="vka-calciphylaxis-risk"),
        decided("quiet_hours", 24, until=SOON),
        decided("exception.x", EXCEPTION, until=SOON),
    ):
        assert one == Tuning.of_plain(one.plain())
