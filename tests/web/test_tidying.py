"""Memory that is kept but not used goes back to the system, once a minute and between two calls if that can be."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cds_service.web.tuning import BACK, Tidying

FULL_OF_GAPS = """
from pathlib import Path
from cds_service.web.tuning import BACK, Tidying, settle

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

settle()
now = [0.0]
tidying = Tidying(lambda: now[0])
before = resident()
blocks = [bytes(2_000) for _ in range(50_000)]
kept = blocks[::50]
del blocks
full = resident()
tidying.look(0)
early = resident()
now[0] = BACK
tidying.look(0)
print(before, full, early, resident())
"""


@pytest.mark.parametrize(
    ("passed", "running", "due"),
    [(BACK - 1, 0, False), (BACK, 0, True), (BACK, 3, False), (2 * BACK - 1, 1, False), (2 * BACK, 1, True)],
)
def test_when_it_is_time(passed: float, running: int, due: bool) -> None:
    now = [1_000.0]
    tidying = Tidying(lambda: now[0])
    now[0] += passed

    assert due is tidying.is_due(running)
    assert not tidying.is_due(0) or not due


def test_what_lies_between_what_is_kept_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", FULL_OF_GAPS], capture_output=True, text=True, check=True, timeout=60)
    before, full, early, tidied = (int(one) - int(done.stdout.split()[0]) for one in done.stdout.split())

    assert 0 == before
    assert early > 0.8 * full
    assert tidied < 0.4 * full
