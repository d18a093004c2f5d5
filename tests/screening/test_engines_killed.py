"""A run on Dask or Spark that is killed (kill -9) and gone on with: for real, again and again."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cds_service.screening.run import WORKING
from tests.build import ROOT
from tests.screening.people import (
    ENGINES,
    arguments,
    contents,
    decide,
    decision,
    need_engine,
    progress_of,
    summary,
    without_spark,
    write_lines,
    write_population,
)

PEOPLE = 800
# Parts and chunks so small that there are many of each; and a rest whenever something was written, so that somebody
# outside can see it and step in.
_COMMAND = """
import sqlite3, time
from cds_service.adapters.population import journal
from cds_service.screening import engines
journal.PART = journal.BUFFER = 250_000
engines.CHUNK = 400_000
class Slow(sqlite3.Connection):
    def execute(self, what, *more):
        found = super().execute(what, *more)
        time.sleep(0.1 * (what == "COMMIT"))
        return found
connect = sqlite3.connect
sqlite3.connect = lambda *given, **more: connect(*given, **more, factory=Slow)
if __name__ == "__main__":
    from cds_service.cli import main
    main()
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a population of eight hundred, with two lines that cannot be used."""
    folder = write_population(tmp_path_factory.mktemp("source") / "people", copies=4)
    write_lines(folder / "aa.ndjson", "{ no JSON", '{"resourceType":"Observation"}')
    return folder


@pytest.fixture(scope="module", autouse=True)
def _decided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let an admin have decided something: it holds on every engine, and after every kill."""
    with pytest.MonkeyPatch.context() as patch:
        url = decide(tmp_path_factory.mktemp("ledger"), decision("phosphate_high", "6.5"))
        patch.setenv("CDS_DATABASE_URL", url)
        yield


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give what one machine finds when nobody disturbs it."""
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    with _started("local", source, output) as process:
        assert 1 == process.wait(300)
    return output


def _started(engine: str, source: Path, output: Path) -> subprocess.Popen[bytes]:
    """Start a run in a session of its own: whatever it starts can be told by that."""
    python = ENGINES if engine != "local" else Path(sys.executable)
    asked = arguments(source, output, "--engine", engine, "--workers", "2")
    output.parent.mkdir(parents=True, exist_ok=True)
    with (output.parent / f"{engine}.said").open("wb") as said:
        return subprocess.Popen(
            [python, "-c", _COMMAND, *asked],
            cwd=ROOT, env=without_spark(), stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip


def _is_sharing_out(output: Path) -> bool:
    """Say whether an engine has put resources aside on disk, so that it is in the middle of its work."""
    return any(path.stat().st_size for path in (output / WORKING).rglob("shuffle_*.data"))


def _has_found(parts: int) -> Callable[[Path], bool]:
    return lambda output: progress_of(output)[1] >= parts


def _alive(session: int) -> Iterator[str]:
    """Name the processes of a session that run."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        state, _parent, _group, of = rest.split()[:4]
        if int(of) == session and state != "Z":
            yield name


def _killed(engine: str, source: Path, output: Path, is_time: Callable[[Path], bool]) -> int:
    """Kill a run at its time; wait until all that it started has ended; return how many parts are done."""
    with _started(engine, source, output) as process:
        while process.poll() is None and not is_time(output):
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL, (output.parent / f"{engine}.said").read_text()[-2_000:]
    until = time.monotonic() + 60
    while (left := list(_alive(process.pid))) and time.monotonic() < until:
        time.sleep(0.1)
    assert [] == left, "processes of a killed run go on"
    return progress_of(output)[1]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("engine", "first"), [("dask", _has_found(1)), ("spark", _is_sharing_out)], ids=["dask", "spark"]
)
def test_a_run_that_is_killed_again_and_again_loses_and_doubles_nothing(
    engine: str, first: Callable[[Path], bool], source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    need_engine(engine)
    output = tmp_path / "out"

    reached = [_killed(engine, source, output, moment) for moment in (first, _has_found(8))]
    with _started(engine, source, output) as process:
        assert 1 == process.wait(300), (tmp_path / f"{engine}.said").read_text()[-2_000:]

    said = (tmp_path / f"{engine}.said").read_text(encoding="utf-8")
    [(done, parts)] = re.findall(r"Going on with the run that was begun here: (\d+) of (\d+) parts", said)
    assert reached[0] < reached[1] == int(done) < int(parts)
    assert PEOPLE == summary(output)["patients"]
    assert ["6.5"] == [one["value"] for one in summary(output)["run"]["decisions"]]
    assert summary(undisturbed)["run"]["rule_book"] == summary(output)["run"]["rule_book"]
    assert contents(undisturbed) == contents(output)
    assert {**summary(undisturbed), "run": 0} == {**summary(output), "run": 0}
    assert {path.name for path in undisturbed.iterdir()} - {"findings.parquet"} == {
        path.name for path in output.iterdir()
    } - {"findings.parquet"}
