"""
What was shown and overridden, in the memory of one process: bounded, keyed, gone with the process.

The ledger keeps the same on disk, and feeds it to the memories of all processes (adapters/ledger/quiet.py). Without a
ledger each worker remembers for itself, and what it does not remember is shown again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from hashlib import blake2b, sha512
from threading import Lock
from typing import Generic, TypeVar

import msgspec

from cds_service.rules.quiet import Seen, Viewer

T = TypeVar("T")
# 2 to 3 kB for each card (measured): some 30 MB when all three are full. The oldest are forgotten first.
MOST = 10_000


class _Newest(Generic[T]):
    """A mapping that forgets what was used longest ago."""

    def __init__(self, most: int) -> None:
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._most = most

    def put(self, key: Hashable, value: T) -> None:
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def get(self, key: Hashable) -> T | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def __len__(self) -> int:
        return len(self._kept)


class QuietMemory:
    """Remembers in memory (see QuietState). ``key`` makes the pseudonyms; whoever lacks it cannot tell who is meant."""

    def __init__(self, key: bytes, most: int = MOST) -> None:
        # Longer keys than BLAKE2b takes are hashed first.
        self._keyed, self._lock = blake2b(digest_size=16, key=key if len(key) <= 64 else sha512(key).digest()), Lock()
        self._shown: _Newest[Seen] = _Newest(most)
        self._overrides: _Newest[Seen] = _Newest(most)
        self._cards: _Newest[tuple[Seen, ...]] = _Newest(most)

    def pseudonym(self, *parts: str) -> str:
        """Return a keyed pseudonym of an id (keyed BLAKE2b of 128 bits, RFC 7693: a MAC, at half the cost of HMAC)."""
        # Each part with its length: ("a", "bc") and ("ab", "c") are two.
        digest = self._keyed.copy()
        digest.update("".join([f"{len(part)}:{part}" for part in parts]).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def remember(self, card: str, seen: Sequence[Seen]) -> None:
        """Remember the findings that a card showed."""
        with self._lock:
            self._cards.put(card, tuple(seen))
            for one in seen:
                self._put_newer(self._shown, _place(one.viewer, one.sight.rule), one)

    def seen(self, card: str) -> tuple[Seen, ...]:
        """Return the findings that a card showed; none where the card is not known (any more)."""
        with self._lock:
            return self._cards.get(card) or ()

    def shown(self, viewer: Viewer, rule: str) -> Seen | None:
        """Return when this user was last shown this finding of this patient in this encounter."""
        with self._lock:
            return self._shown.get(_place(viewer, rule))

    def overridden(self, card: str, at: float) -> bool:
        """Take note that a card was answered with an override; False where the card is not known (any more)."""
        with self._lock:
            seen = self._cards.get(card)
        self.answered(seen or (), at)
        return seen is not None

    def answered(self, seen: Sequence[Seen], at: float) -> None:
        """Take note that findings were answered with an override."""
        with self._lock:
            for one in seen:
                key = _answer(one.viewer, one.sight.rule, one.sight.drafts)
                self._put_newer(self._overrides, key, msgspec.structs.replace(one, at=at))

    def _put_newer(self, where: _Newest[Seen], key: Hashable, one: Seen) -> None:
        """Remember the later of two: news from other processes may come late."""
        known = where.get(key)
        if known is None or known.at <= one.at:
            where.put(key, one)

    def override(self, viewer: Viewer, rule: str, drafts: str) -> Seen | None:
        """Return the last override of this rule for this patient by this role, about these draft orders ("": none)."""
        with self._lock:
            return self._overrides.get(_answer(viewer, rule, drafts))


def _place(viewer: Viewer, rule: str) -> tuple[str, ...]:
    return viewer.patient, viewer.encounter, viewer.user, rule


def _answer(viewer: Viewer, rule: str, drafts: str) -> tuple[str, ...]:
    return viewer.patient, viewer.role, rule, drafts
