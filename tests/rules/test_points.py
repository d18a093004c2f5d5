"""
Points: what holds adds its weight, what is unknown adds none but keeps the answer open; and what was counted.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import pytest

from tests.rules.bedside import judge

POINTS = """\
points:
  at_least: threshold
  of:
    - {weight: two_points, when: {taking: vka}}
    - {weight: one_point, when: {has: dm}}
    - {weight: one_point, when: {latest: phosphate, above: limit}}
"""
VKA, DIABETES, PHOSPHATE = "medications: [vka]", "diagnoses: [dm]", "labs: {phosphate: {today: 7 mg/dL}}"


@pytest.mark.parametrize(
    ("scene", "verdict", "tally"),
    [
        ("", "no", (0, 0)),
        (VKA, "no", (1, 2)),
        (f"{DIABETES}\n{PHOSPHATE}", "no", (2, 2)),
        (f"{VKA}\n{DIABETES}", "yes", (2, 3)),
        (f"{VKA}\n{DIABETES}\n{PHOSPHATE}", "yes", (3, 4)),
        (f"{VKA}\nnot_loaded: [conditions]", "unknown", (1, 2)),
        (f"{VKA}\n{DIABETES}\nnot_loaded: [observations]", "yes", (2, 3)),
        ("not_loaded: [conditions, observations]", "no", (0, 0)),
        ("not_loaded: [medications, conditions]", "unknown", (0, 0)),
    ],
)
def test_points_add_up(scene: str, verdict: str, tally: tuple[int, int]) -> None:
    told = judge(POINTS, scene)

    assert verdict == told.verdict.value, "\n".join(told.lines())
    assert told.tally is not None
    assert list(tally) == [int(number) for number in told.tally]
    assert bool(told.missing) is (verdict == "unknown")


def test_what_holds_is_what_the_card_rests_on() -> None:
    told = judge(POINTS, f"{VKA}\n{DIABETES}")

    assert ["vka", "dm"] == [getattr(item, "concept", "") for item in told.supporting()]


@pytest.mark.parametrize("held", list(product([False, True], repeat=3)))
def test_one_more_part_never_lowers_the_answer(held: tuple[bool, ...]) -> None:
    parts = [part for part, holds in zip((VKA, DIABETES, PHOSPHATE), held, strict=True) if holds]
    before = judge(POINTS, "\n".join(parts))

    for more in (VKA, DIABETES, PHOSPHATE):
        if more not in parts:
            after = judge(POINTS, "\n".join([*parts, more]))
            assert (before.verdict.value, after.verdict.value) != ("yes", "no")
            assert before.tally is not None
            assert after.tally is not None
            assert before.tally < after.tally


def test_at_least_counts_what_holds() -> None:
    told = judge("at_least: {n: two, of: [{taking: vka}, {has: dm}, {has: met-eskd}]}", f"{VKA}\n{DIABETES}")

    assert told.tally == (2, Decimal(2))


@pytest.mark.parametrize(
    ("scene", "verdict"),
    [
        ("procedures: {hemodialysis: [2 days ago, 4 days ago]}", "yes"),
        ("procedures: {hemodialysis: [2 days ago]}", "no"),
        ("procedures: {hemodialysis: [2 days ago], peritoneal: [2 days ago]}", "yes"),
    ],
)
def test_a_group_is_counted_over_its_members(scene: str, verdict: str) -> None:
    assert verdict == judge("done: maintenance-dialysis\ntimes: two", scene).verdict.value
