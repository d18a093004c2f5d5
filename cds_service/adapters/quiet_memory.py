"""
What was shown and overridden, in the memory of one process: bounded, keyed, gone with the process.

The ledger keeps the same on disk, and feeds it to the memories of all processes (adapters/ledger/quiet.py). Without a
ledger each worker remembers for itself, and what it does not remember is shown again. Findings are kept packed: as
objects they take three times as much.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from decimal import Decimal
from hashlib import blake2b, sha512
from threading import Lock

import msgspec

from cds_service import decoding
from cds_service.rules.quiet import Seen, Sight, Viewer

# 0.4 kB for each finding (measured): some 12 MB when all three are full. The oldest are forgotten first.
MOST = 10_000
# The members of a Viewer, of a Sight, and the moment, without their names.
_Bare = tuple[tuple[str, str, str, str, str], tuple[str, str, str, dict[str, Decimal], frozenset[str], str], float]
_pack, _unpack = msgspec.msgpack.encode, decoding.unpacker(tuple[_Bare, ...]).decode
_bare = msgspec.structs.astuple


class _Newest:
    """A mapping to findings that forgets what was used longest ago."""

    def __init__(self, most: int) -> None:
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._most = most

    def put(self, key: Hashable, *seen: Seen) -> None:
        self._kept[key] = _pack([(_bare(one.viewer), _bare(one.sight), one.at) for one in seen])
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def put_newer(self, key: Hashable, one: Seen) -> None:
        """Keep the later of two: news from other processes may come late."""
        known = self.get(key)
        if not known or known[0].at <= one.at:
            self.put(key, one)

    def get(self, key: Hashable) -> tuple[Seen, ...]:
        found = self._kept.get(key)
        if found is None:
            return ()
        self._kept.move_to_end(key)
        return tuple([Seen(Viewer(*viewer), Sight(*sight), at) for viewer, sight, at in _unpack(found)])

    def first(self, key: Hashable) -> Seen | None:
        return next(iter(self.get(key)), None)

    def forget(self, key: Hashable) -> None:
        self._kept.pop(key, None)

    def __len__(self) -> int:
        return len(self._kept)


class QuietMemory:
    """Remembers in memory (see QuietState). ``key`` makes the pseudonyms; whoever lacks it cannot tell who is meant."""

    def __init__(self, key: bytes, most: int = MOST) -> None:
        # Longer keys than BLAKE2b takes are hashed first.
        self._keyed, self._lock = blake2b(digest_size=16, key=key if len(key) <= 64 else sha512(key).digest()), Lock()
        # Showings matter to the other hooks of an encounter, soon after: MOST suffice, however many overrides are kept.
        self._shown, self._overrides, self._cards = _Newest(min(most, MOST)), _Newest(most), _Newest(most)

    def pseudonym(self, *parts: str) -> str:
        """Return a keyed pseudonym of an id (keyed BLAKE2b of 128 bits, RFC 7693: a MAC, at half the cost of HMAC)."""
        return self._digest(parts).hex()

    def _digest(self, parts: Sequence[str]) -> bytes:
        # Each part with its length: ("a", "bc") and ("ab", "c") are two.
        digest = self._keyed.copy()
        digest.update("".join([f"{len(part)}:{part}" for part in parts]).encode("utf-8", "surrogatepass"))
        return digest.digest()

    def remember(self, card: str, seen: Sequence[Seen]) -> None:
        """Remember the findings that a card showed."""
        with self._lock:
            self._cards.put(card, *seen)
        self.showed(seen)

    def showed(self, seen: Sequence[Seen]) -> None:
        """Remember that findings were shown; outside of an encounter there is none in which they could come again."""
        with self._lock:
            for one in seen:
                if one.viewer.encounter:
                    self._shown.put_newer(self._place(one.viewer, one.sight.rule), one)

    def forget(self, card: str) -> None:
        """Forget which findings a card showed; that they were shown stays."""
        with self._lock:
            self._cards.forget(card)

    def seen(self, card: str) -> tuple[Seen, ...]:
        """Return the findings that a card showed; none where the card is not known (any more)."""
        with self._lock:
            return self._cards.get(card)

    def shown(self, viewer: Viewer, rule: str) -> Seen | None:
        """Return when this user was last shown this finding of this patient in this encounter."""
        with self._lock:
            return self._shown.first(self._place(viewer, rule))

    def overridden(self, card: str, at: float) -> bool:
        """Take note that a card was answered with an override; False where the card is not known (any more)."""
        seen = self.seen(card)
        self.answered(seen, at)
        return bool(seen)

    def answered(self, seen: Sequence[Seen], at: float) -> None:
        """Take note that findings were answered with an override."""
        with self._lock:
            for one in seen:
                key = self._answer(one.viewer, one.sight.rule, one.sight.drafts)
                self._overrides.put_newer(key, msgspec.structs.replace(one, at=at))

    def override(self, viewer: Viewer, rule: str, drafts: str) -> Seen | None:
        """Return the last override of this rule for this patient by this role, about these draft orders ("": none)."""
        with self._lock:
            return self._overrides.first(self._answer(viewer, rule, drafts))

    def _place(self, viewer: Viewer, rule: str) -> bytes:
        return self._digest((viewer.patient, viewer.encounter, viewer.user, rule))

    def _answer(self, viewer: Viewer, rule: str, drafts: str) -> bytes:
        return self._digest((viewer.patient, viewer.role, rule, drafts))
