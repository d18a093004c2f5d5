"""
Calcium corrected for albumin, the calcium-phosphate product, and hypercalcemia (KNOWLEDGE.md 2.2 and 2.3).
"""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from time import process_time
from typing import Any

import pytest

from cds_service.facts import Facts, calcium
from cds_service.facts.evidence import NO, UNKNOWN, YES, Verdict
from cds_service.facts.series import Series
from tests.build import LEFT_OUT, Resource, amounts, bundle, observation, quantity
from tests.conftest import TakeIn

NEXT = [{"relation": "next", "url": "http://x"}]


def total(value: float, days: float = 10, **members: Any) -> Resource:
    """Return a total calcium in mg/dL."""
    return observation("calcium-total", value, days=days, **members)


def albumin(value: float, days: float = 10, **members: Any) -> Resource:
    """Return an albumin in g/dL."""
    return observation("albumin", value, days=days, **members)


def ionized(value: float, days: float = 10, **members: Any) -> Resource:
    """Return an ionized calcium in mmol/L."""
    return observation("calcium-ionized", value, days=days, **members)


def reported(value: float, days: float = 10) -> Resource:
    """Return a calcium that the laboratory corrected."""
    return observation("calcium-corrected", value, days=days)


def phosphate(value: float, days: float = 10, **members: Any) -> Resource:
    """Return a phosphate in mg/dL."""
    return observation("phosphate", value, days=days, **members)


def bounded(test: str, sign: str, value: float) -> Resource:
    """Return a result with a comparator."""
    unit = "g/dL" if test == "albumin" else "mg/dL"
    return observation(test, valueQuantity=quantity(value, unit, comparator=sign))


def newest(found: Facts) -> tuple[str, str]:
    """Return the newest corrected calcium, comparator and value."""
    first = calcium.corrected(found)[0]

    return first.comparator, f"{first.value.normalize():f}"


# --- corrected calcium -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([total(8.6), albumin(2.6)], "9.72"),
        ([total(9.0), albumin(4.0)], "9"),
        ([total(9.0), albumin(4.8)], "9"),
        ([total(9.0), albumin(3.9)], "9.08"),
        ([total(9.0)], "9"),
        ([total(9.0, 10), albumin(2.0, 3)], "10.6"),
        ([total(9.0, 10), albumin(2.0, 17)], "10.6"),
        ([total(9.0, 10), albumin(2.0, 2.9)], "9"),
        ([total(9.0, 10), albumin(2.0, 17.1)], "9"),
        ([total(9.0, 10), albumin(2.0, 16), albumin(3.0, 9)], "9.8"),
        ([total(9.0), reported(10.1)], "10.1"),
        ([total(9.0, 10), reported(10.1, 9)], "10.1"),
        ([total(9.0, 9), reported(10.1, 10)], "9"),
        ([reported(10.1)], "10.1"),
        ([total(2.5, unit="mmol/L"), albumin(30, unit="g/L")], "10.82"),
    ],
    ids=[
        "low albumin",
        "albumin of exactly 4.0",
        "high albumin lowers nothing",
        "just below 4.0",
        "no albumin",
        "albumin 7 days later",
        "albumin 7 days earlier",
        "albumin a little too late",
        "albumin a little too early",
        "the nearer albumin",
        "reported at the same time",
        "reported later",
        "reported earlier than the total",
        "reported only",
        "SI units",
    ],
)
def test_calcium_is_corrected_for_albumin(facts: TakeIn, results: list[Resource], expected: str) -> None:
    for order in permutations(results):
        assert ("", expected) == newest(facts(*order))


@pytest.mark.parametrize(
    ("results", "note"),
    [
        ([total(9.0)], "no albumin within 7 days, not corrected"),
        ([total(9.0), albumin(4.1)], "albumin normal, no correction"),
        ([total(9.0), albumin(3.0)], "estimate: Ca + 0.8 x (4.0 - albumin)"),
        ([reported(9.0)], "corrected by the laboratory"),
    ],
    ids=["no albumin", "normal", "computed", "reported"],
)
def test_a_corrected_calcium_says_how_it_came_about(facts: TakeIn, results: list[Resource], note: str) -> None:
    assert note in calcium.corrected(facts(*results))[0].notes


