"""Quiet time that all processes agree on: each remembers, and learns from the ledger what the others saw."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, Select, select

from cds_service.adapters.ledger.schema import cards, feedback
from cds_service.adapters.quiet_memory import QuietMemory
from cds_service.protocol.feedback import OVERRIDDEN
from cds_service.rules.quiet import DAY, HOUR, REPEAT_HOURS, Seen, Viewer

# The longest quiet time that a rule may ask for is a year; what is older keeps nothing quiet.
OVERRIDES_DAYS = 400
# 2 to 3 kB for each card (measured), so up to 60 MB in a process. What is forgotten is shown again.
MOST = 20_000
# Rows taken over at once; the rest comes with the next look.
_AT_ONCE = 2_000
# An override of a card that nobody knows may be ahead of its card, which waits in another process's queue.
_UNRESOLVED = 1_000


class LedgerQuiet:
    """What is remembered of cards (see rules.quiet.QuietState): in memory, fed by ``learn``, never waiting for disk."""

    def __init__(self, key: bytes) -> None:
        self.memory = QuietMemory(key, MOST)
        self._last_card = self._last_feedback = 0
        self._unresolved: OrderedDict[str, float] = OrderedDict()

    def pseudonym(self, *parts: str) -> str:
        """Return a keyed pseudonym of an id, the same one every time."""
        return self.memory.pseudonym(*parts)

    def remember(self, card: str, seen: Sequence[Seen]) -> None:
        """Remember the findings that a card showed."""
        self.memory.remember(card, seen)

    def seen(self, card: str) -> Sequence[Seen]:
        """Return what the findings of a card rested on."""
        return self.memory.seen(card)

    def shown(self, viewer: Viewer, rule: str) -> Seen | None:
        """Return when this user was last shown this finding of this patient in this encounter."""
        return self.memory.shown(viewer, rule)

    def overridden(self, card: str, at: float) -> bool:
        """Take note that a card was answered with an override; False where the card is not known (yet)."""
        known = self.memory.overridden(card, at)
        if not known:
            self._unresolved[card] = at
            while len(self._unresolved) > _UNRESOLVED:
                self._unresolved.popitem(last=False)
        return known

    def override(self, viewer: Viewer, rule: str, drafts: str) -> Seen | None:
        """Return the last override of this rule for this patient by this role, about these draft orders ("": none)."""
        return self.memory.override(viewer, rule, drafts)

    def load(self, connection: Connection, now: float) -> None:
        """Learn what was shown lately, and every override that may still keep something quiet: at start."""
        overrides = _overrides(now - OVERRIDES_DAYS * DAY).order_by(feedback.c.number.desc()).limit(MOST)
        for row in reversed(connection.execute(overrides).mappings().all()):
            self._take_override(row)
        since = now - REPEAT_HOURS * HOUR
        shown = select(cards).where(cards.c.at >= since).order_by(cards.c.number.desc()).limit(MOST)
        for row in reversed(connection.execute(shown).mappings().all()):
            self._take_card(row)
        self._last_card = max(self._last_card, _last(connection, cards.c.number))
        self._last_feedback = max(self._last_feedback, _last(connection, feedback.c.number))

    def learn(self, connection: Connection) -> None:
        """Learn what was shown and overridden since the last look."""
        new = select(cards).where(cards.c.number > self._last_card).order_by(cards.c.number).limit(_AT_ONCE)
        for row in connection.execute(new).mappings():
            self._take_card(row)
            self._last_card = row["number"]
        answers = _overrides(None).where(feedback.c.number > self._last_feedback)
        for row in connection.execute(answers.order_by(feedback.c.number).limit(_AT_ONCE)).mappings():
            self._take_override(row)
            self._last_feedback = row["number"]

    def _take_card(self, row: RowMapping) -> None:
        self.memory.remember(row["id"], _read(row["seen"]))
        at = self._unresolved.pop(row["id"], None)
        if at is not None:
            self.memory.overridden(row["id"], at)

    def _take_override(self, row: RowMapping) -> None:
        if row["seen"] is None:
            self.overridden(row["card"], row["at"])
        else:
            self.memory.answered(_read(row["seen"]), row["at"])


def _overrides(since: float | None) -> Select[Any]:
    """Select overrides with what their cards rested on; NULL where the card is not there (yet)."""
    found = (
        select(feedback.c.number, feedback.c.card, feedback.c.at, cards.c.seen)
        .select_from(feedback.outerjoin(cards, cards.c.id == feedback.c.card))
        .where(feedback.c.outcome == OVERRIDDEN)
    )
    return found if since is None else found.where(feedback.c.received >= since)


def _last(connection: Connection, number: Any) -> int:
    return connection.execute(select(number).order_by(number.desc()).limit(1)).scalar() or 0


def _read(seen: Any) -> tuple[Seen, ...]:
    """Read what was stored; what an older version wrote in another shape keeps nothing quiet."""
    try:
        return msgspec.convert(seen, tuple[Seen, ...])
    except msgspec.ValidationError:
        return ()
