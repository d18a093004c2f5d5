"""The same screening on one machine, on Dask and on Spark: for real, each in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.build import ESKD, ROOT, condition, medication, patient, prescription
from tests.screening.people import (
    ENGINES,
    arguments,
    contents,
    need_engine,
    problems,
    summary,
    without_spark,
    write_lines,
    write_population,
)

# Parts and chunks so small that there are many of each.
_COMMAND = """
from cds_service.adapters.population import journal
from cds_service.screening import engines
journal.PART = journal.BUFFER = 300_000
engines.CHUNK = 150_000
from cds_service.cli import main
main()
"""
FILES = ("findings.ndjson", "findings.csv", "problems.ndjson")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a population with all that may be different on an engine: packed files, Medications, faults."""
    folder = write_population(tmp_path_factory.mktemp("source") / "people", copies=2)
    labs = (folder / "Observation.ndjson").read_text(encoding="utf-8").splitlines()
    (folder / "Observation.ndjson").unlink()
    write_lines(folder / "labs" / "1.ndjson.gz", *labs[::2])
    write_lines(folder / "labs" / "2.ndjson", *labs[1::2], '{"resourceType":"Observation"}', "{ no JSON")
    order: dict[str, Any] = {
        "id": "order",
        "medicationReference": {"reference": "https://ehr.example/fhir/Medication/warfarin"},
    }
    ordered = {key: value for key, value in prescription(**order).items() if key != "medicationCodeableConcept"}
    write_lines(folder / "zz.ndjson", ordered, patient(), condition(ESKD), patient(id="no id!"))
    write_lines(folder / "aa.ndjson", medication(id="warfarin"))
    return folder


def run(engine: str, source: Path, output: Path) -> Path:
    """Screen on an engine, with two processes."""
    python = ENGINES if engine != "local" else Path(sys.executable)
    asked = arguments(source, output, "--engine", engine, "--workers", "2", "--progress")
    result = subprocess.run(
        [python, "-c", _COMMAND, *asked], capture_output=True, text=True, check=False, cwd=ROOT, env=without_spark()
    )
    assert 1 == result.returncode, result.stderr[-4_000:]
    assert "402 patients" in result.stderr
    return output


@pytest.fixture(scope="module")
def local(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give what one machine finds."""
    return run("local", source, tmp_path_factory.mktemp("local") / "out")


def without_run(output: Path) -> dict[str, Any]:
    return {name: value for name, value in summary(output).items() if name != "run"}


def test_one_machine_finds_what_there_is(local: Path) -> None:
    found = [json.loads(line) for line in (local / "findings.ndjson").read_bytes().splitlines()]

    assert 402 == summary(local)["patients"]
    assert "vka-calciphylaxis-risk" in {one["rule"] for one in found if one["patient"] == "pat-1"}
    assert ["names-no-patient", "not-json", "invalid-request"] == [one["reason"] for one in problems(local)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", ["dask", "spark"])
def test_an_engine_finds_the_same_to_the_byte(engine: str, source: Path, local: Path, tmp_path: Path) -> None:
    need_engine(engine)

    output = run(engine, source, tmp_path / "out")

    assert contents(local, FILES) == contents(output, FILES)
    assert without_run(local) == without_run(output)
    assert {0o600} == {path.stat().st_mode & 0o777 for path in output.iterdir()}


def test_an_engine_that_is_not_installed_is_said(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _COMMAND, *arguments(source, tmp_path / "out", "--engine", "spark")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    assert 2 == result.returncode
    assert 'pip install "calcinosis-cds[spark]"' in result.stderr
