"""How far back a page that was cut off reaches."""

from __future__ import annotations

import pytest

from cds_service.facts.horizon import oldest_day
from cds_service.facts.records import Lab, Record

DAY = 20_454  # 2026-01-01, counted from 1970-01-01


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (["2026-01-03T08:00:00Z", "2026-01-02T08:00:00Z", "2026-01-01T08:00:00Z"], DAY),
        (["2026-01-03", "2026-01-01"], DAY),
        (["2026-01-01T08:00:00Z", "2026-01-02T08:00:00Z"], None),
        (["2026-01-03T08:00:00Z", None], None),
        (["2026-01-03T08:00:00Z", "2026-13-01"], None),
        ([], None),
    ],
    ids=["newest first", "days only", "oldest first", "one undated", "a day that does not exist", "nothing"],
)
def test_a_page_is_complete_back_to_its_last_result_only_if_it_is_sorted(
    dates: list[str | None], expected: int | None
) -> None:
    """A page proves absence only as far back as it is known to reach."""
    labs = [Lab(resourceType="Observation", effectiveDateTime=date) for date in dates]

    assert expected == oldest_day(labs)


def test_procedures_reach_as_far_as_they_were_performed() -> None:
    """Dialysis sessions are sorted by when they were carried out."""
    sessions = [Record(resourceType="Procedure", performedDateTime=day) for day in ("2026-01-02", "2026-01-01")]

    assert DAY == oldest_day(sessions)
