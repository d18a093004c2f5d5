"""
The work behind "See what it would do": checks and back-test, in a thread of the process that got the request.

How far it has come stands in the ledger, so every process can show it. Nobody waits for it but who asked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from cds_service import backtest
from cds_service.adapters import cohorts
from cds_service.adapters.cohorts import Kept
from cds_service.adapters.ledger import Ledger
from cds_service.backtest import Backtest, Changed, Subject
from cds_service.checking import Checks, before_and_after, checked
from cds_service.errors import CdsError, Unavailable
from cds_service.facts import Policy
from cds_service.rules.book import RuleBook
from cds_service.rules.evaluation import evaluate
from cds_service.rules.tuning import Chosen, Tuning, current, in_force, kind_of
from cds_service.rules.vignettes import Vignette

log = logging.getLogger("cds_service")
POPULATION, RECORDED, NONE = "population", "ledger", "none"
# So many recorded calls at most: the newest.
MOST_RECORDED = 10_000
# What does not change who gets a card is not tried on patients.
UNTRIED = ("reason", "quiet_hours", "rollout")
# How many back-tests one process works on at once: hook calls need the processor too.
AT_ONCE = 2
# How often progress is written down, in seconds.
TELL = 0.25


class Ground(msgspec.Struct, frozen=True):
    """Everything that trying a change needs: books, decisions, examples, and where cohorts come from."""

    base: RuleBook
    decided: Sequence[Tuning]
    today: date
    vignettes: Mapping[str, Sequence[Vignette]]
    silent: Sequence[Vignette]
    ledger: Ledger
    clock: Callable[[], float]
    population: Path
    folders: Mapping[str, Path]
    policy: Policy

    def books(self, tuning: Tuning) -> tuple[RuleBook, RuleBook]:
        """Return the book of the day on which the change begins, without it and with it."""
        return before_and_after(self.base, self.decided, tuning, self.today)

    def checks(self, tuning: Tuning) -> Checks:
        """Hold a change against the examples and the patients who must stay silent."""
        return checked(*self.books(tuning), self.vignettes, self.silent)

    def in_force(self, tuning: Tuning) -> bool:
        """Say whether the change would change nothing: the same holds on its first day, as long as it is to hold."""
        day = max(self.today, tuning.since)
        before, _ = self.books(tuning)
        known = in_force(self.decided, day).get((tuning.rule, tuning.name))
        same_end = (known.until if known else None) == tuning.until
        return same_end and current(before, tuning.rule, tuning.name, day) in _said_so(tuning, self.base)

    @contextmanager
    def cohort(self, name: str, book: RuleBook, hook: str) -> Iterator[Kept]:
        """Open a cohort by its name. Raises CdsError where it cannot be read."""
        if name == RECORDED:
            disguise = cohorts.disguise_of(self.ledger)
            yield cohorts.of_ledger(self.ledger.database, book, most=MOST_RECORDED, disguise=disguise)
            return
        path = self.population if name == POPULATION else self.folders[name]
        opened = cohorts.of_folder(path, book, hook=hook, as_of="newest", clock=self.clock, policy=self.policy)
        with opened as cohort:
            yield cohort


def _said_so(tuning: Tuning, base: RuleBook) -> tuple[Chosen | None, ...]:
    """Return what a book says where a decision is in force; "" is the usual wording, and no exception."""
    usual = current(base, tuning.rule, tuning.name, tuning.since) if tuning.value == "" else tuning.value
    return tuning.value, usual


class Asked(msgspec.Struct, frozen=True):
    """What is to be tried: the decision as JSON holds it, the change it was made on, what it restores, and on whom."""

    tuning: dict[str, Any]
    base: int
    cohort: str
    restores: int = 0

    def decision(self) -> Tuning:
        """Return the decision."""
        return Tuning.of_plain(self.tuning)


class Tried(msgspec.Struct, frozen=True):
    """What came of it."""

    checks: Checks
    backtest: Backtest | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """What is kept with the change: how many, not who."""
        said: dict[str, Any] = {"turned": len(self.checks.turned), "tried": self.checks.tried}
        if self.backtest is not None:
            found = self.backtest
            said |= {"calls": found.calls, "patients": found.patients, "differing": found.differing}
            said |= {"before": dict(found.before.cards), "after": dict(found.after.cards)}
            said |= {"gaining": len(found.gaining), "losing": len(found.losing)}
        return said


class Jobs:
    """The back-tests that this process works on."""

    def __init__(self) -> None:
        self._lock, self._running = threading.Lock(), 0

    def start(self, ground: Ground, asked: Asked, number: str) -> bool:
        """Begin in a thread; say whether there was room."""
        with self._lock:
            if self._running >= AT_ONCE:
                return False
            self._running += 1
        threading.Thread(target=self._work, args=(ground, asked, number), name="back-test", daemon=True).start()
        return True

    def _work(self, ground: Ground, asked: Asked, number: str) -> None:
        trials = ground.ledger.governance.trials
        try:
            found = tried(ground, asked, _seldom(lambda done, total: trials.progress(number, done, total)))
            trials.finish(number, msgspec.to_builtins(found))
        except Exception as problem:  # noqa: BLE001 - whoever waits for it has to be told
            log.warning("trial", extra={"fields": {"event": "trial-failed", "kind": type(problem).__name__}})
            self._tell(trials.fail, number, problem)
        finally:
            with self._lock:
                self._running -= 1

    @staticmethod
    def _tell(fail: Callable[[str, str], object], number: str, problem: Exception) -> None:
        said = str(problem).splitlines()[0] if isinstance(problem, CdsError) else type(problem).__name__
        try:
            fail(number, said)
        except Unavailable:  # it will be shown as stopped
            log.warning("trial", extra={"fields": {"event": "trial-lost"}})


def _seldom(tell: Callable[[int, int], object]) -> Callable[[int, int], None]:
    """Tell progress a few times a second, and at the end: each time is a transaction."""
    told = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL or done == total:
            told = time.monotonic()
            tell(done, total)

    return progress


def tried(ground: Ground, asked: Asked, progress: Callable[[int, int], object]) -> Tried:
    """Try a change: first the examples, then the cohort, if it is tried on one. Raises CdsError."""
    tuning = asked.decision()
    before, after = ground.books(tuning)
    checks = checked(before, after, ground.vignettes, ground.silent)
    if asked.cohort == NONE or kind_of(tuning.name) in UNTRIED:
        return Tried(checks)
    hook = before.rules[tuning.rule].hooks[0]
    with ground.cohort(asked.cohort, before, hook) as cohort:
        day = max(ground.today, tuning.since)
        fired = "" if asked.cohort == RECORDED else hook
        return Tried(checks, backtest.run(before, after, cohort, fired, day=day, progress=progress))


# --- the trail of one patient in both books --------------------------------------------------------------------------


class Trail(msgspec.Struct, frozen=True):
    """Why one rule speaks or not, for one patient: with the book as it is, and with the change."""

    rule: str
    title: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def trails(ground: Ground, asked: Asked, one: Changed) -> list[Trail]:
    """Return the trails of every rule that says something else for a patient; none where the patient is gone."""
    tuning = asked.decision()
    before, after = ground.books(tuning)
    day = max(ground.today, tuning.since)
    with ground.cohort(asked.cohort, before, before.rules[tuning.rule].hooks[0]) as cohort:
        found = next((subject for subject in _subjects(cohort, one) if subject is not None), None)
    if found is None:
        return []
    names = [rule for rule in before.rules if _said(one.before, rule) != _said(one.after, rule)]
    facts = found.facts
    return [
        Trail(name, before.rules[name].title, *(_lines(book, name, facts, day) for book in (before, after)))
        for name in names or [tuning.rule]
    ]


def _subjects(cohort: Kept, one: Changed) -> Iterator[Subject | None]:
    for raw in cohort.raws():
        if raw.patient == one.patient and raw.decision == one.decision:
            yield cohort.opener.subject(raw)


def _said(said: Sequence[tuple[str, str]], rule: str) -> str:
    return dict(said).get(rule, "")


def _lines(book: RuleBook, name: str, facts: Any, day: date) -> tuple[str, ...]:
    rule = book.rules[name]
    return tuple(evaluate(rule, facts, book.values(rule, day)).judgement.lines())
