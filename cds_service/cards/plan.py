"""
The workup on a card: labs, then imaging, then biopsy with its stains, then referrals - what is missing or stale.

Parts that depend on the rules only are made once (``offers``); what the patient's record already has is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from cds_service.cards import suggestions
from cds_service.facts import observed
from cds_service.facts.evidence import YES, Judgement, within_days
from cds_service.facts.kidney import procedures
from cds_service.facts.model import Answer, Facts, Measurement
from cds_service.rules.model import Outcome, Rule
from cds_service.terminology import Order, Terminology

# Steps of a workup in their order, and how the plan names them.
STEPS = {
    "laboratory": "Labs",
    "imaging": "Imaging",
    "procedure": "Examinations",
    "biopsy": "Biopsy",
    "referral": "Consults",
}
BIOPSY, REFERRAL, LABORATORY = "biopsy", "referral", "laboratory"
# Chosen by us: a card with more buttons is not read. The rest stands in its text.
MOST, MOST_REFERRALS, MOST_OTHERS = 8, 3, 1
# KNOWLEDGE 5.1, CC-06: a consult counts for 90 days.
CONSULT_DAYS = 90
# The rules of this chapter speak of calciphylaxis, where a biopsy is never a pre-filled order (KNOWLEDGE 4).
CALCIPHYLAXIS = "calciphylaxis"


class Test(msgspec.Struct, frozen=True):
    """
    A test that may be known already: under which names (calcium: total, or corrected by the laboratory).

    ``on_orders`` and ``usually`` are the days for which a result is fresh (None: for ever). ``limits`` names, by the
    place of a rule on the card, the threshold that replaces ``usually`` there; "" where there is none.
    """

    names: tuple[str, ...]
    label: str
    on_orders: int | None
    usually: int | None
    limits: tuple[tuple[int, str], ...]


class Offer(msgspec.Struct, frozen=True):
    """
    A test or referral that a card may suggest.

    ``tests`` say whether it is needed; without any it always is, and ``repeat`` asks for it all the same. It is not
    offered while one of ``not_while`` is taken.
    """

    order: Order
    step: str
    request: dict[str, Any]
    tests: tuple[Test, ...] = ()
    repeat: bool = False
    not_while: frozenset[str] = frozenset()


class Plan(msgspec.Struct):
    """What is still to do for one patient: what is suggested, and the lines that say all of it."""

    suggested: list[Offer] = []
    lines: list[str] = []


def offers(rules: Sequence[Rule], words: Terminology) -> tuple[Offer, ...]:
    """Return what a card of these rules may suggest, in the order of a workup."""
    consults = dict.fromkeys(name for rule in rules for name in rule.card.consults)
    names = dict.fromkeys([*(name for rule in rules for name in rule.card.workup), *consults])
    found = [_offer(words.orders[name], words, rules, consult=name in consults) for name in names]
    return tuple(sorted(found, key=lambda offer: list(STEPS).index(offer.step)))


def _offer(order: Order, words: Terminology, rules: Sequence[Rule], *, consult: bool) -> Offer:
    asking = [(place, rule) for place, rule in enumerate(rules) if order.id in rule.card.workup]
    measured = [name for name in order.stands_for or (order.id,) if name in words.analytes]
    return Offer(
        order,
        REFERRAL if consult else order.step,
        suggestions.service_request(order, words.systems.uri(order.system)),
        tuple(_test(name, words, asking) for name in measured),
        any(order.id in rule.card.repeat for _, rule in asking),
        frozenset(concept for name in order.not_while for concept in words.members(name)),
    )


def _test(name: str, words: Terminology, asking: Sequence[tuple[int, Rule]]) -> Test:
    analyte = words.analytes[name]
    names = next((members for members in words.groups.values() if name in members), (name,))
    return Test(
        names,
        analyte.name,
        analyte.fresh_for(ordering=True),
        analyte.fresh_for(ordering=False),
        tuple((place, rule.card.fresh_within if name in rule.reads else "") for place, rule in asking),
    )


def plan(offered: Iterable[Offer], together: Sequence[Outcome], facts: Facts, *, calciphylaxis: bool) -> Plan:
    """Return the workup of a card for one patient; ``calciphylaxis``: it is possible, so a biopsy is text only."""
    absent: set[str] = set()
    for one in together:
        _gather_absent(one.judgement, absent)
    drafted = {draft.concept for draft in facts.orders} if facts.orders else ()
    needed = [
        offer
        for offer in offered
        if (offer.repeat or not offer.tests or not _known(offer.tests, together, facts, absent))
        and (not drafted or offer.order.id not in drafted)
        and not (offer.order.seen_as and _took_place(offer.order.seen_as, facts))
        and (not offer.not_while or facts.medications.keys().isdisjoint(offer.not_while))
    ]
    needed = _drawn_once(needed, together, facts, absent)
    suggestible = [one for one in needed if one.step != BIOPSY] if calciphylaxis else needed
    return Plan(_chosen(suggestible), _lines(needed, calciphylaxis=calciphylaxis))


def _drawn_once(
    needed: Sequence[Offer], together: Sequence[Outcome], facts: Facts, absent: Collection[str]
) -> list[Offer]:
    """Leave out what would be ordered twice: of one missing test its panel, of several the tests that a panel holds."""
    left_out: set[str] = set()
    for panel in needed:
        inside = [one.order.id for one in needed if one.order.id in panel.order.stands_for]
        lacking = [test for test in panel.tests if not _known([test], together, facts, absent)]
        if len(lacking) > 1:
            left_out.update(inside)
        elif inside:
            left_out.add(panel.order.id)
    return [one for one in needed if one.order.id not in left_out]


def _took_place(names: Sequence[str], facts: Facts) -> bool:
    """Say whether a note or procedure on record shows that the consult took place lately."""
    found = [*procedures(facts, *names), *observed.notes(facts, *names)]
    return any(within_days(one.when, facts.today, CONSULT_DAYS) is YES for one in found)


def _gather_absent(judgement: Judgement, absent: set[str]) -> None:
    """Gather the tests whose absence is part of a finding: those of the branches that hold."""
    if judgement.verdict is YES:
        if judgement.absent:
            absent.add(judgement.absent)
        for child in judgement.children:
            _gather_absent(child, absent)


def _known(tests: Iterable[Test], together: Sequence[Outcome], facts: Facts, absent: Collection[str]) -> bool:
    """Say whether every test has a usable result that is fresh, and none was found missing by a rule of the card."""
    return not any(test.label in absent or not _fresh(test, together, facts) for test in tests)


def _fresh(test: Test, together: Sequence[Outcome], facts: Facts) -> bool:
    newest = _newest(test.names, facts)
    if newest is None:
        return False
    days = [int(together[place].values[name]) if name else test.usually for place, name in test.limits]
    if facts.about_orders:
        days.append(test.on_orders)
    return all(limit is None or facts.today - newest <= limit for limit in days)


def _newest(names: Iterable[str], facts: Facts) -> int | None:
    """Return the day of the newest usable result under any of these names; None if there is none."""
    newest = None
    for name in names:
        results: Sequence[Measurement | Answer] = facts.measurements.get(name) or ()
        if not results and name in facts.answers:
            results = [one for one in facts.answers[name].newest_first() if one.meaning]
        if results and (newest is None or results[0].when.first > newest):
            newest = results[0].when.first
    return newest


def _chosen(offered: Sequence[Offer]) -> list[Offer]:
    """Choose what becomes a button: some of every step rather than every laboratory test and no referral."""
    if len(offered) <= MOST:
        return list(offered)
    referrals = [one for one in offered if one.step == REFERRAL][:MOST_REFERRALS]
    others = [one for one in offered if one.step not in (REFERRAL, LABORATORY)][:MOST_OTHERS]
    labs = [one for one in offered if one.step == LABORATORY][: MOST - len(referrals) - len(others)]
    rest = [one for one in offered if one not in (*referrals, *others, *labs)]
    taken = [*referrals, *others, *labs, *rest][:MOST]
    return [one for one in offered if one in taken]


def _lines(offered: Sequence[Offer], *, calciphylaxis: bool) -> list[str]:
    """Say what is to do, a line for every step; ``offered`` are in the order of the steps."""
    steps: dict[str, list[str]] = {}
    for one in offered:
        steps.setdefault(STEPS[one.step], []).append(_said(one, calciphylaxis=calciphylaxis))
    return [f"{title}: {', '.join(said)}" for title, said in steps.items()]


def _said(offer: Offer, *, calciphylaxis: bool) -> str:
    words = offer.order.plan or offer.order.name
    if offer.repeat:
        words += " (repeat)"
    return f"{words}, {offer.order.caution}" if calciphylaxis and offer.order.caution else words


def possible(fired: Iterable[Outcome]) -> bool:
    """Say whether a rule about calciphylaxis is among the findings of a call, shown or not."""
    return any(outcome.rule.chapter == CALCIPHYLAXIS for outcome in fired)
