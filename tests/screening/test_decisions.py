"""What admins decided in the ledger is laid over the rules of a screening, as the service does it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from cds_service.rules.book import load_book
from cds_service.rules.tuning import tuned
from cds_service.rules.tuning_model import Tuning
from cds_service.screening import pages
from tests.build import ROOT
from tests.screening.people import decide, decision, findings, screened, summary, write_population

RULE = "eskd-hyperphosphatemia"
HIGHER = decision("phosphate_high", "6.5")
Decide = Callable[..., None]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_population(tmp_path_factory.mktemp("source") / "people")


@pytest.fixture
def admins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decide:
    """Let admins decide, in the ledger that the environment names."""

    def made(*decided: Tuning) -> None:
        monkeypatch.setenv("CDS_DATABASE_URL", decide(tmp_path, *decided))

    return made


def fired(output: Path, rule: str = RULE) -> set[str]:
    return {one["patient"] for one in findings(output) if one["rule"] == rule and one["verdict"] == "yes"}


def test_a_decided_threshold_holds_in_a_screening(source: Path, tmp_path: Path, admins: Decide) -> None:
    screened(source, tmp_path / "before")
    admins(HIGHER)

    result = screened(source, tmp_path / "after")

    assert 0 == result.exit_code, result.stderr
    assert fired(tmp_path / "after") < fired(tmp_path / "before")
    assert "with 1 decisions of admins" in result.stdout


def test_the_summary_says_what_was_decided_and_by_which_rules_was_asked(
    source: Path, tmp_path: Path, admins: Decide
) -> None:
    admins(HIGHER)
    screened(source, tmp_path / "out")
    files, today = load_book(ROOT / "hooks"), datetime.now(UTC).date()

    run = summary(tmp_path / "out")["run"]

    assert (files.fingerprint, tuned(files, [HIGHER], today).fingerprint) == (run["rules"], run["rule_book"])
    assert [("6.5", "2026-01-01", "eddie", "")] == [
        (one["value"], one["since"], one["who"], one["ignored"]) for one in run["decisions"]
    ]
    assert "phosphate that calls for review is 6.5 mg/dL" in (tmp_path / "out" / "summary.html").read_text()
    assert run["rule_book"] in (tmp_path / "out" / "worklist.html").read_text()


def test_a_rule_that_was_switched_off_finds_nobody(source: Path, tmp_path: Path, admins: Decide) -> None:
    screened(source, tmp_path / "before")
    admins(decision("status", "draft"))

    screened(source, tmp_path / "after")

    assert fired(tmp_path / "before")
    assert set() == fired(tmp_path / "after")
    assert RULE not in {one["rule"] for one in findings(tmp_path / "after")}


@pytest.mark.parametrize(
    ("since", "more"),
    [(datetime.now(UTC).date() + timedelta(days=30), {}), (date(2026, 1, 1), {"until": date(2026, 1, 31)})],
    ids=["planned", "ended"],
)
def test_a_decision_of_other_days_is_named_and_not_followed(
    source: Path, tmp_path: Path, admins: Decide, since: date, more: dict[str, date]
) -> None:
    screened(source, tmp_path / "before")
    admins(Tuning(RULE, "status", "draft", since, "eddie", "We aim at this", **more))

    result = screened(source, tmp_path / "after")

    assert fired(tmp_path / "before") == fired(tmp_path / "after")
    assert "with 0 decisions of admins (1 more not followed" in result.stdout
    [one] = summary(tmp_path / "after")["run"]["decisions"]
    assert "not of the day" in one["ignored"]


def test_a_decision_that_the_rules_refuse_is_named_and_not_followed(
    source: Path, tmp_path: Path, admins: Decide
) -> None:
    """The file allows 4.5 to 7.0: an older one may have allowed more."""
    admins(decision("phosphate_high", "9.5"))

    result = screened(source, tmp_path / "out")

    run = summary(tmp_path / "out")["run"]
    assert 0 == result.exit_code, result.stderr
    assert run["rules"] == run["rule_book"]
    assert "7.0" in run["decisions"][0]["ignored"]


def test_decisions_can_be_left_out(source: Path, tmp_path: Path, admins: Decide) -> None:
    screened(source, tmp_path / "before")
    admins(HIGHER)

    result = screened(source, tmp_path / "after", "--without-decisions")

    assert fired(tmp_path / "before") == fired(tmp_path / "after")
    assert "as its files say: no decisions of admins" in result.stdout
    assert [] == summary(tmp_path / "after")["run"]["decisions"]


def test_other_decisions_do_not_go_on_with_a_run(source: Path, tmp_path: Path, admins: Decide) -> None:
    admins(HIGHER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "worklist", lambda *_: 1 / 0)
        assert screened(source, tmp_path / "out").exception
    admins(decision("phosphate_high", "6.0"))

    other, none = screened(source, tmp_path / "out"), screened(source, tmp_path / "out", "--without-decisions")

    assert (2, 2) == (other.exit_code, none.exit_code)
    for result in (other, none):
        assert "Not the same: the decisions of admins." in result.stderr


def test_the_same_decisions_go_on_with_a_run(source: Path, tmp_path: Path, admins: Decide) -> None:
    admins(HIGHER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "worklist", lambda *_: 1 / 0)
        assert screened(source, tmp_path / "out").exception

    again = screened(source, tmp_path / "out")

    assert 0 == again.exit_code, again.stderr
    assert "Going on with the run" in again.stderr
    assert "Nothing was done" in screened(source, tmp_path / "out").stdout


def test_a_complete_run_is_another_one_after_another_decision(source: Path, tmp_path: Path, admins: Decide) -> None:
    admins(HIGHER)
    screened(source, tmp_path / "out")
    admins(decision("phosphate_high", "6.0"))

    result = screened(source, tmp_path / "out")

    assert 2 == result.exit_code
    assert "the decisions of admins" in result.stderr


def test_a_ledger_that_cannot_be_read_is_not_passed_over(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ledger.db").write_bytes(os.urandom(4096))
    monkeypatch.setenv("CDS_DATABASE_URL", f"sqlite:///{tmp_path}/ledger.db")

    refused = screened(source, tmp_path / "out")
    without = screened(source, tmp_path / "out", "--without-decisions")

    assert (2, 0) == (refused.exit_code, without.exit_code)
    assert "What admins decided cannot be read" in refused.stderr
    assert "--without-decisions" in refused.stderr
