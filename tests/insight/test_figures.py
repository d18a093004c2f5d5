"""Every figure is what an independent script makes of the raw tables."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from cds_service.adapters.ledger import reading
from cds_service.insight import Figures
from cds_service.insight.alarms import WEEK, WEEKS, daily, poisson
from cds_service.insight.equity import SMALLEST
from cds_service.insight.events import as_day
from cds_service.insight.intervals import fisher, needed, wilson
from cds_service.web.admin.figures import figures as figures_of
from tests.insight import recompute
from tests.insight.conftest import desk_of
from tests.insight.life import LAST, PILOT, Life
from tests.insight.recompute import Raw

SPANS = pytest.mark.parametrize("days", [0, 56, 7])


@pytest.fixture(scope="module")
def raw_of(life: Life) -> Any:
    return lambda days: Raw(life.path, LAST, days)


def test_the_made_up_life_has_what_figures_are_about(life: Life, figures: Figures) -> None:
    """Else the comparisons below would compare nothing with nothing."""
    told = [figures.of_rule(rule, 0) for rule in figures.rules()]

    assert figures.rows > 500
    assert sum(one.shown for one in told) > 80
    assert all(any(getattr(one, name) for one in told) for name in ("accepted", "overridden", "unknown", "repeats"))
    assert all(any(getattr(one, name) for one in told) for name in ("held_back", "pilot_fired", "missing", "reasons"))
    assert 30 < len(figures.rules())


@SPANS
def test_the_figures_of_every_rule_are_those_of_the_raw_tables(figures: Figures, raw_of: Any, days: int) -> None:
    raw = raw_of(days)
    for rule in figures.rules():
        told = figures.of_rule(rule, days)
        expected = recompute.of_rule(raw, rule)

        assert expected == {name: getattr(told, name) for name in expected}, rule


@SPANS
def test_shares_and_intervals_are_those_of_the_raw_tables(figures: Figures, raw_of: Any, days: int) -> None:
    raw = raw_of(days)
    for rule in figures.rules():
        told, expected = figures.of_rule(rule, days), recompute.of_rule(raw, rule)
        shown, accepted, overridden = (expected[name] for name in ("shown", "accepted", "overridden"))

        assert (accepted, shown) == (told.acceptance.part, told.acceptance.whole)
        assert (overridden, accepted + overridden) == (told.overriding.part, told.overriding.whole)
        assert (overridden, shown) == (told.overriding_of_all.part, told.overriding_of_all.whole)
        assert (accepted + overridden, shown) == (told.response.part, told.response.whole)
        assert (100 * shown / expected["encounters"] if expected["encounters"] else None) == told.per_hundred
        if accepted:
            low, high = recompute.wilson(accepted, shown)
            assert pytest.approx((shown / accepted, 1 / high, 1 / low)) == (
                told.needed.value,
                told.needed.low,
                told.needed.high,
            )


@SPANS
def test_the_figures_of_every_hook_are_those_of_the_raw_tables(figures: Figures, raw_of: Any, days: int) -> None:
    told = {one.hook: one for one in figures.hooks(days)}
    for hook, expected in recompute.hooks(raw_of(days)).items():
        misses = expected.pop("misses")

        assert expected == {name: getattr(told[hook], name) for name in expected}
        assert misses == told[hook].misses.part


@SPANS
def test_the_burden_is_that_of_the_raw_tables(figures: Figures, raw_of: Any, days: int) -> None:
    told, expected = figures.burden(days), recompute.burden(raw_of(days))

    assert (expected["cards"], expected["clinician_days"]) == (told.cards, told.clinician_days)
    assert pytest.approx(expected["seconds"]) == told.seconds


def test_forms_of_a_rule_are_those_of_the_raw_tables(figures: Figures, raw_of: Any) -> None:
    raw, several = raw_of(0), 0
    for rule in figures.rules():
        expected = recompute.by_thresholds(raw, rule)
        told = {
            json.dumps(dict(one.tuned), sort_keys=True): msgspec.structs.astuple(one.answered)
            for one in figures.editions(rule)
        }
        several += len(told) > 1

        assert expected == {form: counts for form, counts in told.items() if counts[0]}
    assert several


def test_what_was_not_matched_is_that_of_the_raw_tables(figures: Figures, raw_of: Any) -> None:
    codes = {(one.kind, one.system, one.code): one for one in figures.seen.unmatched()}
    asides = {(one.what, one.reason): (one.times, one.calls) for one in figures.seen.unusable()}
    told = {key: (one.times, one.calls, one.first, one.last) for key, one in codes.items()}

    assert recompute.drift(raw_of(0)) == told
    assert recompute.unusable(raw_of(0)) == asides
    assert ("observations", "http://lab.example/codes", "PHOS-7") in told
    assert ("units", "phosphate", "spoons") in told


@SPANS
@pytest.mark.parametrize("kind", ["sex", "age"])
def test_groups_are_those_of_the_raw_tables_or_left_out(figures: Figures, raw_of: Any, days: int, kind: str) -> None:
    expected = recompute.groups(raw_of(days), kind)
    told = {one.name: msgspec.structs.astuple(one)[2:] for one in figures.equity(days) if one.kind == kind}

    assert not set(expected) - set(told)
    for name, numbers in told.items():
        for number, shown in zip(expected.get(name, (0, 0, 0, 0)), numbers, strict=True):
            assert shown is None or (shown == number and number >= SMALLEST)
            assert shown is not None or number < SMALLEST or _hides_another(expected, numbers, number)


def _hides_another(expected: dict[str, Any], _numbers: Any, number: int) -> bool:
    """Say whether a large number is rightly left out: a single small one could be worked out from it."""
    columns = list(zip(*expected.values(), strict=True))
    return any(
        number in column and 1 == sum(0 < one < SMALLEST for one in column) and number == min(
            one for one in column if one >= SMALLEST
        )
        for column in columns
    )  # fmt: skip


def test_no_small_count_is_left_alone_in_its_column(figures: Figures) -> None:
    for kind in ("sex", "age"):
        rows = [one for one in figures.equity(0) if one.kind == kind]
        for column in ("patients", "with_card", "answered", "overridden"):
            hidden = [one for one in rows if getattr(one, column) is None]
            assert 1 != len(hidden) or len(rows) == 1


def test_reading_in_pieces_gives_the_same(life: Life, figures: Figures) -> None:
    """Rows come in batches, and answers may come before their cards."""
    pieces = Figures(as_day(LAST))
    for answers in reading.answers(life.ledger.database, batch=7):
        pieces.take(answers=answers)
    for calls in reading.calls(life.ledger.database, batch=11):
        pieces.take(calls)

    assert [figures.of_rule(rule, 0) for rule in figures.rules()] == [
        pieces.of_rule(rule, 0) for rule in pieces.rules()
    ]


def test_only_what_is_new_is_read_the_second_time(life: Life, figures: Figures) -> None:
    before = figures.rows
    again = figures_of(desk_of(life))

    assert again is figures
    assert before == again.rows


def test_a_rule_in_pilot_shows_nothing_and_is_counted(figures: Figures) -> None:
    told = figures.of_rule(PILOT, 0)

    assert (0, 0) == (told.shown, told.evaluated)
    assert told.pilot_fired
    assert sum(told.per_day) == told.pilot_fired


# --- intervals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "whole"), [(0, 1), (1, 1), (0, 20), (3, 7), (20, 20), (76, 200), (9_999, 10_000)])
def test_wilson_is_the_solution_of_its_equation(part: int, whole: int) -> None:
    assert pytest.approx(recompute.wilson(part, whole), abs=1e-9) == wilson(part, whole)


def test_wilson_is_what_the_literature_gives() -> None:
    """Newcombe, Stat Med 1998;17:857-72, table I: 81 of 263 gives 0.2553 to 0.3662."""
    assert (0.2553, 0.3662) == tuple(round(one, 4) for one in wilson(81, 263))


@pytest.mark.parametrize("table", [((3, 1), (1, 3)), ((10, 0), (0, 9)), ((38, 62), (61, 39)), ((0, 5), (0, 7))])
def test_fisher_is_what_whole_numbers_give(table: Any) -> None:
    assert pytest.approx(recompute.fisher(table)) == fisher(*table)


def test_the_lady_tasting_tea() -> None:
    """Fisher 1935: three of four cups right has a two-sided p of 34/70."""
    assert pytest.approx(34 / 70) == fisher((3, 1), (1, 3))


def test_nothing_accepted_has_no_upper_limit() -> None:
    told = needed(0, 12)

    assert (None, None) == (told.value, told.high)
    assert told.low is not None
    assert told.low > 1


# --- alarms ----------------------------------------------------------------------------------------------------------


def test_rates_are_compared_as_the_raw_tables_give_them(figures: Figures, raw_of: Any) -> None:
    raw, day, compared = raw_of(0), as_day(LAST) - 3, 0
    for rule in figures.rules():
        count, asked, base, base_asked = recompute.rates(raw, rule, day)
        many, found, _ = daily(figures.counts.tracks[rule])
        before = [day - WEEK * week for week in range(1, WEEKS + 1)]
        assert (count, asked) == (found[day], many[day])
        assert (base, base_asked) == (sum(found[one] for one in before), sum(many[one] for one in before))
        if asked and base_asked:
            compared += 1
            assert (
                pytest.approx(recompute.at_least(count, asked, base, base_asked))
                == poisson(count, asked, base, base_asked)[0]
            )
    assert compared
