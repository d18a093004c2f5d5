"""Threads that answer calls, started at once; whichever was busy last is the first to be busy again."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
# What a thread may put on its stack: half of what is usual, since there are many.
STACK = 4 * 1024 * 1024


class Pool(Generic[T]):
    """
    So many threads for one kind of work.

    Work goes to the thread that ended its last one most recently: what that used is still in the processor's caches.
    Handed round 64 threads in turn, as Python's own pool does, each call would begin with cold ones (measured:
    DECISIONS.md).
    """

    def __init__(self, threads: int, work: Callable[[T], None]) -> None:
        """
        Start all threads now, while there is memory for them: later one may die before it has begun.

        They never keep a process that ends: who stops in good order has waited for its calls. Raises RuntimeError
        where there is no room for so many; then none is left.
        """
        self._work, self._over, self._lock = work, False, threading.Lock()
        self._idle: list[SimpleQueue[T | None]] = []
        self._waiting: deque[T] = deque()
        before, there = threading.stack_size(STACK), threading.Barrier(threads + 1)
        try:
            for number in range(threads):
                threading.Thread(target=self._run, args=(there,), name=f"call_{number}", daemon=True).start()
            there.wait()
        except BaseException:
            there.abort()
            raise
        finally:
            threading.stack_size(before)

    @property
    def idle(self) -> int:
        """How many threads have nothing to do."""
        return len(self._idle)

    def submit(self, item: T) -> None:
        """Have something worked on by the first thread that is free; never waits."""
        with self._lock:
            if not self._idle:
                self._waiting.append(item)
                return
            mine = self._idle.pop()
        mine.put(item)

    def shutdown(self, *, wait: bool = False) -> None:
        """Let every thread end that has nothing to do, and the others when they have done what there is."""
        del wait  # gunicorn never does
        with self._lock:
            self._over, idle, self._idle = True, self._idle, []
        for mine in idle:
            mine.put(None)

    def _run(self, there: threading.Barrier) -> None:
        try:
            there.wait()
        except threading.BrokenBarrierError:
            return
        mine: SimpleQueue[T | None] = SimpleQueue()
        while (item := self._next(mine)) is not None:
            self._work(item)
            del item  # while this thread waits, nothing of the last call is kept alive

    def _next(self, mine: SimpleQueue[T | None]) -> T | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._over:
                return None
            self._idle.append(mine)
        return mine.get()
