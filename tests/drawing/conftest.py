"""Facts and decisions to draw."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cds_service import decide
from cds_service.drawing.model import Picture
from cds_service.drawing.told import View, view
from cds_service.drawing.trends import picture
from cds_service.facts import Facts, take_in
from cds_service.facts.intake import Reader
from cds_service.protocol import HookRequest
from cds_service.rules.book import RuleBook
from tests.build import NOW, Resource, body

SERVICE = "calcinosis-patient-view"
Draw = Callable[..., Picture]
Tell = Callable[..., View]


@pytest.fixture(scope="session")
def taken(reader: Reader) -> Callable[..., Facts]:
    def take(*resources: Resource, **members: object) -> Facts:
        call = HookRequest.parse(body(*resources, **members), "patient-view")  # type: ignore[arg-type]
        return take_in(call, reader, NOW.timestamp())

    return take


@pytest.fixture(scope="session")
def drawn(book: RuleBook, taken: Callable[..., Facts]) -> Draw:
    """Draw what the card of a patient with these resources rests on, with all rules that fire."""

    def draw(*resources: Resource, **members: object) -> Picture:
        facts = taken(*resources, **members)
        return picture(facts, decide.decide(facts, book, book.services[SERVICE]).fired, book)

    return draw


@pytest.fixture(scope="session")
def told(book: RuleBook, taken: Callable[..., Facts]) -> Tell:
    def tell(*resources: Resource, **members: object) -> View:
        facts = taken(*resources, **members)
        return view(facts, decide.decide(facts, book, book.services[SERVICE]).fired, book)

    return tell
