"""A population to screen: the two hundred of the fixtures, as many times as it takes, and what is wrong with them."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cds_service.adapters.ledger import Ledger, read_key
from cds_service.adapters.population import journal
from cds_service.cli import main
from cds_service.rules.tuning_model import Tuning, kind_of
from cds_service.screening.run import JOURNAL, WORKING
from tests.build import ROOT

POPULATION = ROOT / "fixtures" / "population"
AS_OF = "2026-03-01"
# The Python that has Dask and Spark.
ENGINES = ROOT / ".venv" / "engines" / "bin" / "python"
# What is the same in two runs of the same files; the summary names when the run began.
SAME = ("findings.ndjson", "findings.csv", "problems.ndjson")


def decide(folder: Path, *made: Tuning) -> str:
    """Make a ledger in which admins decided something, one after the other; return its URL."""
    url = f"sqlite:///{folder}/ledger.db"
    ledger = Ledger.open(url, read_key(os.environ, url))
    for one in made:
        base = ledger.governance.newest(one.rule, one.name)
        ledger.governance.propose(one, base=base, role="editor", origin="shell")
    ledger.database.close()
    return url


def decision(name: str, value: str, since: date = date(2026, 1, 1), rule: str = "eskd-hyperphosphatemia") -> Tuning:
    """Return a decision of an admin."""
    return Tuning(
        rule, name, Decimal(value) if kind_of(name) == "threshold" else value, since, "eddie", "We aim at this"
    )


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


def progress_of(output: Path) -> tuple[int, int, bool]:
    """Look at a run from outside: bytes that were read, parts that are done, whether it writes its files."""
    files = output / "findings.ndjson"
    try:
        with closing(sqlite3.connect(f"file:{output / WORKING / JOURNAL}?mode=ro", uri=True)) as database:
            [read] = database.execute("SELECT coalesce(sum(offset), 0) FROM source").fetchone()
            [done] = database.execute("SELECT count(*) FROM done").fetchone()
            return read, done, files.exists()
    except sqlite3.Error:
        return 0, 0, files.exists()


def need_engine(engine: str) -> None:
    """Skip a test whose engine is not installed, saying so; in CI (CDS_CI) that is a failure."""
    missing = [".venv/engines is not there: `make engines` makes it"] if not ENGINES.exists() else []
    missing += ["Spark needs a Java, and there is none"] if engine == "spark" and not shutil.which("java") else []
    if missing:
        (pytest.fail if os.environ.get("CDS_CI") == "1" else pytest.skip)(missing[0])


def without_spark() -> dict[str, str]:
    """Return the environment without what another Spark on this machine may have set."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
