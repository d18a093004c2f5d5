"""What a call costs: this service beside a bare Flask that only reads the same body, and beside HealthChain."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import msgspec

from bench import goals, operating, report, scaling, sections
from bench.generator import Caller
from bench.hosts import HERE, Host, hosts, pinned
from bench.payloads import payload
from bench.speed import Speed, generator, speed

SIZES = (10, 100, 500, 2000)


class Row(msgspec.Struct):
    """One server with one size of body; times in ms, memory in MB (RSS, PSS)."""

    size: int
    host: str
    sent: int
    answered: int
    cpu: list[float]
    # The median of the rounds' ratios to the floor, the least, and the most.
    ratio: tuple[float, float, float]
    alone: Speed
    together: Speed
    memory: tuple[float, float]

    @property
    def middle(self) -> float:
        """The median of the CPU time per call."""
        return statistics.median(self.cpu)


def measure(running: list[Host], bodies: list[bytes], calls: int, rounds: int) -> dict[str, list[float]]:
    """Return the CPU milliseconds per call of each server, round by round, the servers taking turns."""
    used: dict[str, list[float]] = {host.name: [] for host in running}
    for _ in range(rounds):
        for host in running:
            caller, before = Caller(host), host.cpu()
            for number in range(calls):
                status, answer = caller.call(host.request(bodies[number % len(bodies)]))
                if status != 200:
                    raise SystemExit(f"{host.name}: status {status}: {answer[:300]!r}")
            time.sleep(host.settles)
            used[host.name].append((host.cpu() - before) * 1000 / calls)
            caller.close()
    return used


def compare(size: int, rounds: int, seconds: float, *, with_peer: bool) -> list[Row]:
    """Measure every server with bodies of one size: CPU time first, then how many calls it takes and how long."""
    bodies = [payload(size, seed) for seed in range(100 if size < 1000 else 20)]
    calls = 300 if size <= 100 else 100 if size <= 500 else 30
    rows = []
    with hosts(with_peer=with_peer) as running:
        measure(running, bodies, max(20, calls // 2), 1)
        used = measure(running, bodies, calls, rounds)
        floor = used[running[0].name]
        for host in running:
            rows.append(_row(host, size, bodies, (used[host.name], floor), seconds))
            print(report.line(rows[-1]), flush=True)
    return rows


def _row(host: Host, size: int, bodies: list[bytes], used: tuple[list[float], list[float]], seconds: float) -> Row:
    """Measure the speed of one server, and put it beside the CPU time of its rounds and of the floor's."""
    cpu, floor = used
    answer = Caller(host).call(host.request(bodies[0]))[1]
    pairs = [mine / least for mine, least in zip(cpu, floor, strict=True)]
    ratio = (statistics.median(pairs), min(pairs), max(pairs))
    one, many = (speed(host, bodies, seconds, connections=count, cpu=min(cpu)) for count in (1, 8))
    return Row(size, host.name, len(bodies[0]), len(answer), cpu, ratio, one, many, host.memory())


def conditions() -> str:
    """Say on what it runs, and beside what."""
    apart = "servers and generator each pinned to a processor" if pinned() else "servers and generator NOT pinned apart"
    return f"{report.machine()}; {sections.asked()}; {apart}; speed by {generator()}"


def main() -> int:
    """Print the figures; exit 1 where a call with 100 Observations costs more than the limit (bench/goals.py)."""
    chosen = _words().parse_args()
    said, before, began = conditions(), report.load(), time.monotonic()
    print(f"{said}; load before: {before}")
    profile = sections.measure(100)
    if pinned():
        os.sched_setaffinity(0, {HERE})
    rows = [
        row
        for size in chosen.sizes
        for row in compare(size, chosen.rounds, chosen.seconds, with_peer=not chosen.no_peer)
    ]
    operated = operating.measure(chosen.operating_seconds) if chosen.operating else None
    scaled = scaling.measure(chosen.seconds) if chosen.operating else []
    kept = goals.of(rows, operated)
    said += f"; load before: {before}, after (with what it made itself): {report.load()}"
    said += f"; took {(time.monotonic() - began) / 60:.0f} min"
    page = report.page(rows, profile, operated, scaled, kept, f"{report.command(sys.argv[1:])} {said}")
    print("\n" + page)
    if chosen.write:
        report.write(chosen.write, page, rows)
    return 0 if all(one.is_kept for one in kept if one.is_limit) else 1


def _words() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), help="Observations")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement of speed")
    parser.add_argument("--no-peer", action="store_true", help="leave HealthChain out")
    parser.add_argument("--operating", action="store_true", help="start, half load, reload and two workers too")
    parser.add_argument("--operating-seconds", type=float, default=10.0, help="for each load of --operating")
    parser.add_argument("--write", type=Path, help="write the tables into this Markdown file, and a picture beside it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
