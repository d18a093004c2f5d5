"""The service as it is run: how soon it answers, how at half of what it can do, and while rules are loaded anew."""

from __future__ import annotations

import signal
import threading
import time

from bench.generator import Caller, Load, load
from bench.hosts import Host, end, ours
from bench.payloads import payload

OBSERVATIONS, SECONDS = 100, 10.0


def measure() -> list[tuple[str, str]]:
    """Return what was measured and what came out, line by line."""
    bodies = [payload(OBSERVATIONS, seed) for seed in range(100)]
    began = time.perf_counter()
    host = ours("started")
    try:
        Caller(host).call(host.request(bodies[0]))
        first = time.perf_counter() - began
        most = load(host, bodies, 4.0, connections=8).rate
        half = load(host, bodies, SECONDS, connections=16, rate=most / 2)
        reloaded = _reloading(host, bodies, most / 2)
    finally:
        end(host)
    return [
        ("start to first card, one worker", f"{first:.1f} s"),
        ("calls a second, 8 connections", f"{most:,.0f}"),
        (f"half of that for {SECONDS:.0f} s: p50, p99, longest", _times(half)),
        ("the same while HUP loads the rules anew", _times(reloaded)),
        ("calls that were not answered 200", f"{len(half.odd)} and {len(reloaded.odd)}"),
    ]


def _times(found: Load) -> str:
    return f"{found.at(0.5):.1f}, {found.at(0.99):.1f}, {found.at(1.0):.1f} ms"


def _reloading(host: Host, bodies: list[bytes], rate: float) -> Load:
    timer = threading.Timer(SECONDS / 3, lambda: host.process.send_signal(signal.SIGHUP))
    timer.start()
    found = load(host, bodies, SECONDS, connections=16, rate=rate)
    timer.join()
    return found