@pytest.mark.parametrize(
    ("sign_ca", "sign_alb", "expected"),
    [
        (">", "", (">", "9.8")),
        (">=", "", (">=", "9.8")),
        ("<", "", ("<", "9.8")),
        ("", "<", (">", "9.8")),
        ("", "<=", (">=", "9.8")),
        ("", ">", ("<", "9.8")),
        (">", "<", (">", "9.8")),
        (">=", "<=", (">=", "9.8")),
        (">=", "<", (">", "9.8")),
        ("<", ">", ("<", "9.8")),
        (">", ">", ("?", "9.8")),
        ("<", "<", ("?", "9.8")),
    ],
)
def test_bounds_go_through_the_correction(
    facts: TakeIn, sign_ca: str, sign_alb: str, expected: tuple[str, str]
) -> None:
    """
    A low albumin raises the calcium: below 3.0 means that the corrected value is above what 3.0 would make it.
    """
    results = [
        bounded("calcium-total", sign_ca, 9.0) if sign_ca else total(9.0),
        bounded("albumin", sign_alb, 3.0) if sign_alb else albumin(3.0),
    ]

    assert expected == newest(facts(*results))


@pytest.mark.parametrize(
    ("sign", "value", "expected"),
    [
        ("<", 4.0, (">", "9")),
        ("<", 5.0, (">=", "9")),
        ("<=", 4.0, (">=", "9")),
        (">", 4.0, ("", "9")),
        (">=", 4.5, ("", "9")),
    ],
)
def test_an_albumin_that_may_be_low_leaves_a_lower_bound(
    facts: TakeIn, sign: str, value: float, expected: tuple[str, str]
) -> None:
    """
    An albumin below 5.0 may be normal: the corrected calcium is the total or more, not surely more.
    """
    assert expected == newest(facts(total(9.0), bounded("albumin", sign, value)))


# --- the product -----------------------------------------------------------------------------------------------------


def products(found: Facts, hours: int = 72) -> list[tuple[str, str]]:
    """List the calcium-phosphate products, newest first."""
    return [(one.comparator, f"{one.value.normalize():f}") for one in calcium.product(found, hours)]


def test_the_product_is_computed_from_the_unrounded_corrected_calcium(facts: TakeIn) -> None:
    """
    Vignette V014: (8.6 + 0.8 x 1.4) x 7.4 = 71.928.
    """
    assert [("", "71.928")] == products(facts(total(8.6), albumin(2.6), phosphate(7.4)))


@pytest.mark.parametrize(("hours", "pairs"), [(0, 1), (71.9, 1), (72, 1), (72.1, 0), (-72, 1), (-72.1, 0)])
def test_calcium_and_phosphate_are_paired_within_72_hours(facts: TakeIn, hours: float, pairs: int) -> None:
    found = facts(total(9.0, 10 + hours / 24), phosphate(7.0, 10))

    assert pairs == len(products(found))


def test_the_window_of_the_pair_can_be_told(facts: TakeIn) -> None:
    found = facts(total(9.0, 10), phosphate(7.0, 12))

    assert (1, 0) == (len(products(found, 48)), len(products(found, 47)))


def test_the_newest_phosphate_is_paired_with_the_nearest_calcium(facts: TakeIn) -> None:
    found = facts(total(9.0, 12), total(10.0, 9.5), phosphate(7.0, 10), phosphate(5.0, 12))

    assert [("", "70"), ("", "45")] == products(found)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([total(10.5, 12), phosphate(8.0, 12), phosphate(7.9, 1)], ["84"]),
        ([total(10.0, 1), total(10.5, 12), phosphate(8.0, 12)], ["84"]),
        ([total(10.5, 12), phosphate(8.0, 12), phosphate(7.9, 5), phosphate(7.9, 1), total(10.0, 30)], ["84"]),
        ([total(10.0, 1), phosphate(8.0, 5), total(10.5, 9), phosphate(6.0, 12)], ["63"]),
        (
            [total(10.0, 12), phosphate(8.0, 12), phosphate(7.0, 13), phosphate(6.0, 14), phosphate(5.0, 15)],
            ["80", "70", "60"],
        ),
        ([total(10.0, 20), phosphate(8.0, 10), phosphate(7.9, 1)], []),
        ([phosphate(8.0, 10), total(10.0, 6), total(10.0, 1)], []),
    ],
    ids=[
        "a phosphate alone since",
        "a calcium alone since",
        "two phosphates alone since",
        "a calcium and a phosphate alone since",
        "three at most",
        "no pair: phosphates too new",
        "no pair: calcium too new",
    ],
)
def test_the_newest_phosphate_that_has_a_calcium_makes_the_product(
    facts: TakeIn, results: list[Resource], expected: list[str]
) -> None:
    assert expected == [value for _, value in products(facts(*results))]


def test_thousands_of_results_without_a_pair_are_each_looked_at_once(facts: TakeIn) -> None:
    """
    Four times the results may take eight times the time, not sixteen.
    """
    assert 8 > _pairing(facts, 2000) / _pairing(facts, 500)


