"""
The link from a card to its sources: absolute or none, and never about a patient.
"""

from __future__ import annotations

from cds_service.cards.fixed import EXTENSION
from cds_service.protocol.cards import Card, Coding, Response, Source
from cds_service.publishing.links import linked
from cds_service.rules.book import RuleBook

BASE = "https://cds.hospital.example"


def answer(*rules: str) -> Response:
    source = Source("label", topic=Coding("CC01", "urn:x"))
    return Response(
        [Card("id", "summary", "info", source, extension={EXTENSION: {"rules": [{"id": r} for r in rules]}})]
    )


def test_a_card_links_to_every_rule_that_speaks_in_it(book: RuleBook) -> None:
    rules = list(book.rules)[:2]
    [card] = linked(answer(*rules), book, BASE).cards

    assert [(f"{BASE}/rules/{rule}/source-attributes", "absolute") for rule in rules] == [
        (link.url, link.type) for link in card.links
    ]
    assert [f"Source and evidence: {book.rules[rule].title}" for rule in rules] == [link.label for link in card.links]


def test_without_a_public_address_there_is_no_link(book: RuleBook) -> None:
    given = answer(next(iter(book.rules)))

    assert given is linked(given, book, "")


def test_an_answer_without_cards_stays_as_it_is(book: RuleBook) -> None:
    assert [] == linked(Response([]), book, BASE).cards
