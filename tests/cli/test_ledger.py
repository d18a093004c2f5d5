"""cds-service ledger and cds-service switch: what an operator can look at, take out, delete and stop."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from cds_service.adapters.ledger import Ledger, Switches, read_key
from cds_service.adapters.ledger.exporting import cell
from tests.build import NOW
from tests.cli.conftest import Run
from tests.ledger.conftest import accepted, card, overridden, row

RULE = "eskd-hyperphosphatemia"


class Shell:
    """The command line beside a ledger that was filled."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.run, self.url = run, f"sqlite:///{folder}/ledger.db"
        self.ledger = Ledger.open(self.url, read_key({}, self.url), NOW.timestamp)

    def __call__(self, *words: str | Path, code: int = 0) -> str:
        result = self.run(*words, CDS_DATABASE_URL=self.url)
        assert code == result.exit_code, result.output
        return str(result.output)


@pytest.fixture
def shell(run: Run, tmp_path: Path) -> Shell:
    found = Shell(run, tmp_path)
    of = found.ledger.quiet.pseudonym("patient", "https://ehr.example/fhir", "pat-1")
    for number in range(3):
        found.ledger.write(row(patient=of if number else "another", cards=(card(f"card-{number}"),)))
    assert found.ledger.flush(60)
    found.ledger.feedback([overridden("card-1", comment="=cmd|' /C calc'!A0"), accepted("card-0")], "a-service")
    found.ledger.database.close()
    return found


def change(shell: Shell, statement: str) -> None:
    with shell.ledger.database.writing() as connection:
        connection.exec_driver_sql(statement)
    shell.ledger.database.close()


# --- verify -----------------------------------------------------------------------------------------------------------


def test_a_ledger_in_order(shell: Shell) -> None:
    assert "3 decisions in 1 chains (0 purged), 2 answers, 0 entries of the audit: in order.\n" == shell(
        "ledger", "verify"
    )


def test_a_ledger_that_was_changed(shell: Shell) -> None:
    change(shell, "UPDATE decisions SET service = 'x' WHERE place = 1")

    assert "the row at place 1 was changed" in shell("ledger", "verify", code=1)


def test_a_ledger_that_is_not_there_is_not_made(run: Run, tmp_path: Path) -> None:
    result = run("ledger", "verify", CDS_DATABASE_URL=f"sqlite:///{tmp_path}/none.db")

    assert (2, False) == (result.exit_code, (tmp_path / "none.db").exists())
    assert "There is no ledger here" in result.output


# --- export -----------------------------------------------------------------------------------------------------------


def test_an_export_of_decisions(shell: Shell, tmp_path: Path) -> None:
    shell("ledger", "export", "decisions", "--out", tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]

    assert 3 == len(lines)
    assert ("2026-03-01T12:00:00+00:00", "patient-view") == (lines[0]["at"], lines[0]["content"]["hook"])
    assert "0o600" == oct((tmp_path / "out").stat().st_mode & 0o777)


def test_an_export_for_spreadsheets_holds_no_formula(shell: Shell, tmp_path: Path) -> None:
    shell("ledger", "export", "feedback", "--format", "csv", "--out", tmp_path / "out.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))

    assert ["'=cmd|' /C calc'!A0", ""] == [one["comment"] for one in rows]
    assert "2026-03-01T12:00:00+00:00" == rows[0]["at"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "\n=x"])
def test_a_cell_is_no_formula(text: str) -> None:
    assert cell(text).startswith("'")


def test_an_export_of_a_time(shell: Shell, tmp_path: Path) -> None:
    change(shell, "UPDATE decisions SET at = at - 864000 WHERE place = 0")
    shell("ledger", "export", "decisions", "--since", "2026-02-25", "--until", "2026-03-02", "--out", tmp_path / "new")
    shell("ledger", "export", "decisions", "--until", "2026-02-25", "--out", tmp_path / "old")

    assert [2, 1] == [len((tmp_path / name).read_text().splitlines()) for name in ("new", "old")]