def test_for_a_pair_nobody_looks_further_back_than_a_pair_counts(facts: TakeIn) -> None:
    """A result that is read costs time; of two years without a pair three months are read (KNOWLEDGE 5.1: 90 days)."""
    apart = [one for days in range(1, 700, 14) for one in (phosphate(5.0, days), total(9.0, days + 7))]
    found = facts(*apart)
    read = found.measurements["phosphate"]
    assert isinstance(read, Series)

    assert not calcium.product(found, 72)
    assert 90 // 14 <= read.looked_at <= 90 // 14 + 2
    assert [] == products(facts(phosphate(7.0, 1), phosphate(8.0, 95), total(10.0, 95)))


def _pairing(facts: TakeIn, number: int) -> float:
    """Return the least CPU time of five in which no pair was found among so many phosphates and calciums."""
    found = facts(
        *(total(9.0, 1 + one / 1000) for one in range(number)),
        *(phosphate(5.0, 50 + one / 1000) for one in range(number)),
    )
    calciums, spent = calcium.corrected(found), []
    len(calciums)
    for hours in range(68, 73):
        begun = process_time()
        assert not calcium.product(found, hours)
        spent.append(process_time() - begun)
    return min(spent)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([observation("cap-product", 60)], ["60"]),
        ([observation("cap-product", 60), total(9.0), phosphate(7.0)], ["63"]),
        ([observation("cap-product", 60, days=1), total(9.0), phosphate(7.0)], ["63"]),
        ([observation("cap-product", 60), total(9.0)], ["60"]),
        ([observation("cap-product", 60), total(9.0, 20), phosphate(7.0, 10)], ["60"]),
        ([observation("cap-product", 60, days=8), total(9.0, 12), phosphate(7.0, 12), phosphate(5.0, 1)], ["60"]),
        ([observation("cap-product", 60, days=15), total(9.0, 12), phosphate(7.0, 12), phosphate(5.0, 1)], ["63"]),
        ([observation("cap-product", 60, days=12), total(9.0, 12), phosphate(7.0, 12), phosphate(5.0, 1)], ["63"]),
        ([observation("cap-product", 5, "mmol2/L2")], ["62.07"]),
        ([], []),
    ],
    ids=[
        "alone",
        "beside a pair",
        "newer than a pair",
        "without phosphate",
        "no pair in time",
        "newer than the pair of an earlier phosphate",
        "older than the pair of an earlier phosphate",
        "with the pair of an earlier phosphate",
        "SI",
        "nothing",
    ],
)
def test_a_product_of_the_laboratory_counts_only_without_a_pair(
    facts: TakeIn, results: list[Resource], expected: list[str]
) -> None:
    assert expected == [value for _, value in products(facts(*results))]


@pytest.mark.parametrize(
    ("sign_ca", "sign_p", "sign"),
    [
        ("", "", ""),
        (">", "", ">"),
        ("", "<", "<"),
        (">", ">", ">"),
        (">=", ">", ">"),
        ("<=", "<", "<"),
        (">=", ">=", ">="),
        (">", "<", "?"),
        ("<=", ">=", "?"),
    ],
)
def test_bounds_multiply_and_opposite_ones_leave_nothing_certain(
    facts: TakeIn, sign_ca: str, sign_p: str, sign: str
) -> None:
    found = facts(
        bounded("calcium-total", sign_ca, 10.0) if sign_ca else total(10.0),
        bounded("phosphate", sign_p, 7.0) if sign_p else phosphate(7.0),
    )

    assert [(sign, "70")] == products(found)


def test_the_product_is_as_old_as_its_older_part(facts: TakeIn) -> None:
    [product] = calcium.product(facts(total(9.0, 12), phosphate(7.0, 10)), 72)

    assert "2026-02-17" == product.when.day


def test_a_result_that_was_set_aside_is_part_of_no_product(facts: TakeIn) -> None:
    found = facts(total(9.0), phosphate(7.0, status="entered-in-error"), albumin(2.0, status="cancelled"))

    assert ([], ("", "9")) == (products(found), newest(found))


# --- hypercalcemia ---------------------------------------------------------------------------------------------------


