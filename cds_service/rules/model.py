"""A rule as the engine holds it: compiled, immutable, with everything a reader may ask about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from cds_service.facts.evidence import Judgement, Verdict
from cds_service.facts.model import Facts

T = TypeVar("T")
Value = Decimal | bool
Values = Mapping[str, Value]
Clause = Callable[[Facts, Values], Judgement]
INDICATORS = ("info", "warning", "critical")
DEFAULT_HOOKS = ("patient-view",)
STATUSES = ("draft", "pilot", "active", "retired")


def kept(make: Callable[[Values], T]) -> Callable[[Values], T]:
    """
    Keep what was last made of threshold values: a clause is asked with the same ones all day.

    They are recognised by their identity, which is theirs alone as long as they are kept.
    """
    last: tuple[Values, T] | None = None

    def made(values: Values) -> T:
        nonlocal last
        known = last
        if known is None or known[0] is not values:
            known = last = (values, make(values))
        return known[1]

    return made


class Dated(msgspec.Struct, frozen=True):
    """A value of a threshold from one day on, and who set it why."""

    since: date
    value: Value
    layer: str = "rule"
    who: str = ""
    why: str = ""


class Threshold(msgspec.Struct, frozen=True):
    """
    A number that may be tuned: what it means, its unit, and the band that no layer may leave.

    ``values`` are in order of their dates. ``borrowed`` names the rule and threshold whose value is used instead.
    """

    name: str
    means: str
    unit: str
    low: Value
    high: Value
    values: tuple[Dated, ...]
    source: str = ""
    borrowed: tuple[str, str] | None = None

    def on(self, day: date) -> Dated:
        """Return the value in force on a day; before the first date the first value holds."""
        in_force = [dated for dated in self.values if dated.since <= day]
        return in_force[-1] if in_force else self.values[0]

    def allows(self, value: Value) -> bool:
        """Say whether a value lies inside the allowed band."""
        if isinstance(value, bool) or isinstance(self.low, bool):
            return isinstance(value, bool) and isinstance(self.low, bool)
        return Decimal(self.low) <= value <= Decimal(self.high)


class Citation(msgspec.Struct, frozen=True):
    """A source, how strong it is, and how it was verified (KNOWLEDGE 10)."""

    cite: str
    status: str
    strength: str = ""


class Escalation(msgspec.Struct, frozen=True):
    """
    When a card is more urgent than its rule usually is, and what it then says, if not the usual.

    ``to`` is "" where it is as urgent as ever, and only says something else.
    """

    to: str
    when: Clause
    summary: tuple[str, ...] = ()


class Refire(msgspec.Struct, frozen=True):
    """
    What ends a quiet time early (KNOWLEDGE 5.2, "Suppression").

    ``kind`` is "rises", "falls" or "crosses" (by, or over, the threshold ``limit``), or "new", of ``concepts``.
    """

    kind: str
    about: str
    limit: str = ""
    concepts: tuple[str, ...] = ()


class Quiet(msgspec.Struct, frozen=True):
    """How many hours a card stays quiet after an override, by hook ("": every other hook), and what ends it early."""

    hours_by_hook: dict[str, int] = {}
    unless: tuple[Refire, ...] = ()
    says: str = ""

    def hours(self, hook: str) -> int:
        """Return the hours on one hook, as the rule says it."""
        return self.hours_by_hook.get(hook, self.hours_by_hook.get("", 0))


class CardText(msgspec.Struct, frozen=True):
    """
    What the card of a rule says and offers; ``summary`` holds wordings, the first that can be filled is used.

    ``repeat`` are tests to do again although they are fresh; ``fresh_within`` names the threshold (days) after which
    this card calls a result stale, if its test does not do so earlier. ``remove_draft`` does not hold for the orders
    that ``keep_draft_when`` rests on: what an emergency asks for is not offered to be taken away.
    """

    indicator: str
    summary: tuple[str, ...]
    detail: str
    escalate: tuple[Escalation, ...] = ()
    show: tuple[str, ...] = ()
    show_medications: tuple[str, ...] = ()
    show_diagnoses: tuple[str, ...] = ()
    workup: tuple[str, ...] = ()
    consults: tuple[str, ...] = ()
    medication_advice: str = ""
    override_reasons: tuple[str, ...] = ()
    quiet: Quiet = Quiet()
    remove_draft: bool = False
    keep_draft_when: Clause | None = None
    alternatives: tuple[str, ...] = ()
    show_subtype: bool = False
    repeat: tuple[str, ...] = ()
    fresh_within: str = ""

    @property
    def quiet_for(self) -> int:
        """For how many days the card stays quiet after an override, where it is not about an order."""
        return self.quiet.hours("") // 24

    @property
    def quiet_unless(self) -> str:
        """What ends the quiet time early, in words."""
        return self.quiet.says


class Exemption(msgspec.Struct, frozen=True):
    """
    An exception that an admin made from a rule: for whom it shows no card, up to the day before ``until``.

    ``kind`` is user (kinds of FHIR resource), client (issuers), diagnosis (concepts) or patients (pseudonyms).
    ``members`` are the concepts behind the names of diagnoses.
    """

    key: str
    kind: str
    of: tuple[str, ...]
    since: date
    until: date
    members: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True):
    """
    One rule: why, when, card. ``document`` is the file it was compiled from, for those who show rules in words.

    ``reads`` are the concepts its logic asks of the record, ``helps`` what its card shows besides, ``orders`` what it
    asks of the orders of the call. ``about_order`` are the orders it speaks of where the hook is about orders.
    ``switch`` is the threshold that turns the whole rule on, where it has one.

    Only admins decide on the rest: ``reasons`` are other wordings of override reasons by code, ``exemptions`` say for
    whom the rule shows no card, ``rollout`` for how many of 100 encounters it shows one; ``status_since`` is the day
    from which they gave it its status.
    """

    id: str
    number: str
    title: str
    chapter: str
    status: str
    version: int
    owner: str
    reviewed: date
    why: str
    evidence: tuple[Citation, ...]
    unhelpful_when: str
    thresholds: dict[str, Threshold]
    when: Clause
    card: CardText
    reads: frozenset[str]
    helps: frozenset[str]
    place: str
    pairing: str = ""
    told: dict[str, str] = {}
    document: dict[str, Any] = {}
    hooks: tuple[str, ...] = DEFAULT_HOOKS
    about_order: tuple[str, ...] = ()
    orders: frozenset[str] = frozenset()
    switch: str = ""
    reasons: dict[str, str] = {}
    exemptions: tuple[Exemption, ...] = ()
    rollout: int = 100
    status_since: date | None = None

    @property
    def limited(self) -> bool:
        """Say whether its cards are shown to some only."""
        return bool(self.exemptions) or self.rollout < 100

    @property
    def topic(self) -> str:
        """The rule's number without a dash: static, because EHRs remember overrides by it."""
        return self.number.replace("-", "")

    def concerns(self, facts: Facts) -> bool:
        """Say whether the rule has to be asked: where the hook is about orders, only if one of them is its own."""
        return not facts.about_orders or any(one.selected and one.concept in self.about_order for one in facts.orders)

    def evaluate(self, facts: Facts, values: Values) -> Judgement:
        """Judge the rule on a patient's facts with the thresholds in force."""
        return self.when(facts, values)


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """
    What one rule said about one patient.

    ``wordings`` are the summaries to choose from. ``failed`` names the exception where the rule itself broke.
    """

    rule: Rule
    judgement: Judgement
    values: Values
    indicator: str = ""
    wordings: tuple[str, ...] = ()
    failed: str = ""

    @property
    def verdict(self) -> Verdict:
        """The rule's verdict."""
        return self.judgement.verdict
