"""Tokens are used once: who has seen which ``jti``."""

from __future__ import annotations

import threading
from typing import Protocol


class Replays(Protocol):
    """Where used token ids are kept until the tokens expire."""

    def seen(self, issuer: str, jti: str, until: float, now: float) -> bool:
        """Say whether this id was used before, and remember it. Times in seconds since 1970 (UTC)."""


class ReplaysInMemory:
    """Used token ids of one process; ``limit`` bounds the memory, the oldest are forgotten first."""

    def __init__(self, limit: int = 100_000) -> None:
        self._limit, self._lock = limit, threading.Lock()
        self._used: dict[tuple[str, str], float] = {}

    def seen(self, issuer: str, jti: str, until: float, now: float) -> bool:
        """Say whether this id was used before, and remember it."""
        with self._lock:
            if self._used.get((issuer, jti), 0.0) >= now:
                return True
            if len(self._used) >= self._limit:
                self._forget(now)
            self._used[issuer, jti] = until
            return False

    def _forget(self, now: float) -> None:
        for key in [key for key, until in self._used.items() if until < now]:
            del self._used[key]
        while len(self._used) >= self._limit:
            del self._used[next(iter(self._used))]
