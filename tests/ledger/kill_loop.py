"""
Kill the service with -9 again and again while clinicians answer cards, and look whether anything acknowledged is lost.

    python -m tests.ledger.kill_loop --database sqlite --kills 40 --items 1000

The service is the real one (``cds-service serve``, two processes). With ``--database postgresql`` every second kill
hits the database server and all its processes as well. What was not acknowledged is sent again after the restart, as
an EHR does, and so is some of what was.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

import msgspec
import requests
from sqlalchemy import text

from cds_service.adapters.ledger import Database, read_key
from cds_service.adapters.ledger.verifying import verify
from tests.build import body
from tests.ledger.cluster import Cluster

SERVICE = "calcinosis-patient-view"
COMMAND = Path(sys.executable).with_name("cds-service")
KEY = "a key for the kill loop, long enough: 0123456789"
SENDERS = 6


class Result(msgspec.Struct):
    """What was found at the end."""

    database: str
    kills: int
    kills_of_database: int
    acknowledged: int
    stored: int
    lost: int
    stored_twice: int
    stored_unacknowledged: int
    sent_again: int
    decisions: int
    problems: list[str]
    slowest_restart: float
    seconds: float


class Loop:
    """A service that is killed and started again, and those who send it feedback."""

    def __init__(self, url: str, server: Cluster | None, seed: int = 1) -> None:
        self.url, self.server, self.chance = url, server, random.Random(seed)
        self.acknowledged: set[str] = set()
        self.unknown: list[str] = []
        self.sent_again = self.kills = self.kills_of_database = self._number = 0
        self.slowest = 0.0
        self._lock, self._address = threading.Lock(), ""
        self._process: subprocess.Popen[str] | None = None

    # --- the service -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the service, and wait until it says that it answers."""
        started = time.monotonic()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CDS_")}
        told = {"CDS_AUTH": "none", "CDS_DATABASE_URL": self.url, "CDS_PSEUDONYM_KEY": KEY}
        words = [str(COMMAND), "serve", "--port", "0", "--workers", "2", "--threads", "8"]
        self._process = subprocess.Popen(
            words,
            env={**kept, **told},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        said = ""
        while not (found := re.search(r"http://\S+(?=/cds-services)", said)):
            line = self._process.stdout.readline()
            assert line, f"The service does not start: {said}"
            said += line
        self._reader = threading.Thread(target=_read_all, args=(self._process.stdout,))
        self._reader.start()
        self._address = found[0]
        self.slowest = max(self.slowest, time.monotonic() - started)

    def kill(self) -> None:
        """Kill all its processes at once."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self.kills += 1
        if self.server is not None and self.kills % 2 == 0:
            self.server.kill()
            self.kills_of_database += 1
            self.server.start()

    # --- those who send ----------------------------------------------------------------------------------------------

    def send(self, until: float) -> None:
        """Send messages of one to five answers, and take note of what was acknowledged."""
        address = self._address
        with requests.Session() as session:
            good = True
            while good and time.monotonic() < until:
                cards = self._cards()
                try:
                    if self.chance.random() < 0.2:
                        session.post(f"{address}/cds-services/{SERVICE}", data=body(), headers=_JSON, timeout=5)
                    answer = session.post(
                        f"{address}/cds-services/{SERVICE}/feedback", data=_message(cards), headers=_JSON, timeout=5
                    )
                    good = answer.status_code == 200
                except requests.RequestException:
                    good = False
                with self._lock:
                    if good:
                        self.acknowledged.update(cards)
                    else:
                        self.unknown += cards

    def _cards(self) -> list[str]:
        with self._lock:
            cards = [f"card-{self._number + one}" for one in range(self.chance.randint(1, 5))]
            self._number += len(cards)
            # What nobody acknowledged is sent again, and now and then what somebody did.
            again, self.unknown = self.unknown[:20], self.unknown[20:]
            if self.acknowledged and self.chance.random() < 0.3:
                again.append(next(iter(self.acknowledged)))
            self.sent_again += len(again)
            return cards + again

    def round(self) -> None:
        """Start, be busy for a moment, and die in the middle of it."""
        self.start()
        until = time.monotonic() + self.chance.uniform(0.2, 0.8)
        senders = [threading.Thread(target=self.send, args=(until + 1.0,)) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        time.sleep(max(0.0, until - time.monotonic()))
        self.kill()
        for sender in senders:
            sender.join()

    # --- what is left ------------------------------------------------------------------------------------------------

    def result(self, kind: str, seconds: float) -> Result:
        """Compare what was acknowledged with what is there."""
        database = Database(self.url)
        with database.reading() as connection:
            found = [row[0] for row in connection.execute(text("SELECT card FROM feedback"))]
            decisions = connection.execute(text("SELECT count(*) FROM decisions")).scalar() or 0
        problems = verify(database, read_key({"CDS_PSEUDONYM_KEY": KEY}, self.url)).problems
        database.close()
        return Result(
            database=kind,
            kills=self.kills,
            kills_of_database=self.kills_of_database,
            acknowledged=len(self.acknowledged),
            stored=len(found),
            lost=len(self.acknowledged - set(found)),
            stored_twice=len(found) - len(set(found)),
            stored_unacknowledged=len(set(found) - self.acknowledged),
            sent_again=self.sent_again,
            decisions=decisions,
            problems=problems,
            slowest_restart=round(self.slowest, 2),
            seconds=round(seconds, 1),
        )


def _read_all(stream: IO[str]) -> None:
    """Read what the service says, so that it never waits for somebody to do so."""
    with stream:
        stream.read()


_JSON = {"Content-Type": "application/json"}


def _message(cards: list[str]) -> bytes:
    items: list[dict[str, Any]] = [
        {
            "card": card,
            "outcome": "overridden",
            "outcomeTimestamp": "2026-03-01T12:00:00Z",
            "overrideReason": {"reason": {"code": "not-relevant", "system": "https://x.example"}, "userComment": "no"},
        }
        for card in cards
    ]
    return json.dumps({"feedback": items}).encode()


def run(kind: str, kills: int, items: int) -> Result:
    """Kill so often, and on until so many items were acknowledged."""
    started = time.monotonic()
    server = Cluster() if kind == "postgresql" else None
    with tempfile.TemporaryDirectory() as folder:
        try:
            if server is not None:
                server.start()
            loop = Loop(server.url if server else f"sqlite:///{folder}/ledger.db", server)
            while loop.kills < kills or len(loop.acknowledged) < items:
                loop.round()
            return loop.result(kind, time.monotonic() - started)
        finally:
            if server is not None:
                server.remove()


def main() -> int:
    """Run from the shell; exit code 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--items", type=int, default=1_000)
    asked = parser.parse_args()
    found = run(asked.database, asked.kills, asked.items)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
    return int(bool(found.lost or found.stored_twice or found.problems))


if __name__ == "__main__":
    sys.exit(main())
