"""
A call that was refused leaves nothing behind: its body goes with it, not when the garbage collector comes.

That collects after 50,000 objects (web/tuning.py); refused calls that wait for it kept 5 MB of bodies in a process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.build import ROOT
from tests.web.garbage import BUSY, CALLS, ENDS, NO_TOKEN, NO_TOKEN_TOLD, TOO_OFTEN

OTHERS = {BUSY: 503, NO_TOKEN: 401, NO_TOKEN_TOLD: 401, TOO_OFTEN: 429}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.web.garbage"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


@pytest.mark.parametrize(("name", "status"), [*((name, end[0]) for name, end in ENDS.items()), *OTHERS.items()])
def test_a_call_leaves_no_garbage(found: dict[str, Any], name: str, status: int) -> None:
    ended, left = found[name]

    assert {status} == set(ended)
    assert not left.keys() & {"frame", "traceback", "BytesIO", "Request", "dict", "bytes"}
    assert 10 * CALLS >= sum(left.values())
