"""
From one worker to two: what two processors allow when what calls needs a part of them too.

`python -m bench.scaling` asks the same with our own generator, which needs more of a processor than wrk does.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.generator import load
from bench.hosts import ALL, HERE, STORED, THERE, Host, end, ours, pinned, stored
from bench.payloads import payload
from bench.speed import Speed, speed

# As many as keep two workers busy: with more, threads of one process wait for each other (16: a fifth more CPU a call).
OBSERVATIONS, CONNECTIONS = 100, 4


class Scaled(msgspec.Struct):
    """One service with so many workers: its speed, and the CPU ms per call of the workers together."""

    host: str
    workers: int
    shares: bool
    speed: Speed
    cpu: float


def measure(seconds: float) -> list[Scaled]:
    """Measure one worker on a processor of its own, then two workers on both, which the generator shares."""
    return list(_measured(max(4.0, seconds))) if pinned() else []


def _measured(seconds: float) -> Iterator[Scaled]:
    bodies = [payload(OBSERVATIONS, seed) for seed in range(100)]
    for name in (ALL, STORED):
        for workers, processors in ((1, (THERE,)), (2, (THERE, HERE))):
            with tempfile.TemporaryDirectory() as folder:
                words = ("--workers", str(workers))
                host = (
                    stored(Path(folder), *words, processors=processors)
                    if name == STORED
                    else ours(name, *words, processors=processors)
                )
                try:
                    yield _scaled(host, name, bodies, seconds, workers)
                finally:
                    end(host)


def _scaled(host: Host, name: str, bodies: list[bytes], seconds: float, workers: int) -> Scaled:
    where = (HERE,) if workers == 1 else (THERE, HERE)
    speed(host, bodies, 2.0, connections=CONNECTIONS, processors=where)
    before = host.cpu()
    found = speed(host, bodies, seconds, connections=CONNECTIONS, processors=where)
    used = (host.cpu() - before) * 1000 / max(1.0, found.rate * seconds)
    return Scaled(name, workers, workers > 1, found, used)


def main() -> None:
    """Print calls a second of one worker and of two, by our own generator."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    bodies = [payload(OBSERVATIONS, seed) for seed in range(100)]
    for workers, processors in ((1, (THERE,)), (2, (THERE, HERE))):
        host = ours(ALL, "--workers", str(workers), processors=processors)
        os.sched_setaffinity(0, {HERE} if workers == 1 else {THERE, HERE})
        try:
            load(host, bodies, 2.0, connections=CONNECTIONS)
            before, found = host.cpu(), load(host, bodies, 5.0, connections=CONNECTIONS)
            used = (host.cpu() - before) * 1000 / len(found.seconds)
        finally:
            end(host)
        print(f"{workers} worker(s): {found.rate:.0f} calls/s, CPU {used:.2f} ms a call, p99 {found.at(0.99):.1f} ms")


if __name__ == "__main__":
    main()
