"""
Quiet time that all processes agree on: each remembers, and learns from the ledger what the others saw.

Which findings a card showed is remembered until its row has been read in the ledger. From then on the ledger is asked,
when somebody answers the card.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, RowMapping, func, select

from cds_service import decoding
from cds_service.adapters.ledger.schema import cards, feedback
from cds_service.adapters.quiet_memory import QuietMemory
from cds_service.protocol.feedback import OVERRIDDEN
from cds_service.rules.quiet import DAY, HOUR, REPEAT_HOURS, Seen, Viewer

# The longest quiet time that a rule may ask for is a year; what is older keeps nothing quiet.
OVERRIDES_DAYS = 400
# Overrides, and cards whose rows are not read back yet, at 0.4 kB for a finding (measured); of findings shown half as
# many. What is forgotten is shown again.
MOST = 20_000
# Rows taken over at once: as few as that take little memory.
_AT_ONCE = 2_000
# An override of a card that nobody knows may be ahead of its card, which waits in another process's queue.
_UNRESOLVED = 1_000


class LedgerQuiet:
    """
    What is remembered of cards (see rules.quiet.QuietState): in memory, fed by ``learn``.

    No hook call waits for the disk; feedback, which goes there anyway, reads what its cards showed (``stored``).
    """

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
        """Return what the findings of a card rested on, for its row; none where its row is known to be stored."""
        return self.memory.seen(card)

    def shown(self, viewer: Viewer, rule: str) -> Seen | None:
        """Return when this user was last shown this finding of this patient in this encounter."""
        return self.memory.shown(viewer, rule)

    def stored(self, connection: Connection, names: Sequence[str]) -> dict[str, tuple[Seen, ...]]:
        """Read what the findings of cards rested on; a card whose row is not there (yet) is left out."""
        if not names:
            return {}
        try:
            rows = connection.execute(_CARDS.where(cards.c.id.in_(names))).mappings()
            return {row["id"]: _read(row["seen"]) for row in rows}
        except msgspec.DecodeError:  # damaged: feedback is stored all the same
            return {}

    def overridden(self, card: str, at: float, seen: Sequence[Seen] = ()) -> bool:
        """
        Take note that a card was answered with an override; False where the card is not known (yet).

        ``seen`` is what its findings rested on, where that was read in the ledger.
        """
        self.memory.answered(seen, at)
        known = bool(seen) or self.memory.overridden(card, at)
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
        self._last_card = _before(connection, cards.c.number, cards.c.at >= now - REPEAT_HOURS * HOUR)
        lasting = feedback.c.outcome == OVERRIDDEN, feedback.c.received >= now - OVERRIDES_DAYS * DAY
        self._last_feedback = _before(connection, feedback.c.number, *lasting)
        self.learn(connection)

    def learn(self, connection: Connection) -> None:
        """Learn what was shown and overridden since the last look; of cards no more than can be remembered."""
        passed_over = _last(connection, cards.c.number) - MOST
        if passed_over > self._last_card:  # a process that was forked by one that began long ago
            self._last_card = passed_over
            for card, seen in self.stored(connection, [*self._unresolved]).items():
                self._resolve(card, seen)
        while self._learn_cards(connection) == _AT_ONCE:
            pass
        while self._learn_overrides(connection) == _AT_ONCE:
            pass

    def _learn_cards(self, connection: Connection) -> int:
        new = _CARDS.where(cards.c.number > self._last_card).order_by(cards.c.number).limit(_AT_ONCE)
        rows = connection.execute(new).mappings().all()
        for row in rows:
            self._take_card(row)
            self._last_card = row["number"]
        return len(rows)

    def _learn_overrides(self, connection: Connection) -> int:
        new = _OVERRIDES.where(feedback.c.number > self._last_feedback).order_by(feedback.c.number).limit(_AT_ONCE)
        rows = connection.execute(new).mappings().all()
        for row in rows:
            self._take_override(row)
            self._last_feedback = row["number"]
        return len(rows)

    def _take_card(self, row: RowMapping) -> None:
        seen = _read(row["seen"])
        self.memory.showed(seen)
        self.memory.forget(row["id"])
        self._resolve(row["id"], seen)

    def _resolve(self, card: str, seen: Sequence[Seen]) -> None:
        """Take note of an override that was ahead of its card."""
        at = self._unresolved.pop(card, None)
        if at is not None:
            self.memory.answered(seen, at)

    def _take_override(self, row: RowMapping) -> None:
        if row["seen"] is None:
            self.overridden(row["card"], row["at"])
        else:
            self.memory.answered(_read(row["seen"]), row["at"])


_CARDS = select(cards.c.number, cards.c.id, cards.c.seen)
# Overrides with what their cards rested on; NULL where the card is not there (yet).
_OVERRIDES = (
    select(feedback.c.number, feedback.c.card, feedback.c.at, cards.c.seen)
    .select_from(feedback.outerjoin(cards, cards.c.id == feedback.c.card))
    .where(feedback.c.outcome == OVERRIDDEN)
)


def _before(connection: Connection, number: Any, *wanted: ColumnElement[bool]) -> int:
    """Return the number before the newest rows of a kind, MOST of them; the last number where there are none."""
    newest = select(number).where(*wanted).order_by(number.desc()).limit(MOST).subquery()
    first: int | None = connection.execute(select(func.min(newest.c.number))).scalar()
    return _last(connection, number) if first is None else first - 1


def _last(connection: Connection, number: Any) -> int:
    return connection.execute(select(number).order_by(number.desc()).limit(1)).scalar() or 0


def _read(seen: Any) -> tuple[Seen, ...]:
    """Read what was stored; what an older version wrote in another shape keeps nothing quiet."""
    try:
        return decoding.convert(seen, tuple[Seen, ...])
    except msgspec.ValidationError:
        return ()
