"""Verdicts and the trail of evidence behind them. UNKNOWN is a verdict of its own, never a kind of NO."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import Enum

import msgspec

from cds_service.facts.dates import DAY, When
from cds_service.facts.model import Answer, Diagnosis, Measurement, Medication, Procedure

Item = Measurement | Diagnosis | Medication | Procedure | Answer


class Verdict(Enum):
    """The answer to a clause or a rule; ``word`` is its value, which Enum itself says only after two calls."""

    word: str
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    def __init__(self, word: str) -> None:
        self.word = word


YES, NO, UNKNOWN = Verdict.YES, Verdict.NO, Verdict.UNKNOWN
MARKS = {YES: "✓", NO: "✗", UNKNOWN: "?"}


class Judgement(msgspec.Struct, frozen=True, gc=False):
    """
    A verdict with its reason: one line of the evidence trail, and the lines below it.

    ``items`` are the facts it rests on, ``missing`` names what would have to be known to decide an UNKNOWN,
    ``absent`` names a measurement whose absence is itself the finding. ``wording`` is the line, or a function that
    words it: most lines of most trails are never read. ``tally`` says of what was counted how many hold, and with how
    many points.
    """

    verdict: Verdict
    wording: str | Callable[[], str]
    children: tuple[Judgement, ...] = ()
    items: tuple[Item, ...] = ()
    missing: tuple[str, ...] = ()
    absent: str = ""
    tally: tuple[int, Decimal] | None = None

    @property
    def label(self) -> str:
        """Say in one line what was judged and what was found; worded when it is first asked for."""
        if isinstance(self.wording, str):
            return self.wording
        label = self.wording()
        msgspec.structs.force_setattr(self, "wording", label)
        return label

    def say(self) -> None:
        """Word every line that a card may quote."""
        if self.verdict is YES:
            _ = self.label
            for child in self.children:
                child.say()

    def walk(self) -> list[Judgement]:
        """Return this judgement and all below it, as they are read."""
        found = [self]
        for child in self.children:
            found += child.walk()
        return found

    def supporting(self) -> list[Item]:
        """Return the facts that a YES rests on: those of the branches that are themselves YES."""
        if self.verdict is not YES:
            return []
        found = list(self.items)
        for child in self.children:
            found += child.supporting()
        return found

    def lines(self, indent: int = 0) -> Iterator[str]:
        """Yield the trail as indented text."""
        yield f"{'  ' * indent}{MARKS[self.verdict]} {self.label}"
        for child in self.children:
            yield from child.lines(indent + 1)


def every(label: str, children: tuple[Judgement, ...]) -> Judgement:
    """All must hold: one NO decides; without one, an UNKNOWN keeps it open."""
    verdict = YES
    for child in children:
        if child.verdict is NO:
            return Judgement(NO, label, children)
        if child.verdict is UNKNOWN:
            verdict = UNKNOWN
    return Judgement(verdict, label, children, missing=_missing(verdict, children))


def some(label: str, children: tuple[Judgement, ...]) -> Judgement:
    """One must hold: one YES decides; without one, an UNKNOWN keeps it open."""
    verdict = NO
    for child in children:
        if child.verdict is YES:
            return Judgement(YES, label, children)
        if child.verdict is UNKNOWN:
            verdict = UNKNOWN
    return Judgement(verdict, label, children, missing=_missing(verdict, children))


def opposite(child: Judgement) -> Judgement:
    """The opposite; the opposite of UNKNOWN is UNKNOWN."""
    return Judgement(turned(child.verdict), "not", (child,), missing=child.missing)


def turned(verdict: Verdict) -> Verdict:
    """Return the opposite verdict."""
    return NO if verdict is YES else YES if verdict is NO else UNKNOWN


def count(label: str, children: tuple[Judgement, ...], needed: int) -> Judgement:
    """At least ``needed`` must hold: decided when enough do, or when the rest can no longer make it."""
    sure = sum(child.verdict is YES for child in children)
    possible = sure + sum(child.verdict is UNKNOWN for child in children)
    verdict = YES if sure >= needed else UNKNOWN if possible >= needed else NO
    return Judgement(verdict, label, children, missing=_missing(verdict, children), tally=(sure, Decimal(sure)))


def weighed(label: str, children: tuple[Judgement, ...], weights: tuple[Decimal, ...], needed: Decimal) -> Judgement:
    """Add up the points of what holds; what is UNKNOWN adds none, but may keep the answer open."""
    pairs = tuple(zip(children, weights, strict=True))
    sure = sum((weight for child, weight in pairs if child.verdict is YES), Decimal(0))
    possible = sure + sum((weight for child, weight in pairs if child.verdict is UNKNOWN), Decimal(0))
    verdict = YES if sure >= needed else UNKNOWN if possible >= needed else NO
    number = sum(child.verdict is YES for child in children)
    return Judgement(verdict, label, children, missing=_missing(verdict, children), tally=(number, sure))


def _missing(verdict: Verdict, children: tuple[Judgement, ...]) -> tuple[str, ...]:
    if verdict is not UNKNOWN:
        return ()
    return tuple(dict.fromkeys(name for child in children if child.verdict is UNKNOWN for name in child.missing))


def above(result: Measurement, limit: Decimal, *, or_equal: bool = False) -> Verdict:
    """
    Say whether a result lies above a limit, respecting its comparator (KNOWLEDGE 2.2).

    ``>5.5`` proves "above 5.5"; ``>=5.5`` does not; ``<8`` neither proves nor excludes it; ``<5`` excludes it.
    """
    value, comparator = result.value, result.comparator
    if not comparator:
        return YES if value > limit or (or_equal and value == limit) else NO
    if comparator == ">":
        return YES if value >= limit else UNKNOWN
    if comparator == ">=":
        return YES if value > limit or (or_equal and value == limit) else UNKNOWN
    if comparator == "<":
        return NO if value <= limit else UNKNOWN
    if comparator == "<=":
        return NO if value < limit or (not or_equal and value == limit) else UNKNOWN
    return UNKNOWN


def below(result: Measurement, limit: Decimal, *, or_equal: bool = False) -> Verdict:
    """Say whether a result lies below a limit: the exact opposite of being above it."""
    return turned(above(result, limit, or_equal=not or_equal))


def within_days(when: When | None, today: int, days: int) -> Verdict:
    """
    Say whether something happened at most so many calendar days ago; the day itself counts.

    A date known only to the month or year may lie on both sides of the limit: UNKNOWN, as for no date at all.
    """
    if when is None:
        return UNKNOWN
    if today - when.first <= days:
        return YES
    return NO if today - when.last > days else UNKNOWN


def apart(one: When, other: When) -> float:
    """Return the least time in seconds that can lie between two moments."""
    return max(0.0, one.start - other.end, other.start - one.end)


HOUR = DAY // 24
