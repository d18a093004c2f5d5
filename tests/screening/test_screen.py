"""The command as it is used: files in, files out, whatever happens meanwhile."""

from __future__ import annotations

import csv
import io
import json
import operator
import os
import random
import shutil
import signal
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cds_service.screening import pages
from cds_service.screening.run import working_in
from tests.build import NECROSIS, ROOT, SNOMED, condition, observation, patient
from tests.screening.people import (
    command,
    contents,
    findings,
    problems,
    progress_of,
    screened,
    summary,
    write_lines,
    write_population,
)

PEOPLE = 400


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a population of four hundred, with one line that is no JSON."""
    folder = write_population(tmp_path_factory.mktemp("source") / "people", copies=2)
    with (folder / "Condition.ndjson").open("ab") as file:
        file.write(b"{ this is no JSON\n")
    return folder


@pytest.fixture
def other_rules(tmp_path: Path) -> Path:
    """Give the rules with a remark more."""
    folder = tmp_path / "hooks"
    shutil.copytree(ROOT / "hooks", folder)
    with next((folder / "rules").glob("*/eskd-hyperphosphatemia.yaml")).open("a") as file:
        file.write("# changed\n")
    return folder


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the output of a run that nobody disturbed."""
    output = tmp_path_factory.mktemp("whole") / "out"
    result = screened(source, output)
    assert 1 == result.exit_code, result.stderr
    return output


def without_run(output: Path) -> dict[str, Any]:
    """Return the summary without when the run began."""
    return {name: value for name, value in summary(output).items() if name != "run"}


def one_patient(folder: Path, **members: Any) -> Path:
    """Write a patient with kidney failure and a high phosphate."""
    write_lines(folder / "all.ndjson", patient(**members), condition(), observation())
    return folder


def test_every_patient_is_screened_once(whole: Path) -> None:
    said = summary(whole)

    assert (PEOPLE, 112) == (said["patients"], said["with_findings"])
    assert len(findings(whole)) == len({(one["patient"], one["rule"]) for one in findings(whole)})


def test_the_summary_counts_what_the_findings_say(whole: Path) -> None:
    said = summary(whole)
    fired = [one for one in findings(whole) if one["verdict"] == "yes"]

    assert len(fired) == sum(row["critical"] + row["warning"] + row["info"] for row in said["rules"])
    assert len({one["patient"] for one in fired}) == said["with_findings"]
    assert len(fired) >= sum(said["cards"].values()) > 0
    assert {"not-json": 1} == said["problems"]


def test_a_line_that_cannot_be_read_is_named_by_file_and_line(whole: Path, source: Path) -> None:
    last = len((source / "Condition.ndjson").read_bytes().splitlines())

    assert [{"file": "Condition.ndjson", "line": last, "reason": "not-json"}] == problems(whole)


def test_nobody_else_can_read_what_was_written(whole: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in whole.iterdir()}

    assert {0o600} == set(modes.values()), modes
    assert 0o700 == whole.stat().st_mode & 0o777


def test_nothing_of_the_run_is_left_behind(whole: Path) -> None:
    expected = {"findings.ndjson", "findings.csv", "problems.ndjson", "summary.json", "summary.html", "worklist.html"}

    assert expected == {path.name for path in whole.iterdir()} - {"findings.parquet"}


def test_the_table_holds_the_findings(whole: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((whole / "findings.csv").read_text(encoding="utf-8-sig"))))

    assert [(one["patient"], one["rule"]) for one in findings(whole)] == [(row["patient"], row["rule"]) for row in rows]
    assert rows[0]["summary"]


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    """An id may begin with a minus."""
    named: dict[str, Any] = {"subject": {"reference": "Patient/-2"}}
    write_lines(tmp_path / "in" / "a.ndjson", patient(id="-2"), condition(**named), observation(**named))

    screened(tmp_path / "in", tmp_path / "out")

    rows = list(csv.reader(io.StringIO((tmp_path / "out" / "findings.csv").read_text(encoding="utf-8-sig"))))
    assert {"'-2"} == {row[0] for row in rows[1:]}


def test_a_patient_who_cannot_be_screened_is_named(tmp_path: Path) -> None:
    """Something that is no FHIR id, say."""
    write_lines(tmp_path / "in" / "a.ndjson", patient(id="<b>"), patient())

    result = screened(tmp_path / "in", tmp_path / "out")

    assert 1 == result.exit_code
    assert [{"patient": "<b>", "reason": "invalid-request"}] == problems(tmp_path / "out")
    assert ({"invalid-request": 1}, 2) == tuple(summary(tmp_path / "out")[name] for name in ("refused", "patients"))


