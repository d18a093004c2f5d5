"""What a call costs: this service beside a bare Flask that only reads the same body, and beside HealthChain."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import msgspec

from bench import operating, report, sections
from bench.generator import Caller, load
from bench.hosts import HERE, Host, hosts, pinned
from bench.payloads import payload

SIZES = (10, 100, 500, 2000)
# At 100 Observations (issue 2), and what issue 7 wants at 100 and 2,000.
LIMIT, WANTED = 2.5, {100: 2.0, 2000: 2.5}
# Seconds after which the ledger has written what it was told.
SETTLED = 0.7


class Row(msgspec.Struct):
    """One server with one size of body; times in ms, memory in MB."""

    size: int
    host: str
    sent: int = 0
    answered: int = 0
    cpu: list[float] = []
    ratio: float = 0.0
    ratios: tuple[float, float] = (0.0, 0.0)
    alone: tuple[float, float, float] = (0.0, 0.0, 0.0)
    together: tuple[float, float, float] = (0.0, 0.0, 0.0)
    memory: float = 0.0

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
            time.sleep(SETTLED)
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
        for host in running:
            answer = Caller(host).call(host.request(bodies[0]))[1]
            pairs = [mine / floor for mine, floor in zip(used[host.name], used[running[0].name], strict=True)]
            row = Row(size, host.name, len(bodies[0]), len(answer), used[host.name], statistics.median(pairs))
            row.ratios = (min(pairs), max(pairs))
            one, many = load(host, bodies, seconds), load(host, bodies, seconds, connections=8)
            row.alone, row.together = (one.rate, one.at(0.5), one.at(0.99)), (many.rate, many.at(0.5), many.at(0.99))
            row.memory = host.memory()
            rows.append(row)
            print(report.line(row), flush=True)
    return rows


def conditions() -> str:
    """Say on what it runs, and beside what."""
    busy = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    apart = "servers and generator each pinned to a processor" if pinned() else "servers and generator NOT pinned apart"
    return f"{report.machine()}; {apart}; load before: {busy}"


def main() -> int:
    """Print the figures; exit 1 where a call with 100 Observations costs more than 2.5 times the bare read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), help="Observations")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement of speed")
    parser.add_argument("--no-peer", action="store_true", help="leave HealthChain out")
    parser.add_argument("--operating", action="store_true", help="start, half load and reload too")
    parser.add_argument("--write", type=Path, help="write the tables into this Markdown file, and a picture beside it")
    chosen = parser.parse_args()
    said = conditions()
    print(said)
    profile = sections.measure(100)
    if pinned():
        os.sched_setaffinity(0, {HERE})
    rows = [
        row
        for size in chosen.sizes
        for row in compare(size, chosen.rounds, chosen.seconds, with_peer=not chosen.no_peer)
    ]
    told = operating.measure() if chosen.operating else []
    page = report.page(rows, profile, told, said)
    print("\n" + page)
    if chosen.write:
        report.write(chosen.write, page, rows)
    return verdict(rows)


def verdict(rows: list[Row]) -> int:
    """Say of each ratio that is limited or wanted whether it is kept; 1 where the limit is not."""
    ratios = {row.size: row.ratio for row in rows if row.host == "this service"}
    for size, wanted in WANTED.items():
        if size in ratios:
            print(f"wanted at {size}: {wanted}; measured {ratios[size]:.2f}")
    kept = ratios.get(100, 0.0) <= LIMIT
    print(f"limit for 100 Observations: {LIMIT}; {'kept' if kept else 'NOT KEPT'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
