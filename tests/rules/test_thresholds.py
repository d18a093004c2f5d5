"""
A threshold is a function of the day, in layers; no layer crosses its guard rail.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from cds_service.errors import ContentError
from cds_service.rules import RuleBook, load_book
from tests.rules.bedside import RULE, changed, small_content

ONE = "    - {since: 2026-06-01, value: 5.0, who: Dr Example, why: our dialysis unit acts earlier}"
SITE = f"site: north\nthresholds:\n  of-a-test.limit:\n{ONE}\n"


def loaded(folder: Path, site: str = "", rule: str = RULE) -> RuleBook:
    content = small_content(folder, rule)
    (content / "sites").mkdir(exist_ok=True)
    (content / "sites" / "north.yaml").write_text(site or "site: north\n", encoding="utf-8")
    return load_book(content, "north")


@pytest.mark.parametrize(
    ("day", "value"),
    [("1999-01-01", "5.5"), ("2003-10-01", "5.5"), ("2017-06-30", "5.5"), ("2017-07-01", "4.5"), ("2030-01-01", "4.5")],
)
def test_the_value_of_the_day(tmp_path: Path, day: str, value: str) -> None:
    """
    Before the first date the first value holds: a patient of 1999 can still be replayed.
    """
    text, _ = changed(RULE, "{2003-10-01: 5.5}", "{2017-07-01: 4.5, 2003-10-01: 5.5}")
    book = loaded(tmp_path, rule=text)

    assert Decimal(value) == book.values(book.rules["of-a-test"], date.fromisoformat(day))["limit"]


def test_a_site_changes_it_from_its_day_on(tmp_path: Path) -> None:
    book = loaded(tmp_path, SITE)
    rule = book.rules["of-a-test"]

    assert Decimal("5.5") == book.values(rule, date(2026, 5, 31))["limit"]
    assert Decimal("5.0") == book.values(rule, date(2026, 6, 1))["limit"]


def test_a_sites_value_says_who_and_why(tmp_path: Path) -> None:
    in_force = loaded(tmp_path, SITE).rules["of-a-test"].thresholds["limit"].on(date(2026, 6, 1))

    assert ("site", "Dr Example", "our dialysis unit acts earlier") == (in_force.layer, in_force.who, in_force.why)


def test_values_can_be_tried_without_being_set(tmp_path: Path) -> None:
    book = loaded(tmp_path)
    rule = book.rules["of-a-test"]

    assert Decimal(6) == book.values(rule, date(2026, 6, 1), {"limit": Decimal(6)})["limit"]
    assert Decimal("5.5") == book.values(rule, date(2026, 6, 1))["limit"]


def test_a_site_moves_what_is_borrowed_by_its_lender(tmp_path: Path) -> None:
    text, _ = changed(RULE, "thresholds:\n", "thresholds:\n  other: {same_as: of-a-test.limit}\n")
    book = loaded(tmp_path, SITE, text)

    assert Decimal("5.0") == book.values(book.rules["of-a-test"], date(2026, 6, 1))["other"]


@pytest.mark.parametrize(
    ("old", "new", "slug", "line", "says"),
    [
        ("value: 5.0", "value: 7.1", "out-of-range", 3, "outside its range 4.5 to 7.0"),
        ("value: 5.0", "value: true", "out-of-range", 3, "True"),
        ("of-a-test.limit", "of-a-test.limt", "unknown-threshold", 3, 'Did you mean "of-a-test.limit"?'),
        ("of-a-test.limit", "no-rule.limit", "unknown-threshold", 3, "which no rule has"),
        ("2026-06-01", "2026-06-31", "bad-date", 3, "not a day"),
        ("who: Dr Example, ", "", "wrong-shape", 4, "who"),
        (
            "site: north",
            "site: north\nstatus: {of-a-tst: {status: draft, who: a, why: b}}",
            "unknown-rule",
            2,
            "of-a-test",
        ),
        (
            "site: north",
            "site: north\nsystem_aliases: {urn:local: LOINK}",
            "unknown-system",
            2,
            'Did you mean "LOINC"?',
        ),
    ],
)
def test_a_sites_mistake_is_refused(tmp_path: Path, old: str, new: str, slug: str, line: int, says: str) -> None:
    text, _ = changed(SITE, old, new)

    with pytest.raises(ContentError) as refusal:
        loaded(tmp_path, text)

    assert slug == refusal.value.slug, str(refusal.value)
    assert f"sites/north.yaml:{line}" == refusal.value.where
    assert says in str(refusal.value)


def test_a_site_cannot_change_what_is_borrowed(tmp_path: Path) -> None:
    """
    Two numbers that are the same by intent must not drift apart unseen.
    """
    text, _ = changed(RULE, "thresholds:\n", "thresholds:\n  other: {same_as: of-a-test.limit}\n")
    site, _ = changed(SITE, "of-a-test.limit", "of-a-test.other")

    with pytest.raises(ContentError) as refusal:
        loaded(tmp_path, site, text)

    assert "borrowed-threshold" == refusal.value.slug
    assert "Change of-a-test.limit" in str(refusal.value)


def test_a_site_changes_the_status_of_a_rule(tmp_path: Path) -> None:
    book = loaded(tmp_path, "site: north\nstatus: {of-a-test: {status: pilot, who: a, why: b}}\n")

    assert "pilot" == book.rules["of-a-test"].status


def test_a_site_names_its_own_code_systems(tmp_path: Path) -> None:
    book = loaded(tmp_path, 'site: north\nsystem_aliases: {"urn:our-lab": LOINC}\n')

    assert "LOINC" == book.terminology.systems.name("urn:our-lab")
