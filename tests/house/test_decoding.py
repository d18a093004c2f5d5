"""
Threads that are the first to read a type do not end the process (msgspec 0.22.0: a segmentation fault).

Each test is a process of its own, since what it rules out would take the tests with it. With ``msgspec.json.Decoder``
in the place of ``decoding.decoder`` both end by signal 11, every time.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.build import ROOT

AT_ONCE = """
import sys, threading
import msgspec
from cds_service import decoding
from cds_service.protocol import HookRequest

sys.setswitchinterval(1e-6)
MEMBERS = [(f"m{number}", list[str] | None, None) for number in range(30)]

def new_type():
    inner = msgspec.defstruct("Inner", MEMBERS)
    return msgspec.defstruct("Outer", [("one", inner | None, None), ("many", list[inner] | None, None)])

def at_once(work):
    gate, ended = threading.Barrier(8), []
    def run():
        gate.wait()
        ended.append(work())
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(ended) == 8, "a thread failed"
    return ended
"""
WAYS = {
    "types of one record": """
raw = msgspec.json.encode({"one": {"m0": ["x"]}, "many": [{f"m{number}": ["y"] for number in range(30)}]})
for _ in range(100):
    kind = new_type()
    assert {"y"} == {found.many[0].m29[0] for found in at_once(lambda: decoding.decode(raw, kind))}
""",
    "first calls of a hook": """
prefetch = {"one": {"m0": ["x"]}, "many": [{f"m{number}": ["y"] for number in range(30)}]}
context = {"userId": "Practitioner/1", "patientId": "pat-1"}
raw = msgspec.json.encode({"hook": "patient-view", "hookInstance": "i", "context": context, "prefetch": prefetch})
for _ in range(100):
    kind = new_type()
    calls = at_once(lambda: HookRequest.parse(raw, "patient-view", kind))
    assert {"y"} == {call.shaped.many[0].m29[0] for call in calls}
""",
}


@pytest.mark.parametrize("way", WAYS)
def test_threads_that_read_a_type_first_all_read_it(way: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", AT_ONCE + WAYS[way]], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert (0, "") == (ended.returncode, ended.stderr)
