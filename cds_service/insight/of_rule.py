"""The figures of one rule over a time: what it said, what was shown, what clinicians answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from itertools import pairwise
from statistics import median

import msgspec

from cds_service.facts.dates import DAY
from cds_service.insight.counting import (
    ACCEPTED,
    HELD,
    NO,
    OVERRIDDEN,
    PILOT_NO,
    PILOT_UNKNOWN,
    PILOT_YES,
    UNKNOWN,
    YES,
    CardSeen,
    Counts,
    Edition,
    Track,
)
from cds_service.insight.events import as_date
from cds_service.insight.intervals import Needed, Share, needed

# A card is a repeat if the same patient was shown the same rule so many days before, or less.
REPEAT_DAYS = 365
Within = Callable[[int], bool]


class Answered(msgspec.Struct, frozen=True):
    """Cards, and how they were answered; of several answers to a card the last one counts."""

    shown: int = 0
    accepted: int = 0
    overridden: int = 0

    @property
    def acceptance(self) -> Share:
        """Accepted, of all cards shown. Silence is not an override: an EHR says nothing of ignored cards."""
        return Share(self.accepted, self.shown)

    @property
    def overriding(self) -> Share:
        """Overridden, of cards that were answered."""
        return Share(self.overridden, self.accepted + self.overridden)

    @property
    def overriding_of_all(self) -> Share:
        """Overridden, of all cards shown."""
        return Share(self.overridden, self.shown)

    @property
    def response(self) -> Share:
        """Answered in any way, of all cards shown. A low share may mean that the EHR sends no feedback."""
        return Share(self.accepted + self.overridden, self.shown)

    @property
    def needed(self) -> Needed:
        """The number needed to alert: cards for each that was accepted."""
        return needed(self.accepted, self.shown)


class RuleFigures(Answered, frozen=True):
    """
    What one rule did in a time of ``days`` days (0: ever).

    ``fired``, ``not_fired`` and ``unknown`` count evaluations of the active rule; ``pilot_`` those of the rule while it
    ran silently. ``shown`` counts cards that spoke for it, ``per_day`` the days' findings, shown or not, oldest first.
    ``first`` and ``last`` are the days of its first and last finding in that time.
    """

    rule: str = ""
    days: int = 0
    fired: int = 0
    not_fired: int = 0
    unknown: int = 0
    missing: dict[str, int] = {}
    pilot_fired: int = 0
    pilot_not_fired: int = 0
    pilot_unknown: int = 0
    held: dict[str, int] = {}
    encounters: int = 0
    repeats: int = 0
    reasons: dict[str, int] = {}
    seconds_to_answer: float | None = None
    per_day: list[int] = []
    per_day_overridden: list[int] = []
    first: date | None = None
    last: date | None = None

    @property
    def evaluated(self) -> int:
        """How often the active rule was asked, whatever came of it."""
        return self.fired + self.not_fired + self.unknown

    @property
    def pilot_evaluated(self) -> int:
        """How often the rule was asked while it ran silently."""
        return self.pilot_fired + self.pilot_not_fired + self.pilot_unknown

    @property
    def complete(self) -> Share:
        """Evaluations that came to an answer. Unknown is not false."""
        return Share(self.fired + self.not_fired, self.evaluated)

    @property
    def held_back(self) -> int:
        """Findings that were true and not shown."""
        return sum(self.held.values())

    @property
    def per_hundred(self) -> float | None:
        """Cards for 100 encounters (without an encounter's id a patient's day stands for one)."""
        return 100 * self.shown / self.encounters if self.encounters else None

    @property
    def repeating(self) -> Share:
        """Cards shown again for the same patient within a year."""
        return Share(self.repeats, self.shown)


def answered(cards: Iterable[CardSeen]) -> Answered:
    """Count how cards were answered."""
    outcomes = Counter(card.outcome for card in cards)
    return Answered(outcomes.total(), outcomes[ACCEPTED], outcomes[OVERRIDDEN])


def figures_of(rule: str, counts: Counts, today: int, days: int) -> RuleFigures:
    """Return the figures of a rule for the ``days`` days that end today (0: ever)."""
    track = counts.tracks.get(rule) or Track()
    within = period(today, days)
    totals, findings, hooks = _totals(track, within)
    cards = [card for card in track.cards if within(card.day)]
    told = answered(cards)
    length = days or _span(findings, today)
    return RuleFigures(
        told.shown,
        told.accepted,
        told.overridden,
        rule,
        days,
        totals[YES],
        totals[NO],
        totals[UNKNOWN],
        _named(track.missing, within),
        totals[PILOT_YES],
        totals[PILOT_NO],
        totals[PILOT_UNKNOWN],
        _named(track.held, within),
        len(encounters(counts, hooks, within)),
        sum(within(card.day) for card in repeats(track.cards)),
        _reasons(cards),
        seconds_to_answer(cards),
        [findings[day] for day in range(today - length + 1, today + 1)],
        _overridden(cards, today, length),
        as_date(min(findings)) if findings else None,
        as_date(max(findings)) if findings else None,
    )


def period(today: int, days: int) -> Within:
    """Return what says whether a day lies in a period; what the clock has not reached yet counts too."""
    first = today - days + 1 if days else -(10**9)
    return lambda day: day >= first


def _totals(track: Track, within: Within) -> tuple[list[int], Counter[int], set[str]]:
    totals, findings, hooks = [0] * (HELD + 1), Counter[int](), set[str]()
    for (hook, _, day), tally in list(track.tallies.items()):
        if within(day):
            hooks.add(hook)
            totals = [one + more for one, more in zip(totals, tally, strict=True)]
            if found := tally[YES] + tally[PILOT_YES]:
                findings[day] += found
    return totals, findings, hooks


def _span(findings: Counter[int], today: int) -> int:
    return today - min(findings) + 1 if findings and min(findings) <= today else 0


def _overridden(cards: Iterable[CardSeen], today: int, length: int) -> list[int]:
    found = Counter(card.day for card in cards if card.outcome == OVERRIDDEN)
    return [found[day] for day in range(today - length + 1, today + 1)]


def _named(counted: Counter[tuple[int, str]], within: Within) -> dict[str, int]:
    found: Counter[str] = Counter()
    for (day, name), times in list(counted.items()):
        if within(day):
            found[name] += times
    return dict(found.most_common())


def encounters(counts: Counts, hooks: Iterable[str], within: Within) -> set[int]:
    """Return the distinct encounters of calls at some hooks."""
    asked = set(hooks)
    every = [here for (hook, day), here in counts.encounters.items() if hook in asked and within(day)]
    return set().union(*every)


def repeats(cards: Sequence[CardSeen]) -> list[CardSeen]:
    """Return the cards whose patient was shown the same rule within a year before."""
    by_patient: dict[int, list[CardSeen]] = {}
    for card in cards:
        by_patient.setdefault(card.patient, []).append(card)
    return [
        later
        for shown in by_patient.values()
        if len(shown) > 1
        for before, later in pairwise(sorted(shown, key=lambda card: (card.at, card.id)))
        if later.at - before.at <= REPEAT_DAYS * DAY
    ]


def seconds_to_answer(cards: Iterable[CardSeen]) -> float | None:
    """Return the median time from card to answer; an answer before its card tells of two clocks, and is left out."""
    waited = [card.answer.at - card.at for card in cards if card.answer is not None]
    known = [seconds for seconds in waited if seconds >= 0]
    return median(known) if known else None


def _reasons(cards: Iterable[CardSeen]) -> dict[str, int]:
    given = Counter(card.answer.reason for card in cards if card.answer and card.outcome == OVERRIDDEN)
    return dict(given.most_common())


def by_edition(rule: str, counts: Counts, today: int, days: int) -> list[tuple[Edition, int, int, list[CardSeen]]]:
    """Return in which forms a rule was asked: each with the first and last day, and the cards it showed."""
    track, within = counts.tracks.get(rule) or Track(), period(today, days)
    spans: dict[Edition, list[int]] = {}
    for _, edition, day in track.tallies:
        if within(day):
            spans.setdefault(edition, []).append(day)
    shown: dict[Edition, list[CardSeen]] = {}
    for card in track.cards:
        if within(card.day):
            shown.setdefault(card.editions[card.rules.index(rule)], []).append(card)
    found = [(edition, min(seen), max(seen), shown.get(edition, [])) for edition, seen in spans.items()]
    return sorted(found, key=lambda one: (one[1], one[2], one[0]))