def test_an_export_overwrites_nothing(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")

    shell("ledger", "export", "cards", "--out", tmp_path / "there", code=2)
    assert "mine" == (tmp_path / "there").read_text()


# --- purge ------------------------------------------------------------------------------------------------------------


def test_a_patient_is_forgotten(shell: Shell) -> None:
    said = shell("ledger", "purge", "--patient", "pat-1", "--server", "https://ehr.example/fhir/", "--yes")

    assert "Deleted: 2 decisions, 2 cards, 1 answers.\n" == said
    assert "1 decisions in 1 chains (2 purged), 1 answers, 0 entries of the audit: in order.\n" == shell(
        "ledger", "verify"
    )
    assert b"pat-1" not in b"".join(path.read_bytes() for path in shell.ledger.database.path.parent.glob("ledger.db*"))  # type: ignore[union-attr]


def test_the_servers_that_are_set_are_tried(shell: Shell, run: Run) -> None:
    words = ("ledger", "purge", "--patient", "Patient/pat-1", "--yes")
    other = run(*words, CDS_DATABASE_URL=shell.url, CDS_FHIR_ALLOW="https://other.example")
    right = run(*words, CDS_DATABASE_URL=shell.url, CDS_FHIR_ALLOW="https://other.example,https://ehr.example/fhir")

    assert ("Deleted: 0", "Deleted: 2") == (other.output[:10], right.output[:10])


def test_what_has_passed_its_time_is_forgotten(shell: Shell) -> None:
    assert "Deleted: 3 decisions, 3 cards, 2 answers.\n" == shell("ledger", "purge", "--days", "1", "--yes")
    assert "in order" in shell("ledger", "verify")


def test_nothing_is_deleted_without_a_yes(shell: Shell) -> None:
    shell("ledger", "purge", "--days", "1", code=1)
    assert "3 decisions" in shell("ledger", "verify")


def test_a_file_that_is_damaged_can_be_set_aside(shell: Shell) -> None:
    path = shell.ledger.database.path
    assert path is not None
    shell("ledger", "set-aside", "--yes")

    assert not path.exists()
    assert 1 == len(list(path.parent.glob("ledger.db.aside-*")))


def test_another_key_can_be_taken(shell: Shell, run: Run) -> None:
    new = {"CDS_DATABASE_URL": shell.url, "CDS_PSEUDONYM_KEY": "another key, just as long as the first one was"}

    assert 2 == run("ledger", "verify", **new).exit_code
    assert 0 == run("ledger", "new-key", **new).exit_code
    assert "2 problem(s)" in run("ledger", "verify", **new).output  # the seals of the answers were made with the old


# --- switches ---------------------------------------------------------------------------------------------------------


def test_a_rule_is_switched_off_and_on(shell: Shell) -> None:
    off = shell("switch", "off", "rule", RULE, "--who", "dr-1", "--why", "wrong in infants")
    assert f"off  rule {RULE}  dr-1: wrong in infants\n" in off
    assert off == shell("switch", "list")
    shell.ledger.look()
    assert Switches(rules=frozenset({RULE})) == shell.ledger.switches()

    shell("switch", "on", "rule", RULE, "--who", "dr-1", "--why", "corrected")
    assert "Nothing is switched off.\n" == shell("switch", "list")
    assert 2 == len(shell("switch", "list", "--history").splitlines())


def test_everything_is_switched_off(shell: Shell) -> None:
    shell("switch", "off", "all", "--who", "dr-1", "--why", "an incident")
    shell.ledger.look()

    assert shell.ledger.switches().everything


@pytest.mark.parametrize(
    "words",
    [("rule", "no-such-rule"), ("service", "no-such-service"), ("rule",), ("all", "something")],
)
def test_what_there_is_not_cannot_be_switched_off(shell: Shell, words: tuple[str, ...]) -> None:
    shell("switch", "off", *words, "--who", "dr-1", "--why", "x", code=2)


def test_somebody_has_to_answer_for_it(shell: Shell) -> None:
    shell("switch", "off", "all", code=2)
