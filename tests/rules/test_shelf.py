"""The shelf: files below, decisions above; either may change, and a broken one changes nothing."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from cds_service.rules import Shelf
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import Tuning
from tests.build import ROOT

TODAY = date(2026, 3, 1)
RULE, NAME = "eskd-hyperphosphatemia", "phosphate_high"
HIGHER = Tuning(RULE, NAME, Decimal("6.5"), TODAY)
SILENT = Tuning(RULE, "status", "pilot", TODAY + timedelta(1))


def limit(shelf: Shelf) -> object:
    return shelf.book.values(shelf.book.rules[RULE], TODAY)[NAME]


def test_decisions_lie_over_the_files_and_the_files_stay(book: RuleBook) -> None:
    shelf = Shelf(book)
    shelf.apply([HIGHER], TODAY)

    assert Decimal("6.5") == limit(shelf)
    assert book is shelf.base
    shelf.apply([], TODAY)
    assert book is shelf.book


def test_the_same_decisions_on_the_same_day_make_no_new_book(book: RuleBook) -> None:
    shelf = Shelf(book)
    shelf.apply([HIGHER], TODAY)
    first = shelf.book
    shelf.apply([HIGHER], TODAY)

    assert first is shelf.book


def test_a_status_begins_with_the_day(book: RuleBook) -> None:
    shelf = Shelf(book)
    shelf.apply([SILENT], TODAY)
    before = shelf.book.rules[RULE].status
    shelf.apply([SILENT], TODAY + timedelta(1))

    assert ("active", "pilot") == (before, shelf.book.rules[RULE].status)


def test_decisions_survive_a_reload_and_a_broken_reload(book: RuleBook, tmp_path: Path) -> None:
    shelf = Shelf(book)
    shelf.apply([HIGHER], TODAY)
    assert shelf.reload(ROOT / "hooks")
    assert Decimal("6.5") == limit(shelf)
    assert book is not shelf.base

    assert not shelf.reload(tmp_path / "nowhere")
    assert Decimal("6.5") == limit(shelf)


def test_what_the_files_refuse_is_named(book: RuleBook) -> None:
    shelf = Shelf(book)
    stranger = Tuning(RULE, "no_such", Decimal(1), TODAY)
    shelf.apply([stranger, HIGHER], TODAY)

    assert [stranger] == [one for one, _ in shelf.unfit]
    assert Decimal("6.5") == limit(shelf)
