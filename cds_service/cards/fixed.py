"""What a card says of every patient: sources, orders, reasons for declining. Made once per set of rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from cds_service.cards import plan
from cds_service.cards.plan import Offer
from cds_service.protocol.cards import Coding, Source
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Outcome, Rule
from cds_service.terminology import Terminology
from cds_service.terminology.units import spelled

EXTENSION = "org.calcinosis-cds"
# How a citation was verified, in words without parentheses: they stand in parentheses.
_STATUS = {"verified (abstract)": "abstract verified"}
TOPIC_SYSTEM = "https://calcinosis-cds.example/fhir/CodeSystem/rule"


class Fixed(msgspec.Struct, frozen=True):
    """
    The parts of a card that depend on its rules only.

    ``offers`` are the tests and referrals in the order of a workup, ``ending`` stands below what the patient's values
    say. ``rules`` keeps the rules alive: they are remembered by their identity.
    """

    rules: tuple[Rule, ...]
    source: Source
    offers: tuple[Offer, ...]
    override_reasons: list[Coding]
    extension: dict[str, Any]
    ending: str


def fixed(together: Sequence[Outcome], book: RuleBook) -> Fixed:
    """Return what the card for these findings says of every patient."""
    rules = tuple(outcome.rule for outcome in together)
    return book.once(("card", *map(id, rules)), lambda: _fixed(rules, book.terminology))


def _fixed(rules: tuple[Rule, ...], words: Terminology) -> Fixed:
    reasons = [
        words.override_reasons[name]
        for name in _distinct(name for rule in rules for name in rule.card.override_reasons)
    ]
    worded = {code: text for rule in reversed(rules) for code, text in rule.reasons.items()}
    return Fixed(
        rules,
        Source(
            spelled(f"Calcinosis CDS: {rules[0].evidence[0].cite}"[:140]),
            "",
            Coding(rules[0].topic, TOPIC_SYSTEM, rules[0].title),
        ),
        plan.offers(rules, words),
        [Coding(reason.code, reason.system, worded.get(reason.code, reason.display)) for reason in reasons],
        {EXTENSION: {"rules": [{"id": rule.id, "version": rule.version, "verdict": "yes"} for rule in rules]}},
        _ending(rules),
    )


def _ending(rules: Sequence[Rule]) -> str:
    sources = "\n".join(f"- {line}" for line in _distinct(line for rule in rules for line in _sources(rule)))
    versions = ", ".join(f"{rule.number} {rule.id} version {rule.version}" for rule in rules)
    return f"**Sources**\n{sources}\n\nRule {versions}. Clinical judgement prevails."


def _sources(rule: Rule) -> Iterator[str]:
    for citation in rule.evidence:
        strength = f", {citation.strength}" if citation.strength else ""
        status = _STATUS.get(citation.status, citation.status)
        yield spelled(f"{citation.cite} ({status}{strength})")


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
