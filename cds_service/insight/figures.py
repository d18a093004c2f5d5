"""Figures of everything that was counted: of each rule, each hook, each form of a rule, and of all cards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from statistics import median

import msgspec

from cds_service.insight import alarms, editions, equity, of_rule
from cds_service.insight.counting import CardSeen, Counts
from cds_service.insight.events import Answer, Call
from cds_service.insight.intervals import Share
from cds_service.insight.of_rule import Answered, RuleFigures, answered, encounters, period, seconds_to_answer
from cds_service.insight.seen import Sightings

# Eight weeks: what rates are compared with, and what a sparkline shows.
DAYS = 56
# What an answer should take at most, in milliseconds (CDS Hooks 2.0, "Performance").
BUDGET = 500.0


class HookFigures(msgspec.Struct, frozen=True):
    """
    What happened at one hook in a time: calls, cards by urgency, and how long answers took in milliseconds.

    ``misses`` are calls that took longer than the 500 ms that the standard asks for.
    """

    hook: str
    calls: int
    encounters: int
    cards: dict[str, int]
    median: float
    p95: float
    p99: float
    misses: Share
    per_day: list[int]

    @property
    def shown(self) -> int:
        """All cards."""
        return sum(self.cards.values())

    @property
    def per_hundred(self) -> float | None:
        """Cards for 100 encounters."""
        return 100 * self.shown / self.encounters if self.encounters else None


class Burden(msgspec.Struct, frozen=True):
    """What cards cost clinicians: cards and seconds for a clinician's day. ``seconds`` is None if nobody answered."""

    cards: int
    clinician_days: int
    seconds_to_answer: float | None

    @property
    def per_day(self) -> float | None:
        """Cards for a clinician's day."""
        return self.cards / self.clinician_days if self.clinician_days else None

    @property
    def seconds(self) -> float | None:
        """Seconds for a clinician's day, every card taking the median time."""
        if self.per_day is None or self.seconds_to_answer is None:
            return None
        return self.per_day * self.seconds_to_answer


class Figures:
    """
    The figures of a ledger, as far as it has been read (``take``); every question is answered from memory.

    ``today`` is the day on which periods end, counted from 1970-01-01.
    """

    def __init__(self, today: int = 0) -> None:
        self.counts, self.today = Counts(), today

    def take(self, calls: Iterable[Call] = (), answers: Iterable[Answer] = ()) -> None:
        """Count further rows."""
        self.counts.take(calls, answers)

    @property
    def rows(self) -> int:
        """How many decisions were counted."""
        return self.counts.rows

    @property
    def seen(self) -> Sightings:
        """What was sent and not matched."""
        return self.counts.sightings

    def rules(self) -> list[str]:
        """Return the rules that were ever asked."""
        with self.counts.lock:
            return sorted(self.counts.tracks)

    def of_rule(self, rule: str, days: int = DAYS) -> RuleFigures:
        """Return the figures of a rule for the days that end today (0: ever)."""
        with self.counts.lock:
            return of_rule.figures_of(rule, self.counts, self.today, days)

    def editions(self, rule: str, days: int = 0) -> list[editions.EditionFigures]:
        """Return the figures of each form that a rule had, oldest first, with a note where overrides changed."""
        with self.counts.lock:
            return editions.compared(rule, self.counts, self.today, days)

    def alarms(self, names: Iterable[str]) -> list[alarms.Alarm]:
        """Return which of these rules speak much more or much less than they used to, and which are not asked."""
        with self.counts.lock:
            return alarms.found(self.counts, names, self.today)

    def equity(self, days: int = DAYS, rule: str = "") -> list[equity.Group]:
        """Return cards and overrides by sex and age band, small cells left out."""
        with self.counts.lock:
            return equity.groups(self.counts, period(self.today, days), rule)

    def hooks(self, days: int = DAYS) -> list[HookFigures]:
        """Return the figures of each hook."""
        with self.counts.lock:
            return [self._hook(hook, days) for hook in sorted({hook for hook, _ in self.counts.calls})]

    def _hook(self, hook: str, days: int) -> HookFigures:
        counts, within = self.counts, period(self.today, days)
        spent = sorted(ms for (one, day), many in counts.spent.items() if one == hook and within(day) for ms in many)
        cards = Counter[str]()
        for (one, indicator, day), times in counts.indicators.items():
            if one == hook and within(day):
                cards[indicator] += times
        misses = Share(sum(ms > BUDGET for ms in spent), len(spent))
        here = len(encounters(counts, (hook,), within))
        first = self.today - (days or DAYS) + 1
        per_day = [counts.calls[hook, day] for day in range(first, self.today + 1)]
        middle, p95, p99 = (nearest_rank(spent, part) for part in (0.5, 0.95, 0.99))
        return HookFigures(hook, len(spent), here, dict(cards), middle, p95, p99, misses, per_day)

    def cards(self, days: int = DAYS) -> list[CardSeen]:
        """Return the cards of a time."""
        with self.counts.lock:
            within = period(self.today, days)
            return [card for card in self.counts.cards.values() if within(card.day)]

    def all_cards(self, days: int = DAYS) -> Answered:
        """Count all cards, each once however many rules it speaks for, and how they were answered."""
        return answered(self.cards(days))

    def burden(self, days: int = DAYS) -> Burden:
        """Return what cards cost clinicians."""
        cards, within = self.cards(days), period(self.today, days)
        with self.counts.lock:
            by_day: dict[int, set[int]] = {}
            for (_, day), people in self.counts.clinicians.items():
                if within(day):
                    by_day.setdefault(day, set()).update(people)
        return Burden(len(cards), sum(map(len, by_day.values())), seconds_to_answer(cards))

    def unknown_answers(self) -> int:
        """Count cards that were answered and that the ledger does not know (any more)."""
        with self.counts.lock:
            return sum(card not in self.counts.cards for card in self.counts.answers)


def nearest_rank(ordered: list[float], part: float) -> float:
    """Return a percentile: the smallest value that so many are at most (nearest rank); the median is the usual one."""
    if not ordered:
        return 0.0
    if part == 0.5:
        return median(ordered)
    return ordered[max(0, -int(-part * len(ordered) // 1) - 1)]
