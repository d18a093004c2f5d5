"""Settings of the Python process itself, for a service that loads much once and then answers small calls for ever."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from contextlib import suppress

# glibc's numbers for M_ARENA_MAX, M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (malloc.h).
_ARENA_MAX, _TRIM_THRESHOLD, _MMAP_THRESHOLD = -8, -1, -3
# So many arenas are enough: only one thread computes at a time.
_ARENAS = 2
# Bytes. What a call of 2,000 results takes (some 12 MB) stays with the process for the next one; 32 MB is the most that
# glibc allows for blocks outside of mmap.
_KEPT, _LARGEST = 32 * 1024 * 1024, 32 * 1024 * 1024
# Seconds: what is kept but not used goes back to the system once in so many, between two calls, if there is such a
# moment in as many more.
BACK = 60.0


def load() -> None:
    """
    Tell the garbage collector that loading begins, which ``settle`` ends: until then it does not look for garbage.

    There is next to none (2,000 of 210,000 objects), and looking for it took 0.25 of the 1.05 s of CPU that loading the
    service takes.
    """
    gc.disable()


def settle() -> None:
    """
    Tell the garbage collector that what is loaded now stays.

    The rule book, the concepts and the FHIR models are some hundred thousand objects that never become garbage; without
    this the collector looks through them again and again while EHRs wait. A call leaves no cyclic garbage (a test holds
    that), so collections can be rare. Before forking it also keeps the workers' memory shared.
    """
    if gc.isenabled():  # something may have been replaced: a rule book that was loaded anew
        gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()
    _keep_memory()


def _keep_memory() -> None:
    """
    Let all threads share their memory: with an arena for each, large bodies stay in many of them (measured).

    And keep what a large body took: else glibc gives it back after each call, and the kernel clears every page anew.
    That was 1.9 of 4.6 ms for 500 results, and 6 of 24 ms for 2,000.
    """
    for setting, number in ((_ARENA_MAX, _ARENAS), (_TRIM_THRESHOLD, _KEPT), (_MMAP_THRESHOLD, _LARGEST)):
        _ask_glibc("mallopt", setting, number)


def _ask_glibc(what: str, *numbers: int) -> None:
    """Call one of glibc's own functions; nothing happens where there is another C library."""
    with suppress(OSError, AttributeError):
        getattr(ctypes.CDLL(None), what)(*numbers)


class Tidying:
    """
    Gives memory that is kept but not used back to the system, once a minute.

    What is remembered for long lies among what calls leave behind: without this the memory of a process grew with each
    new coincidence of large calls, by steps of some MB (docs/benchmarks.md, "Soak").
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._since = clock, clock()

    def is_due(self, running: int) -> bool:
        """Say whether it is time, while so many calls are running; then the next minute begins."""
        waited = self._clock() - self._since
        if waited < BACK or (running and waited < 2 * BACK):
            return False
        self._since = self._clock()
        return True

    def look(self, running: int) -> None:
        """Give back what there is, if it is time (2 to 18 ms, in which other threads may wait for memory)."""
        if self.is_due(running):
            _ask_glibc("malloc_trim", 0)
