"""
The threads that answer calls: all of them there from the start, the last one busy the first to be busy again.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

from cds_service.cli.pool import Pool
from cds_service.cli.worker import Worker
from tests.build import ROOT
from tests.operations.running import eventually


def test_everything_is_done_though_there_is_more_of_it_than_threads() -> None:
    done: SimpleQueue[int] = SimpleQueue()
    pool: Pool[int] = Pool(3, done.put)
    try:
        for number in range(500):
            pool.submit(number)

        assert list(range(500)) == sorted(done.get(timeout=10) for _ in range(500))
    finally:
        pool.shutdown()


def test_one_call_after_the_other_is_answered_by_the_same_thread() -> None:
    names: SimpleQueue[str] = SimpleQueue()
    pool: Pool[int] = Pool(16, lambda _: names.put(threading.current_thread().name))
    found = set()
    try:
        for number in range(100):
            eventually(lambda: 16 == pool.idle)
            pool.submit(number)
            found.add(names.get(timeout=10))
    finally:
        pool.shutdown()

    assert 1 == len(found)


def test_no_work_waits_while_a_thread_is_free() -> None:
    both = threading.Barrier(4, timeout=10)
    done: SimpleQueue[int] = SimpleQueue()

    def work(number: int) -> None:
        both.wait()
        done.put(number)

    pool: Pool[int] = Pool(4, work)
    try:
        for number in range(4):
            pool.submit(number)

        assert {0, 1, 2, 3} == {done.get(timeout=10) for _ in range(4)}
    finally:
        pool.shutdown()


def test_what_was_begun_is_ended_and_then_every_thread_ends() -> None:
    goes_on, done = threading.Event(), SimpleQueue[int]()

    def work(number: int) -> None:
        goes_on.wait(10)
        done.put(number)

    pool: Pool[int] = Pool(2, work)
    for number in range(5):
        pool.submit(number)
    pool.shutdown()
    goes_on.set()

    assert {0, 1, 2, 3, 4} == {done.get(timeout=10) for _ in range(5)}
    eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith("call_")])


def test_nothing_of_a_call_is_kept_alive_by_an_idle_thread() -> None:
    class Held:
        pass

    gone = threading.Event()
    pool: Pool[Held] = Pool(1, lambda _: None)
    held = Held()
    weakref.finalize(held, gone.set)
    pool.submit(held)
    del held
    try:
        assert gone.wait(10)
    finally:
        pool.shutdown()


def test_a_process_that_ends_by_an_error_is_not_kept_by_its_threads() -> None:
    program = "from cds_service.cli.pool import Pool; Pool(3, print); raise SystemExit(5)"

    assert 5 == subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False).returncode


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only three threads be started."""
    start, left = threading.Thread.start, iter(range(3))

    def no_more(thread: threading.Thread) -> None:
        if thread.name.startswith("call_") and next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_more)


@pytest.mark.usefixtures("no_room")
def test_where_there_is_no_room_for_a_thread_none_is_left_waiting() -> None:
    with pytest.raises(RuntimeError, match="thread"):
        Pool(5, print)

    eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith("call_")])


@pytest.mark.usefixtures("no_room")
@pytest.mark.parametrize(("age", "ends"), [(2, RuntimeError), (3, SystemExit)], ids=["at the start", "later"])
def test_a_later_worker_without_room_for_its_threads_ends_alone(age: int, ends: type[BaseException]) -> None:
    """By a RuntimeError gunicorn knows that the service cannot begin at all, and ends it."""
    worker = Worker.__new__(Worker)
    worker.age, worker.cfg = age, SimpleNamespace(threads=5, workers=2)

    with pytest.raises(ends):
        worker.get_thread_pool()
