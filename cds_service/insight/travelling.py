"""A recorded call told again: what the rules said then, what the book of that day says, what the rules of today say."""

from __future__ import annotations

from datetime import date

import msgspec

from cds_service.decide import day_of, decide
from cds_service.drawing.naming import named
from cds_service.drawing.told import Dropped, glance
from cds_service.facts.model import Facts
from cds_service.insight.events import Content, Verdicts
from cds_service.insight.explaining import Told, told_of
from cds_service.rules.book import RuleBook, ServiceRules

FIRED, UNKNOWN, NOT_FIRED, NOT_ASKED = "fired", "cannot tell", "did not fire", "not asked"


class Row(msgspec.Struct, frozen=True):
    """
    One rule: what was recorded, and its trail with the book of that day and with that of today.

    ``differs`` says that today's rules would say something else; ``strays`` that the replay does not say what was
    recorded, which may be only where the files have changed since.
    """

    rule: str
    title: str
    recorded: str
    indicator: str
    version: int
    then: Told | None
    now: Told | None
    silent: bool = False

    @property
    def differs(self) -> bool:
        """Whether today's rules would say something else."""
        return self.now is not None and self.now.said != self.recorded

    @property
    def strays(self) -> bool:
        """Whether the book of that day says something else than was recorded."""
        return self.then is not None and self.then.said != self.recorded


class Travel(msgspec.Struct, frozen=True):
    """A recorded call, rule by rule; ``exact`` says that the book of that day could be made again exactly."""

    who: str
    rows: tuple[Row, ...]
    aside: tuple[Dropped, ...]
    loaded: tuple[tuple[str, str], ...]
    exact: bool


def travel(content: Content, kept: Facts, books: tuple[RuleBook, RuleBook], service: str, today: date) -> Travel:
    """
    Ask the book of that day and the book of today about recorded facts.

    The facts stay as old as they were: of today are the rules and their numbers only.
    """
    then_book, now_book = books
    facts = named(kept, now_book.terminology)
    then = _told(facts, then_book, service, day_of(facts))
    now = _told(facts, now_book, service, today)
    who, aside, loaded = glance(facts, now_book.terminology)
    rows = [_row(rule, content, then, now, now_book) for rule in _named(content, now)]
    return Travel(who, tuple(rows), aside, loaded, then_book.fingerprint == content.book)


def _told(facts: Facts, book: RuleBook, service: str, day: date) -> dict[str, Told]:
    found: ServiceRules | None = book.services.get(service)
    if found is None:
        return {}
    decision = decide(msgspec.structs.replace(facts, memo={}), book, found, day=day)
    return told_of((*decision.outcomes, *decision.silent))


def recorded(said: Verdicts) -> dict[str, tuple[str, str, int]]:
    """Return of each rule what was recorded: how it ended, how urgent, which version."""
    found = dict.fromkeys(said.not_fired, (NOT_FIRED, "", 0))
    found |= dict.fromkeys(said.not_evaluated, (UNKNOWN, "", 0))
    return found | {one.rule: (FIRED, one.indicator, one.version) for one in said.fired}


def _named(content: Content, now: dict[str, Told]) -> list[str]:
    """Return the rules, those that fired first, those that nobody asked then last."""
    order = {FIRED: 0, UNKNOWN: 1, NOT_FIRED: 2}
    then = {**recorded(content.pilot), **recorded(content)}
    return [*sorted(then, key=lambda rule: order[then[rule][0]]), *(rule for rule in now if rule not in then)]


def _row(rule: str, content: Content, then: dict[str, Told], now: dict[str, Told], book: RuleBook) -> Row:
    silent = rule in recorded(content.pilot)
    said, indicator, version = {**recorded(content.pilot), **recorded(content)}.get(rule, (NOT_ASKED, "", 0))
    title = book.rules[rule].title if rule in book.rules else rule
    return Row(rule, title, said, indicator, version, then.get(rule), now.get(rule), silent)
