"""
PTH in multiples of the upper limit of normal: the laboratory's own limit, if it sent just one for everybody.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from cds_service.facts.derived import series
from tests.build import HL7, LEFT_OUT, Resource, concept, observation, quantity
from tests.conftest import TakeIn

DEFAULT = Decimal(65)


def pth(value: float = 650, unit: str = "pg/mL", **members: Any) -> Resource:
    """Return a PTH."""
    return observation("pth", value, unit, **members)


def limit(value: float, unit: Any = "pg/mL", **members: Any) -> Resource:
    """Return a reference range."""
    return {"high": quantity(value, unit), **members}


MEANING = f"{HL7}/referencerange-meaning"


@pytest.mark.parametrize(
    ("ranges", "ratio"),
    [
        (LEFT_OUT, "10"),
        ([limit(130)], "5"),
        ([limit(130, LEFT_OUT)], "5"),
        ([limit(130, "ng/L")], "5"),
        ([limit(130, type=concept("normal", MEANING))], "5"),
        ([limit(130, type=concept("recommended", MEANING))], "10"),
        ([limit(130, appliesTo=[concept(text="dialysis")])], "10"),
        ([limit(130, age={"high": quantity(18, "a")})], "10"),
        ([limit(130), limit(65, type=concept("therapeutic", MEANING))], "5"),
        ([limit(130), limit(100)], "10"),
        ([limit(130), limit(130)], "5"),
        ([limit(130, "furlong")], "10"),
        ([limit(0)], "10"),
        ([{"text": "10-130"}], "10"),
        ("10-130", "10"),
        ([{"low": quantity(10)}], "10"),
    ],
)
def test_the_limit_of_the_laboratory_comes_first(facts: TakeIn, ranges: Any, ratio: str) -> None:
    found = series(facts(pth(referenceRange=ranges)), "pth-ratio", DEFAULT)

    assert Decimal(ratio) == found[0].value


def test_a_limit_is_converted_like_the_result(facts: TakeIn) -> None:
    result = pth(94.3, "pmol/L", referenceRange=[limit(9.43, LEFT_OUT)])
    crossed = pth(94.3, "pmol/L", referenceRange=[limit(88.9249)])

    assert Decimal(10) == series(facts(result), "pth-ratio", DEFAULT)[0].value
    assert Decimal(10) == round(series(facts(crossed), "pth-ratio", DEFAULT)[0].value, 6)


def test_the_note_says_which_limit_was_used(facts: TakeIn) -> None:
    own = series(facts(pth(referenceRange=[limit(88)])), "pth-ratio", DEFAULT)[0]
    assumed = series(facts(pth()), "pth-ratio", DEFAULT)[0]

    assert "upper limit of normal 88 pg/mL, of the laboratory" in own.notes
    assert "upper limit of normal 65 pg/mL, assumed, the laboratory gave none" in assumed.notes
    assert ("pth",) == tuple(part.analyte for part in own.parts)


def test_without_any_limit_there_is_no_ratio(facts: TakeIn) -> None:
    assert [] == list(series(facts(pth()), "pth-ratio"))


@pytest.mark.parametrize("comparator", ["<", "<=", ">", ">="])
def test_a_bound_stays_a_bound(facts: TakeIn, comparator: str) -> None:
    result = observation("pth", valueQuantity=quantity(650, "pg/mL", comparator=comparator))

    assert comparator == series(facts(result), "pth-ratio", DEFAULT)[0].comparator


def test_the_part_of_a_panel_brings_its_own_range(facts: TakeIn) -> None:
    part = {"code": concept("2731-8", "http://loinc.org"), "valueQuantity": quantity(650, "pg/mL")}
    panel = observation("24323-8", valueQuantity=LEFT_OUT, component=[{**part, "referenceRange": [limit(130)]}])

    assert Decimal(5) == series(facts(panel), "pth-ratio", DEFAULT)[0].value
