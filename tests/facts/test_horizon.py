"""How far back a page that was cut off reaches."""

from __future__ import annotations

import pytest

from cds_service.facts.horizon import oldest_day
from cds_service.facts.records import Lab, Record
from tests.build import Resource, bundle, entry, observation, outcome
from tests.conftest import TakeIn

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
        (["2026-01-01"], None),
        (["2026-01-01T08:00:00Z", "2026-01-01T08:00:00Z"], None),
    ],
    ids=[
        "newest first",
        "days only",
        "oldest first",
        "one undated",
        "a day that does not exist",
        "nothing",
        "one alone",
        "all of one moment",
    ],
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


NEXT = [{"relation": "next", "url": "http://x"}]
SORTED = [observation(days=1), observation("pth", 300, days=100)]


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (bundle(*SORTED, link=NEXT), True),
        (bundle(*SORTED, total=9), True),
        (bundle(*SORTED[::-1], link=NEXT), False),
        (bundle(*SORTED, observation(status=5), link=NEXT), False),
        (bundle(*SORTED, {"resource": 5}, link=NEXT), False),
        (bundle(*SORTED, bundle(observation()), link=NEXT), False),
        (bundle(*SORTED, entry(outcome("error"), search={"mode": "outcome"}), total=2), False),
    ],
    ids=["next page", "larger total", "unsorted", "a misfit", "no entry", "a Bundle within", "an error"],
)
def test_only_a_page_that_was_read_whole_reaches_back(facts: TakeIn, value: Resource, known: bool) -> None:
    """What could not be read, or what the server failed to load, may be of any day."""
    found = facts(values={"observations": value})

    assert (known, False) == (found.covers("observations", 90), found.covers("observations", 120))
