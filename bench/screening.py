"""
What it costs to screen a population: time, CPU and memory, by size, number of processes and engine.

    python -m bench.screening --patients 10000 --patients 100000 --engine local --engine dask --engine spark
    python -m bench.screening --input DIR                        a population that is there already

Prints a table for docs/screening.md. Dask and Spark run in .venv/engines (`make engines`). CPU time and memory are
those of all processes of a run, sampled every fifth of a second. Memory is the most that all
processes of a run held together at one moment, each shared page
counted once (PSS).
The findings of all runs on one population are compared: a difference ends the program.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from bench import population
from cds_service import decoding

ROOT = Path(__file__).resolve().parents[1]
ENGINES = ROOT / ".venv" / "engines" / "bin" / "python"
AS_OF = "2026-03-01"
_MAIN = "from cds_service.cli import main; main()"


class Run(msgspec.Struct):
    """One run as it was measured."""

    people: int
    engine: str
    workers: int
    seconds: float
    cpu: float
    memory: float
    load: float
    digest: str


def measured(source: Path, engine: str, workers: int, folder: Path) -> Run:
    """Screen a population, and watch."""
    output, load = folder / "out", os.getloadavg()[0]
    shutil.rmtree(output, ignore_errors=True)
    python = sys.executable if engine == "local" else str(ENGINES)
    command = [python, "-c", _MAIN, "screen", "--input", str(source), "--output", str(output), "--as-of", AS_OF]
    command += ["--engine", engine, "--workers", str(workers)]
    began, most, ticks = time.monotonic(), 0, dict[int, int]()
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
        while True:
            ended, status = os.waitpid(process.pid, os.WNOHANG)
            if ended:
                break
            most = max(most, watch(process.pid, ticks))
            time.sleep(0.2)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode not in {0, 1}:
        raise SystemExit((folder / "said.txt").read_text()[-4000:])
    summary = decoding.decode((output / "summary.json").read_bytes())
    digest = hashlib.sha256((output / "findings.ndjson").read_bytes()).hexdigest()
    cpu = sum(ticks.values()) / os.sysconf("SC_CLK_TCK")
    return Run(summary["patients"], engine, workers, seconds, cpu, most / 1024, load, digest)


def watch(leader: int, ticks: dict[int, int]) -> int:
    """Return what all processes of a session hold together, in kB; note how much CPU time each has used."""
    total = 0
    for one in Path("/proc").iterdir():
        if one.name.isdecimal():
            try:
                stat = (one / "stat").read_text().rpartition(")")[2].split()
                if int(stat[3]) == leader:
                    ticks[int(one.name)] = int(stat[11]) + int(stat[12])
                    rollup = (one / "smaps_rollup").read_text()
                    total += int(rollup.partition("\nPss:")[2].split()[0])
            except (OSError, IndexError, ValueError):
                continue
    return total


def row(run: Run) -> str:
    """Return a row of the table."""
    cells = (
        f"{run.people:,}",
        run.engine,
        str(run.workers),
        f"{run.seconds:.1f}",
        f"{run.seconds * 1000 / run.people:.2f}",
        f"{run.cpu:.0f}",
        f"{run.memory:.0f}",
        f"{run.load:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, action="append", default=[])
    parser.add_argument("--input", type=Path, action="append", default=[])
    parser.add_argument("--engine", action="append", default=[])
    parser.add_argument("--workers", type=int, action="append", default=[])
    parser.add_argument("--folder", type=Path, help="where populations and outputs are kept [a temporary folder]")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="screening-") as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for patients in asked.patients:
            made = folder / f"people-{patients}"
            if not made.exists():
                population.make(made, patients)
            asked.input.append(made)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        print(f"{os.cpu_count()} processors, {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}")
        print("\n| patients | engine | processes | seconds | ms each | CPU s | peak MB | load before |")
        print("|---:|---|---:|---:|---:|---:|---:|---:|")
        for source in asked.input:
            runs = []
            for engine in asked.engine or ["local"]:
                for workers in (asked.workers or [1, 2]) if engine == "local" else [2]:
                    runs.append(measured(source, engine, workers, folder))
                    print(row(runs[-1]), flush=True)
            if len({run.digest for run in runs}) != 1:
                raise SystemExit("The findings differ.")


if __name__ == "__main__":
    main()
