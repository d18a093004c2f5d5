"""How many calls a server answers, and how soon: with wrk where it is installed, else with our own generator."""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.generator import load
from bench.hosts import HERE, Host, on
from cds_service import decoding

SCRIPT = Path(__file__).with_name("wrk.lua")
# A token is used once. More of them are made than calls are expected, by this factor.
SPARE = 2.0


class Speed(msgspec.Struct):
    """Calls a second; times in ms; ``odd`` calls were not answered 200; ``own`` is the generator's CPU ms per call."""

    rate: float
    p50: float
    p99: float
    odd: int = 0
    own: float = 0.0


class _Said(msgspec.Struct):
    """What wrk.lua prints; times in microseconds."""

    calls: int
    microseconds: int
    p50: float
    p99: float
    longest: float
    odd: int


def generator() -> str:
    """Name what is used."""
    return "wrk" if shutil.which("wrk") else "our own generator in Python (wrk is not installed)"


def speed(
    host: Host, bodies: Sequence[bytes], seconds: float, *, connections: int = 1, cpu: float = 1.0,
    processors: Sequence[int] = (HERE,),
) -> Speed:  # fmt: skip
    """Call as fast as answers come; ``cpu`` is about how many ms a call takes. Our own generator stays where it is."""
    before = _used()
    if shutil.which("wrk"):
        with tempfile.TemporaryDirectory() as folder:
            _write(host, bodies, Path(folder), int(SPARE * seconds * 1000 / cpu) + 100)
            found = _wrk(host, Path(folder), len(bodies), seconds, connections, processors)
    else:
        done = load(host, bodies, seconds, connections)
        found = Speed(done.rate, done.at(0.5), done.at(0.99), len(done.odd))
    found.own = (_used() - before) * 1000 / max(1.0, found.rate * seconds)
    return found


def _used() -> float:
    """Return the CPU seconds of the programs that have ended; of our own threads too where they call."""
    whose = [resource.RUSAGE_CHILDREN] if shutil.which("wrk") else [resource.RUSAGE_SELF]
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, whose))


def _write(host: Host, bodies: Sequence[bytes], folder: Path, tokens: int) -> None:
    """Write what wrk.lua reads."""
    if host.token:
        (folder / "tokens").write_text("\n".join(host.token() for _ in range(tokens)))
    for number, body in enumerate(bodies):
        lines = host.request(body).partition(b"\r\n\r\n")[0].split(b"\r\n")
        head = b"".join(line + b"\r\n" for line in lines if not line.startswith(b"Authorization:"))
        (folder / f"{number}.head").write_bytes(head)
        (folder / f"{number}.body").write_bytes(body)


def _wrk(host: Host, folder: Path, count: int, seconds: float, connections: int, processors: Sequence[int]) -> Speed:
    url = f"http://127.0.0.1:{host.port}{host.path}"
    command = [*on(processors), "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "60s"]
    words = [*command, "--latency", "-s", str(SCRIPT), url, "--", str(folder), str(count)]
    printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    said = decoding.decode(printed.strip().splitlines()[-1], _Said)
    taken = said.microseconds / 1e6
    return Speed(said.calls / taken, said.p50 / 1000, said.p99 / 1000, said.odd)
