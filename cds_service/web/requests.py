"""Around every call: its id, what is written down about it, and how much may go on at once and from whom."""

from __future__ import annotations

import os
import re
import resource
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import msgspec

from cds_service.errors import TooManyRequests, Unavailable

HEADER = "X-Request-Id"
# What is known of a request already. A client cannot set these: its headers are called HTTP_ something.
_ID, _PACED = "calcinosis_cds.request", "calcinosis_cds.paced"
_SOUND = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch

# A body up to SMALL bytes is only counted; larger ones together may take ROOM bytes of one process at once.
SMALL, ROOM = 256 * 1024, 32 * 1024 * 1024
# How much memory a body takes while it is read and answered, as a multiple of its size.
DECODED = 8
# How long a large body waits for its turn, in seconds: where the one before it waits for a FHIR server, no longer.
TURN = 0.1
# Discovery is for once in a while: it counts as much as so many calls.
DISCOVERY = 5.0
# How many clients' paces are remembered, the most recent ones.
KNOWN = 10_000


def id_of(environ: MutableMapping[str, Any]) -> str:
    """Return the id of a request: the one it came with if that is a plain word, else one of ours."""
    known: str | None = environ.get(_ID)
    if known is None:
        sent: str = environ.get("HTTP_X_REQUEST_ID", "")
        known = environ[_ID] = sent if _SOUND(sent) else os.urandom(8).hex()
    return known


class Note(msgspec.Struct, gc=False):
    """
    What is logged and counted about one hook call; nothing in it names a patient.

    ``instance`` is a hash of the hookInstance, ``cards`` holds the indicator of each card, ``held`` why others were
    held back, ``left`` how much of its time for the FHIR server was left, in seconds.
    """

    request: str = ""
    instance: str = ""
    cards: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    left: float | None = None

    def called(self, hook_instance: str) -> None:
        """Note the hookInstance as a hash: calls can be told apart and found again by who knows it."""
        self.instance = blake2b(hook_instance.encode("utf-8", "replace"), digest_size=8).hexdigest()


class Guard:
    """
    Bounds what one process does at once: the rest is refused at once with 503, so that an EHR can go on.

    ``calls`` bounds all calls, ``share`` those of one client, ``room`` the bytes of large bodies. These are answered
    one after the other: only one thread computes at a time, so all are answered as soon, and take a part of the memory.
    """

    def __init__(self, calls: int = 56, share: int = 0, room: int = ROOM) -> None:
        self.room, self.running, self.taken = room, 0, 0
        self.limit(calls, share)
        self._by_client: Counter[str] = Counter()
        self._lock, self._turn = threading.Lock(), threading.Lock()

    def limit(self, calls: int, share: int = 0) -> None:
        """Set how many calls may run at once, and how many of them may be one client's."""
        self.calls, self.share = calls, share or calls

    @contextmanager
    def place(self, client: str = "", share: int = 0) -> Iterator[None]:
        """Take a place for a call of a client, which may have its share of them. Raises Unavailable."""
        with self._lock:
            if self.running >= self.calls or self._by_client[client] >= (share or self.share):
                raise Unavailable("The service is busy.", slug="busy")
            self.running += 1
            self._by_client[client] += 1
        try:
            yield
        finally:
            with self._lock:
                self.running -= 1
                self._by_client[client] -= 1
                if not self._by_client[client]:
                    del self._by_client[client]

    @contextmanager
    def room_for(self, length: int) -> Iterator[None]:
        """Take room for a body while it is read and answered, in its turn. Raises Unavailable where none is left."""
        size = length if length > SMALL else 0
        with self._lock:
            if size and ((self.taken and self.taken + size > self.room) or not _has_memory_for(self.taken + size)):
                raise Unavailable("The service is busy.", slug="busy")
            self.taken += size
        has_turn = size > 0 and self._turn.acquire(timeout=TURN)
        try:
            yield
        finally:
            if has_turn:
                self._turn.release()
            with self._lock:
                self.taken -= size


def _has_memory_for(size: int) -> bool:
    """
    Say whether there is memory for bodies of this size, where the process has a limit (RLIMIT_AS).

    Past it the JSON decoder ends the process instead of raising MemoryError (msgspec 0.22, measured).
    """
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        return True
    try:
        bytearray(size * DECODED)
    except MemoryError:
        return False
    return True


class Pace:
    """
    How often a client may call: ``rate`` calls a second, and twice as many at once. 0 lets all through.

    Each process counts for itself, with its share of the rate. ``clock`` counts seconds and is never set back.
    """

    def __init__(self, rate: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._clock = rate, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def check_once(self, client: str, environ: MutableMapping[str, Any]) -> None:
        """Count a request once, whichever roads it takes. Raises TooManyRequests, which ends it."""
        if _PACED not in environ:
            environ[_PACED] = True
            self.check(client)

    def check(self, client: str, cost: float = 1.0) -> None:
        """Count a call of a client. Raises TooManyRequests."""
        if not self.rate:
            return
        most, now = max(self.rate * 2, cost), self._clock()
        with self._lock:
            left, then = self._left.pop(client, (most, now))
            left = min(most, left + (now - then) * self.rate)
            enough = left >= cost
            self._left[client] = (left - cost if enough else left, now)
            if len(self._left) > KNOWN:
                self._left.popitem(last=False)
        if not enough:
            raise TooManyRequests(wait=(cost - left) / self.rate)
