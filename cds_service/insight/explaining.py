"""One call explained: what every rule says of it and why, what was set aside, what would make it say otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from cds_service.decide import Decision, decide
from cds_service.drawing.told import Dropped, Line, glance, trail
from cds_service.facts.evidence import UNKNOWN, YES, Verdict
from cds_service.facts.model import Facts
from cds_service.insight.flipping import Flip, Node, flip, tree_of
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.rules.model import Outcome, Rule
from cds_service.terminology.units import spelled

SAID = {"yes": "fired", "unknown": "cannot tell", "no": "did not fire"}
_ORDER = tuple(SAID)


class Told(msgspec.Struct, frozen=True):
    """
    What one rule said: its trail, what was missing, what would flip it. ``silent`` rules run in pilot, unseen.

    ``flip`` is None where the rule is off, has failed, or nothing was found that would flip it.
    """

    rule: Rule
    verdict: Verdict
    indicator: str
    trail: Line
    missing: tuple[str, ...]
    silent: bool
    flip: Flip | None = None

    @property
    def said(self) -> str:
        """Say how it ended."""
        return SAID[self.verdict.value]


class Explained(msgspec.Struct, frozen=True):
    """What was found out about a call: whom it is about (by sex and age), what rules said, what was left out."""

    who: str
    rules: tuple[Told, ...]
    aside: tuple[Dropped, ...]
    loaded: tuple[tuple[str, str], ...]
    decision: Decision


def explain(
    facts: Facts, book: RuleBook, service: ServiceRules, off: Mapping[str, str] = MappingProxyType({})
) -> Explained:
    """Ask every rule of a service, active or in pilot, and look for what would flip each."""
    decision = decide(facts, book, service, off)
    told = [
        *(_told(one, facts, book, off, silent=False) for one in decision.outcomes),
        *(_told(one, facts, book, off, silent=True) for one in decision.silent),
    ]
    who, aside, loaded = glance(facts, book.terminology)
    return Explained(who, tuple(sorted(told, key=_place)), aside, loaded, decision)


def told_of(outcomes: Iterable[Outcome]) -> dict[str, Told]:
    """Return what rules said, by their ids, without looking for what would flip them."""
    return {one.rule.id: _plain(one, silent=False) for one in outcomes}


def _place(told: Told) -> int:
    return _ORDER.index(told.verdict.value)


def _told(outcome: Outcome, facts: Facts, book: RuleBook, off: Mapping[str, str], *, silent: bool) -> Told:
    plain = _plain(outcome, silent=silent)
    if outcome.rule.id in off or facts.person.deceased:
        return plain
    return msgspec.structs.replace(plain, flip=flip(outcome, facts, book.terminology, _tree(outcome.rule, book)))


def _plain(outcome: Outcome, *, silent: bool) -> Told:
    missing = outcome.judgement.missing if outcome.verdict is UNKNOWN else ()
    return Told(
        outcome.rule,
        outcome.verdict,
        outcome.indicator if outcome.verdict is YES else "",
        trail(outcome.judgement),
        tuple(spelled(name) for name in missing),
        silent,
    )


def _tree(rule: Rule, book: RuleBook) -> Node:
    return book.once(("clauses", rule.id), lambda: tree_of(rule, book.terminology))
