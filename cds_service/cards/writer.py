"""The writer: findings in, cards out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cds_service.cards import detail, suggestions, triage
from cds_service.cards.wording import Voice
from cds_service.facts.model import Facts
from cds_service.protocol.cards import Card, Coding, Source
from cds_service.protocol.request import HookRequest
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Outcome, Rule

EXTENSION = "org.calcinosis-cds"
TOPIC_SYSTEM = "https://calcinosis-cds.example/fhir/CodeSystem/rule"
NewId = Callable[[], str]


def write_cards(
    fired: Sequence[Outcome], limit: int, facts: Facts, book: RuleBook, request: HookRequest, new_id: NewId
) -> tuple[list[Card], list[Outcome]]:
    """Return the cards for the rules that fired, most urgent first, and the findings held back by the limit."""
    shown, held = triage.cap(triage.merge(fired, book.merging), limit)
    return [_card(together, facts, book, request, new_id) for together in shown], held


def _card(together: Sequence[Outcome], facts: Facts, book: RuleBook, request: HookRequest, new_id: NewId) -> Card:
    voices = [Voice(outcome, facts, book.terminology) for outcome in together]
    lead = together[0]
    offers = suggestions.suggest(_offered(together), book.terminology, request.patient_id, request.encounter_id, new_id)
    return Card(
        uuid=new_id(),
        summary=voices[0].summary(),
        indicator=lead.indicator,
        source=_source(lead.rule),
        detail=detail.write(voices),
        suggestions=offers,
        selection_behavior="any" if offers else "",
        override_reasons=_reasons(together, book),
        extension={
            EXTENSION: {
                "rules": [
                    {"id": outcome.rule.id, "version": outcome.rule.version, "verdict": outcome.verdict.value}
                    for outcome in together
                ]
            }
        },
    )


def _offered(together: Sequence[Outcome]) -> list[str]:
    tests = [name for outcome in together for name in outcome.rule.card.workup]
    return [*tests, *(name for outcome in together for name in outcome.rule.card.consults)]


def _source(rule: Rule) -> Source:
    return Source(
        label=f"Calcinosis CDS: {rule.evidence[0].cite}"[:140], topic=Coding(rule.topic, TOPIC_SYSTEM, rule.title)
    )


def _reasons(together: Sequence[Outcome], book: RuleBook) -> list[Coding]:
    rules = tuple(outcome.rule for outcome in together)
    return book.once(("override reasons", *(rule.id for rule in rules)), lambda: _all_reasons(rules, book))


def _all_reasons(rules: Sequence[Rule], book: RuleBook) -> list[Coding]:
    names = dict.fromkeys(name for rule in rules for name in rule.card.override_reasons)
    reasons = [book.terminology.override_reasons[name] for name in names]
    return [Coding(reason.code, reason.system, reason.display) for reason in reasons]
