"""The writer: findings in, cards out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cds_service.cards import detail, plan, suggestions, triage
from cds_service.cards.fixed import fixed
from cds_service.cards.wording import Voice
from cds_service.facts.model import Facts
from cds_service.protocol.cards import Card
from cds_service.protocol.request import HookRequest
from cds_service.rules.book import RuleBook
from cds_service.rules.model import Outcome

NewId = Callable[[], str]


def write_cards(
    fired: Sequence[Outcome],
    limit: int,
    facts: Facts,
    book: RuleBook,
    request: HookRequest,
    new_id: NewId,
    *,
    calciphylaxis: bool = False,
) -> tuple[list[Card], list[Outcome]]:
    """
    Return the cards for the findings that may speak, most urgent first, and those held back by the limit.

    ``calciphylaxis`` says that it is possible in this patient, by what is shown or by what stays quiet.
    """
    if not fired:
        return [], []
    shown, held = triage.cap(triage.merge(fired, book.merging), limit)
    possible = calciphylaxis or plan.possible(fired)
    return [_card(together, facts, book, request, new_id, calciphylaxis=possible) for together in shown], held


def _card(
    together: Sequence[Outcome],
    facts: Facts,
    book: RuleBook,
    request: HookRequest,
    new_id: NewId,
    *,
    calciphylaxis: bool,
) -> Card:
    voices = [Voice(outcome, facts, book.terminology) for outcome in together]
    always = fixed(together, book)
    workup = plan.plan(always.offers, together, facts, calciphylaxis=calciphylaxis)
    orders = [(offer.order.say, offer.request) for offer in workup.suggested]
    offers = [
        *suggestions.about_orders(together, facts, book.terminology, request, new_id),
        *suggestions.suggest(orders, request.patient_id, request.encounter_id, new_id),
    ]
    return Card(
        uuid=new_id(),
        summary=voices[0].summary(),
        indicator=together[0].indicator,
        source=always.source,
        detail=detail.write(voices, always, workup),
        suggestions=offers,
        selection_behavior="any" if offers else "",
        override_reasons=always.override_reasons,
        extension=always.extension,
    )
