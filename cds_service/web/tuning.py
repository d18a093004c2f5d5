"""Settings of the Python process itself, for a service that loads much once and then answers small calls for ever."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

# glibc's number for M_ARENA_MAX (malloc.h), and how many arenas are enough: only one thread computes at a time.
_ARENA_MAX, _ARENAS = -8, 2


def settle() -> None:
    """
    Tell the garbage collector that what is loaded now stays.

    The rule book, the concepts and the FHIR models are some hundred thousand objects that never become garbage; without
    this the collector looks through them again and again while EHRs wait. A call leaves no cyclic garbage (a test holds
    that), so collections can be rare. Before forking it also keeps the workers' memory shared.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    _few_arenas()


def _few_arenas() -> None:
    """Let all threads share their memory: with an arena for each, large bodies stay in many of them (measured)."""
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_ARENA_MAX, _ARENAS)
