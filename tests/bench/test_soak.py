"""The soak tells a memory that grows from one that goes up and down."""

from __future__ import annotations

from collections import Counter
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import pytest

from bench import soak


def rows(grows: float, minutes: int = 10) -> list[soak.Row]:
    """Return what is measured of a worker that takes 8 MB within a minute, gives them back, and grows besides."""
    times = [15.0 * number for number in range(1, minutes * 4 + 1)]
    return [(at, (150 + at % 60 / 60 * 8 + grows * at / 600, 150.0), 60, 100) for at in times]


@pytest.mark.parametrize("grows", [0.0, 0.9, 1.1, 30.0, -5.0])
def test_what_grows_is_told_from_what_goes_up_and_down(grows: float) -> None:
    assert pytest.approx([grows, 0.0], abs=0.01, rel=0.1) == soak.slopes(rows(grows))


def test_the_least_counts_of_what_is_seen_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "LOOK", 0.001)
    sizes = cycle([(9_000_000, 5_000_000), (4_000_000, 6_000_000), (8_000_000, 7_000_000)])
    service: Any = SimpleNamespace(
        memory=lambda: dict(enumerate(next(sizes))), open_files=lambda: 60, threads=lambda: 100
    )

    assert (4.0, 5.0) == soak.measure(service, 0.0, 0.2)[1]


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
    many = rows(grows)
    load: Any = SimpleNamespace(ended=Counter(statuses), seconds=[0.01, 0.02])
    hostile: Any = SimpleNamespace(ended=Counter({"get 404": 3}), slowest=0.9)

    assert code == soak.judge(many, many[-1], load, hostile, hostile, same=same)
