"""
What was acknowledged is on disk: after kill -9, and, as far as can be seen from the system calls, after a power cut.

The long runs are ``python -m tests.ledger.kill_loop`` (40 kills and more, 1,000 acknowledged answers and more).
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cds_service.adapters.ledger import Key, Ledger
from tests.build import ROOT
from tests.ledger import kill_loop
from tests.ledger.cluster import Cluster
from tests.ledger.faults import traced

PROGRAM = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from cds_service.adapters.ledger import Key, Ledger
from cds_service.errors import Unavailable
from cds_service.protocol.feedback import Feedback
ledger = Ledger.open("sqlite:///PATH", Key(b"k" * 40))
for number in range(MANY):
    os.write(1, b"begin %d\\n" % number)
    try:
        ledger.feedback([Feedback(f"card-{{number}}", "accepted", 1.0, ("s",))], "a-service")
        os.write(1, b"stored %d\\n" % number)
    except Unavailable as problem:
        os.write(1, b"refused %d %s\\n" % (number, problem.slug.encode()))
"""


def program(path: Path, many: int) -> str:
    return PROGRAM.replace("PATH", str(path)).replace("MANY", str(many))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.timeout(180)
def test_nothing_acknowledged_is_lost_by_kill_9(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "postgresql":
        request.getfixturevalue("cluster")  # skips, or fails, where there is none
    found = kill_loop.run(kind, kills=3, items=20)

    assert (0, 0, []) == (found.lost, found.stored_twice, found.problems)
    assert found.acknowledged >= 20


def test_it_is_acknowledged_after_the_disk_has_it(tmp_path: Path) -> None:
    """What is written to the log of SQLite is synced before anybody is told (a power cut may come in between)."""
    log = tmp_path / "trace"
    done = traced(program(tmp_path / "ledger.db", 20), log, "-e", "trace=pwrite64,fdatasync,fsync,write")
    assert 20 == done.stdout.count("stored"), done.stderr

    waiting, synced, acknowledged = False, False, 0
    for line in log.read_text().splitlines():
        if '"begin ' in line:
            waiting, synced = True, False
        elif "pwrite64(" in line and waiting:
            synced = False
        elif re.search(r"f(data)?sync\(.*= 0", line):
            synced = True
        elif '"stored ' in line:
            assert synced, f"acknowledged before it was on disk: {line}"
            waiting, acknowledged = False, acknowledged + 1
    assert 20 == acknowledged


@pytest.mark.parametrize(
    "fault",
    ["fdatasync:error=EIO:when=8+3", "pwrite64:error=ENOSPC:when=100..130", "pwrite64:error=EIO:when=100+47"],
    ids=["fsync fails", "disk full for a while", "writes fail now and then"],
)
def test_what_the_disk_refuses_is_not_acknowledged(tmp_path: Path, fault: str) -> None:
    path, call = tmp_path / "ledger.db", fault.partition(":")[0]
    Ledger.open(f"sqlite:///{path}", Key(b"k" * 40))  # its tables are made while all is well
    options = ("-e", f"trace={call}", "-e", f"inject={fault}")
    done = traced(program(path, 60), tmp_path / "trace", *options)
    stored = {int(one) for one in re.findall(r"stored (\d+)", done.stdout)}
    refused = re.findall(r"refused \d+ (\S+)", done.stdout)

    assert refused, done.stdout + done.stderr
    assert stored, done.stdout + done.stderr
    assert {"ledger-io-error", "ledger-full", "ledger-gone", "ledger-corrupt"} >= set(refused)
    with closing(sqlite3.connect(path)) as found:
        cards = {int(card.removeprefix("card-")) for (card,) in found.execute("SELECT card FROM feedback")}
        assert [("ok",)] == found.execute("PRAGMA integrity_check").fetchall()
    assert stored <= cards


def test_the_server_that_is_killed_has_what_it_acknowledged(cluster: Cluster) -> None:
    """A cluster with everything durable as its default, so that the test above means something."""
    import psycopg

    with psycopg.connect(cluster.url) as server:
        told = [
            server.execute(f"SHOW {name}").fetchone() for name in ("fsync", "synchronous_commit", "full_page_writes")
        ]

    assert [("on",)] * 3 == told
