"""``cds-service tuning``: decisions from the shell, reviewed as a file, approved by another, undone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cds_service.adapters.ledger import Ledger, read_key
from cds_service.rules.book import RuleBook, load_book
from tests.cli.conftest import Run

PLACE = "eskd-hyperphosphatemia.phosphate_high"
WHY = ("--why", "too many cards in dialysis")
TODAY = datetime.now(UTC).date()
EXCEPTION = '{"kind": "diagnosis", "of": ["calciphylaxis"]}'


class Shell:
    """The command line beside an empty ledger."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.run, self.url = run, f"sqlite:///{folder}/ledger.db"
        Ledger.open(self.url, read_key({}, self.url)).close()

    def __call__(self, *words: str | Path, code: int = 0, who: str = "eddie") -> str:
        said = ("--who", who) if words[0] in ("set", "approve", "restore", "import") else ()
        result = self.run("tuning", *words, *said, CDS_DATABASE_URL=self.url)
        assert code == result.exit_code, result.output
        return str(result.output)

    def agreed(self, *words: str | Path) -> None:
        """Decide something that needs a second person, with her."""
        number = self(*words).split()[0]
        self("approve", number, "--why", "agreed in the meeting", who="anna")

    def shown(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self("show", "--json", *words))
        return found


@pytest.fixture
def shell(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, book: RuleBook) -> Shell:
    # Loading the content anew for every command would take most of the time of these tests.
    monkeypatch.setattr("cds_service.cli.options.load_book", lambda _folder, _site: book)
    return Shell(run, tmp_path)


def test_what_is_set_is_shown_with_who_and_why(shell: Shell) -> None:
    assert "Nothing was decided" in shell("show")
    shell.agreed("set", f"{PLACE}=6.5", *WHY)
    told = shell("show")

    assert "in force  Kidney failure with high phosphate: phosphate that calls for review is 6.5 mg/dL" in told
    assert "eddie: too many cards in dialysis" in told
    [one] = shell.shown("eskd-hyperphosphatemia")
    assert ("6.5", "in force", "") == (one["value"], one["state"], one["unfit"])
    assert [] == shell.shown("eskd-missing-labs")


@pytest.mark.parametrize(
    "words",
    [
        (f"{PLACE}=7.1", *WHY),
        (f"{PLACE}=5,5", *WHY),
        (f"{PLACE}= 5", *WHY),
        (f"{PLACE}=1e400", *WHY),
        (f"{PLACE}=6", "--why", "short"),
        (f"{PLACE}=6", *WHY, "--from", "2020-01-01"),
        ("eskd-hyperphosphatemia.exception.x=" + EXCEPTION, *WHY),
        ("no-such-rule.status=pilot", *WHY),
        (f"{PLACE}=6", *WHY, "--until", TODAY.isoformat()),
    ],
)
def test_what_may_not_be_is_refused_and_nothing_is_kept(shell: Shell, words: tuple[str, ...]) -> None:
    told = shell("set", *words, code=2)

    assert "Traceback" not in told
    assert [] == shell.shown()


def test_a_second_person_agrees_and_not_the_first(shell: Shell) -> None:
    told = shell("set", "eskd-hyperphosphatemia.status=retired", *WHY)
    assert "It waits for a second person, because the rule shows no cards any more" in told
    assert ["waiting"] == [one["state"] for one in shell.shown()]

    shell("approve", "1", "--why", "I agree with myself", code=2)
    assert ["waiting"] == [one["state"] for one in shell.shown()]
    shell("approve", "1", "--why", "agreed in the meeting", who="anna")

    assert [("in force", "anna")] == [(one["state"], one["ruled_by"]) for one in shell.shown()]


def test_a_number_other_than_the_guideline_value_waits_and_its_author_cannot_approve_it(shell: Shell) -> None:
    told = shell("set", f"{PLACE}=6.5", *WHY)
    assert "because 6.5 mg/dL is not the guideline value of the rule file, 5.5 mg/dL" in told
    assert "1  eskd-hyperphosphatemia.phosphate_high" not in shell("approve", "1", "--why", "I like my own", code=2)
    assert ["waiting"] == [one["state"] for one in shell.shown()]


