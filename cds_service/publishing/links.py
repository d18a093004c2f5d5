"""The links of each card: to where its rules come from, and others that the web adds. None names a patient."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cds_service.cards.fixed import EXTENSION
from cds_service.protocol.cards import Card, Link, Response
from cds_service.rules.book import RuleBook


def address(base: str, rule_id: str) -> str:
    """Return the address of a rule's source attributes."""
    return f"{base}/rules/{rule_id}/source-attributes"


def linked(response: Response, book: RuleBook, base: str, first: Sequence[Sequence[Link]] = ()) -> Response:
    """
    Give every card a link for each of its rules; without a public address there are none (links are absolute).

    ``first`` are, card by card, links that stand before these.
    """
    if not base or not response.cards:
        return response
    more = first or [()] * len(response.cards)
    cards = [_linked(card, book, base, links) for card, links in zip(response.cards, more, strict=True)]
    return msgspec.structs.replace(response, cards=cards)


def _linked(card: Card, book: RuleBook, base: str, first: Sequence[Link]) -> Card:
    rules = [book.rules[one["id"]] for one in card.extension[EXTENSION]["rules"]]
    links = [Link(f"Source and evidence: {rule.title}", address(base, rule.id), "absolute") for rule in rules]
    return msgspec.structs.replace(card, links=[*card.links, *first, *links])
