"""Guards between many calls and one FHIR server: a breaker that stops asking, a bulkhead that bounds who waits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FAILURES, WITHIN, REST = 5, 30.0, 15.0


class Breaker:
    """
    Stop asking a server that fails (RELIABILITY 3.4): open after 5 failures in 30 s; after a rest one call tries again.

    ``clock`` counts seconds and is never set back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._failed: deque[float] = deque(maxlen=FAILURES)
        self._opened: float | None = None

    def lets_pass(self) -> bool:
        """Say whether the server may be asked now; of those who ask after the rest only one is let through."""
        with self._lock:
            if self._opened is None:
                return True
            if self._clock() - self._opened < REST:
                return False
            self._opened = self._clock()
            return True

    def report(self, *, worked: bool) -> None:
        """Tell how a read went."""
        with self._lock:
            if worked:
                self._failed.clear()
                self._opened = None
                return
            now = self._clock()
            self._failed.append(now)
            if self._opened is not None or (len(self._failed) == FAILURES and now - self._failed[0] <= WITHIN):
                self._opened = now

    @property
    def is_open(self) -> bool:
        """Say whether the server is not being asked."""
        return self._opened is not None


class Bulkhead:
    """Bound how many calls may wait for FHIR servers at once: the others are answered from what they brought."""

    def __init__(self, places: int) -> None:
        self.places, self.taken = places, 0
        self._lock = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Take a place, if there is one; nobody waits for a place."""
        with self._lock:
            got = self.taken < self.places
            self.taken += got
        try:
            yield got
        finally:
            with self._lock:
                self.taken -= got
