"""What an admin types is read strictly, and each mistake is said at its field."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.rules.book import RuleBook
from cds_service.web.admin.change_form import Typed, parsed_day, read_change, read_days, read_reason

RULE, TODAY = "eskd-hyperphosphatemia", date(2026, 11, 21)


def read(book: RuleBook, name: str, **fields: str) -> Typed:
    return read_change(fields, RULE, name, book, TODAY)


def test_a_number_with_a_point_is_a_decision_from_today_on(book: RuleBook) -> None:
    typed = read(book, "phosphate_high", value="6.5")

    assert typed.tuning is not None
    assert (Decimal("6.5"), TODAY, None) == (typed.tuning.value, typed.tuning.since, typed.tuning.until)
    assert {} == typed.errors


@pytest.mark.parametrize("text", ["5,5", " 5 ", "NaN", "1e400", "inf", "-5", "+5", "5.5.5", "", "\u0665", "0x5", "5_0"])
def test_what_is_not_surely_one_number_is_refused_at_its_field(book: RuleBook, text: str) -> None:
    typed = read(book, "phosphate_high", value=text)

    assert typed.tuning is None
    assert ["value"] == list(typed.errors)
    assert text == typed["value"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("phosphate_high", "5,5", '"5,5" is not a number as people write it, like 6.5.'),
        ("phosphate_high", "9", "9 lies outside what is allowed: 4.5 to 7 mg/dL."),
        ("quiet_hours", "9000", "9000 lies outside what is allowed: 0 to 8760 hours (365 days)."),
        ("rollout", "12.5", '"12.5" is not a whole number, like 24.'),
    ],
)
def test_what_is_wrong_is_said_in_words_of_the_page(book: RuleBook, name: str, text: str, said: str) -> None:
    """Not in names of the rule file, nor with how it is written in a shell."""
    assert said == read(book, name, value=text).errors["value"]


@pytest.mark.parametrize("text", ["4.4", "7.1", "0", "99999999999999999999"])
def test_no_number_crosses_the_allowed_band(book: RuleBook, text: str) -> None:
    assert "value" in read(book, "phosphate_high", value=text).errors


@given(text=st.text(max_size=30))
def test_whatever_is_typed_no_accepted_number_lies_outside_its_band(book: RuleBook, text: str) -> None:
    typed = read(book, "phosphate_high", value=text)

    assert (typed.tuning is None) == bool(typed.errors)
    if typed.tuning is not None:
        assert Decimal("4.5") <= Decimal(str(typed.tuning.value)) <= Decimal("7.0")


def test_a_change_begins_today_or_later(book: RuleBook) -> None:
    typed = read(book, "phosphate_high", value="6.5", since="2026-11-20")

    assert "past" in typed.errors["since"]
    assert "2026-11-21" in typed.errors["since"]
    assert not read(book, "phosphate_high", value="6.5", since="2026-12-01").errors


def test_a_change_ends_after_it_begins(book: RuleBook) -> None:
    assert "until" in read(book, "phosphate_high", value="6.5", since="2026-12-01", until="2026-12-01").errors
    assert not read(book, "phosphate_high", value="6.5", since="2026-12-01", until="2026-12-02").errors


@pytest.mark.parametrize(
    "text", ["2026-02-30", "20261121", "2026-W47-6", "tomorrow", "2026-11-21T10:00", " 2026-11-21"]
)
def test_a_day_is_written_in_one_way(book: RuleBook, text: str) -> None:
    assert parsed_day(text) is None
    assert "since" in read(book, "phosphate_high", value="6.5", since=text).errors


def test_every_mistake_is_said_at_once(book: RuleBook) -> None:
    typed = read(book, "phosphate_high", value="5,5", since="2026-11-20", until="never")

    assert {"value", "since", "until"} == set(typed.errors)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "pilot"),
        ("indicator", "info"),
        ("rollout", "25"),
        ("quiet_hours", "48"),
        ("reason.not-applicable", ""),
    ],
)
def test_other_things_are_read_by_their_kind(book: RuleBook, name: str, value: str) -> None:
    typed = read(book, name, value=value)

    assert typed.tuning is not None
    assert value == str(typed.tuning.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("status", "on"), ("indicator", "high"), ("rollout", "101"), ("quiet_hours", "1.5"), ("reason.nobodys", "x")],
)
def test_what_they_cannot_be_is_refused(book: RuleBook, name: str, value: str) -> None:
    assert "value" in read(book, name, value=value).errors


# --- exceptions ------------------------------------------------------------------------------------------------------


def exception(book: RuleBook, **fields: str) -> Typed:
    usual = {"key": "wounds", "kind": "diagnosis", "of": "calciphylaxis\n\n", "until": "2026-12-24"}
    return read(book, "exception", **(usual | fields))


def test_an_exception_has_a_name_a_kind_some_members_and_an_end(book: RuleBook) -> None:
    typed = exception(book)

    assert typed.tuning is not None, typed.errors
    assert ("exception.wounds", '{"kind": "diagnosis", "of": ["calciphylaxis"]}') == (
        typed.tuning.name,
        typed.tuning.value,
    )


@pytest.mark.parametrize(
    ("field", "text", "wrong"),
    [
        ("key", "Wounds!", "key"),
        ("key", "", "key"),
        ("kind", "", "kind"),
        ("kind", "everybody", "kind"),
        ("of", " \n ", "value"),
        ("of", "no-such-diagnosis", "value"),
        ("until", "", "until"),
        ("until", "2027-11-21", "until"),
    ],
)
def test_an_exception_that_lacks_something_is_refused(book: RuleBook, field: str, text: str, wrong: str) -> None:
    typed = exception(book, **{field: text})

    assert typed.tuning is None
    assert wrong in typed.errors


def test_an_exception_is_ended_without_an_end(book: RuleBook) -> None:
    typed = read(book, "exception.wounds", kind="none")

    assert typed.tuning is not None
    assert "" == typed.tuning.value


# --- saving ----------------------------------------------------------------------------------------------------------


def test_a_reason_says_something() -> None:
    assert "why" in read_reason({"why": " because  "}).errors
    assert "why" in read_reason({}).errors
    assert "why" in read_reason({"why": "x" * 2_001}).errors
    assert {} == read_reason({"why": "phosphate target of our unit"}).errors


def test_a_reason_is_kept_on_one_line() -> None:
    assert "phosphate target of our unit" == read_reason({"why": " phosphate\n target of  our unit "})["why"]


def test_the_days_of_a_saved_change_are_those_of_the_form(book: RuleBook) -> None:
    tuning = read(book, "phosphate_high", value="6.5").tuning
    assert tuning is not None
    form = Typed({"since": "2026-12-01", "until": "2026-12-24"})
    found = read_days(form, tuning, TODAY)

    assert (date(2026, 12, 1), date(2026, 12, 24), {}) == (found.since, found.until, form.errors)


def test_an_exception_is_not_saved_for_longer_than_it_may_hold(book: RuleBook) -> None:
    tuning = exception(book).tuning
    assert tuning is not None
    form = Typed({"since": "2026-12-01", "until": "2027-12-01"})
    read_days(form, tuning, TODAY)

    assert "until" in form.errors
