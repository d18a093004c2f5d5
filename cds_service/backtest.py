"""What a change would do, before it is made: the same patients answered with both rule books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from cds_service.cards import triage
from cds_service.decide import day_of, decide
from cds_service.facts.evidence import YES
from cds_service.facts.model import Facts
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.rules.evaluation import evaluate
from cds_service.rules.model import Outcome
from cds_service.rules.tuning import differing

Said = tuple[tuple[str, str], ...]


class Changed(msgspec.Struct, frozen=True):
    """A patient for whom the change makes a difference: what rules said before and after, as (rule, indicator)."""

    patient: str
    before: Said
    after: Said

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


class Backtest:
    """
    A comparison of two books over a cohort, patient by patient.

    Both books read records in the same way, so each patient is read once; only rules that differ are asked twice.
    Cards are counted as an EHR would see them: merged, and capped as the service says.
    """

    def __init__(self, before: RuleBook, after: RuleBook, hook: str) -> None:
        self.before, self.after = before, after
        self._service = _service(before, hook)
        self._tried = _service(after, hook)
        self.patients = self.not_evaluated = 0
        self.cards: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self.fired: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self.changed: list[Changed] = []

    def add(self, patient: str, facts: Facts) -> None:
        """Compare for one patient."""
        self.patients += 1
        decided = decide(facts, self.before, self._service)
        self.not_evaluated += bool(decided.not_evaluated)
        old = decided.fired
        new = self._tried_on(facts, old)
        self._count(0, old, self.before, self._service)
        self._count(1, new, self.after, self._tried)
        if _said(old) != _said(new):
            self.changed.append(Changed(patient, _said(old), _said(new)))

    def _tried_on(self, facts: Facts, old: Sequence[Outcome]) -> list[Outcome]:
        """Return what fires with the new book: rules that are the same in both have said it already."""
        day = day_of(facts)
        other = self.before.once(("differing", id(self.after), day), lambda: self._differing(facts))
        if not other or facts.person.deceased:
            return list(old)
        asked = {rule.id: rule for rule in self._tried.rules if rule.id in other and rule.status == "active"}
        new = {one.rule.id: one for one in old if one.rule.id not in other}
        for name, rule in asked.items():
            outcome = evaluate(rule, facts, self.after.values(rule, day))
            if outcome.verdict is YES:
                new[name] = outcome
        return [new[rule.id] for rule in self._tried.rules if rule.id in new]

    def _differing(self, facts: Facts) -> frozenset[str]:
        return frozenset(differing(self.before, self.after, day_of(facts)))

    def _count(self, which: int, fired: Sequence[Outcome], book: RuleBook, service: ServiceRules) -> None:
        self.fired[which].update(one.rule.id for one in fired)
        if fired:
            shown, _ = triage.cap(triage.merge(fired, book.merging), service.card_limit)
            self.cards[which].update(card[0].indicator for card in shown)

    def per_hundred(self, which: int, indicator: str) -> float:
        """Return the cards of one indicator per 100 patients, before (0) or after (1)."""
        return 100 * self.cards[which][indicator] / self.patients if self.patients else 0.0


def _said(fired: Sequence[Outcome]) -> Said:
    return tuple((one.rule.id, one.indicator) for one in fired)


def _service(book: RuleBook, hook: str) -> ServiceRules:
    return next(service for service in book.services.values() if service.service.hook == hook)
