"""
The daily dose: read where the dosage says it in numbers, and left open everywhere else.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from cds_service.errors import MalformedJson
from cds_service.facts.doses import daily


def dosage(value: float = 2, unit: str = "mg", **repeat: Any) -> dict[str, Any]:
    """Return a FHIR Dosage with one dose."""
    repeat = repeat or {"frequency": 1, "period": 1, "periodUnit": "d"}
    return {"timing": {"repeat": repeat}, "doseAndRate": [{"doseQuantity": {"value": value, "unit": unit}}]}


def read(*dosages: Any) -> tuple[Decimal, str] | None:
    """Return the daily dose of dosages."""
    return daily(json.dumps(dosages).encode())


RANGE = [{"doseRange": {"low": {"value": 1, "unit": "mg"}, "high": {"value": 3, "unit": "mg"}}}]


@pytest.mark.parametrize(
    ("dosages", "dose"),
    [
        ([dosage()], "2"),
        ([dosage(frequency=2, period=1, periodUnit="d")], "4"),
        ([dosage(frequency=1, frequencyMax=3, period=1, periodUnit="d")], "6"),
        ([dosage(frequency=1, period=2, periodUnit="d")], "1"),
        ([dosage(frequency=1, period=12, periodUnit="h")], "4"),
        ([dosage(14, frequency=1, period=1, periodUnit="wk")], "2"),
        ([dosage(7, dayOfWeek=["mon", "thu"])], "2"),
        ([dosage(7, dayOfWeek=["mon"]), dosage(14, dayOfWeek=["tue"])], "3"),
        ([{**dosage(), "timing": {"code": {"coding": [{"code": "BID"}]}}}], "4"),
        ([{**dosage(), "doseAndRate": RANGE}], "3"),
        ([dosage(), {**dosage(), "sequence": 2}], None),
        ([dosage(), dosage(unit="mL")], None),
        ([dosage(), {"text": "as directed"}], None),
        ([{"text": "2 mg daily"}], None),
        ([{"doseAndRate": [{"doseQuantity": {"value": 2, "unit": "mg"}}]}], None),
        ([{**dosage(), "timing": {"code": {"coding": [{"code": "when pigs fly"}]}}}], None),
        ([dosage(frequency=1, period=0, periodUnit="d")], None),
        ([dosage(frequency=1, period=1, periodUnit="mo")], None),
        ([dosage(count=1)], None),
        ([], None),
        (["2 mg daily"], None),
    ],
)
def test_the_dose_of_a_day(dosages: list[Any], dose: str | None) -> None:
    found = read(*dosages)

    assert dose == (None if found is None else f"{round(found[0], 6).normalize():f}")


def test_a_dose_that_stands_twice_is_refused() -> None:
    with pytest.raises(MalformedJson):
        daily(b'[{"doseAndRate":[{"doseQuantity":{"value":2,"value":9,"unit":"mg"}}]}]')


def test_what_is_no_dosage_says_nothing() -> None:
    assert daily(b'{"dose": 2}') is None
    assert daily(b"") is None
