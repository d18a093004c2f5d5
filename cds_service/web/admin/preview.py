"""The card of a rule as an EHR would show it, for a patient of its own examples."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import count

import msgspec

from cds_service.decide import decide, respond
from cds_service.errors import CdsError
from cds_service.facts import take_in
from cds_service.facts.evidence import YES
from cds_service.facts.intake import Reader
from cds_service.protocol import HookRequest
from cds_service.protocol.cards import Card
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.rules.calling import call_of
from cds_service.rules.chart import Chart
from cds_service.rules.model import Dated, Rule, Threshold
from cds_service.rules.vignettes import HEADINGS, Vignette


class Preview(msgspec.Struct, frozen=True):
    """A card, and of which example it is."""

    example: str
    card: Card


def preview(rule: Rule, book: RuleBook, vignettes: Sequence[Vignette]) -> Preview | None:
    """Return the card that the first example shows for which the rule fires; None where none does."""
    for one in vignettes:
        if HEADINGS[one.heading] is YES and (card := _card(one, rule, _alone(one, rule, book))) is not None:
            return Preview(one.name, card)
    return None


def _alone(one: Vignette, rule: Rule, book: RuleBook) -> RuleBook:
    """Return a book in which only this rule speaks, to everybody, with the numbers that the example sets for itself."""
    own = one.scene.get("thresholds") or {}
    chosen = {name: _fixed(rule.thresholds[name], number) for name, number in own.items()}
    active = msgspec.structs.replace(
        rule, status="active", exemptions=(), rollout=100, thresholds=rule.thresholds | chosen
    )
    services = {
        name: msgspec.structs.replace(service, rules=(active,), repeat="always")
        for name, service in book.services.items()
        if service.service.hook in rule.hooks
    }
    return msgspec.structs.replace(book, rules=book.rules | {rule.id: active}, services=services, memo={})


def _fixed(threshold: Threshold, number: bool | str) -> Threshold:
    value = number if isinstance(number, bool) else Decimal(number)
    return msgspec.structs.replace(threshold, values=(Dated(date.min, value),))


def _card(one: Vignette, rule: Rule, book: RuleBook) -> Card | None:
    try:
        call = call_of(one.scene, rule, Chart(book.terminology, one.today, one.file))
        service = _service(book, call["hook"])
        request = HookRequest.parse(msgspec.json.encode(call), call["hook"])
        noon = datetime.combine(one.today, time(12), UTC).timestamp()
        facts = take_in(request, Reader(book.terminology), noon)
        number = count(1)
        answer = respond(decide(facts, book, service), book, service, request, lambda: f"preview-{next(number)}")
    except CdsError:  # an example that cannot be tried is shown as such among the examples
        return None
    return next(iter(answer.cards), None)


def _service(book: RuleBook, hook: str) -> ServiceRules:
    return next(service for service in book.services.values() if service.service.hook == hook)