# --- the pages -------------------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", ["summary.html", "worklist.html"])
def test_a_page_loads_nothing_and_runs_nothing(whole: Path, name: str) -> None:
    tags = _Page((whole / name).read_text(encoding="utf-8")).tags

    assert {"script", "img", "link", "iframe", "form"}.isdisjoint(tag for tag, _ in tags)
    assert not [attrs for _, attrs in tags if any(key.startswith("on") or key == "src" for key in attrs)]
    assert "default-src 'none'" in str([attrs for tag, attrs in tags if tag == "meta"])


def test_the_worklist_begins_with_the_most_urgent(whole: Path) -> None:
    spans = [
        str(attrs.get("class")) for tag, attrs in _Page((whole / "worklist.html").read_text()).tags if tag == "span"
    ]
    urgencies = [label.removeprefix("label ") for label in spans if label.startswith("label ")]

    assert "critical" == urgencies[0]
    assert 6 == urgencies.count("critical")
    assert "critical" not in urgencies[40:]


def test_the_worklist_says_that_there_are_more(source: Path, tmp_path: Path) -> None:
    screened(source, tmp_path / "out", "--worklist", "5")
    page = (tmp_path / "out" / "worklist.html").read_text(encoding="utf-8")

    assert 5 == page.count("<tr><th scope")
    assert "The first 5 are shown" in page


def test_a_record_cannot_write_into_a_page(tmp_path: Path) -> None:
    """The summary of a card names the lesion as the record does."""
    hostile = "<script>alert(1)</script> & <b>"
    lesion = {"coding": [{"system": SNOMED, "code": NECROSIS, "display": hostile}], "text": hostile}
    write_lines(tmp_path / "in" / "a.ndjson", patient(), condition(), condition(lesion, days=20))

    screened(tmp_path / "in", tmp_path / "out")

    assert "alert" in (tmp_path / "out" / "findings.ndjson").read_text(encoding="utf-8")
    assert {"script", "b"}.isdisjoint(tag for tag, _ in _Page((tmp_path / "out" / "worklist.html").read_text()).tags)


# --- the input -------------------------------------------------------------------------------------------------------


def test_order_compression_and_folders_make_no_difference(source: Path, whole: Path, tmp_path: Path) -> None:
    lines = [line for file in sorted(source.iterdir()) for line in file.read_text(encoding="utf-8").splitlines()]
    random.Random(7).shuffle(lines)
    for number in range(5):
        name = f"{9 - number}/part.ndjson" + (".gz" if number % 2 else "")
        write_lines(tmp_path / "in" / name, *lines[number::5])

    screened(tmp_path / "in", tmp_path / "out")

    assert contents(whole, ["findings.ndjson"]) == contents(tmp_path / "out", ["findings.ndjson"])


def test_a_single_file_can_be_screened(tmp_path: Path) -> None:
    source = one_patient(tmp_path / "in") / "all.ndjson"

    result = screened(source, tmp_path / "out")

    assert (0, 1) == (result.exit_code, summary(tmp_path / "out")["patients"]), result.stderr


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    result = screened(tmp_path / "nowhere", tmp_path / "out")

    assert 2 == result.exit_code
    assert "no file or folder" in result.stderr


def test_progress_is_said_where_it_is_asked_for(source: Path, tmp_path: Path) -> None:
    silent, told = screened(source, tmp_path / "a"), screened(source, tmp_path / "b", "--progress")

    assert "" == silent.stderr
    assert "Screening" in told.stderr
    assert "400 patients" in told.stderr
    assert "left" in told.stderr


# --- stopped, and gone on with ---------------------------------------------------------------------------------------


def killed(source: Path, output: Path, moment: tuple[int, int]) -> tuple[int, int, bool]:
    """Kill a run (kill -9) once so many bytes are read and so many parts done; return how far it had come."""
    with subprocess.Popen(command(source, output, "--workers", "2", slow=True)) as process:
        while process.poll() is None and not all(map(operator.ge, progress_of(output), moment)):
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    return progress_of(output)


