"""Rows of the ledger, counted as they come: by rule, hook, rule book and day. Nothing is ever read twice."""

from __future__ import annotations

import threading
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from cds_service.insight.events import Answer, Call, Content, Verdicts
from cds_service.insight.seen import Sightings

# Which number of a tally is which.
YES, NO, UNKNOWN, PILOT_YES, PILOT_NO, PILOT_UNKNOWN, CARDS, HELD = range(8)
ACCEPTED, OVERRIDDEN = "accepted", "overridden"
# The people whose days count as clinicians' days (CDS Hooks, userId).
CLINICIANS = ("Practitioner", "PractitionerRole")

Tuned = tuple[tuple[str, str], ...]
Cell = tuple[str, str]


class Edition(msgspec.Struct, frozen=True, order=True):
    """The form in which a rule was asked: which book, and which of its numbers were not those of the rule file."""

    book: str
    tuned: Tuned = ()


Key = tuple[str, Edition, int]


class CardSeen(msgspec.Struct, gc=False):
    """A card that was shown, and the last answer to it, if there was one. People are numbers that mean nothing else."""

    id: str
    at: float
    day: int
    hook: str
    service: str
    indicator: str
    rules: tuple[str, ...]
    editions: tuple[Edition, ...]
    patient: int
    cell: Cell
    answer: Answer | None = None

    @property
    def outcome(self) -> str:
        """How it was answered last; "" where nobody answered. Silence is not an override."""
        return self.answer.outcome if self.answer else ""


class Track:
    """What is counted of one rule."""

    def __init__(self) -> None:
        self.tallies: dict[Key, list[int]] = defaultdict(lambda: [0] * 8)
        self.missing: Counter[tuple[int, str]] = Counter()
        self.held: Counter[tuple[int, str]] = Counter()
        self.cards: list[CardSeen] = []


class Counts:
    """Everything that was counted. Safe to read and to add to from several threads, under its ``lock``."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tracks: dict[str, Track] = defaultdict(Track)
        self.versions: dict[tuple[str, str], int] = {}
        self.calls: Counter[tuple[str, int]] = Counter()
        self.indicators: Counter[tuple[str, str, int]] = Counter()
        self.encounters: dict[tuple[str, int], set[int]] = defaultdict(set)
        self.clinicians: dict[tuple[str, int], set[int]] = defaultdict(set)
        self.spent: dict[tuple[str, int], array[float]] = defaultdict(lambda: array("d"))
        self.people: dict[tuple[Cell, int], set[int]] = defaultdict(set)
        self.not_fetched: Counter[tuple[str, str]] = Counter()
        self.cards: dict[str, CardSeen] = {}
        self.answers: dict[str, Answer] = {}
        self.rows = self.answer_rows = 0
        self.sightings = Sightings()

    def take(self, calls: Iterable[Call] = (), answers: Iterable[Answer] = ()) -> None:
        """Count further rows; each must come once."""
        with self.lock:
            for call in calls:
                self._take_call(call)
            for answer in answers:
                self._take_answer(answer)

    def _take_call(self, call: Call) -> None:
        content, day = call.content, call.day
        at = (content.hook, day)
        self.rows += 1
        self.calls[at] += 1
        self.spent[at].append(content.ms)
        # Where the EHR names no encounter, a patient's day stands for one.
        self.encounters[at].add(hash(content.encounter or (call.patient, day)))
        if content.user and content.user_kind in CLINICIANS:
            self.clinicians[at].add(hash(content.user))
        self.not_fetched.update((key, why) for key, why in content.not_fetched.items())
        cell = call.glance.cell if call.glance else ("", "")
        if call.glance is not None:
            self.people[cell, day].add(hash(call.patient))
            self.sightings.take(call.glance, day)
        self._take_verdicts(content, content, day, 0)
        self._take_verdicts(content.pilot, content, day, PILOT_YES)
        self._take_held(content, day)
        self._take_cards(call, cell)

    def _take_verdicts(self, said: Verdicts, content: Content, day: int, offset: int) -> None:
        for fired in said.fired:
            self.versions[content.book, fired.rule] = fired.version
        for rule, verdict in _each(said):
            self._tally(rule, content, day)[verdict + offset] += 1
        for rule, missing in said.not_evaluated.items():
            self.tracks[rule].missing.update((day, name) for name in missing)

    def _tally(self, rule: str, content: Content, day: int) -> list[int]:
        return self.tracks[rule].tallies[content.hook, edition(content, rule), day]

    def _take_held(self, content: Content, day: int) -> None:
        for held in content.held:
            self._tally(held.rule, content, day)[HELD] += 1
            self.tracks[held.rule].held[day, kind_of_holding(held.reason)] += 1

    def _take_cards(self, call: Call, cell: Cell) -> None:
        content, day = call.content, call.day
        for card in content.cards:
            self.indicators[content.hook, card.indicator, day] += 1
            seen = CardSeen(
                card.id,
                call.at,
                day,
                content.hook,
                call.service,
                card.indicator,
                tuple(card.rules),
                tuple(edition(content, rule) for rule in card.rules),
                hash(call.patient),
                cell,
                self.answers.get(card.id),
            )
            self.cards[card.id] = seen
            for rule in card.rules:
                self._tally(rule, content, day)[CARDS] += 1
                self.tracks[rule].cards.append(seen)

    def _take_answer(self, answer: Answer) -> None:
        self.answer_rows += 1
        before = self.answers.get(answer.card)
        if before is None or (before.at, before.number) < (answer.at, answer.number):
            self.answers[answer.card] = answer
            if (card := self.cards.get(answer.card)) is not None:
                card.answer = answer


def _each(said: Verdicts) -> Iterator[tuple[str, int]]:
    for fired in said.fired:
        yield fired.rule, YES
    for rule in said.not_fired:
        yield rule, NO
    for rule in said.not_evaluated:
        yield rule, UNKNOWN


_editions: dict[str, Edition] = {}


def edition(content: Content, rule: str) -> Edition:
    """Return the form in which a rule was asked in a call."""
    if tuned := content.thresholds.get(rule):
        return Edition(content.book, tuple(sorted(tuned.items())))
    return _editions.setdefault(content.book, Edition(content.book))


def kind_of_holding(reason: str) -> str:
    """Return why a finding was held back, without its days and names of the moment."""
    for start in ("overridden", "shown earlier", "beyond the limit", "exception", "rollout"):
        if reason.startswith(start):
            return reason if start == "exception" else start
    return reason[:60] or "no reason given"