def high(found: Facts) -> Verdict:
    """Judge hypercalcemia with the limits that KNOWLEDGE 2.3 gives."""
    limits = {"calcium_above": Decimal("10.5"), "ionized_above": Decimal("1.33"), "within": 90}

    return calcium.hypercalcemia(found, **limits).verdict  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        ([total(10.6)], YES),
        ([total(10.5)], NO),
        ([total(10.0), albumin(3.0)], YES),
        ([total(10.0), albumin(3.5)], NO),
        ([ionized(1.34)], YES),
        ([ionized(1.33)], NO),
        ([total(11.0), ionized(1.25)], NO),
        ([total(11.0), ionized(1.15)], NO),
        ([total(11.0), ionized(1.33)], NO),
        ([total(11.0), ionized(1.14)], YES),
        ([total(11.0), ionized(1.40)], YES),
        ([total(9.0), ionized(1.40)], YES),
        ([total(11.0, 10), ionized(1.25, 8)], NO),
        ([total(11.0, 10), ionized(1.25, 12)], NO),
        ([total(11.0, 10), ionized(1.25, 7.9)], YES),
        ([total(11.0, 10), ionized(1.25, 12.1)], YES),
        ([total(11.0, 91)], NO),
        ([], NO),
        ([bounded("calcium-total", ">", 10.5)], YES),
        ([bounded("calcium-total", ">", 10.0)], UNKNOWN),
        ([bounded("calcium-total", "<", 10.0)], NO),
        ([bounded("calcium-total", "<", 12.0)], UNKNOWN),
        ([observation("calcium-ionized", valueQuantity=quantity(1.2, "mmol/L", comparator=">"))], UNKNOWN),
        ([total(9.0), observation("calcium-ionized", valueQuantity=quantity(1.2, "mmol/L", comparator=">"))], UNKNOWN),
        ([total(11.0), observation("calcium-ionized", valueQuantity=quantity(1.2, "mmol/L", comparator=">"))], YES),
        ([total(11.0, status="preliminary")], NO),
        ([total(9.0, 2), total(11.0, 10)], NO),
    ],
    ids=[
        "above",
        "exactly the limit",
        "above once corrected",
        "not above once corrected",
        "ionized above",
        "ionized exactly the limit",
        "ionized in range cancels",
        "ionized at the lower end cancels",
        "ionized at the upper end cancels",
        "low ionized cancels nothing",
        "both high",
        "ionized wins over a normal total",
        "cancelled 48 hours later",
        "cancelled 48 hours before",
        "not cancelled 50 hours later",
        "not cancelled 50 hours before",
        "too old",
        "nothing",
        "bound that proves it",
        "bound that leaves it open",
        "bound that excludes it",
        "upper bound that leaves it open",
        "ionized bound that leaves it open",
        "ionized bound that leaves it open beside a normal total",
        "ionized bound that cancels nothing",
        "preliminary",
        "the newest counts",
    ],
)
def test_hypercalcemia(facts: TakeIn, results: list[Resource], verdict: Verdict) -> None:
    for order in permutations(results):
        assert verdict is high(facts(*order))


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        ([total(14.5, 80), ionized(1.36, 0.5)], YES),
        ([total(14.5, 10), ionized(1.36, 7.9)], YES),
        ([total(14.5, 10), ionized(1.36, 8)], NO),
        ([total(14.5, 2), ionized(1.36, 20)], NO),
        ([reported(14.5, 10), ionized(1.36, 2)], YES),
        ([total(14.5, 20), total(14.1, 1), ionized(1.36, 2)], NO),
        ([total(14.5, 80), ionized(1.36, status="preliminary")], NO),
        ([ionized(1.36)], NO),
        ([total(14.5)], NO),
    ],
    ids=[
        "months later",
        "50 hours later",
        "48 hours later",
        "before it",
        "later than the one the laboratory corrected",
        "another total since",
        "preliminary",
        "no total",
        "no ionized calcium",
    ],
)
def test_an_ionized_calcium_that_is_newer_by_more_than_48_hours_stands_alone(
    facts: TakeIn, results: list[Resource], verdict: Verdict
) -> None:
    for order in permutations(results):
        assert verdict is calcium.newer_ionized(facts(*order), within=90).verdict


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (LEFT_OUT, UNKNOWN),
        (None, NO),
        (bundle(), NO),
        (bundle(link=NEXT), UNKNOWN),
        (bundle(total(9.0)), NO),
        (bundle(total(9.0), link=NEXT), UNKNOWN),
        (bundle(total(11.0), link=NEXT), YES),
    ],
    ids=[
        "absent",
        "null",
        "empty",
        "first page, empty",
        "normal",
        "normal on the first page",
        "high on the first page",
    ],
)
def test_what_is_not_known_of_calcium_stays_unknown(facts: TakeIn, value: Any, verdict: Verdict) -> None:
    """
    On a second page there may be a newer calcium, an albumin, or an ionized calcium.
    """
    assert verdict is high(facts(values={"observations": value}))


def test_an_unknown_calcium_says_what_is_missing(facts: TakeIn) -> None:
    limits: dict[str, Any] = {"calcium_above": Decimal("10.5"), "ionized_above": Decimal("1.33"), "within": 90}

    assert calcium.hypercalcemia(facts(values={"observations": LEFT_OUT}), **limits).missing


def test_amounts_are_decimal_throughout(facts: TakeIn) -> None:
    found = facts(total(8.6), albumin(2.6), phosphate(7.4))

    assert all(isinstance(one.value, Decimal) for one in calcium.product(found, 72))
    assert [8.6] == amounts(found, "calcium-total")
