"""``cds-service backtest``: what another number would do, patient by patient."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from cds_service.cli import main
from cds_service.web.settings import packaged
from tests.build import ROOT

POPULATION = ROOT / "fixtures" / "population"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["backtest", *arguments], catch_exceptions=False)


def figures(*arguments: str) -> dict[str, Any]:
    result = run("--json", "--as-of", "newest", *arguments)
    assert 0 == result.exit_code, result.output
    found: dict[str, Any] = json.loads(result.stdout)

    return found


def test_nothing_changes_where_nothing_is_changed() -> None:
    found = figures("--set", "eskd-hyperphosphatemia.phosphate_high=5.5")

    assert found["cards"]["before"] == found["cards"]["after"]
    assert [] == found["changed"]
    assert found["cards"]["before"]


def test_a_higher_limit_takes_cards_away_and_a_lower_one_adds_some() -> None:
    def spoken(number: str) -> tuple[int, int]:
        found = figures("--set", f"eskd-hyperphosphatemia.phosphate_high={number}")["findings"]
        return tuple(found[when].get("eskd-hyperphosphatemia", 0) for when in ("before", "after"))

    before, high = spoken("6.5")
    _, low = spoken("4.5")

    assert high < before < low


def test_who_loses_a_card_is_exactly_who_lies_between_the_limits() -> None:
    """The independent count: every patient is answered anew with a site's book that has the other number."""
    found = figures("--set", "eskd-hyperphosphatemia.phosphate_high=6.5")
    losing = {one["patient"] for one in found["changed"] if "eskd-hyperphosphatemia" in one["loses"]}

    assert losing
    assert all(not one["gains"] or "eskd-hyperphosphatemia" not in one["gains"] for one in found["changed"])
    delta = found["findings"]["before"]["eskd-hyperphosphatemia"] - found["findings"]["after"].get(
        "eskd-hyperphosphatemia", 0
    )
    assert delta == len(losing)


def test_a_rule_taken_out_is_lost_by_all_who_had_it() -> None:
    found = figures("--set", "eskd-missing-labs.status=retired")

    assert "eskd-missing-labs" not in found["findings"]["after"]
    assert found["findings"]["before"]["eskd-missing-labs"] == len(found["changed"])


def test_the_table_names_patients_and_rates() -> None:
    result = run("--as-of", "newest", "--set", "eskd-hyperphosphatemia.phosphate_high=6.5", "--show", "1")

    assert 0 == result.exit_code
    for words in ("Cards per 100 patients", "before", "after", "-eskd-hyperphosphatemia", "more (--show)"):
        assert words in result.output


def test_what_cannot_be_set_is_refused_with_a_reason() -> None:
    for assignment in (
        "eskd-hyperphosphatemia.phosphate_high=9",
        "no-rule.x=1",
        "eskd-hyperphosphatemia.phosphate_high=5,5",
    ):
        result = run("--set", assignment)
        assert 2 == result.exit_code
        assert "Traceback" not in result.output


def test_the_cohort_may_be_any_folder_of_patients() -> None:
    patients = packaged("fixtures") / "patients"
    found = figures("--cohort", str(patients), "--set", "hypercalcemia-workup.ca_high=11.5")

    assert found["patients"] == len(list(patients.glob("*.json")))
