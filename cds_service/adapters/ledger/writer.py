"""What hook calls leave behind is written by a thread of its own: a call hands it over and goes on."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from cds_service.adapters.ledger.chain import Ready, ready
from cds_service.errors import Unavailable
from cds_service.recording import DecisionRow

log = logging.getLogger("cds_service")
Make = Callable[[], DecisionRow]
# So many records, or so many bytes of rows that are made, wait at most.
MOST, HEAVIEST = 10_000, 32 * 1024 * 1024
# What is handed over holds the body of its call, of up to 8 MB, and all that was read in it, until its row is made.
# Beyond so many bytes of bodies a call makes its own row: that costs it what the thread would have cost all calls.
UNMADE = 1024 * 1024
# A transaction costs 0.7 ms besides its rows: they are gathered for so many seconds.
BATCH, PAUSE = 200, 0.2
FIRST_RETRY, LAST_RETRY = 0.2, 5.0
_MINUTE = 60.0


class Writer:
    """
    Makes rows and stores them, a batch at a time.

    What cannot be stored now is tried again, and waits; when too much waits, the newest is dropped and counted. Made
    before the process forks; the thread starts with the first record of each process.
    """

    def __init__(self, store: Callable[[Sequence[Ready]], None], counted: Counter[str]) -> None:
        self._store, self.counted = store, counted
        self.reset()

    def reset(self) -> None:
        """Begin anew, in a process that was just forked."""
        self._unmade, self._pending = deque[tuple[Make, int]](), deque[Ready]()
        self._lock, self._settled = threading.Lock(), threading.Condition()
        self._some, self._wake = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._pid, self._taken, self._done, self._closing = os.getpid(), 0, 0, False
        self._bodies, self._weight = 0, 0
        self._delay, self._next_try = FIRST_RETRY, 0.0
        self._said: dict[str, float] = {}

    @property
    def waiting(self) -> int:
        """How many records are not stored yet."""
        return self._taken - self._done

    def record(self, make: Make, weight: int = 0) -> None:
        """
        Take over what will make a row; never waits.

        ``weight`` is how many bytes it keeps alive. Too many of them, and the row is made here and now; too many
        rows, and this one is dropped.
        """
        if self._pid != os.getpid():
            self.reset()
        with self._lock:
            full = self._closing or self.waiting >= MOST or self._weight > HEAVIEST
            now = self._bodies + weight > UNMADE
            self._taken += not full
            if not (full or now):
                self._unmade.append((make, weight))
                self._bodies += weight
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
                self._thread.start()
        if full:
            self._drop("dropped")
            return
        if now:
            self._make(make)
        self._some.set()

    def make_next(self) -> bool:
        """Make the row of the record that has waited longest; False where there is none."""
        with self._lock:
            if not self._unmade:
                return False
            make, weight = self._unmade.popleft()
        self._make(make)
        del make
        with self._lock:
            self._bodies -= weight
        return True

    def _make(self, make: Make) -> None:
        try:
            row = ready(make())
        except Exception as failure:  # noqa: BLE001 - one call that cannot be taken down stops no other
            self.counted["unrecordable"] += 1
            self._tell("ledger-unrecordable", 1, type(failure).__name__)
            self._count(1)
            return
        with self._lock:
            self._pending.append(row)
            self._weight += row.weight

    def flush(self, seconds: float) -> bool:
        """Wait until everything that was recorded up to now is stored; say whether it is."""
        wanted, limit = self._taken, time.monotonic() + seconds
        self._wake.set()
        with self._settled:
            return self._settled.wait_for(lambda: self._done >= wanted, max(0.0, limit - time.monotonic()))

    def close(self, seconds: float) -> bool:
        """Take over nothing more, and store what is there; say whether all of it could be."""
        self._closing = True
        self._some.set()
        limit = time.monotonic() + seconds
        done = self.flush(seconds)
        thread = self._thread
        if thread is not None:
            thread.join(max(0.0, limit - time.monotonic()))
        if not done:
            self._tell("ledger-lost", self.waiting)
        return done

    def _run(self) -> None:
        while not (self._closing and self.waiting == 0):
            if self.waiting == 0:
                self._some.wait()
            self._wake.wait(PAUSE)
            hurried = self._wake.is_set() or self._closing
            self._wake.clear()
            self._some.clear()
            while self.make_next():
                time.sleep(0)  # a call that waits for the interpreter gets its turn after each row
            if self._pending and (hurried or time.monotonic() >= self._next_try):
                self._write()

    def _write(self) -> None:
        """Store what is there, a batch at a time, as far as it can be stored now."""
        single = 0
        while self._pending:
            size = 1 if single else min(BATCH, len(self._pending))
            batch = [self._pending[place] for place in range(size)]
            try:
                self._store(batch)
            except Unavailable as problem:
                self._put_off(problem)
                return
            except Exception as failure:  # noqa: BLE001 - the thread has to live on
                if size > 1:
                    single = size + 1  # one by one, to find the row that the database will never take
                    continue
                self.counted["unwritable"] += 1
                self._tell("ledger-unwritable", 1, type(failure).__name__)
            single, self._delay = max(0, single - 1), FIRST_RETRY
            for row in batch:
                self._pending.popleft()
                with self._lock:
                    self._weight -= row.weight
            self._count(size)

    def _put_off(self, problem: Unavailable) -> None:
        """Try again later, and later still if that does not help either."""
        self.counted[f"retried {problem.slug}"] += 1
        self._next_try = time.monotonic() + self._delay
        self._delay = min(LAST_RETRY, self._delay * 2)
        self._tell(problem.slug, self.waiting)

    def _count(self, many: int) -> None:
        with self._settled:
            self._done += many
            self._settled.notify_all()

    def _drop(self, what: str) -> None:
        self.counted[what] += 1
        self._tell("ledger-dropped", self.counted[what])

    def _tell(self, event: str, count: int, kind: str = "") -> None:
        """Log trouble, each kind once a minute: how much of it, never what."""
        now = time.monotonic()
        if now - self._said.get(event, -_MINUTE) >= _MINUTE:
            self._said[event] = now
            log.warning(event, extra={"fields": {"event": event, "count": count, "kind": kind}})
