"""
Three-valued logic: UNKNOWN is a verdict of its own, never a kind of NO.
"""

from __future__ import annotations

import operator
from decimal import Decimal

import pytest

from cds_service.facts.dates import When
from cds_service.facts.evidence import (
    NO,
    UNKNOWN,
    YES,
    Judgement,
    Verdict,
    above,
    below,
    count,
    every,
    opposite,
    some,
)
from cds_service.facts.model import Measurement

LIMIT = Decimal("5.5")


def result(value: str, comparator: str = "") -> Measurement:
    """Return a phosphate with a comparator."""
    return Measurement("phosphate", Decimal(value), Decimal(value), "mg/dL", When(0, 0, 0, 0), comparator)


def verdicts(*several: Verdict) -> tuple[Judgement, ...]:
    """Return judgements with these verdicts, each UNKNOWN one lacking something."""
    return tuple(
        Judgement(verdict, str(place), missing=(f"gap {place}",) if verdict is UNKNOWN else ())
        for place, verdict in enumerate(several)
    )


@pytest.mark.parametrize(
    ("comparator", "lower", "equal", "higher"),
    [
        ("", NO, NO, YES),
        (">", UNKNOWN, YES, YES),
        (">=", UNKNOWN, UNKNOWN, YES),
        ("<", NO, NO, UNKNOWN),
        ("<=", NO, NO, UNKNOWN),
        ("?", UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_above_a_limit(comparator: str, lower: Verdict, equal: Verdict, higher: Verdict) -> None:
    """
    KNOWLEDGE 2.2: a bound proves what it proves; ``<=5.5`` and ``<5.5`` exclude "above 5.5".
    """
    asked = tuple(above(result(value, comparator), LIMIT) for value in ("5.4", "5.5", "5.6"))

    assert (lower, equal, higher) == asked


@pytest.mark.parametrize(
    ("comparator", "lower", "equal", "higher"),
    [
        ("", NO, YES, YES),
        (">", UNKNOWN, YES, YES),
        (">=", UNKNOWN, YES, YES),
        ("<", NO, NO, UNKNOWN),
        ("<=", NO, UNKNOWN, UNKNOWN),
        ("?", UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_at_least_a_limit(comparator: str, lower: Verdict, equal: Verdict, higher: Verdict) -> None:
    asked = tuple(above(result(value, comparator), LIMIT, or_equal=True) for value in ("5.4", "5.5", "5.6"))

    assert (lower, equal, higher) == asked


@pytest.mark.parametrize("comparator", ["", "<", "<=", ">", ">=", "?"])
@pytest.mark.parametrize("value", ["5.4", "5.5", "5.6"])
@pytest.mark.parametrize("or_equal", [True, False])
def test_below_is_the_opposite_of_at_least(comparator: str, value: str, or_equal: bool) -> None:
    one = result(value, comparator)
    opposed = {YES: NO, NO: YES, UNKNOWN: UNKNOWN}

    assert opposed[above(one, LIMIT, or_equal=not or_equal)] is below(one, LIMIT, or_equal=or_equal)


@pytest.mark.parametrize("comparator", ["", "<", "<=", ">", ">="])
@pytest.mark.parametrize("or_equal", [True, False])
def test_a_verdict_about_a_bound_holds_for_every_value_it_allows(comparator: str, or_equal: bool) -> None:
    """
    An oracle that tries the values: YES and NO are promises, UNKNOWN is said only where both happen.
    """
    scale = [Decimal(twentieth) / 20 for twentieth in range(200)]
    allowed = {"": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[comparator]
    for bound in scale[20:180:2]:
        truths = {value > LIMIT or (or_equal and value == LIMIT) for value in scale if allowed(value, bound)}
        expected = UNKNOWN if len(truths) == 2 else YES if truths == {True} else NO

        assert expected is above(result(str(bound), comparator), LIMIT, or_equal=or_equal)


@pytest.mark.parametrize(
    ("several", "all_", "any_"),
    [
        ((YES, YES), YES, YES),
        ((YES, NO), NO, YES),
        ((NO, NO), NO, NO),
        ((YES, UNKNOWN), UNKNOWN, YES),
        ((NO, UNKNOWN), NO, UNKNOWN),
        ((UNKNOWN, UNKNOWN), UNKNOWN, UNKNOWN),
        ((YES, NO, UNKNOWN), NO, YES),
    ],
    ids=lambda value: "-".join(one.value for one in value) if isinstance(value, tuple) else value.value,
)
def test_all_and_any(several: tuple[Verdict, ...], all_: Verdict, any_: Verdict) -> None:
    for order in (several, several[::-1]):
        assert (all_, any_) == (every("", verdicts(*order)).verdict, some("", verdicts(*order)).verdict)


@pytest.mark.parametrize(("verdict", "opposed"), [(YES, NO), (NO, YES), (UNKNOWN, UNKNOWN)])
def test_the_opposite_of_not_knowing_is_not_knowing(verdict: Verdict, opposed: Verdict) -> None:
    assert opposed is opposite(*verdicts(verdict)).verdict


@pytest.mark.parametrize(
    ("several", "needed", "verdict"),
    [
        ((YES, YES, NO), 2, YES),
        ((YES, UNKNOWN, NO), 2, UNKNOWN),
        ((YES, NO, NO), 2, NO),
        ((UNKNOWN, UNKNOWN, UNKNOWN), 3, UNKNOWN),
        ((), 1, NO),
        ((), 0, YES),
    ],
)
def test_at_least_so_many(several: tuple[Verdict, ...], needed: int, verdict: Verdict) -> None:
    assert verdict is count("", verdicts(*several), needed).verdict


def test_what_is_missing_is_what_would_decide() -> None:
    joined = every("", (*verdicts(YES, UNKNOWN, UNKNOWN), *verdicts(UNKNOWN)))

    assert ("gap 1", "gap 2", "gap 0") == joined.missing


def test_a_decided_verdict_lacks_nothing() -> None:
    assert () == every("", verdicts(NO, UNKNOWN)).missing == some("", verdicts(YES, UNKNOWN)).missing


def test_the_evidence_of_a_finding_is_that_of_its_true_branches() -> None:
    low, high = result("1"), result("9")
    joined = some("", (Judgement(NO, "no", items=(low,)), Judgement(YES, "yes", items=(high,))))

    assert [high] == list(joined.supporting())


def test_the_trail_shows_every_branch_under_its_parent() -> None:
    trail = list(every("both", (*verdicts(YES), some("either", verdicts(NO, UNKNOWN)))).lines())

    assert ["? both", "  ✓ 0", "  ? either", "    ✗ 0", "    ? 1"] == trail
