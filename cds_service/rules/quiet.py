"""
Quiet time: when a finding that somebody has seen, or has answered, may stay silent for a while (KNOWLEDGE 5.0, item 5).

Pure: what was shown and overridden comes from a QuietState that is passed in. It knows people and encounters by
pseudonym only, and may forget: what is forgotten is shown again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Protocol

import msgspec

from cds_service.facts import derived, observed
from cds_service.facts.evidence import YES, Item, Judgement
from cds_service.facts.model import Answer, Draft, Facts, Measurement
from cds_service.rules.model import INDICATORS, Outcome, Refire
from cds_service.rules.ordering import ORDER_HOOKS

HOUR, DAY = 3_600, 86_400
# KNOWLEDGE 5.0, item 5: critical cards are quiet for 7 days at most.
CRITICAL_HOURS = 7 * 24
# KNOWLEDGE 5.2, CC-08: on order-select 24 h for the same order, on order-sign never: each order is looked at anew.
SAME_ORDER_HOURS, SELECTING = 24, "order-select"
# Chosen by us, as wide as a long shift: after that the same card may be shown again in the same encounter.
REPEAT_HOURS = 24
ALWAYS = "always"
# Stands for orders without an id: the next one may be another, so an override never keeps it quiet.
NAMELESS = "nameless"
_EPOCH = date(1970, 1, 1).toordinal()


class Viewer(msgspec.Struct, frozen=True):
    """Who is shown a card of whom, and where: pseudonyms, but for the hook. ``role`` is "" where the EHR says none."""

    patient: str
    user: str
    encounter: str
    hook: str
    role: str = ""


class Sight(msgspec.Struct, frozen=True):
    """
    What a finding rested on when it was seen.

    ``mark`` stands for all of it. ``values`` and ``known`` are the results and facts that can end the quiet time;
    ``drafts`` is a pseudonym of the draft orders it is about.
    """

    rule: str
    indicator: str
    mark: str
    values: dict[str, Decimal] = {}
    known: frozenset[str] = frozenset()
    drafts: str = ""


class Seen(msgspec.Struct, frozen=True):
    """A finding that was shown, or answered with an override, at a moment (seconds since 1970, UTC)."""

    viewer: Viewer
    sight: Sight
    at: float


class QuietState(Protocol):
    """What is remembered of cards. Safe to use from several threads; keeps no id that a record knows."""

    def pseudonym(self, *parts: str) -> str:
        """Return a keyed pseudonym of an id, the same one every time."""

    def remember(self, card: str, seen: Sequence[Seen]) -> None:
        """Remember the findings that a card showed."""

    def shown(self, viewer: Viewer, rule: str) -> Seen | None:
        """Return when this user was last shown this finding of this patient in this encounter."""

    def overridden(self, card: str, at: float) -> bool:
        """Take note that a card was answered with an override; False where the card is not known (any more)."""

    def override(self, viewer: Viewer, rule: str, drafts: str) -> Seen | None:
        """Return the last override of this rule for this patient by this role, about these draft orders ("": none)."""


class Held(msgspec.Struct, frozen=True):
    """A finding that is true and not shown, and why."""

    outcome: Outcome
    reason: str


class Hush(msgspec.Struct):
    """The quiet times of one call: who is asking, and what of the findings was seen before."""

    state: QuietState
    viewer: Viewer
    facts: Facts
    repeat: str = ALWAYS
    sights: dict[str, Sight] = {}

    def sort(self, fired: Sequence[Outcome]) -> tuple[list[Outcome], list[Held]]:
        """Return the findings that may speak, and those that stay quiet."""
        speaking, held = [], []
        for outcome in fired:
            self.sights[outcome.rule.id] = sight(outcome, self.facts, self.state)
            reason = self._reason(outcome)
            held += [Held(outcome, reason)] if reason else []
            speaking += [] if reason else [outcome]
        return speaking, held

    def remember(self, card: str, rules: Sequence[str]) -> None:
        """Remember that a card showed the findings of these rules."""
        self.state.remember(card, [Seen(self.viewer, self.sights[rule], self.facts.now) for rule in rules])

    def _reason(self, outcome: Outcome) -> str:
        now = self.sights[outcome.rule.id]
        answered = None if now.drafts == NAMELESS else self.state.override(self.viewer, now.rule, now.drafts)
        if answered is not None and (hours := self._quiet_hours(outcome, answered, now)):
            until = day(answered.at + hours * HOUR)
            return f"overridden on {day(answered.at)}, quiet until {until}"
        return "shown earlier in this encounter" if self._repeats(now) else ""

    def _quiet_hours(self, outcome: Outcome, answered: Seen, now: Sight) -> int:
        """Return how long the override keeps the finding quiet; 0 where it no longer does."""
        hours = hours_quiet(outcome, self.viewer.hook, answered.sight.indicator)
        passed = self.facts.now - answered.at
        return hours if 0 <= passed < hours * HOUR and not ended(outcome, answered.sight, now) else 0

    def _repeats(self, now: Sight) -> bool:
        """Say whether another hook of this encounter showed this user exactly this, today."""
        if self.repeat == ALWAYS or not self.viewer.encounter or self.viewer.hook in ORDER_HOOKS:
            return False
        before = self.state.shown(self.viewer, now.rule)
        # The same hook again may be the EHR asking anew because our answer never came: it gets the same answer.
        if before is None or before.viewer.hook == self.viewer.hook:
            return False
        same = (before.sight.mark, before.sight.indicator) == (now.mark, now.indicator)
        return same and 0 <= self.facts.now - before.at < REPEAT_HOURS * HOUR


def hours_quiet(outcome: Outcome, hook: str, indicator_then: str = "") -> int:
    """Return for how many hours an override keeps a finding quiet on a hook: what the rule says, within our limits."""
    hours = outcome.rule.card.quiet.hours(hook)
    if hook in ORDER_HOOKS:
        hours = min(hours, SAME_ORDER_HOURS) if hook == SELECTING else 0
    return min(hours, CRITICAL_HOURS) if "critical" in (outcome.indicator, indicator_then) else hours


def ended(outcome: Outcome, then: Sight, now: Sight) -> bool:
    """Say whether something new or worse ends the quiet time; a more urgent indicator always does."""
    if INDICATORS.index(now.indicator) > INDICATORS.index(then.indicator):
        return True
    return any(_happened(one, then, now, outcome) for one in outcome.rule.card.quiet.unless)


def _happened(refire: Refire, then: Sight, now: Sight, outcome: Outcome) -> bool:
    if refire.kind == "new":
        return not _of(refire.about, now.known) <= _of(refire.about, then.known)
    before, value = then.values.get(refire.about), now.values.get(refire.about)
    if value is None or before is None:
        return value is not None
    limit = Decimal(outcome.values[refire.limit])
    if refire.kind == "crosses":
        return before <= limit < value
    return value - before >= limit if refire.kind == "rises" else before - value >= limit


def _of(about: str, known: frozenset[str]) -> frozenset[str]:
    return frozenset(one for one in known if one.startswith(f"{about}:"))


def sight(outcome: Outcome, facts: Facts, state: QuietState) -> Sight:
    """Return what a finding rests on now."""
    told = _told_of(outcome.judgement)
    refires = outcome.rule.card.quiet.unless
    return Sight(
        rule=outcome.rule.id,
        indicator=outcome.indicator,
        mark=state.pseudonym(*told),
        values=_values(outcome, facts),
        known=frozenset(_known(refires, facts, state)) if refires else frozenset(),
        drafts=_drafts(outcome, facts, state) if facts.about_orders else "",
    )


def _told_of(judgement: Judgement) -> list[str]:
    """Return what the branches that hold rest on: facts, and tests that are missing."""
    if judgement.verdict is not YES:
        return []
    told = [judgement.absent] if judgement.absent else []
    told += map(_told, judgement.items)
    for child in judgement.children:
        told += _told_of(child)
    return told


def _drafts(outcome: Outcome, facts: Facts, state: QuietState) -> str:
    """Return a pseudonym of the orders that a finding is about; NAMELESS where one of them cannot be told again."""
    about = {item.reference for item in outcome.judgement.supporting() if isinstance(item, Draft)}
    references = sorted(about or {draft.reference for draft in facts.orders if draft.selected})
    return state.pseudonym(*references) if references and all("/" in one for one in references) else NAMELESS


def _values(outcome: Outcome, facts: Facts) -> dict[str, Decimal]:
    """Return the newest values of the measurements that can end the quiet time."""
    measured = {one.about for one in outcome.rule.card.quiet.unless if one.kind != "new"}
    return {name: results[0].value for name in measured if (results := _results(outcome, facts, name))}


def _results(outcome: Outcome, facts: Facts, name: str) -> Sequence[Measurement]:
    pairing = outcome.rule.pairing
    return derived.series(facts, name, int(outcome.values[pairing]) if pairing else None)


def _known(refires: Sequence[Refire], facts: Facts, state: QuietState) -> Iterator[str]:
    for refire in refires:
        if refire.kind == "new":
            for concept in refire.concepts:
                items: list[Item] = [*facts.diagnoses.get(concept, ()), *observed.lesions(facts, concept)]
                items += facts.medications.get(concept, ())
                yield from (f"{refire.about}:{state.pseudonym(_told(item))}" for item in items if _counts(item))


def _counts(item: Item) -> bool:
    return bool(getattr(item, "active", True))


def _told(item: Item) -> str:
    """Tell one fact from another: what it is, of when, and how much."""
    if isinstance(item, Measurement):
        return f"{item.analyte}|{item.comparator}{item.value}|{item.when.start}"
    if isinstance(item, Answer):
        return f"{item.concept}|{item.said}|{item.when.start}"
    when = item.when.first if item.when else ""
    return f"{item.concept}|{item.code}|{when}|{item.reference if isinstance(item, Draft) else ''}"


def day(at: float) -> date:
    """Return the calendar day (UTC) of a moment."""
    return date.fromordinal(_EPOCH + int(at // DAY))
