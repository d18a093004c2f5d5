"""What the soak says of memory, files and threads over time (bench/soak.py)."""

from __future__ import annotations

import json

import pytest

from bench.soak import Row, good_call, more, slopes


def rows(*memory: float) -> list[Row]:
    """Return lines of a soak, one for each minute; a second worker stands still."""
    return [(60.0 * place, (size, 90.0), 100, 180) for place, size in enumerate(memory)]


def test_what_goes_back_within_two_minutes_is_no_growth_and_each_worker_counts_by_itself() -> None:
    assert pytest.approx([0, 0]) == slopes(rows(100, 105, 100, 104, 106, 100, 100, 109, 150))
    assert pytest.approx([5, 0]) == slopes(rows(100, 105, 101, 104, 102, 106, 103, 109, 150))


def test_one_line_that_stands_out_is_no_trend_of_files() -> None:
    assert 1.0 == more((50, 130, 130, 160, 130, 161, 130, 130))
    assert 1.5 == more((50, 100, 100, 100, 150, 150, 150, 150))


def test_each_good_call_is_about_another_patient_in_another_encounter() -> None:
    one, other = (json.loads(good_call())["context"] for _ in range(2))

    assert one["patientId"] != other["patientId"]
    assert one["encounterId"] != other["encounterId"]
    assert b"pat-1" not in good_call()
