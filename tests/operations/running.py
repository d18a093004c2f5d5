"""A service in processes of its own, for tests and for the soak."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import requests

from tests import said
from tests.build import ROOT

COMMAND = Path(sys.executable).with_name("cds-service")


class Service:
    """A running service: its address, its processes, what it says."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, folder: Path) -> None:
        self.process, self.url, self.folder = process, url, folder

    def workers(self) -> list[int]:
        """Return the processes that answer."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(one) for one in children.read_text().split()]

    def signal(self, what: signal.Signals) -> None:
        """Send a signal to the master."""
        self.process.send_signal(what)

    def log(self) -> str:
        """Return what the service has logged so far."""
        return (self.folder / "log").read_text(encoding="utf-8")

    def get(self, path: str, **options: Any) -> requests.Response:
        """Ask over a new connection."""
        answer = requests.get(f"{self.url}{path}", timeout=20, **options)
        if answer.status_code >= 400 or path == "/metrics":
            said.keep(answer.text)
        return answer

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the series of a metric that have these labels."""
        found = 0.0
        for line in self.get("/metrics").text.splitlines():
            head, _, value = line.rpartition(" ")
            sound = all(f'{label}="{wanted}"' in head for label, wanted in labels.items())
            if head.partition("{")[0] == name and sound:
                found += float(value)
        return found

    def memory(self) -> dict[int, int]:
        """Return the resident memory of each worker in bytes."""
        found = {}
        for worker in self.workers():
            for line in Path(f"/proc/{worker}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    found[worker] = int(line.split()[1]) * 1024
        return found

    def open_files(self) -> int:
        """Return how many file descriptors the workers hold."""
        return sum(len(list(Path(f"/proc/{one}/fd").iterdir())) for one in self.workers())

    def threads(self) -> int:
        """Return how many threads the workers have."""
        return sum(len(list(Path(f"/proc/{one}/task").iterdir())) for one in self.workers())


@contextmanager
def running(
    folder: Path,
    *words: str | Path,
    preexec: Callable[[], None] | None = None,
    stderr: IO[bytes] | int | None = None,
    **environment: str,
) -> Iterator[Service]:
    """Run a service as long as a test takes, with its ledger and its log in a folder, and settings as given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CDS_")}
    chosen = {"CDS_AUTH": "none", "CDS_DATABASE_URL": f"sqlite:///{folder}/ledger.db", "CDS_DRAIN_SECONDS": "0"}
    command = [str(COMMAND), "serve", "--port", "0", *map(str, words)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**kept, **chosen, **environment},
            stdout=subprocess.PIPE,
            stderr=log if stderr is None else stderr,
            preexec_fn=preexec,  # noqa: PLW1509 - no other threads run at that time
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        found = re.search(r"http://\S+(?=/cds-services)", line)
        assert found, line + (folder / "log").read_text()
        service = Service(process, found[0], folder)
        many = int(str(words[words.index("--workers") + 1])) if "--workers" in words else 2
        eventually(lambda: len(service.workers()) == many, 20)
        yield service
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()
        log_text = (folder / "log").read_text(encoding="utf-8", errors="replace")
        said.keep(log_text)
    assert "SIGSEGV" not in log_text, "a worker crashed"


def eventually(holds: Callable[[], object], seconds: float = 10.0) -> float:
    """Wait until something holds; return how long that took."""
    since = time.monotonic()
    while not holds():
        assert time.monotonic() - since < seconds, "it never came to hold"
        time.sleep(0.05)
    return time.monotonic() - since
