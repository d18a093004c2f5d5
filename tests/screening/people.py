"""A population to screen: the two hundred of the fixtures, as many times as it takes, and what is wrong with them."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cds_service.adapters.population import journal
from cds_service.cli import main
from tests.build import ROOT

POPULATION = ROOT / "fixtures" / "population"
AS_OF = "2026-03-01"
# What is the same in two runs of the same files; the summary names when the run began.
SAME = ("findings.ndjson", "findings.csv", "problems.ndjson")

# Parts and buffers so small that a few hundred patients fill many.
PART, BUFFER = 40_000, 60_000
_SMALL = f"""
from cds_service.adapters.population import journal
journal.PART, journal.BUFFER = {PART}, {BUFFER}
from cds_service.cli import main
main()
"""


def write_population(folder: Path, copies: int = 1) -> Path:
    """Write the population of the fixtures several times, each time as other people; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(POPULATION.glob("*.ndjson")):
        text = file.read_bytes()
        with (folder / file.name).open("wb") as written:
            for copy in range(copies):
                written.write(text.replace(b"population-", b"people-%d-" % copy))
    return folder


def write_lines(path: Path, *resources: Any) -> None:
    """Write resources as NDJSON, compressed if the name says so; a string is written as it stands."""
    lines = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in resources)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())


# The same, resting a little whenever something was written, so that somebody outside can see it and step in.
_SLOW = f"""
import sqlite3, time
from cds_service.adapters.population import journal
class Slow(sqlite3.Connection):
    def execute(self, what, *more):
        found = super().execute(what, *more)
        time.sleep(0.03 * (what == "COMMIT"))
        return found
connect = sqlite3.connect
sqlite3.connect = lambda *given, **more: connect(*given, **more, factory=Slow)
{_SMALL}"""


def arguments(source: Path, output: Path, *more: str) -> list[str]:
    """Return what follows the name of the program."""
    return ["screen", "--input", str(source), "--output", str(output), "--as-of", AS_OF, *more]


def command(source: Path, output: Path, *more: str, slow: bool = False) -> list[str]:
    """Return the command that screens in many small parts, in processes of its own."""
    return [sys.executable, "-c", _SLOW if slow else _SMALL, *arguments(source, output, *more)]


def screened(source: Path, output: Path, *more: str) -> Result:
    """Screen in many small parts, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "PART", PART)
        patch.setattr(journal, "BUFFER", BUFFER)
        return CliRunner().invoke(main, arguments(source, output, "--workers", "1", *more))


def findings(output: Path) -> list[dict[str, Any]]:
    """Read the findings of a run."""
    return [json.loads(line) for line in (output / "findings.ndjson").read_bytes().splitlines()]


def problems(output: Path) -> list[dict[str, Any]]:
    """Read the problems of a run."""
    return [json.loads(line) for line in (output / "problems.ndjson").read_bytes().splitlines()]


def summary(output: Path) -> dict[str, Any]:
    """Read the summary of a run."""
    found: dict[str, Any] = json.loads((output / "summary.json").read_bytes())
    return found


def contents(output: Path, names: Sequence[str] = SAME) -> dict[str, bytes]:
    """Return files of a run, to be compared with those of another."""
    return {name: (output / name).read_bytes() for name in names}
