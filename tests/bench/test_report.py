"""What `make bench` writes, and when it is content: from figures that are made up here."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import goals, report
from bench.bench import Row
from bench.generator import Load
from bench.hosts import ALL, FEW, FLOOR, STORED
from bench.operating import Operated
from bench.served import EIGHT, only
from bench.speed import Speed
from cds_service.rules.book import RuleBook
from tests.build import ROOT


def rows(few: float = 2.4, every: float = 3.6) -> list[Row]:
    """Make rows of so many times the floor for the eight rules, and for all."""
    times = {FLOOR: 1.0, FEW: few, ALL: every, STORED: 5.0}
    fast = Speed(500.0, 1.5, 4.0)
    return [
        Row(100, name, 182_000, 7_800, [0.5 * one], (one, one, one), fast, fast, (90.0, 60.0))
        for name, one in times.items()
    ]


def limits(found: list[Row]) -> list[tuple[float, bool]]:
    return [(one.measured, one.is_kept) for one in goals.of(found, None) if one.is_limit]


def test_the_limit_is_held_against_the_eight_rules_it_was_set_for() -> None:
    assert [(2.4, True)] == limits(rows(few=2.4, every=9.0))
    assert [(2.6, False)] == limits(rows(few=2.6, every=1.0))


def test_the_page_says_plainly_what_all_rules_do_not_keep() -> None:
    page = report.page(rows(), [], None, [], goals.of(rows(), None), "Measured")

    assert "| **limit** (issue 2): the eight rules, 100 Observations | 2.5 times | 2.4 times | kept |" in page
    assert "| all rules, 100 Observations | 2 times | 3.6 times | **not kept** |" in page


def test_a_slow_call_while_rules_are_loaded_is_a_goal_not_kept() -> None:
    half, reloaded = Load([0.002] * 100), Load([0.002] * 99 + [0.3])
    operated = Operated([1.0], 400.0, half, reloaded, (90.0, 60.0))

    found = {one.what: one.is_kept for one in goals.of([], operated)}

    assert {"slow calls while rules are loaded anew": False} == {name: kept for name, kept in found.items() if not kept}


def test_what_was_written_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text((ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"), encoding="utf-8")

    report.write(page, "the first tables", rows())
    first = page.read_text(encoding="utf-8")
    report.write(page, "the second tables", rows())
    second = page.read_text(encoding="utf-8")

    assert first.replace("the first tables", "the second tables") == second
    assert (1, 1) == (second.count("## What a call costs"), second.count(report.BEGIN))
    assert "CPU milliseconds per call" in (tmp_path / "benchmarks.svg").read_text(encoding="utf-8")


def test_eight_rules_are_left_to_every_service(book: RuleBook) -> None:
    copy = msgspec.structs.replace(book, services=dict(book.services), memo={})

    only(copy, EIGHT)

    assert set(EIGHT) == {rule.number for rule in copy.services["calcinosis-patient-view"].rules}
    assert {one.number for service in copy.services.values() for one in service.rules} <= set(EIGHT)


def test_a_rule_that_there_is_not_ends_the_program(book: RuleBook) -> None:
    with pytest.raises(SystemExit, match="CC-99"):
        only(book, ["CC-01", "CC-99"])
