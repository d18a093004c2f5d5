"""What the soak says of memory, files and threads over time (bench/soak.py)."""

from __future__ import annotations

import json

import pytest

from bench.soak import good_call, more, slope

Row = tuple[float, float, int, int]


def rows(*memory: float, files: tuple[int, ...] = ()) -> list[Row]:
    """Return lines of a soak, one for each minute."""
    return [(60.0 * place, size, files[place] if files else 100, 180) for place, size in enumerate(memory)]


def test_growth_counts_in_the_second_half_of_the_time_only() -> None:
    assert pytest.approx(0) == slope(rows(100, 110, 120, 130, 130, 130, 130, 130))
    assert pytest.approx(20) == slope(rows(100, 100, 100, 100, 100, 102, 104, 106))


def test_one_line_that_stands_out_is_no_trend_of_files() -> None:
    assert 1.0 == more(rows(*[100] * 8, files=(50, 130, 130, 160, 130, 161, 130, 130)), 2)
    assert 1.5 == more(rows(*[100] * 8, files=(50, 100, 100, 100, 150, 150, 150, 150)), 2)


def test_each_good_call_is_about_another_patient_in_another_encounter() -> None:
    one, other = (json.loads(good_call())["context"] for _ in range(2))

    assert one["patientId"] != other["patientId"]
    assert one["encounterId"] != other["encounterId"]
    assert b"pat-1" not in good_call()
