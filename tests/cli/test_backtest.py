"""``cds-service backtest``: what another number would do, patient by patient."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from cds_service.adapters.ledger import Ledger, read_key
from cds_service.cli import main
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import Tuning
from cds_service.web import Settings, create_app
from cds_service.web.settings import packaged
from tests.build import NOW, ROOT, SERVICE, body, condition, observation

POPULATION = ROOT / "fixtures" / "population"


@pytest.fixture(autouse=True)
def _without_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDS_DATABASE_URL", f"sqlite:///{tmp_path}/ledger.db")


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


def test_a_finding_that_makes_room_is_no_loss() -> None:
    found = figures("--set", "eskd-hyperphosphatemia.phosphate_high=6.5")
    rates = {when: sum(found["per_hundred"][when].values()) for when in ("before", "after")}

    assert found["differing"] == len(found["changed"])
    assert {when: round(rate * found["calls"] / 100) for when, rate in rates.items()} == {
        when: sum(found["cards"][when].values()) for when in ("before", "after")
    }
    assert all(one["cards"]["before"] for one in found["changed"])


def test_an_exception_and_a_rollout_can_be_tried() -> None:
    told = '{"kind": "diagnosis", "of": ["met-eskd"]}'
    found = figures("--set", f"eskd-hyperphosphatemia.exception.care={told}")

    spoke = found["findings"]["before"]["eskd-hyperphosphatemia"]
    speaks = found["findings"]["after"].get("eskd-hyperphosphatemia", 0)

    assert 0 <= speaks < spoke
    assert {"eskd-hyperphosphatemia: exception care": spoke - speaks} == found["held_back"]["after"]
    half = figures("--set", "eskd-hyperphosphatemia.rollout=50")["findings"]["after"]["eskd-hyperphosphatemia"]
    assert 0 < half < spoke


def test_the_chart_is_drawn_in_black_on_white_and_says_both_numbers(tmp_path: Path) -> None:
    file = tmp_path / "chart.svg"
    found = figures("--set", "eskd-hyperphosphatemia.phosphate_high=6.5", "--svg", str(file))
    drawn = ET.fromstring(file.read_text(encoding="utf-8"))
    words = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]

    assert "Cards per 100 patients (200 calls of 200 patients)" in words
    assert {"eskd-hyperphosphatemia.phosphate_high=6.5", "critical", "warning", "info", "before", "after"} <= {*words}
    for when in ("before", "after"):
        assert {f"{rate:.1f}" for rate in found["per_hundred"][when].values()} <= {*words}
    assert "http" not in file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")


def test_a_cohort_that_is_not_there_is_refused_with_a_reason() -> None:
    result = run("--cohort", "no/such/folder", "--set", "eskd-hyperphosphatemia.phosphate_high=6.5")

    assert 2 == result.exit_code
    assert '"ledger" for the calls that the ledger recorded' in result.output


# --- recorded calls --------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path, book: RuleBook, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Give a ledger with calls of a patient on dialysis: phosphate 5.0, 5.2 ... 7.2 mg/dL."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("CDS_DATABASE_URL", url)
    found = Ledger.open(url, read_key({}, url), NOW.timestamp)
    client = create_app(Settings(auth="none"), book=book, clock=NOW.timestamp, ledger=found).test_client()
    for number in range(12):
        raw = body(condition(), observation(value=5.0 + number / 5))
        client.post(SERVICE, data=raw, content_type="application/json")
    assert found.flush()
    return found


def recorded(*words: str) -> dict[str, Any]:
    result = run("--json", "--cohort", "ledger", *words)
    assert 0 == result.exit_code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_recorded_calls_can_be_tried_and_each_names_its_decision(ledger: Ledger) -> None:
    found = recorded("--set", "eskd-hyperphosphatemia.phosphate_high=6.5")

    assert (12, 1, 5) == (found["calls"], found["patients"], len(found["changed"]))
    for one in found["changed"]:
        row = ledger.decision(one["decision"])
        assert row is not None
        assert row.patient == one["patient"]
        assert "eskd-hyperphosphatemia" in [told["rule"] for told in row.content["fired"]]
    assert 3 == recorded("--set", "eskd-hyperphosphatemia.phosphate_high=6.5", "--most", "3")["calls"]
    text = run("--cohort", "ledger", "--set", "eskd-hyperphosphatemia.phosphate_high=6.5").output
    assert f"(decision {found['changed'][0]['decision']}): -eskd-hyperphosphatemia" in text
    assert "Cards per 100 calls" in text


def test_the_rules_as_they_are_hold_what_admins_decided(ledger: Ledger) -> None:
    decided = Tuning("eskd-hyperphosphatemia", "phosphate_high", Decimal("6.5"), NOW.date(), "ab", "too many cards")
    ledger.governance.propose(decided, base=0, role="shell", origin="shell")
    found = recorded("--set", "eskd-hyperphosphatemia.phosphate_high=5.5")

    assert (4, 9) == tuple(found["findings"][when]["eskd-hyperphosphatemia"] for when in ("before", "after"))
    assert all(one["gains"] for one in found["changed"])
