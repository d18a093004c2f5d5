"""How long something takes: other work on this machine, or on its host, must not fail a test, and a defect must."""

from __future__ import annotations

import time
from collections.abc import Callable


def spent(work: Callable[[], object]) -> float:
    """Return how many seconds a piece of work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def quickest(attempt: Callable[[], float], limit: float = 0.0, tries: int = 5) -> float:
    """
    Return the least of some times in seconds, and try no more once one of them is within the limit.

    A machine that stands still for a moment (0.8 s was seen) does so in one try; what waits where it should not, in
    all of them.
    """
    best = attempt()
    for _ in range(tries - 1):
        if best <= limit:
            break
        best = min(best, attempt())
    return best
