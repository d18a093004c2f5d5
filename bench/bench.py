"""Compare the CPU cost of one hook call with that of a bare Flask that only reads the same body, in one run."""

from __future__ import annotations

import argparse
import http.client
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.payloads import payload

ROOT = Path(__file__).resolve().parents[1]
PATH = "/cds-services/calcinosis-patient-view"
LIMIT = 2.5


class Server:
    """One gunicorn worker, and the CPU time it has used."""

    def __init__(self, port: int, worker: int) -> None:
        self.worker = worker
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def post(self, body: bytes) -> bytes:
        """Post one body over the kept-alive connection and return the answer."""
        self.connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"status {answer.status}: {content[:300]!r}")
        return content

    def cpu(self) -> float:
        """Return the CPU seconds that the threads of the worker have used, as the scheduler counts them (ns)."""
        threads = Path(f"/proc/{self.worker}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


@contextmanager
def serve(app: str) -> Iterator[Server]:
    """Run an application under one gunicorn gthread worker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-k",
        "gthread",
        "--threads",
        "4",
        "-w",
        "1",
        "-b",
        f"127.0.0.1:{port}",
        "--no-control-socket",
        "--log-level",
        "error",
        app,
    ]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield Server(port, _worker(process.pid, port))
    finally:
        process.terminate()
        process.wait(10)


def _worker(master: int, port: int) -> int:
    """Wait until the worker answers, and return its process id."""
    for _ in range(200):
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
            continue
        if children:
            return int(children[0])
        time.sleep(0.05)
    raise SystemExit("the server did not start")


def measure(servers: dict[str, Server], bodies: list[bytes], calls: int, rounds: int) -> dict[str, list[float]]:
    """Return the CPU milliseconds per call of each server, round by round, the servers taking turns."""
    used: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            before = server.cpu()
            for number in range(calls):
                server.post(bodies[number % len(bodies)])
            used[name].append((server.cpu() - before) * 1000 / calls)
    return used


def run(observations: int, calls: int, rounds: int, say: Callable[[str], None]) -> float:
    """Measure one payload size and return the median of the ratios, round by round."""
    bodies = [payload(observations, seed) for seed in range(200)]
    with serve("bench.bare:app") as bare, serve("bench.ours:app") as ours:
        servers = {"bare Flask": bare, "Calcinosis CDS": ours}
        cards = ours.post(bodies[0])
        measure(servers, bodies, calls=200, rounds=1)
        used = measure(servers, bodies, calls, rounds)
    pairs = zip(used["Calcinosis CDS"], used["bare Flask"], strict=True)
    ratios = sorted(mine / floor for mine, floor in pairs)
    sizes = f"{len(bodies[0]):,} bytes in, {len(cards):,} out"
    say(f"{observations} Observations, {sizes}, {rounds} rounds of {calls} calls each")
    for name, times in used.items():
        middle = statistics.median(times)
        say(f"  {name:15} CPU per call: median {middle:.3f} ms (min {min(times):.3f}, max {max(times):.3f})")
    ratio = statistics.median(ratios)
    say(f"  ratio, round by round: median {ratio:.2f} (min {ratios[0]:.2f}, max {ratios[-1]:.2f})")
    return ratio


def main() -> int:
    """Print the figures; exit 1 where a call with 100 Observations costs more than 2.5 times the bare read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load}; one gthread worker, one connection"
    )
    ratio = run(100, arguments.calls, arguments.rounds, print)
    run(10, arguments.calls, 3, print)
    run(1000, max(20, arguments.calls // 10), 3, print)
    print(f"limit for 100 Observations: {LIMIT}; {'kept' if ratio <= LIMIT else 'NOT KEPT'}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
