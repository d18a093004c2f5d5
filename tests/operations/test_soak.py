"""What the soak says of memory, files and threads over time (bench/soak.py)."""

from __future__ import annotations

import json
from collections import Counter
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import pytest

from bench import soak
from bench.soak import Row, good_call, judge, measure, more, slopes


def rows(*memory: float) -> list[Row]:
    """Return lines of a soak, one for each minute; a second worker stands still."""
    return [(60.0 * place, (size, 90.0), 100, 180) for place, size in enumerate(memory)]


def test_what_goes_back_within_two_minutes_is_no_growth_and_each_worker_counts_by_itself() -> None:
    assert pytest.approx([0, 0]) == slopes(rows(100, 105, 100, 104, 106, 100, 100, 109, 150))
    assert pytest.approx([5, 0]) == slopes(rows(100, 105, 101, 104, 102, 106, 103, 109, 150))


def sawtooth(grows: float, minutes: int = 10) -> list[Row]:
    """Return what is measured of a worker that takes 8 MB within a minute, gives them back, and grows besides."""
    times = [15.0 * number for number in range(1, minutes * 4 + 1)]
    return [(at, (150 + at % 60 / 60 * 8 + grows * at / 600, 150.0), 60, 100) for at in times]


@pytest.mark.parametrize("grows", [0.0, 0.9, 1.1, 30.0, -5.0])
def test_what_grows_is_told_from_what_goes_up_and_down(grows: float) -> None:
    assert pytest.approx([grows, 0.0], abs=0.01, rel=0.1) == slopes(sawtooth(grows))


def test_the_least_counts_of_what_is_seen_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "LOOK", 0.001)
    sizes = cycle([(9_000_000, 5_000_000), (4_000_000, 6_000_000), (8_000_000, 7_000_000)])
    service: Any = SimpleNamespace(
        memory=lambda: dict(enumerate(next(sizes))), open_files=lambda: 60, threads=lambda: 100
    )

    assert (4.0, 5.0) == measure(service, 0.0, 0.2)[1]


@pytest.mark.parametrize(
    ("grows", "statuses", "same", "code"),
    [
        (0.5, {200: 9}, True, 0),
        (1.5, {200: 9}, True, 1),
        (0.5, {200: 9, 500: 1}, True, 1),
        (0.5, {200: 9, "lost": 1}, True, 1),
        (0.5, {200: 9}, False, 1),
    ],
)
def test_it_is_flat_where_nothing_grew_and_nobody_was_lost(
    grows: float, statuses: dict[object, int], same: bool, code: int
) -> None:
    many = sawtooth(grows)
    load: Any = SimpleNamespace(ended=Counter(statuses), seconds=[0.01, 0.02])
    hostile: Any = SimpleNamespace(ended=Counter({"get 404": 3}), slowest=0.9)

    assert code == judge(many, many[-1], load, hostile, hostile, same=same)


def test_one_line_that_stands_out_is_no_trend_of_files() -> None:
    assert 1.0 == more((50, 130, 130, 160, 130, 161, 130, 130))
    assert 1.5 == more((50, 100, 100, 100, 150, 150, 150, 150))


def test_each_good_call_is_about_another_patient_in_another_encounter() -> None:
    one, other = (json.loads(good_call())["context"] for _ in range(2))

    assert one["patientId"] != other["patientId"]
    assert one["encounterId"] != other["encounterId"]
    assert b"pat-1" not in good_call()
