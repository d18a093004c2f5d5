"""
What a change would do, before it is made: the same calls answered with both rule books.

    compared = backtest.run(before, after, cohort, "patient-view", day=today, progress=told, stop=ended)
    raw = msgspec.json.encode(compared)                      # to keep, or to send
    compared = decoding.decode(raw, Backtest)       # to show again

A cohort is anything that has a length and yields subjects (adapters/cohorts.py makes them of the invented population,
of folders of patients and of the ledger's recorded calls); None stands for a call that could not be evaluated at all.
``tried`` makes the book ``after`` of one or more decisions, whenever they are meant to begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from typing import Protocol

import msgspec

from cds_service.cards import triage
from cds_service.decide import decide
from cds_service.facts.evidence import YES
from cds_service.facts.model import Facts
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.rules.evaluation import evaluate
from cds_service.rules.exempting import Occasion, sorted_out
from cds_service.rules.model import INDICATORS, Outcome
from cds_service.rules.quiet import Held
from cds_service.rules.tuning import Tuning, differing, tuned

Said = tuple[tuple[str, str], ...]
# So many patients are listed; all are counted.
MOST_LISTED = 2_000
# How often progress is told, in calls.
EVERY = 50


class Subject(msgspec.Struct, frozen=True):
    """
    One call of a cohort.

    ``patient`` is how the patient is listed: the id of an invented one, the pseudonym of a recorded one. ``decision``
    is the id of the recorded call, "" where there is none. ``hook`` is that of the call.
    """

    patient: str
    facts: Facts
    hook: str
    decision: str = ""
    occasion: Occasion | None = None


class Cohort(Protocol):
    """Calls to try a change on: how many there are, and one after the other; None for one that is of no use."""

    def __len__(self) -> int:
        """Return how many calls there are."""

    def __iter__(self) -> Iterator[Subject | None]:
        """Yield them."""


class Changed(msgspec.Struct, frozen=True):
    """
    A call for which the change makes a difference: what rules said before and after, as (rule, indicator).

    ``cards`` are the indicators of the cards shown before and after, most urgent first.
    """

    patient: str
    before: Said
    after: Said
    cards: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    decision: str = ""

    @property
    def gains(self) -> list[str]:
        """The rules that would speak and did not."""
        spoke = {rule for rule, _ in self.before}
        return [rule for rule, _ in self.after if rule not in spoke]

    @property
    def loses(self) -> list[str]:
        """The rules that spoke and would not."""
        speaks = {rule for rule, _ in self.after}
        return [rule for rule, _ in self.before if rule not in speaks]


class Side(msgspec.Struct):
    """
    What one of the two books says of a cohort.

    ``cards`` counts cards by indicator, as an EHR would see them: merged, and capped as the service says. ``fired``
    counts findings that are shown by rule, ``silent`` those of rules in pilot, ``held`` those held back from some.
    """

    fingerprint: str = ""
    cards: dict[str, int] = {}
    fired: dict[str, int] = {}
    silent: dict[str, int] = {}
    held: dict[str, int] = {}


class Backtest(msgspec.Struct):
    """
    A comparison of two books over a cohort; can be written as JSON and read back.

    ``total`` is the length of the cohort, ``calls`` how many were compared (fewer where it was ``stopped``),
    ``patients`` of how many patients, ``refused`` how many could not be evaluated at all, ``not_evaluated`` for how
    many some rule could not be (before). ``both`` counts, by rule, calls in which it speaks with either book.
    ``changed`` lists at most MOST_LISTED of the ``differing`` calls.
    """

    hook: str
    day: date
    before: Side
    after: Side
    total: int = 0
    calls: int = 0
    patients: int = 0
    refused: int = 0
    not_evaluated: int = 0
    differing: int = 0
    both: dict[str, int] = {}
    changed: list[Changed] = []
    stopped: bool = False

    def per_hundred(self, which: int, indicator: str = "") -> float:
        """Return the cards per 100 calls, of one indicator or of all, before (0) or after (1)."""
        cards = (self.before, self.after)[which].cards
        many = cards.get(indicator, 0) if indicator else sum(cards.values())
        return 100 * many / self.calls if self.calls else 0.0

    @property
    def unit(self) -> str:
        """What is counted per 100: patients, where there is one call of each, or else calls."""
        return "patients" if self.calls == self.patients else "calls"

    @property
    def gaining(self) -> list[Changed]:
        """The listed calls in which some rule would speak that did not."""
        return [one for one in self.changed if one.gains]

    @property
    def losing(self) -> list[Changed]:
        """The listed calls in which some rule would not speak that did."""
        return [one for one in self.changed if one.loses]


def tried(book: RuleBook, tunings: Sequence[Tuning], day: date) -> RuleBook:
    """Return the book as it would be if these decisions were in force on a day, whenever they are meant to begin."""
    return tuned(book, [msgspec.structs.replace(one, since=day, until=_until(one, day)) for one in tunings], day)


def _until(tuning: Tuning, day: date) -> date | None:
    """Keep how long it holds: an exception has to end."""
    return None if tuning.until is None else day + (tuning.until - tuning.since)


def run(
    before: RuleBook,
    after: RuleBook,
    cohort: Cohort,
    hook: str = "",
    *,
    day: date,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
    stop: Callable[[], bool] = lambda: False,
) -> Backtest:
    """
    Answer every call of a cohort with both books, as they are on one ``day``, and say what differs.

    ``hook`` names the hook that is fired; "" leaves each call its own. ``progress(done, total)`` is called every now
    and then, and once at the end; when ``stop()`` is true the run ends with what there is, and says so.
    """
    comparing, total = Comparing(before, after, hook, day), len(cohort)
    comparing.found.total = total
    progress(0, total)
    for done, subject in enumerate(cohort, 1):
        comparing.add(subject)
        if done % EVERY == 0:
            progress(done, total)
            if stop():
                comparing.found.stopped = done < total
                break
    progress(comparing.done, total)
    return comparing.found


class Comparing:
    """
    A comparison under way, call by call.

    Both books read records in the same way, so each is read once; only rules that differ are asked twice.
    """

    def __init__(self, before: RuleBook, after: RuleBook, hook: str, day: date) -> None:
        self.books, self.day = (before, after), day
        self.found = Backtest(hook, day, Side(before.fingerprint), Side(after.fingerprint))
        self._other = frozenset(differing(before, after, day))
        self._patients: set[str] = set()
        self._services = tuple({one.service.hook: one for one in book.services.values()} for book in self.books)

    @property
    def done(self) -> int:
        """How many calls were looked at."""
        return self.found.calls + self.found.refused

    def add(self, subject: Subject | None) -> None:
        """Compare for one call; one of a hook that no service answers is not compared."""
        found, services = self.found, self._services
        hook = (found.hook or subject.hook) if subject is not None else ""
        if subject is None or hook not in services[0] or hook not in services[1]:
            found.refused += 1
            return
        found.calls += 1
        self._patients.add(subject.patient)
        found.patients = len(self._patients)
        old_service, new_service = services[0][hook], services[1][hook]
        decided = decide(subject.facts, self.books[0], old_service, day=self.day)
        found.not_evaluated += bool(decided.not_evaluated)
        silent = [one for one in decided.silent if one.verdict is YES]
        again = self._asked_again(subject.facts, decided.fired, silent, new_service)
        old = self._count(found.before, subject, decided.fired, silent, old_service, self.books[0])
        new = self._count(found.after, subject, *again, new_service, self.books[1])
        self._compare(subject, old, new)

    def _asked_again(
        self, facts: Facts, fired: Sequence[Outcome], silent: Sequence[Outcome], service: ServiceRules
    ) -> tuple[list[Outcome], list[Outcome]]:
        """Return what speaks with the new book, and what does so silently; rules that are the same have said it."""
        if not self._other or facts.person.deceased:
            return list(fired), list(silent)
        known = {one.rule.id: one for one in (*fired, *silent) if one.rule.id not in self._other}
        for rule in service.rules:
            if rule.id in self._other and rule.status in ("active", "pilot"):
                outcome = evaluate(rule, facts, self.books[1].values(rule, self.day))
                if outcome.verdict is YES:
                    known[rule.id] = outcome
        speaking = [known[rule.id] for rule in service.rules if rule.id in known]
        return (
            [one for one in speaking if one.rule.status == "active"],
            [one for one in speaking if one.rule.status == "pilot"],
        )

    def _count(
        self,
        side: Side,
        subject: Subject,
        fired: Sequence[Outcome],
        silent: Sequence[Outcome],
        service: ServiceRules,
        book: RuleBook,
    ) -> tuple[Said, tuple[str, ...]]:
        """Count what one book says; return what is shown: findings, and the indicators of cards."""
        held: list[Held] = []
        if subject.occasion is not None:
            occasion = subject.occasion
            fired, held = sorted_out(fired, subject.facts, self.day, lambda: occasion)
        _more(side.fired, (one.rule.id for one in fired))
        _more(side.silent, (one.rule.id for one in silent))
        _more(side.held, (f"{one.outcome.rule.id}: {one.reason}" for one in held))
        shown, _ = triage.cap(triage.merge(fired, book.merging), service.card_limit) if fired else ([], [])
        cards = tuple([card[0].indicator for card in shown])
        _more(side.cards, cards)
        return tuple([(one.rule.id, one.indicator) for one in fired]), cards

    def _compare(self, subject: Subject, old: tuple[Said, tuple[str, ...]], new: tuple[Said, tuple[str, ...]]) -> None:
        after = {rule for rule, _ in new[0]}
        _more(self.found.both, (rule for rule, _ in old[0] if rule in after))
        if set(old[0]) == set(new[0]) and old[1] == new[1]:
            return
        self.found.differing += 1
        if len(self.found.changed) < MOST_LISTED:
            cards = (old[1], new[1])
            self.found.changed.append(Changed(subject.patient, old[0], new[0], cards, subject.decision))


def _more(counted: dict[str, int], names: Iterable[str]) -> None:
    for name in names:
        counted[name] = counted.get(name, 0) + 1


def added(parts: Sequence[Backtest]) -> Backtest:
    """Add up parts of one comparison that were made of parts of a cohort; of patients in two parts both count."""
    first = parts[0]
    whole = Backtest(first.hook, first.day, Side(first.before.fingerprint), Side(first.after.fingerprint))
    for part in parts:
        for name in ("total", "calls", "patients", "refused", "not_evaluated", "differing"):
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
        _sum(whole.both, part.both)
        for side, other in ((whole.before, part.before), (whole.after, part.after)):
            for name in ("cards", "fired", "silent", "held"):
                _sum(getattr(side, name), getattr(other, name))
        whole.changed = [*whole.changed, *part.changed][:MOST_LISTED]
        whole.stopped = whole.stopped or part.stopped
    return whole


def _sum(counted: dict[str, int], more: dict[str, int]) -> None:
    for name, many in more.items():
        counted[name] = counted.get(name, 0) + many


def by_urgency(cards: dict[str, int]) -> list[tuple[str, int]]:
    """Return counts of cards, the most urgent indicator first."""
    return [(indicator, cards.get(indicator, 0)) for indicator in reversed(INDICATORS)]
