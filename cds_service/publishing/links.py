"""The link from each card to where its rules come from. It names rules only, never a patient."""

from __future__ import annotations

import msgspec

from cds_service.cards.fixed import EXTENSION
from cds_service.protocol.cards import Card, Link, Response
from cds_service.rules.book import RuleBook


def address(base: str, rule_id: str) -> str:
    """Return the address of a rule's source attributes."""
    return f"{base}/rules/{rule_id}/source-attributes"


def linked(response: Response, book: RuleBook, base: str) -> Response:
    """Give every card a link for each of its rules; without a public address there are none (links are absolute)."""
    if not base or not response.cards:
        return response
    return msgspec.structs.replace(response, cards=[_linked(card, book, base) for card in response.cards])


def _linked(card: Card, book: RuleBook, base: str) -> Card:
    rules = [book.rules[one["id"]] for one in card.extension[EXTENSION]["rules"]]
    links = [Link(f"Source and evidence: {rule.title}", address(base, rule.id), "absolute") for rule in rules]
    return msgspec.structs.replace(card, links=[*card.links, *links])
