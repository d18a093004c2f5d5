"""
Two rule books held against the examples of the content: what a change would make of them.

Only rules that the change touches are asked. An example whose answer changes is listed, for a person to agree with;
one that cannot be tried any more, and a patient who has to stay silent and would not, refuse the change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from cds_service.facts.evidence import NO, UNKNOWN, YES
from cds_service.facts.intake import Reader
from cds_service.rules.book import RuleBook
from cds_service.rules.vignettes import Result, Vignette, run

SAID = {YES: "fires", NO: "stays silent", UNKNOWN: "cannot tell"}


class Example(msgspec.Struct, frozen=True):
    """
    An example whose answer the change turns.

    ``before`` and ``after`` are what the rule says: "fires (warning)", "stays silent". ``failed`` holds why it cannot
    be tried with the change, if it cannot. ``stated`` is what its file says of it.
    """

    rule: str
    name: str
    place: str
    stated: str
    before: str
    after: str
    failed: str = ""
    trail: tuple[str, ...] = ()


class Woken(msgspec.Struct, frozen=True):
    """A patient who has to stay silent, and for whom a rule would speak."""

    rule: str
    name: str
    place: str
    trail: tuple[str, ...] = ()


class Checks(msgspec.Struct, frozen=True):
    """What the examples say to a change: how many were asked, which turn, and who would be woken."""

    rules: tuple[str, ...] = ()
    tried: int = 0
    turned: tuple[Example, ...] = ()
    silent: int = 0
    woken: tuple[Woken, ...] = ()

    @property
    def failed(self) -> tuple[Example, ...]:
        """Examples that cannot be tried with the change."""
        return tuple(one for one in self.turned if one.failed)

    @property
    def refused(self) -> str:
        """Why the change may not be saved; "" where it may."""
        if self.woken:
            return f"{_people(len(self.woken))} who must never get a card would get one."
        if self.failed:
            return "An example of the rule cannot be tried any more with this change."
        return ""


def _people(number: int) -> str:
    return "A patient" if number == 1 else f"{number} patients"


def checked(
    before: RuleBook, after: RuleBook, vignettes: Mapping[str, Sequence[Vignette]], silent: Sequence[Vignette]
) -> Checks:
    """Hold a change against the vignettes of every rule it touches, and against the patients who stay silent."""
    rules = touched(before, after)
    reader = Reader(after.terminology)
    tried = [one for rule in rules for one in vignettes.get(rule, ())]
    turned = [found for one in tried if (found := _turned(one, before, after, reader)) is not None]
    woken = [found for rule in rules for found in _woken(rule, silent, after, reader)]
    return Checks(rules, len(tried), tuple(turned), len(silent), tuple(woken))


def touched(before: RuleBook, after: RuleBook) -> tuple[str, ...]:
    """Return the rules that are not the same in both books: the one that was changed, and those that follow it."""
    return tuple(name for name, rule in after.rules.items() if rule != before.rules.get(name))


def _turned(vignette: Vignette, before: RuleBook, after: RuleBook, reader: Reader) -> Example | None:
    old, new = run(vignette, before, reader=reader), run(vignette, after, reader=reader)
    failed = "" if new.outcome is not None and not new.outcome.failed else " ".join(new.wrong)
    if said(old) == said(new) and not failed:
        return None
    place = f"{vignette.file}:{vignette.line}"
    stated = SAID[vignette.expected]
    return Example(vignette.rule, vignette.name, place, stated, said(old), said(new), failed, new.trail)


def said(result: Result) -> str:
    """Say in words what a rule answered to an example."""
    if result.outcome is None:
        return "cannot be tried"
    urgency = f" ({result.outcome.indicator})" if result.outcome.indicator else ""
    return SAID[result.outcome.verdict] + urgency


def _woken(rule: str, silent: Sequence[Vignette], book: RuleBook, reader: Reader) -> Iterator[Woken]:
    for one in silent:
        result = run(msgspec.structs.replace(one, rule=rule), book, reader=reader)
        if result.outcome is not None and result.outcome.verdict is YES:
            yield Woken(rule, one.name, f"{one.file}:{one.line}", result.trail)
