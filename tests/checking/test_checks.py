"""A change held against the examples of its rule, and against patients who must stay silent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from cds_service.checking import Checks, before_and_after, checked, read_silent
from cds_service.checking.checks import said, touched
from cds_service.errors import ContentError
from cds_service.facts.evidence import YES
from cds_service.rules.book import RuleBook, load_book
from cds_service.rules.tuning import Tuning
from cds_service.rules.vignettes import Vignette, read_file, run, vignette_paths
from tests.build import ROOT

RULE, HOOKS, TODAY = "eskd-hyperphosphatemia", ROOT / "hooks", date(2026, 11, 21)
Try = Callable[..., Checks]


@pytest.fixture(scope="module")
def book() -> RuleBook:
    return load_book(HOOKS)


@pytest.fixture(scope="module")
def vignettes() -> Mapping[str, Sequence[Vignette]]:
    return {name: read_file(path) for name, path in vignette_paths(HOOKS).items()}


@pytest.fixture(scope="module")
def checks(book: RuleBook, vignettes: Mapping[str, Sequence[Vignette]]) -> Try:
    """Check a decision on top of others."""

    def check(rule: str, name: str, value: object, *others: Tuning) -> Checks:
        tuning = Tuning(rule, name, value, TODAY)  # type: ignore[arg-type]
        return checked(*before_and_after(book, others, tuning, TODAY), vignettes, read_silent(HOOKS))

    return check


def test_the_content_is_silent_where_it_has_to_be_and_every_patient_can_be_tried(book: RuleBook) -> None:
    silent = read_silent(HOOKS)

    assert len(silent) >= 10
    for rule in book.rules:
        for one in silent:
            result = run(msgspec.structs.replace(one, rule=rule), book)
            assert result.outcome is not None, (rule, result.wrong)
            assert result.outcome.verdict is not YES, (rule, one.name)


def test_a_change_that_changes_nothing_turns_no_example(checks: Try) -> None:
    found = checks(RULE, "phosphate_high", Decimal("5.5"))

    assert ((), "", 12) == (found.turned, found.refused, found.tried)


def test_examples_between_the_old_and_the_new_number_are_listed_with_what_becomes_of_them(checks: Try) -> None:
    found = checks(RULE, "phosphate_high", Decimal("6.9"))
    told = {one.name: (one.before, one.after) for one in found.turned}

    assert (RULE,) == found.rules
    assert "kidney failure known only from dialysis sessions" in told
    assert ("fires (warning)", "stays silent") == told["kidney failure known only from dialysis sessions"]
    assert "on hemodialysis, phosphate 7.1 last week" not in told
    assert "" == found.refused


def test_a_lower_number_lets_an_example_fire_that_its_file_says_is_silent(checks: Try) -> None:
    [one] = [one for one in checks(RULE, "phosphate_high", Decimal("5.0")).turned if "exactly" in one.name]

    assert ("stays silent", "stays silent", "fires (warning)") == (one.stated, one.before, one.after)
    assert any("5.5" in line for line in one.trail)


def test_a_higher_urgency_turns_the_examples_that_fire(checks: Try) -> None:
    found = checks(RULE, "indicator", "critical")

    assert {("fires (warning)", "fires (critical)")} == {(one.before, one.after) for one in found.turned}
    assert 6 == len(found.turned)


def test_a_number_that_others_borrow_is_held_against_their_examples_too(checks: Try, book: RuleBook) -> None:
    lender = "ca-p-product-precipitation"
    found = checks(lender, "pair_window_hours", Decimal(0))
    borrowers = {
        rule.id
        for rule in book.rules.values()
        if any(one.borrowed == (lender, "pair_window_hours") for one in rule.thresholds.values())
    }

    assert borrowers
    assert {lender, *borrowers} == set(found.rules)
    assert found.tried > 20


def test_what_was_decided_before_holds_in_both_books(checks: Try) -> None:
    earlier = Tuning(RULE, "phosphate_high", Decimal("6.9"), date(2026, 11, 1))

    assert not checks(RULE, "phosphate_high", Decimal("6.9"), earlier).turned
    assert "fires (warning)" in {one.after for one in checks(RULE, "phosphate_high", Decimal("5.5"), earlier).turned}


def test_a_change_that_wakes_a_healthy_patient_is_refused_and_says_whom(checks: Try) -> None:
    """A calcium of 10.4 mg/dL lies in the reference range of adults (KNOWLEDGE 2), above the lowest number allowed."""
    found = checks("hypercalcemia-workup", "ca_high", Decimal("10.2"))

    assert ["every result at the upper end of its range"] == [one.name for one in found.woken]
    assert "A patient who must never get a card would get one." == found.refused
    assert found.woken[0].trail
    assert "rules/silent.yaml:" in found.woken[0].place


def test_an_example_that_cannot_be_tried_any_more_refuses(
    book: RuleBook, vignettes: Mapping[str, Sequence[Vignette]]
) -> None:
    def broken(*_: object) -> object:
        raise ZeroDivisionError

    rule = msgspec.structs.replace(book.rules[RULE], when=broken)
    after = msgspec.structs.replace(book, rules=book.rules | {RULE: rule}, memo={})
    found = checked(book, after, vignettes, ())

    assert len(vignettes[RULE]) == len(found.failed)
    assert "ZeroDivisionError" in found.failed[0].failed
    assert found.refused


def test_a_vignette_that_does_not_read_is_said_to_be_so(
    book: RuleBook, vignettes: Mapping[str, Sequence[Vignette]]
) -> None:
    stranger = msgspec.structs.replace(vignettes[RULE][0], rule="nobodys")

    assert "cannot be tried" == said(run(stranger, book))


def test_only_what_differs_is_touched(book: RuleBook) -> None:
    other = msgspec.structs.replace(book.rules[RULE], status="pilot")
    after = msgspec.structs.replace(book, rules=book.rules | {RULE: other}, memo={})

    assert (RULE,) == touched(book, after)
    assert () == touched(book, msgspec.structs.replace(book, memo={}))


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("today: 2026-03-01\n", "wrong-shape"),
        ("today: 2026-02-30\nstays_silent: [{name: somebody, patient: 30-year-old man}]\n", "bad-date"),
        ("today: 2026-03-01\nstays_silent: [{name: somebody, patint: 30-year-old man}]\n", "wrong-shape"),
    ],
)
def test_a_file_that_does_not_read_is_refused_with_its_line(tmp_path: Path, text: str, slug: str) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "silent.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ContentError) as caught:
        read_silent(tmp_path)

    assert slug == caught.value.slug
    assert caught.value.where.startswith("rules/silent.yaml:")


def test_content_without_such_patients_is_content_all_the_same(tmp_path: Path) -> None:
    assert () == read_silent(tmp_path)
