"""
Kill processes with -9 while admins decide, and look whether anything acknowledged is lost.

    python -m tests.governance.kill_loop --database sqlite --kills 20

Two processes decide the same things at once, each saying what was acknowledged; both are killed in the middle of it.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time

import msgspec

from cds_service.adapters.governance import Governance
from cds_service.adapters.ledger import Database, Key
from cds_service.adapters.ledger.migrating import migrate
from cds_service.rules.tuning_model import in_force
from tests.build import ROOT
from tests.ledger.cluster import Cluster

SECRET = b"a key for the kill loop, long enough: 0123456789"
PROGRAM = f"""
import os, sys, time
from datetime import date
from decimal import Decimal
sys.path.insert(0, {str(ROOT)!r})
from cds_service.adapters.governance import Conflict, Governance
from cds_service.adapters.ledger import Database, Key
from cds_service.errors import Unavailable
from cds_service.rules.tuning_model import Tuning
governance = Governance(Database(sys.argv[1]), Key({SECRET!r}), time.time)
one = Tuning("a-rule", "a_limit", Decimal("6.5"), date(2026, 3, 1), sys.argv[2], "Our unit aims at this")
os.write(1, b"ready\\n")
while True:
    try:
        base = governance.newest(one.rule, one.name)
        asks = "kill" if base % 2 else ""
        made = governance.propose(one, base=base, asks=asks, role="editor", origin="192.0.2.1")
        os.write(1, b"saved %d\\n" % made.number)
        if asks:
            governance.rule_on(made.number, "approved", "anna", "Agreed at the meeting", "approver", "192.0.2.2")
            os.write(1, b"ruled %d\\n" % made.number)
    except (Conflict, Unavailable) as problem:
        os.write(1, b"refused %s\\n" % problem.slug.encode())
"""


class Result(msgspec.Struct):
    """What was found at the end."""

    kills: int = 0
    kills_of_database: int = 0
    saved: int = 0
    ruled: int = 0
    refused: int = 0
    lost: int = 0
    twice: int = 0
    problems: list[str] = []


def run(url: str, kills: int, server: Cluster | None = None) -> Result:
    """Kill so often; with a server every second time that too."""
    migrate(Database(url))
    found, chance = Result(problems=[]), random.Random(1)
    saved, ruled = list[int](), list[int]()
    for number in range(kills):
        said = _round(url, chance.uniform(0.2, 0.6))
        found.kills += 1
        if server is not None and number % 2:
            server.kill()
            server.start()
            found.kills_of_database += 1
        saved += [int(one.split()[1]) for one in said if one.startswith("saved ")]
        ruled += [int(one.split()[1]) for one in said if one.startswith("ruled ")]
        found.refused += sum(one.startswith("refused conflict") for one in said)
    _compare(url, found, saved, ruled)
    return found


def _round(url: str, seconds: float) -> list[str]:
    words = [sys.executable, "-c", PROGRAM, url]
    both = [
        subprocess.Popen([*words, who], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for who in ("eddie", "erin")
    ]
    for one in both:
        assert one.stdout is not None
        assert "ready\n" == one.stdout.readline()
    time.sleep(seconds)
    for one in both:
        one.send_signal(signal.SIGKILL)
    # A line that the kill cut in two acknowledged nothing.
    return [line for one in both for line in one.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]


def _compare(url: str, found: Result, saved: list[int], ruled: list[int]) -> None:
    governance = Governance(Database(url), Key(SECRET), time.time)
    history = governance.history()
    there, approved = {one.number for one in history}, {one.number for one in history if one.ruling == "approved"}
    found.saved, found.ruled = len(saved), len(ruled)
    found.lost = len(set(saved) - there) + len(set(ruled) - approved)
    found.twice = len(saved) - len(set(saved))
    found.problems = governance.audit.verify()
    bases = [one.base for one in history]
    if len(set(bases)) != len(bases):
        found.problems.append("Two changes were made on the same base.")
    holding = in_force(governance.decided(), history[0].tuning.since) if history else {}
    if len(holding) > 1:
        found.problems.append("More than one decision about one thing is in force.")
    governance.database.close()


def main() -> int:
    """Run from the shell; exit code 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--kills", type=int, default=20)
    asked = parser.parse_args()
    server = Cluster() if asked.database == "postgresql" else None
    with tempfile.TemporaryDirectory() as folder:
        try:
            if server is not None:
                server.start()
            found = run(server.url if server else f"sqlite:///{folder}/ledger.db", asked.kills, server)
        finally:
            if server is not None:
                server.remove()
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
    return int(bool(found.lost or found.twice or found.problems))


if __name__ == "__main__":
    sys.exit(main())
