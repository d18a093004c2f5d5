"""
Procedures that were carried out (KNOWLEDGE.md 2.3 and 4).
"""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.facts import Facts, kidney
from cds_service.facts.evidence import YES
from tests.build import HEMODIALYSIS, LEFT_OUT, SNOMED, Resource, ago, codings, day, procedure, without
from tests.conftest import TakeIn

CONTINUOUS, UNSPECIFIED = "233580005", "265764009"


def done(found: Facts, name: str = "hemodialysis") -> int:
    """Count the procedures of a kind."""
    return len(found.procedures.get(name, ()))


@pytest.mark.parametrize("status", ["completed", "in-progress"])
def test_a_procedure_that_took_place_counts(facts: TakeIn, status: str) -> None:
    assert 1 == done(facts(procedure(status=status)))


@pytest.mark.parametrize("status", ["preparation", "not-done", "on-hold", "stopped", "entered-in-error", "unknown"])
def test_a_procedure_that_did_not_take_place_is_set_aside(facts: TakeIn, status: str) -> None:
    found = facts(procedure(status=status))

    assert (0, [f"status-{status}"]) == (done(found), [aside.reason for aside in found.set_aside])


@pytest.mark.parametrize("status", [LEFT_OUT, None, "Completed", "done"], ids=repr)
def test_a_procedure_of_unknown_status_is_set_aside(facts: TakeIn, status: Any) -> None:
    assert 0 == done(facts(procedure(status=status)))


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        ({"performedDateTime": "2026-02-20"}, "2026-02-20"),
        ({"performedDateTime": LEFT_OUT, "performedPeriod": {"start": day(9), "end": "2026-02-21"}}, "2026-02-21"),
        ({"performedDateTime": LEFT_OUT, "performedPeriod": {"start": "2026-02-21"}}, "2026-02-21"),
        ({"performedDateTime": LEFT_OUT}, None),
        ({"performedDateTime": LEFT_OUT, "performedString": "last week"}, None),
        ({"performedDateTime": LEFT_OUT, "occurrenceDateTime": "2026-02-20"}, None),
        ({"performedDateTime": "2026-02-30"}, None),
        ({"performedDateTime": LEFT_OUT, "performedPeriod": {"start": day(3), "end": day(9)}}, None),
    ],
    ids=str,
)
def test_a_procedure_is_dated_by_its_end(facts: TakeIn, members: Resource, shown: str | None) -> None:
    days = [
        item.when.day if item.when else None for item in facts(procedure(**members)).procedures.get("hemodialysis", ())
    ]

    assert [shown] == days


def over(start: Any = LEFT_OUT, end: Any = LEFT_OUT, status: str = "in-progress") -> Resource:
    """Return hemodialysis over a period."""
    return procedure(status=status, performedDateTime=LEFT_OUT, performedPeriod=without(start=start, end=end))


@pytest.mark.parametrize(
    ("one", "shown"),
    [
        (over("2024-01-05"), [day(0)]),
        (over("2024-01-05", "2026-12-31"), [day(0)]),
        (over(ago(hours=3)), [day(0)]),
        (over("2024-01-05", day(0)), [day(0)]),
        (over("2024-01-05", day(3)), [day(3)]),
        (over("2026-04-01"), []),
        (over("2026-04-01", "2026-12-31"), []),
        (over("2024-02-30"), [None]),
        (over("2024-01-05", "2024-02-30"), [None]),
        (over("2024-01-05", status="completed"), ["2024-01-05"]),
        (over("2024-01-05", "2026-12-31", status="completed"), []),
    ],
    ids=[
        "no end",
        "end to come",
        "began today",
        "ends today",
        "ended",
        "begins next month",
        "begins next month, with an end",
        "began on no day",
        "ended on no day",
        "completed, no end",
        "completed in the future",
    ],
)
def test_a_procedure_in_progress_takes_place_today(facts: TakeIn, one: Resource, shown: list[str | None]) -> None:
    """
    An EHR may keep maintenance dialysis as one procedure that began years ago and goes on.
    """
    found = facts(one).procedures.get("hemodialysis", ())

    assert shown == [item.when.day if item.when else None for item in found]


def test_dialysis_in_progress_for_years_is_kidney_failure(facts: TakeIn) -> None:
    assert YES is kidney.failure(facts(over("2024-01-05"))).verdict


def test_a_procedure_of_next_year_is_set_aside(facts: TakeIn) -> None:
    found = facts(procedure(performedDateTime="2199-01-01"))

    assert (0, ["future-date"]) == (done(found), [aside.reason for aside in found.set_aside])


@pytest.mark.parametrize("general", [UNSPECIFIED, HEMODIALYSIS])
def test_continuous_dialysis_stays_so_whatever_else_the_procedure_is_coded_as(facts: TakeIn, general: str) -> None:
    """
    Continuous dialysis is also "renal dialysis"; it must not pass for maintenance dialysis by its broader code.
    """
    found = facts(procedure(code=codings((SNOMED, general), (SNOMED, CONTINUOUS)), performedDateTime=ago(1)))

    assert {"crrt"} == set(found.procedures)
