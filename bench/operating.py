"""The service as it is run: how soon it answers, how at half of what it can do, and while rules are loaded anew."""

from __future__ import annotations

import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bench.generator import Caller, Load, load
from bench.hosts import HERE, ROOT, THERE, Host, end, free_port, launch, stored
from bench.payloads import payload
from bench.speed import speed

OBSERVATIONS, CONNECTIONS, STARTS = 100, 16, 5
# Seconds. CDS Hooks asks for answers within 500 ms; a fifth of that is what we call slow.
SLOW = 0.1


class Operated(msgspec.Struct):
    """What was measured: seconds to the first card, calls a second at most, loads at half of it, MB of the worker."""

    starts: list[float]
    most: float
    half: Load
    reloaded: Load
    memory: tuple[float, float]

    @property
    def first(self) -> float:
        """The median of the starts."""
        return statistics.median(self.starts)

    @property
    def slow(self) -> int:
        """How many calls were slow while rules were loaded anew."""
        return slow(self.reloaded)


def slow(found: Load) -> int:
    """Return how many calls of a load were slow."""
    return sum(one > SLOW for one in found.seconds)


def measure(seconds: float) -> Operated:
    """Start the service some times; then load one worker with a ledger."""
    starts = [first_card() for _ in range(STARTS)]
    bodies = [payload(OBSERVATIONS, seed) for seed in range(100)]
    with tempfile.TemporaryDirectory() as folder:
        host = stored(Path(folder))
        try:
            most = speed(host, bodies, 4.0, connections=8).rate
            half = load(host, bodies, seconds, CONNECTIONS, most / 2)
            memory = host.memory()
            reloaded = _reloading(host, bodies, seconds, most / 2)
        finally:
            end(host)
    return Operated(starts, most, half, reloaded, memory)


def first_card() -> float:
    """Return the seconds from the command ``cds-service serve`` to the first answer that holds a card."""
    body = payload(OBSERVATIONS, 0, datetime.now(UTC) - timedelta(days=1))
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [str(Path(sys.executable).with_name("cds-service")), "serve", "--port", str(port)]
        named = {"CDS_AUTH": "none", "CDS_DATABASE_URL": f"sqlite:///{folder}/ledger.db"}
        began = time.perf_counter()
        host = Host("started", launch(command, (THERE, HERE), **named), port)
        try:
            _wait(port)
            status, answer = Caller(host).call(host.request(body))
            taken = time.perf_counter() - began
        finally:
            end(host)
    if status != 200 or b'"summary"' not in answer:
        raise SystemExit(f"no card at the start: status {status}")
    return taken


def _wait(port: int) -> None:
    """Wait until somebody listens. The connection is closed at once: the call opens its own."""
    for _ in range(6000):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.005)
            continue
        return
    raise SystemExit(f"{ROOT.name}: the service did not start")


def _reloading(host: Host, bodies: list[bytes], seconds: float, rate: float) -> Load:
    timer = threading.Timer(seconds / 3, lambda: host.process.send_signal(signal.SIGHUP))
    timer.start()
    found = load(host, bodies, seconds, CONNECTIONS, rate)
    timer.join()
    return found
