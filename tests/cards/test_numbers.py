"""
Measurements as a clinician reads them: as reported, converted where that differs, with day and trend.
"""

from __future__ import annotations

import pytest

from cds_service.cards import numbers
from cds_service.facts import calcium
from cds_service.terminology import Terminology
from tests.build import Resource, observation, quantity, token
from tests.conftest import TakeIn


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (observation(value=7.1), "7.1 mg/dL"),
        (observation(value=token("7.10")), "7.10 mg/dL"),
        (observation(value=2.3, unit="mmol/L"), "2.3 mmol/L (7.1 mg/dL)"),
        (observation(value=token("2.8645540033345416"), unit="mg/dL"), "2.86 mg/dL"),
        (observation(valueQuantity=quantity(20, comparator=">")), ">20 mg/dL"),
        (observation(valueQuantity=quantity(2, "mmol/L", comparator="<")), "<2 mmol/L (<6.2 mg/dL)"),
        (observation(valueQuantity={"value": 7.1, "unit": "MG/DL"}), "7.1 MG/DL"),
        (observation(valueQuantity=quantity(7.1, unit="mg/dL{as P}")), "7.1 mg/dL{as P}"),
        (observation(value=token("1e1")), "10 mg/dL"),
    ],
    ids=[
        "plain",
        "as written",
        "converted",
        "machine's decimals",
        "bound",
        "bound converted",
        "another spelling",
        "annotation",
        "exponent",
    ],
)
def test_a_value_is_shown_as_reported_and_converted_where_that_differs(
    facts: TakeIn, words: Terminology, result: Resource, shown: str
) -> None:
    [phosphate] = facts(result).measurements["phosphate"]

    assert shown == numbers.value(words, phosphate)


def test_a_unit_in_which_the_number_is_the_same_is_not_converted(facts: TakeIn, words: Terminology) -> None:
    [potassium] = facts(observation("potassium", 4.9, "meq/L")).measurements["potassium"]

    assert "4.9 meq/L" == numbers.value(words, potassium)


@pytest.mark.parametrize(("value", "shown"), [(8.55, "8.6"), (8.54, "8.5"), (8.65, "8.7"), (9.0, "9.0")])
def test_computed_values_are_rounded_half_up_for_display_only(
    facts: TakeIn, words: Terminology, value: float, shown: str
) -> None:
    found = facts(observation("calcium-total", value), observation("albumin", 3.0))
    [corrected] = calcium.corrected(found)
    expected = f"{float(shown) + 0.8:.1f} mg/dL"

    assert expected == numbers.value(words, corrected)


def test_what_was_computed_from_mmol_is_shown_in_mmol_first(facts: TakeIn, words: Terminology) -> None:
    """
    2.80 mmol/L are 11.2224 mg/dL, and 3.0 g/dL of albumin add 0.8: 12.0224 / 4.008 = 3.00.

    The product is 12.0224 x 6.1948 = 74.48 mg2/dL2, and that / 12.414 = 6.00 mmol2/L2.
    """
    phosphate = observation("phosphate", 2.0, "mmol/L")
    found = facts(observation("calcium-total", 2.80, "mmol/L"), observation("albumin", 30, "g/L"), phosphate)

    assert "3.00 mmol/L (12.0 mg/dL)" == numbers.value(words, calcium.corrected(found)[0])
    assert "6.00 mmol²/L² (74.5 mg²/dL²)" == numbers.value(words, calcium.product(found, 72)[0])


def test_a_bound_of_a_computed_value_stands_before_both_numbers(facts: TakeIn, words: Terminology) -> None:
    high = observation(test="calcium-total", valueQuantity=quantity(3.5, "mmol/L", comparator=">"))
    found = facts(high, observation("albumin", 40, "g/L"))

    assert ">3.50 mmol/L (>14.0 mg/dL)" == numbers.value(words, calcium.corrected(found)[0])


def test_what_was_computed_from_another_unit_than_mmol_stays_in_ours(facts: TakeIn, words: Terminology) -> None:
    found = facts(observation("calcium-total", 5.6, "meq/L"), observation("albumin", 30, "g/L"))

    assert "12.0 mg/dL" == numbers.value(words, calcium.corrected(found)[0])


def test_a_trend_shows_the_newest_value_and_the_two_before_it(facts: TakeIn, words: Terminology) -> None:
    found = facts(*(observation(value=value, days=days) for value, days in ((7.1, 1), (6.5, 10), (6.0, 20), (5.0, 30))))

    assert "7.1 mg/dL, 2026-02-28 (before: 6.5 mg/dL, 2026-02-19; 6.0 mg/dL, 2026-02-09)" == numbers.trend(
        words, found.measurements["phosphate"]
    )


def test_a_unit_from_the_record_is_shown_harmless(facts: TakeIn, words: Terminology) -> None:
    hostile = observation(valueQuantity=quantity(7.1, unit="mg/dL{<script>}"))
    [phosphate] = facts(hostile).measurements["phosphate"]

    assert not set("<>[]`") & set(numbers.value(words, phosphate))


def test_the_day_is_the_one_that_the_laboratory_wrote(facts: TakeIn, words: Terminology) -> None:
    """
    It was 18 February in UTC.
    """
    evening = observation(value=7.1, effectiveDateTime="2026-02-17T20:00:00-08:00")

    assert "7.1 mg/dL, 2026-02-17" == numbers.dated(words, facts(evening).measurements["phosphate"][0])


def test_a_trend_is_in_the_order_of_time_and_not_of_the_days_that_were_written(
    facts: TakeIn, words: Terminology
) -> None:
    moments = {6.0: "2026-02-17T20:00:00-08:00", 7.0: "2026-02-18T03:00:00+14:00", 8.0: "2026-02-18T00:00:00Z"}
    found = facts(*(observation(value=value, effectiveDateTime=moment) for value, moment in moments.items()))
    shown = numbers.trend(words, found.measurements["phosphate"])

    assert "6.0 mg/dL, 2026-02-17 (before: 8.0 mg/dL, 2026-02-18; 7.0 mg/dL, 2026-02-18)" == shown


def test_a_ratio_has_no_unit(facts: TakeIn, words: Terminology) -> None:
    [inr] = facts(observation("6301-6", 2.8, "{INR}")).measurements["inr"]

    assert "2.8" == numbers.value(words, inr)


def test_squares_are_written_as_squares_whatever_the_laboratory_writes(facts: TakeIn, words: Terminology) -> None:
    [product] = facts(observation("cap-product", 71, valueQuantity=quantity(71, "mg2/dL2"))).measurements["cap-product"]
    [molar] = facts(observation("cap-product", 6, "mmol2/L2")).measurements["cap-product"]

    assert "71 mg²/dL²" == numbers.value(words, product)
    assert "6 mmol²/L² (74.5 mg²/dL²)" == numbers.value(words, molar)