def test_a_run_that_is_killed_again_and_again_loses_and_doubles_nothing(
    source: Path, whole: Path, tmp_path: Path
) -> None:
    """Killed while it reads, and while it screens; each time it has come further."""
    output, size = tmp_path / "out", sum(file.stat().st_size for file in source.iterdir())
    moments = [(size // 5, 0), (size // 2, 0), (0, 2), (0, 25), (0, 26), (0, 50)]

    reached = [killed(source, output, moment) for moment in moments]
    last = subprocess.run(command(source, output), capture_output=True, text=True, check=False)

    assert reached == sorted(reached)
    assert reached[0][0] < reached[1][0] < size, "killed while it read"
    assert 0 == reached[1][1] < reached[2][1] < reached[4][1] < reached[5][1] < 69, "killed while it screened"
    assert "Going on with the run" in last.stderr
    assert contents(whole) == contents(output)
    assert without_run(whole) == without_run(output)


def test_a_run_that_is_killed_while_it_writes_its_files_writes_them_again(
    source: Path, whole: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "worklist", lambda *_: 1 / 0)
        assert screened(source, output).exception
    assert (output / "findings.ndjson").exists()
    assert not (output / "summary.json").exists()

    result = screened(source, output)

    assert "69 of 69 parts are done" in result.stderr
    assert contents(whole) == contents(output)
    assert without_run(whole) == without_run(output)


def test_the_processes_of_a_killed_run_end_too(source: Path, tmp_path: Path) -> None:
    with subprocess.Popen(command(source, tmp_path / "out", "--workers", "2")) as process:
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while process.poll() is None and progress_of(tmp_path / "out")[1] == 0:
            time.sleep(0.01)
        children = [Path(f"/proc/{one}") for one in listed.read_text().split()]
        process.kill()

    assert 2 == len(children)
    until = time.monotonic() + 60
    while time.monotonic() < until and any(one.exists() for one in children):
        time.sleep(0.05)
    assert not any(one.exists() for one in children)


def test_the_same_run_again_does_nothing(source: Path, tmp_path: Path) -> None:
    screened(source, tmp_path / "out")
    before = (tmp_path / "out" / "summary.json").stat().st_mtime_ns

    again = screened(source, tmp_path / "out")

    assert "Nothing was done" in again.stdout
    assert before == (tmp_path / "out" / "summary.json").stat().st_mtime_ns


def test_another_run_is_refused_in_the_same_folder(source: Path, tmp_path: Path) -> None:
    screened(one_patient(tmp_path / "in"), tmp_path / "out")
    other_files = screened(source, tmp_path / "out")
    other_day = screened(tmp_path / "in", tmp_path / "out", "--as-of", "2026-02-01")

    assert (2, 2) == (other_files.exit_code, other_day.exit_code)
    assert "another run" in other_files.stderr
    assert "the input files" in other_files.stderr
    assert "the day (--as-of)" in other_day.stderr


def test_other_rules_do_not_go_on_with_a_run(source: Path, tmp_path: Path, other_rules: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "worklist", lambda *_: 1 / 0)
        screened(source, tmp_path / "out")

    result = screened(source, tmp_path / "out", "--content", str(other_rules))

    assert 2 == result.exit_code
    assert "Not the same: the rules." in result.stderr


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")

    result = screened(one_patient(tmp_path / "in"), tmp_path / "out")

    assert 2 == result.exit_code
    assert "holds other things" in result.stderr


def test_two_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with working_in(tmp_path / "out"):
        asked = command(one_patient(tmp_path / "in"), tmp_path / "out")
        result = subprocess.run(asked, capture_output=True, text=True, check=False)

    assert 2 == result.returncode
    assert "Another process is at work" in result.stderr


def test_memory_does_not_grow_with_the_population(tmp_path: Path) -> None:
    """Parts are small here, so a growth by what is read would show: the large one has sixteen times the small one."""

    def peak(copies: int) -> int:
        source = write_population(tmp_path / f"in-{copies}", copies)
        with subprocess.Popen(command(source, tmp_path / f"out-{copies}", "--workers", "1")) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = status
        return used.ru_maxrss

    small, large = peak(1), peak(16)

    assert 22_000_000 < sum(file.stat().st_size for file in (tmp_path / "in-16").iterdir())
    assert large < small + 12_000, f"{small} kB, then {large} kB"
    assert json.loads((tmp_path / "out-16" / "summary.json").read_bytes())["patients"] == 3200
