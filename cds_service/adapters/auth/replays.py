"""Tokens are used once: who has seen which ``jti``."""

from __future__ import annotations

import hashlib
import threading
from typing import Protocol


class Replays(Protocol):
    """Where used token ids are kept until the tokens expire."""

    def seen(self, issuer: str, jti: str, until: float, now: float) -> bool:
        """Say whether this id was used before, and remember it. Times in seconds since 1970 (UTC)."""


class ReplaysInMemory:
    """
    Used token ids of one process.

    Of each only a hash is kept, so that a long id costs no more than a short one. ``limit`` bounds their number: where
    it is reached, those that have expired are forgotten, and if they are too few the tenth that came first.
    """

    def __init__(self, limit: int = 200_000) -> None:
        self._limit, self._lock = limit, threading.Lock()
        self._used: dict[bytes, float] = {}

    def seen(self, issuer: str, jti: str, until: float, now: float) -> bool:
        """Say whether this id was used before, and remember it."""
        name = hashlib.sha256(f"{len(issuer)}:{issuer}{jti}".encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            if self._used.get(name, float("-inf")) >= now:
                return True
            if len(self._used) >= self._limit:
                self._forget(now)
            self._used[name] = until
            return False

    def _forget(self, now: float) -> None:
        """Make room for many at once: looking through all of them for each new one would stop the service."""
        kept = [(name, until) for name, until in self._used.items() if until >= now]
        room = self._limit - self._limit // 10
        self._used = dict(kept[-room:] if len(kept) > room else kept)
