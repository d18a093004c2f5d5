"""The servers that are measured: each with one process that answers, on a processor of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from bench.served import AUDIENCE, EIGHT, ISSUER, NOW

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / ".venv" / "peers" / "bin" / "uvicorn"
PATH, PEER_PATH = "/cds-services/calcinosis-patient-view", "/cds/cds-services/high-phosphate"
# The processor of the servers, and that of what calls them.
THERE, HERE = 0, 1
# What this program may use; asked for before it binds itself to one of them.
ALLOWED = frozenset(os.sched_getaffinity(0))
GUNICORN = ["-m", "gunicorn", "-k", "gthread", "--threads", "4", "-w", "1"]
SILENT = ["--no-control-socket", "--log-level", "error"]
# The names of what is compared.
FLOOR, ALL, FEW, STORED = (
    "bare Flask",
    "this service",
    "this service, the eight rules of issue 2",
    "this service, ledger",
)
# Seconds after which the ledger has written what it was told, and after which others have done what a call left to do.
SETTLED, DONE = 0.7, 0.1


class Host:
    """A running server, and what its processes have used."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], port: int, path: str = PATH) -> None:
        self.name, self.process, self.port, self.path = name, process, port, path
        # What makes a token, where each call brings one of its own; how long the server works on after an answer.
        self.token: Callable[[], str] | None = None
        self.settles = DONE

    def workers(self) -> list[int]:
        """Return the processes that answer: the children of the one that was started, or itself."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(one) for one in children] or [self.process.pid]

    def cpu(self) -> float:
        """Return the CPU seconds that all threads of the workers have used, as the scheduler counts them (ns)."""
        threads = (thread for one in self.workers() for thread in Path(f"/proc/{one}/task").glob("*/schedstat"))
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def memory(self) -> tuple[float, float]:
        """Return RSS and PSS of the largest worker in MB: PSS counts a page that processes share once, in parts."""
        rolled = (Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()[1:] for one in self.workers())
        named = [{line.split()[0]: int(line.split()[1]) / 1024 for line in lines} for lines in rolled]
        return max(one["Rss:"] for one in named), max(one["Pss:"] for one in named)

    def request(self, body: bytes) -> bytes:
        """Return the bytes of one call."""
        proof = f"Authorization: Bearer {self.token()}\r\n" if self.token else ""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{proof}\r\n"
        )
        return head.encode() + body


def pinned() -> bool:
    """Say whether servers and generator can have a processor each."""
    return {THERE, HERE} <= ALLOWED


def on(processors: Sequence[int]) -> list[str]:
    """Return what stands before a command that shall run on these processors."""
    there = set(processors) <= ALLOWED and shutil.which("taskset")
    return ["taskset", "-c", ",".join(map(str, processors))] if there else []


def launch(command: list[str], processors: Sequence[int] = (THERE,), **named: str) -> subprocess.Popen[bytes]:
    """Start a program that says nothing, with some more variables in its environment."""
    whole, silent = [*on(processors), *command], subprocess.DEVNULL
    return subprocess.Popen(whole, cwd=ROOT, stdout=silent, stderr=silent, env={**os.environ, **named})


def start(name: str, command: list[str], port: int, path: str = PATH, *, processors: Sequence[int] = (THERE,)) -> Host:
    """Start a server on its processor, and wait until it takes connections."""
    process = launch(command, processors)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
            continue
        time.sleep(0.3)  # the worker of gunicorn may be a moment later than its socket
        return Host(name, process, port, path)
    process.terminate()
    raise SystemExit(f"{name} did not start")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def under_gunicorn(name: str, app: str) -> Host:
    """Start an application under gunicorn's threads, as peers run theirs."""
    port = free_port()
    return start(name, [sys.executable, *GUNICORN, *SILENT, "-b", f"127.0.0.1:{port}", app], port)


def ours(name: str, *words: str, processors: Sequence[int] = (THERE,)) -> Host:
    """Start this service under its own server."""
    port = free_port()
    command = [sys.executable, "-m", "bench.served", str(port), *words]
    return start(name, command, port, processors=processors)


def stored(folder: Path, *words: str, name: str = STORED, processors: Sequence[int] = (THERE,)) -> Host:
    """Start this service with a ledger (SQLite) in a folder."""
    host = ours(name, "--ledger", str(folder), *words, processors=processors)
    host.settles = SETTLED
    return host


def peer() -> Host:
    """Start HealthChain, which ``make peers`` installs."""
    port = free_port()
    command = [str(PEER), "bench.peer:app", "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    return start("HealthChain, 1 rule", [*command, "--no-access-log"], port, PEER_PATH)


def guarded(folder: Path) -> Host:
    """Start this service with its ledger, for one issuer of tokens; each call brings a token of its own."""
    key = rsa.generate_private_key(65_537, 2048)
    public = {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": "bench", "alg": "RS384", "use": "sig"}
    path = folder / "issuers.json"
    path.write_bytes(msgspec.json.encode({"issuers": [{"iss": ISSUER, "keys": [public], "audiences": [AUDIENCE]}]}))
    host = stored(folder, "--issuers", str(path), name="this service, ledger and JWT")
    claims, number = {"iss": ISSUER, "sub": "bench", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 300}, iter(range(10**9))

    def token() -> str:
        return jwt.encode({**claims, "jti": str(next(number))}, key, "RS384", headers={"kid": "bench"})

    host.token = token
    return host


@contextmanager
def hosts(*, with_peer: bool) -> Iterator[list[Host]]:
    """Run everything that is compared, side by side."""
    with tempfile.TemporaryDirectory() as kept, tempfile.TemporaryDirectory() as guarding:
        running: list[Host] = []
        try:
            running += [under_gunicorn(FLOOR, "bench.bare:app"), ours(FEW, "--only", ",".join(EIGHT)), ours(ALL)]
            running += [under_gunicorn(f"{ALL}, gunicorn's gthread", "bench.ours:app")]
            running += [stored(Path(kept)), guarded(Path(guarding))]
            running += [peer()] if with_peer and PEER.exists() else []
            yield running
        finally:
            end(*running)


def end(*running: Host) -> None:
    """End servers, all at once, and wait for them."""
    for host in running:
        host.process.terminate()
    for host in running:
        host.process.wait(30)