def test_where_everything_needs_two_persons_the_shell_asks_for_them_too(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDS_APPROVALS", "all")

    assert "this site asks for two persons" in shell("set", "eskd-missing-labs.quiet_hours=48", *WHY)


def test_a_decision_that_was_refused_is_in_the_history_only(shell: Shell) -> None:
    shell("set", "eskd-hyperphosphatemia.indicator=critical", *WHY)
    shell("approve", "1", "--reject", "--why", "critical is for emergencies", who="anna")

    assert [] == shell.shown()
    assert ["rejected"] == [one["state"] for one in shell.shown("--history")]


def test_an_earlier_decision_is_restored_by_its_number_and_the_files_by_name(shell: Shell) -> None:
    shell.agreed("set", f"{PLACE}=6.5", *WHY)
    shell.agreed("set", f"{PLACE}=6.0", *WHY)
    shell.agreed("restore", "1", "--why", "the first was better")
    assert [("6.5", 1)] == [(one["value"], one["restores"]) for one in shell.shown()]

    assert "second person" not in shell("restore", PLACE, "--why", "the guideline will do")
    assert [("5.5", "in force")] == [(one["value"], one["state"]) for one in shell.shown()]
    assert "There is no decision 99" in shell("restore", "99", "--why", "there is none such", code=2)


def filled(shell: Shell) -> None:
    """Decide one thing of each kind."""
    later = (TODAY + timedelta(30)).isoformat()
    shell("set", "eskd-missing-labs.quiet_hours=48", *WHY)
    shell("set", "eskd-hyperphosphatemia.reason.not-applicable=Not here", *WHY)
    for assignment, more in (
        (f"{PLACE}=6.5", ()),
        (f"{PLACE}=6.0", ("--from", later)),
        ("hypercalcemia-workup.ca_high=11.0", ("--until", later)),
        ("eskd-missing-labs.rollout=50", ()),
        ("sts-monitoring.status=pilot", ()),
        (f"eskd-hyperphosphatemia.exception.care={EXCEPTION}", ("--until", later)),
    ):
        shell.agreed("set", assignment, *WHY, *more)


def without_people(text: str) -> Any:
    """Return what a file says, less who decided it why, and when it was decided."""
    return json.loads(
        json.dumps(yaml.safe_load(text)),
        object_hook=lambda found: {name: value for name, value in found.items() if name not in ("who", "why")},
    )


def test_what_is_exported_can_be_imported_elsewhere_and_is_new_only_once(
    shell: Shell, run: Run, tmp_path: Path
) -> None:
    filled(shell)
    file = tmp_path / "site.yaml"
    shell("export", "--out", file)
    other = Shell(run, tmp_path / "elsewhere")
    assert "8 of 8 decisions would be new" in other("import", file, "--dry-run")
    assert [] == other.shown()
    assert "8 of 8 decisions were new" in other("import", file)
    waiting = [one for one in other.shown() if one["state"] == "waiting"]
    assert 6 == len(waiting)
    for one in waiting:
        other("approve", str(one["number"]), "--why", "agreed in the meeting", who="anna")

    assert without_people(file.read_text()) == without_people(other("export"))
    assert "0 of 8 decisions were new" in other("import", file)
    assert "0 of 8 decisions were new" in shell("import", file)
    assert all("(imported; decided by eddie)" in one["why"] for one in other.shown())


def test_an_import_puts_back_what_was_changed_meanwhile(shell: Shell, tmp_path: Path) -> None:
    shell.agreed("set", f"{PLACE}=6.5", *WHY)
    file = tmp_path / "site.yaml"
    shell("export", "--out", file)
    shell.agreed("set", f"{PLACE}=5.0", *WHY)
    told = shell("import", file)

    assert "1 of 1 decisions were new" in told
    assert "It waits for a second person, because 6.5 mg/dL is not the guideline value" in told
    assert [("6.5", "waiting"), ("5.0", "in force")] == [(one["value"], one["state"]) for one in shell.shown()]
    shell("approve", "3", "--why", "agreed in the meeting", who="anna")
    assert ["6.5"] == [one["value"] for one in shell.shown()]


@pytest.mark.parametrize(
    "text",
    [
        "site: x\nthresholds: {eskd-hyperphosphatemia.phosphate_high: [{since: 2026-01-01, value: 9, who: a, why: b}]}",
        "site: x\ntunings: [{set: eskd-hyperphosphatemia.rollout}]",
        "site: x\ntunings: [nothing]",
        "site: x\nstatus: {no-such-rule: {status: pilot, who: a, why: b}}",
        "site: x\nthresholds: [1]",
        "site: x\nstatus: pilot",
    ],
)
def test_a_file_that_cannot_be_meant_changes_nothing(shell: Shell, tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)

    assert "Traceback" not in shell("import", file, code=2)
    assert [] == shell.shown()


def test_exported_thresholds_and_statuses_are_a_site_file_that_loads(
    shell: Shell, content: Path, tmp_path: Path
) -> None:
    shell.agreed("set", f"{PLACE}=6.5", *WHY)
    (content / "sites").mkdir(exist_ok=True)
    file = content / "sites" / "hospital.yaml"
    shell("export", "--out", file)
    book = load_book(content, "hospital")

    dated = book.rules["eskd-hyperphosphatemia"].thresholds["phosphate_high"].on(TODAY)
    assert ("6.5", "site", "eddie") == (str(dated.value), dated.layer, dated.who)


def test_what_no_site_file_can_say_is_refused_there_and_says_where_it_belongs(
    shell: Shell, content: Path, run: Run
) -> None:
    filled(shell)
    (content / "sites").mkdir(exist_ok=True)
    shell("export", "--out", content / "sites" / "hospital.yaml")

    told = run("check", "--content", content, "--site", "hospital")

    assert 0 != told.exit_code
    assert "cds-service tuning import" in told.output
