"""
Many calls at once, and nothing that stays behind (RELIABILITY.md 3, rows 15 and 33).
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cds_service.adapters.ehr import LocalRecord
from tests.build import (
    LEFT_OUT,
    PATIENT,
    bundle,
    prefetch,
)
from tests.faults import servers
from tests.faults.asking import SICK, Make, asking, post, reasons
from tests.faults.servers import Asked, Behaviour, Reply, Server, Talk, answering, fhir, once_asked, running
from tests.moments import quickest, spent

# --- row 15: the bulkhead --------------------------------------------------------------------------------------------


def test_calls_that_hang_do_not_hold_up_those_that_bring_their_data(app_for: Make) -> None:
    """
    Eight threads, as a server has them; thirty-two calls hang, and those with prefetch are answered beside them.
    """

    def attempt() -> float:
        with running(once_asked(servers.hang)) as server, ThreadPoolExecutor(8) as threads:
            app = app_for(server, fhir_budget_ms=1500, fhir_calls=4)
            hanging = [threads.submit(post, app, asking(server)) for _ in range(32)]
            prefetched = [threads.submit(post, app, asking(server, prefetch(*SICK))) for _ in range(8)]
            waited = spent(lambda: [one.result() for one in prefetched])
            answers = [one.result()[0] for one in hanging]

            assert {200} == {one.result()[0].status_code for one in prefetched}
            assert {412} == {one.status_code for one in answers}
            assert {"busy", "too-late", "breaker-open"} >= set().union(*map(reasons, answers))
            assert 0 == app.extensions["cds"].completing.bulkhead.taken
            return waited

    assert quickest(attempt, 2.0) < 2.0


# --- leaks -----------------------------------------------------------------------------------------------------------


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def mixed() -> Iterator[Server]:
    """Run a server that does something else to each connection."""
    broken = [servers.hang, servers.reset, *(once_asked(one) for one in (
        servers.hang, servers.headers_then_silence, servers.drip_headers, servers.drip_body, servers.endless_body,
        servers.reset, servers.reset_in_the_body))]  # fmt: skip
    good = answering(fhir(LocalRecord(PATIENT, SICK)))
    turn = iter(range(1_000_000))

    def any_of(talk: Talk) -> None:
        number = next(turn)
        (good if number % 2 else broken[number // 2 % len(broken)])(talk)

    with running(any_of) as server:
        yield server


def test_threads_and_files_do_not_leak(app_for: Make, mixed: Server) -> None:
    app = app_for(mixed, fhir_budget_ms=100, fhir_calls=2)
    app.extensions["cds"].completing._new_breaker = Always
    for _ in range(8):
        post(app, asking(mixed))
    settle()
    threads, files = ours(), open_files()
    for _ in range(30):
        post(app, asking(mixed))
    settle()

    assert ours() <= max(threads, 2 * 8)
    assert open_files() <= files + 2 * 8 + 2  # kept connections, both ends


class Always:
    is_open = False

    def lets_pass(self) -> bool:
        return True

    def report(self, *, worked: bool) -> None: ...


def ours() -> int:
    return sum(thread.name.startswith(("fhir", "dns", "keys")) for thread in threading.enumerate())


def settle() -> None:
    """Let the threads of calls that were answered come to their end."""
    time.sleep(0.5)
    gc.collect()


def test_what_a_late_call_read_from_is_not_cut_under_the_next_one(app_for: Make) -> None:
    """
    Connections are kept and used by other calls: ending one call's reads must not touch them.
    """
    record = fhir(LocalRecord(PATIENT, SICK))
    slow = threading.Event()

    def sometimes(asked: Asked) -> Reply | Behaviour:
        return servers.hang if "Procedure" in asked.target and slow.is_set() else record(asked)

    with running(answering(sometimes)) as server, ThreadPoolExecutor(2) as threads:
        app = app_for(server, fhir_budget_ms=600, fhir_calls=4)
        slow.set()
        late = threads.submit(post, app, asking(server))
        time.sleep(0.1)
        without = prefetch(*SICK, conditions=LEFT_OUT, pastMedications=bundle())
        for _ in range(40):
            response, _ = post(app, asking(server, without))
            assert (200, set()) == (response.status_code, reasons(response))
        assert "too-late" in reasons(late.result()[0])
